import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from radio_cases import radio, topology

from twinloop.simulator.air.channel import Site, los_probability, path_loss_coefficients
from twinloop.simulator.air.shadowing import Maps, draw_maps, link_gains
from twinloop.simulator.topology import cell_positions

KEY = jax.random.key(7)
CELLS = 24
GRID = (128, 128)
draw = eqx.filter_jit(draw_maps)
receive = eqx.filter_jit(link_gains)


def fields(model: str, tile_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Uniform line-of-sight field and both unit normal fields of 24 cells, [rows columns cells]."""
    maps = draw(KEY, topology([(0.0, 0.0, 25.0)] * CELLS, (model,) * CELLS), radio(GRID, shadow_grid_m=tile_m))
    words = np.asarray(maps.field)
    return (words >> 20 & 4095) / 4096, (words >> 10 & 1023) / 128 - 4, (words & 1023) / 128 - 4


@pytest.mark.parametrize(("model", "tile_m", "los_m", "nlos_m"), [("umi", 5.0, 10.0, 13.0), ("uma", 10.0, 37.0, 50.0)])
def test_shadowing_has_unit_deviation_and_decorrelates_as_exp_of_distance(
    model: str, tile_m: float, los_m: float, nlos_m: float
) -> None:
    _, with_sight, without = fields(model, tile_m)
    for field, scale_m in ((with_sight, los_m), (without, nlos_m)):
        assert field.std() == pytest.approx(1.0, abs=0.03)
        assert abs(field.mean()) < 0.05
        for tiles in (1, 2, 4, 8):
            expected = np.exp(-tiles * tile_m / scale_m)
            for axis in (0, 1):
                measured = np.mean(field * np.roll(field, tiles, axis=axis)) / field.var()
                assert measured == pytest.approx(expected, abs=0.03), (scale_m, tiles, axis)


def test_fields_of_two_cells_and_of_two_kinds_are_independent() -> None:
    sight, with_sight, without = ((field - field.mean((0, 1))) / field.std((0, 1)) for field in fields("umi", 5.0))
    for left, right in ((sight, with_sight), (sight, without), (with_sight, without)):
        assert abs(np.mean(left * right)) < 0.02
    for field in (sight, with_sight, without):
        assert abs(np.mean(field[..., :-1] * field[..., 1:])) < 0.03


def test_sight_field_is_uniform() -> None:
    sight, _, _ = fields("umi", 5.0)
    np.testing.assert_allclose(np.quantile(sight, (0.1, 0.5, 0.9)), (0.1, 0.5, 0.9), atol=0.03)


def gains(key: jax.Array, tile_m: float, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    """RSRP of 12 UMi cells at one user a tile, all on a ring of 100 m around every cell, and its mean path loss."""
    cells = topology([(500.0, 400.0, 10.0)] * 12)
    settings = radio((256, 256), shadow_grid_m=tile_m, **changes)
    angle = jnp.linspace(0.0, 2.0 * jnp.pi, 200, endpoint=False)
    position = jnp.asarray([500.0, 400.0])[None] + 100.0 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    maps = draw(key, cells, settings)
    return np.asarray(receive(cells, settings, maps, position, cell_positions(cells, jnp.float32(0)))), position


def test_received_power_is_transmit_power_an_element_less_path_loss() -> None:
    found, _ = gains(KEY, 5.0, shadow_scale=0.0)
    element_dbm = 43.0 + 8.0 - 10.0 * np.log10(15e6 / 15e3)
    levels = np.unique(np.round(found, 1))
    np.testing.assert_allclose(levels, (element_dbm - 90.8, element_dbm - 78.4), atol=0.11)


def test_share_of_links_in_sight_follows_the_probability() -> None:
    share = np.mean([np.mean(gains(jax.random.key(seed), 5.0, shadow_scale=0.0)[0] > -60.0) for seed in range(12)])
    loss = path_loss_coefficients(
        ("umi",), Site(jnp.full(1, 780.5e6), jnp.full(1, 10.0), jnp.float32(1.5), jnp.ones(1))
    )
    assert share == pytest.approx(float(los_probability(loss, jnp.asarray([[100.0]]))[0, 0]), abs=0.04)


def test_shadowing_spreads_links_as_the_table_says() -> None:
    spread = np.concatenate(
        [gains(jax.random.key(s), 50.0)[0] - gains(jax.random.key(s), 50.0, shadow_scale=0.0)[0] for s in range(8)]
    )
    plain = np.concatenate([gains(jax.random.key(s), 50.0, shadow_scale=0.0)[0] for s in range(8)])
    assert spread[plain > -60.0].std() == pytest.approx(4.0, rel=0.15)
    assert spread[plain < -60.0].std() == pytest.approx(7.82, rel=0.1)


def test_same_key_same_maps_and_another_key_others() -> None:
    first, again, other = (gains(jax.random.key(seed), 5.0)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 3.0


def test_map_repeats_outside_its_grid_and_holds_within_a_tile() -> None:
    cells = topology([(500.0, 400.0, 10.0)])
    settings = radio((8, 16), shadow_grid_m=10.0)
    never_in_sight_and_column_over_128 = jnp.int32(-1 << 20) | jnp.arange(16)[None, :, None]
    maps = Maps(jnp.broadcast_to(never_in_sight_and_column_over_128, (8, 16, 1)))

    def column(x_m: float) -> jax.Array:
        cell = jnp.asarray([[x_m + 300.0, 400.0, 10.0]])
        return receive(cells, settings, maps, jnp.asarray([[x_m, 400.0]]), cell)

    np.testing.assert_allclose(column(13.0), column(17.0))
    np.testing.assert_allclose(column(13.0), column(13.0 + 160.0), atol=1e-4)
    assert float(column(23.0)[0, 0] - column(13.0)[0, 0]) == pytest.approx(7.82 / 128, abs=1e-3)
