import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.simulator.air.channel import (
    Site,
    correlation_distances_m,
    los_probability,
    path_loss_coefficients,
    path_loss_db,
)

MODELS = ("rma", "umi", "close_in", "uma", "free_space", "umi")


coefficients = eqx.filter_jit(path_loss_coefficients)


def site(cells: int) -> Site:
    return Site(jnp.full(cells, 2e9), jnp.full(cells, 25.0), jnp.float32(1.5), jnp.full(cells, 2.7))


def test_each_cell_of_a_mixed_topology_gets_its_own_model() -> None:
    distance = jnp.asarray([[30.0], [200.0], [1500.0]])
    mixed = coefficients(MODELS, site(len(MODELS)))
    wide = jnp.broadcast_to(distance, (3, len(MODELS)))
    los, nlos = path_loss_db(mixed, wide, wide)
    for cell, model in enumerate(MODELS):
        alone = coefficients((model,), site(1))
        expected = path_loss_db(alone, distance, distance)
        np.testing.assert_allclose(los[:, cell], expected[0][:, 0], err_msg=model)
        np.testing.assert_allclose(nlos[:, cell], expected[1][:, 0], err_msg=model)


@pytest.mark.parametrize("model", sorted(set(MODELS)))
def test_loss_grows_and_sight_fades_with_distance(model: str) -> None:
    distance = jnp.linspace(10.0, 5000.0, 400)[:, None]
    loss = coefficients((model,), site(1))
    los, nlos = path_loss_db(loss, distance, distance)
    sight = los_probability(loss, distance)
    assert bool(jnp.all(jnp.diff(los[:, 0]) > 0))
    assert bool(jnp.all(jnp.diff(nlos[:, 0]) > 0))
    assert bool(jnp.all(nlos >= los))
    assert bool(jnp.all(jnp.diff(sight[:, 0]) <= 0))
    assert bool(jnp.all((sight > 0) & (sight <= 1)))


def test_sight_is_certain_underneath_a_cell() -> None:
    loss = coefficients(MODELS, site(len(MODELS)))
    np.testing.assert_array_equal(los_probability(loss, jnp.zeros((1, len(MODELS)))), 1.0)


def test_correlation_distances_are_those_of_table_7_5_6() -> None:
    np.testing.assert_array_equal(
        correlation_distances_m(("umi", "uma", "rma")), [[50, 10, 13], [50, 37, 50], [60, 37, 120]]
    )


def test_a_topology_without_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="without cells"):
        path_loss_coefficients((), site(0))
