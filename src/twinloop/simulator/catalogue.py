"""The videos on offer and the taste of those who watch: sizes, popularity, the next video, and when one is left."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int

VERSION_BPS = (0.5e6, 1.0e6, 1.7e6, 3.0e6)
DEFAULT_TYPES = ("entertainment", "games", "food", "sports", "science", "dance", "travel", "news")


class Catalogue(eqx.Module):
    """What can be watched.

    `video_class` picks a video's row of hazards, `video_preference` its type in viewers' preferences, `size_class` its
    row of `chunk_bits`, the bits of each second in each version. Versions are in ascending `version_bps`.
    `cached_bytes_before` is how many bytes a cache must hold before it reaches (video, version): those of every more
    popular item and its own, 0 for the top version, which the edge always stores.

    Popularity within a type is kept as alias table: a draw of type k falls on one of its videos evenly, and there on
    video v with chance `alias_chance`, else on `alias_video`; the videos of type k are `type_videos[k]`, padded.
    """

    video_class: Int[Array, " videos"]
    video_preference: Int[Array, " videos"]
    length_s: Float[Array, " videos"]
    size_class: Int[Array, " videos"]
    chunk_bits: Float[Array, "size_classes versions seconds"]
    version_bps: Float[Array, " versions"]
    cached_bytes_before: Float[Array, "videos versions"]
    type_size: Int[Array, " types"]
    type_videos: Int[Array, "types places"]
    alias_video: Int[Array, "types places"]
    alias_chance: Float[Array, "types places"]

    @property
    def popularity(self) -> Float[Array, " videos"]:
        """Probability of each video within its type, recovered from the alias table; sums to 1 over a type."""
        place = jnp.arange(self.type_videos.shape[1])[None, :]
        share = jnp.where(place < self.type_size[:, None], 1.0 / self.type_size[:, None], 0.0)
        kept = jnp.zeros(self.length_s.shape[0]).at[self.type_videos].add(share * self.alias_chance)
        return kept.at[self.alias_video].add(share * (1.0 - self.alias_chance))


class Viewers(eqx.Module):
    """How people watch.

    `hazard` is the probability to leave in the t-th second of a video of a class, given that second is reached; Poisson
    requests with rate lambda are the constant hazard 1 - exp(-lambda x 1 s). `user_factor_spread` is the standard
    deviation of the log of each user's factor on it. Preferences for types are `preference` until `drift_slot[0]`, then
    `preference_after[0]` and so on. Per slot an absent user joins with `session_on_p`, a present one leaves with
    `session_off_p`.
    """

    hazard: Float[Array, "classes seconds"]
    user_factor_spread: Float[Array, ""]
    preference: Float[Array, "users types"]
    drift_slot: Int[Array, " drifts"]
    preference_after: Float[Array, "drifts users types"]
    session_on_p: Float[Array, ""]
    session_off_p: Float[Array, ""]


def build_catalogue(
    *,
    video_class: npt.NDArray[np.generic],
    video_preference: npt.NDArray[np.generic],
    length_s: npt.NDArray[np.generic],
    size_class: npt.NDArray[np.generic],
    chunk_bits: npt.NDArray[np.generic],
    version_bps: npt.NDArray[np.generic],
    popularity: npt.NDArray[np.generic],
) -> Catalogue:
    """Catalogue from plain arrays, on the host.

    Per video: `video_class`, `video_preference` (0 .. types - 1, each type with a video), `length_s`, `size_class`, and
    `popularity`, any positive weights. `chunk_bits` [size_classes, versions, seconds] must reach the longest video of
    the class; `version_bps` ascends. The cache fills by popularity, every lower version of a video together, the
    highest first.
    Raises ValueError, naming the argument, for lengths that do not match, values not finite or above zero, versions out
    of order, a class or type without rows or videos, and chunks that end before the video.
    """
    weight = np.asarray(popularity, np.float64)
    length = np.asarray(length_s, np.float64)
    bits = np.asarray(chunk_bits, np.float64)
    rates = np.asarray(version_bps, np.float64)
    kind, size, hazard_class = (np.asarray(values, np.int64) for values in (video_preference, size_class, video_class))
    _check_positive(popularity=weight, length_s=length, version_bps=rates)
    _check_videos(len(length), popularity=weight, video_preference=kind, size_class=size, video_class=hazard_class)
    if bits.ndim != 3 or bits.shape[1] != len(rates) or not np.all(np.isfinite(bits)) or np.any(bits < 0):
        raise ValueError("chunk_bits must be finite bits by size class, version and second, one row for each version")
    if np.any(np.diff(rates) <= 0):
        raise ValueError("version_bps must ascend")
    if size.max() >= len(bits):
        raise ValueError(f"size_class names row {size.max()}, chunk_bits has {len(bits)}")
    if np.ceil(length.max()) > bits.shape[2]:
        raise ValueError(f"length_s reaches {length.max():g} s, chunk_bits end after {bits.shape[2]} s")
    missing = np.setdiff1d(np.arange(kind.max() + 1), kind)
    if missing.size:
        raise ValueError(f"video_preference leaves type {missing[0]} without a video")
    type_size, type_videos, alias_video, alias_chance = _alias_tables(kind, weight)
    return Catalogue(
        video_class=jnp.asarray(hazard_class, jnp.int32),
        video_preference=jnp.asarray(kind, jnp.int32),
        length_s=jnp.asarray(length, jnp.float32),
        size_class=jnp.asarray(size, jnp.int32),
        chunk_bits=jnp.asarray(bits, jnp.float32),
        version_bps=jnp.asarray(rates, jnp.float32),
        cached_bytes_before=jnp.asarray(_bytes_before(weight, length, size, bits), jnp.float32),
        type_size=jnp.asarray(type_size, jnp.int32),
        type_videos=jnp.asarray(type_videos, jnp.int32),
        alias_video=jnp.asarray(alias_video, jnp.int32),
        alias_chance=jnp.asarray(alias_chance, jnp.float32),
    )


def default_catalogue(videos: int = 1000, length_s: float = 15.0, zipf_exponent: float = 0.8) -> Catalogue:
    """The embedded catalogue of paper 000, section IV: 8 types, segments of 1 s, versions of .5, 1, 1.7 and 3 Mbit/s.

    A video's class is its type. Popularity within a type falls with rank^-`zipf_exponent`. Sizes vary like those of a
    constant-quality encoder (ours): 32 shapes, lognormal with sigma .25 in time, the first second 1.3 times as large
    for its key frame, each shape's mean equal to its nominal rate. The same catalogue on every call.
    Raises ValueError for fewer videos than types or a length that is not above zero.
    """
    types = len(DEFAULT_TYPES)
    if videos < types:
        raise ValueError(f"videos must be at least {types}, one for each type")
    kind = np.arange(videos) % types
    seconds = max(int(np.ceil(length_s)), 1)
    shape = np.random.default_rng(20240501).lognormal(0.0, 0.25, (32, 1, seconds))
    shape[:, :, 0] *= 1.3
    shape /= shape.mean(axis=2, keepdims=True)
    return build_catalogue(
        video_class=kind,
        video_preference=kind,
        length_s=np.full(videos, length_s),
        size_class=np.arange(videos) // types % len(shape),
        chunk_bits=shape * np.asarray(VERSION_BPS)[None, :, None],
        version_bps=np.asarray(VERSION_BPS),
        popularity=(1.0 + np.arange(videos) // types) ** -zipf_exponent,
    )


def draw_video(
    catalogue: Catalogue,
    preference: Float[Array, "draws types"],
    type_chance: Float[Array, " draws"],
    video_chance: Float[Array, " draws"],
) -> Int[Array, " draws"]:
    """A video for each draw: its type by `preference`, then the video by its popularity within the type.

    `type_chance` and `video_chance` are uniform in [0, 1) and independent; `preference` rows need not sum to 1.
    """
    mark = type_chance * jnp.sum(preference, axis=1)
    reach = jnp.zeros_like(mark)
    kind = jnp.zeros(mark.shape, jnp.int32)
    for column in range(preference.shape[1] - 1):
        reach += preference[:, column]
        kind += reach <= mark
    size = catalogue.type_size[kind]
    scaled = video_chance * size
    place = jnp.minimum(scaled.astype(jnp.int32), size - 1)
    kept = scaled - place < catalogue.alias_chance[kind, place]
    return jnp.where(kept, catalogue.type_videos[kind, place], catalogue.alias_video[kind, place])


def preference_now(viewers: Viewers, time_slot: Int[Array, ""]) -> Float[Array, "users types"]:
    """Preferences in force at `time_slot`: the base ones, or those after the latest drift."""
    if viewers.drift_slot.shape[0] == 0:
        return viewers.preference
    passed = jnp.sum(time_slot >= viewers.drift_slot, dtype=jnp.int32)
    return jnp.where(passed == 0, viewers.preference, viewers.preference_after[jnp.maximum(passed - 1, 0)])


def leave_probability(
    viewers: Viewers,
    video_class: Int[Array, " users"],
    factor: Float[Array, " users"],
    from_s: Float[Array, " users"],
    to_s: Float[Array, " users"],
) -> Float[Array, " users"]:
    """Probability to leave between two positions of a video, 1 - exp(-f_u [H(to) - H(from)]).

    H(x) = -sum_{t < x} ln(1 - h_t) is the cumulative hazard, linear within a second; `factor` f_u multiplies it, so a
    whole second with f_u = 1 gives h_t. Beyond the table the last second's hazard holds no more: nobody leaves.
    """
    seconds = viewers.hazard.shape[1]
    risk = -jnp.log1p(-jnp.clip(viewers.hazard, 0.0, 1.0 - 1e-6))
    reached = jnp.pad(jnp.cumsum(risk, axis=1), ((0, 0), (1, 0)))
    table, slope = reached.reshape(-1), jnp.pad(risk, ((0, 0), (0, 1))).reshape(-1)
    row = video_class * (seconds + 1)

    def cumulative(at_s: Float[Array, " users"]) -> Float[Array, " users"]:
        second = jnp.clip(at_s.astype(jnp.int32), 0, seconds)
        return table[row + second] + slope[row + second] * (at_s - second)

    return -jnp.expm1(-factor * (cumulative(to_s) - cumulative(from_s)))


def chunk_bits_at(
    catalogue: Catalogue,
    video: Int[Array, " users"],
    version: Int[Array, " users"],
    second_s: Float[Array, " users"],
) -> Float[Array, " users"]:
    """Bits per second of `video` in `version` in the second that holds `second_s`; at least 1, so it can divide."""
    seconds = catalogue.chunk_bits.shape[2]
    second = jnp.clip(second_s.astype(jnp.int32), 0, seconds - 1)
    row = (catalogue.size_class[video] * catalogue.version_bps.shape[0] + version) * seconds + second
    return jnp.maximum(catalogue.chunk_bits.reshape(-1)[row], 1.0)


def version_quality(catalogue: Catalogue) -> Float[Array, " versions"]:
    """Quality of each version, Q = ln(r / r_min) / ln(r_max / r_min) in [0, 1]; 1 if alone."""
    rate = catalogue.version_bps
    if rate.shape[0] == 1:
        return jnp.ones_like(rate)
    return jnp.log(rate / rate[0]) / jnp.log(rate[-1] / rate[0])


def _check_positive(**values: npt.NDArray[np.float64]) -> None:
    for name, value in values.items():
        if value.ndim != 1 or value.size == 0 or not np.all(np.isfinite(value) & (value > 0)):
            raise ValueError(f"{name} must be a row of finite numbers above zero")


def _check_videos(videos: int, **values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> None:
    for name, value in values.items():
        if value.shape != (videos,):
            raise ValueError(f"{name} has shape {value.shape}, there are {videos} videos")
        if np.any(value < 0):
            raise ValueError(f"{name} must not be negative")


def _bytes_before(
    weight: npt.NDArray[np.float64],
    length: npt.NDArray[np.float64],
    size: npt.NDArray[np.int64],
    bits: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    second = np.arange(bits.shape[2])
    share = np.clip(length[:, None] - second[None, :], 0.0, 1.0)
    item_bytes = np.einsum("vt,vlt->vl", share, bits[size]) / 8.0
    order = np.argsort(-weight, kind="stable")
    lower = item_bytes[order, :-1][:, ::-1]
    before = np.zeros_like(item_bytes)
    before[order, :-1] = np.cumsum(lower.reshape(-1)).reshape(lower.shape)[:, ::-1]
    return before


def _alias_tables(
    kind: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sizes, videos, aliases and chances of every type, padded to the largest (Walker's method as ordered by Vose)."""
    members = [np.flatnonzero(kind == k) for k in range(kind.max() + 1)]
    sizes = np.array([len(m) for m in members])
    videos = np.zeros((len(members), sizes.max()), np.int64)
    alias = np.zeros_like(videos)
    chance = np.ones(videos.shape)
    for k, member in enumerate(members):
        other, keep = _alias(weight[member])
        videos[k, : len(member)] = member
        alias[k, : len(member)] = member[other]
        chance[k, : len(member)] = keep
    return sizes, videos, alias, chance


def _alias(weight: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    scaled = weight / weight.sum() * len(weight)
    other = np.arange(len(weight))
    poor = [int(i) for i in np.flatnonzero(scaled < 1.0)]
    rich = [int(i) for i in np.flatnonzero(scaled >= 1.0)]
    keep = np.ones(len(weight))
    while poor and rich:
        low, high = poor.pop(), rich[-1]
        keep[low] = scaled[low]
        other[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            poor.append(rich.pop())
    return other, keep
