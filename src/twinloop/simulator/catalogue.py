"""The videos on offer: what they weigh in each version, how popular they are, and how the next one is drawn."""

import equinox as eqx
import jax
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


def build_catalogue(
    *,
    video_class: npt.ArrayLike,
    video_preference: npt.ArrayLike,
    length_s: npt.ArrayLike,
    size_class: npt.ArrayLike,
    chunk_bits: npt.ArrayLike,
    version_bps: npt.ArrayLike,
    popularity: npt.ArrayLike,
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
        version_bps=VERSION_BPS,
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
    reach = jnp.cumsum(preference, axis=1)
    passed = reach[:, :-1] <= (type_chance * reach[:, -1])[:, None]
    kind = jnp.sum(passed, axis=1, dtype=jnp.int32)
    size = catalogue.type_size[kind]
    scaled = video_chance * size
    place = jnp.minimum(scaled.astype(jnp.int32), size - 1)
    kept = scaled - place < catalogue.alias_chance[kind, place]
    return jnp.where(kept, catalogue.type_videos[kind, place], catalogue.alias_video[kind, place])


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
    return jnp.maximum(jax.lax.reshape(catalogue.chunk_bits, (catalogue.chunk_bits.size,))[row], 1.0)


def version_quality(catalogue: Catalogue) -> Float[Array, " versions"]:
    """Quality of each version, Q = ln(r / r_min) / ln(r_max / r_min) in [0, 1] (models.md, Experience); 1 if alone."""
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
