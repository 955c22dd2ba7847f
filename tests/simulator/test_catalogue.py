import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.simulator import Viewers, build_catalogue, default_catalogue
from twinloop.simulator.catalogue import chunk_bits_at, draw_video, leave_probability, preference_now, version_quality


def arrays(videos: int = 6) -> dict[str, np.ndarray]:
    return {
        "video_class": np.arange(videos) % 2,
        "video_preference": np.arange(videos) % 3,
        "length_s": np.linspace(2.0, 4.5, videos),
        "size_class": np.arange(videos) % 2,
        "chunk_bits": np.arange(1, 21, dtype=float).reshape(2, 2, 5) * 8e3,
        "version_bps": np.array([1e6, 2e6]),
        "popularity": np.array([5.0, 1.0, 3.0, 4.0, 2.0, 6.0])[:videos],
    }


def people(hazard: np.ndarray, users: int = 1) -> Viewers:
    return Viewers(
        hazard=jnp.asarray(hazard, jnp.float32),
        user_factor_spread=jnp.float32(0.0),
        preference=jnp.ones((users, 2)),
        drift_slot=jnp.array([20, 90]),
        preference_after=jnp.stack([jnp.full((users, 2), 2.0), jnp.full((users, 2), 3.0)]),
        session_on_p=jnp.float32(0.0),
        session_off_p=jnp.float32(0.0),
    )


def test_default_catalogue_is_that_of_the_paper():
    catalogue = default_catalogue()
    assert catalogue.length_s.shape == (1000,)
    assert set(np.asarray(catalogue.length_s)) == {15.0}
    assert sorted(set(np.asarray(catalogue.video_preference))) == list(range(8))
    np.testing.assert_allclose(catalogue.version_bps, [0.5e6, 1e6, 1.7e6, 3e6])
    np.testing.assert_allclose(jnp.mean(catalogue.chunk_bits, axis=(0, 2)), catalogue.version_bps, rtol=1e-5)
    assert float(jnp.std(catalogue.chunk_bits[:, 3])) > 0.1 * 3e6


def test_popularity_within_a_type_is_zipf():
    catalogue = default_catalogue(64, zipf_exponent=1.1)
    weight = np.asarray(catalogue.popularity)[np.asarray(catalogue.video_preference) == 2]
    rank = np.arange(1, 9) ** -1.1
    np.testing.assert_allclose(weight, rank / rank.sum(), rtol=1e-5)


def test_cache_counts_more_popular_items_and_its_own():
    given = arrays()
    before = np.asarray(build_catalogue(**given).cached_bytes_before)
    whole, part = given["chunk_bits"][:, 0], given["length_s"]
    item = [(whole[given["size_class"][v]] * np.clip(part[v] - np.arange(5), 0, 1)).sum() / 8 for v in range(6)]
    order = np.argsort(-given["popularity"])
    np.testing.assert_allclose(before[order, 0], np.cumsum(np.array(item)[order]), rtol=1e-5)
    np.testing.assert_array_equal(before[:, 1], 0.0)


def test_drawn_videos_follow_taste_and_popularity():
    catalogue = default_catalogue(64)
    draws = 200_000
    taste = jnp.tile(jnp.array([[0.1, 0.0, 0.0, 0.6, 0.0, 0.3, 0.0, 0.0]]), (draws, 1))
    chance = jax.random.uniform(jax.random.key(1), (2, draws))
    video = np.asarray(draw_video(catalogue, taste, chance[0], chance[1]))
    seen = np.bincount(video, minlength=64) / draws
    expected = np.asarray(taste[0])[np.asarray(catalogue.video_preference)] * np.asarray(catalogue.popularity)
    np.testing.assert_allclose(seen, expected, atol=0.004)
    assert seen[expected == 0].sum() == 0


def test_chunks_are_read_at_the_second_of_the_head():
    given = arrays()
    catalogue = build_catalogue(**given)
    video, version, at = jnp.array([0, 1, 1, 5]), jnp.array([0, 1, 1, 0]), jnp.array([0.0, 1.99, 2.0, 99.0])
    bits = given["chunk_bits"]
    np.testing.assert_allclose(
        chunk_bits_at(catalogue, video, version, at), [bits[0, 0, 0], bits[1, 1, 1], bits[1, 1, 2], bits[1, 0, 4]]
    )


def test_quality_is_logarithmic_between_lowest_and_highest_version():
    quality = np.asarray(version_quality(default_catalogue(8)))
    np.testing.assert_allclose(quality, np.log(np.array([1, 2, 3.4, 6])) / np.log(6), rtol=1e-5)


def test_a_whole_second_gives_its_hazard_and_two_multiply():
    hazard = np.array([[0.1, 0.5, 0.0], [0.3, 0.2, 0.9]])
    rows = jnp.array([0, 0, 1, 0, 1])
    at = jnp.array([0.0, 1.0, 2.0, 0.0, 0.5])
    to = jnp.array([1.0, 2.0, 3.0, 2.0, 1.5])
    p = leave_probability(people(hazard), rows, jnp.ones(5), at, to)
    np.testing.assert_allclose(p, [0.1, 0.5, 0.9, 1 - 0.9 * 0.5, 1 - np.sqrt(0.7 * 0.8)], rtol=1e-4)


def test_a_users_factor_multiplies_the_hazard_and_nobody_leaves_beyond_the_table():
    hazard = np.array([[0.1, 0.5]])
    factor = jnp.array([2.0, 0.0, 1.0])
    at = jnp.array([0.0, 0.0, 2.0])
    p = leave_probability(people(hazard), jnp.zeros(3, jnp.int32), factor, at, at + 1.0)
    np.testing.assert_allclose(p, [1 - 0.9**2, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize(("slot", "expected"), [(0, 1.0), (19, 1.0), (20, 2.0), (89, 2.0), (90, 3.0), (500, 3.0)])
def test_preferences_drift_at_set_times(slot: int, expected: float):
    assert float(preference_now(people(np.zeros((1, 3))), jnp.int32(slot))[0, 0]) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("popularity", np.array([1.0, -1, 1, 1, 1, 1]), "popularity must be"),
        ("length_s", np.full(6, 5.5), "length_s reaches 5.5 s, chunk_bits end after 5 s"),
        ("length_s", np.full(6, np.nan), "length_s must be"),
        ("version_bps", np.array([2e6, 1e6]), "version_bps must ascend"),
        ("version_bps", np.array([1e6, 2e6, 3e6]), "one row for each version"),
        ("size_class", np.full(6, 2), "size_class names row 2, chunk_bits has 2"),
        ("video_preference", np.full(6, 1), "leaves type 0 without a video"),
        ("video_class", np.zeros(5), "video_class has shape"),
    ],
)
def test_a_wrong_catalogue_is_refused_by_name(name: str, value: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        build_catalogue(**arrays() | {name: value})
