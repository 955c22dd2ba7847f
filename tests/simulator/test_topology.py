import jax
import jax.numpy as jnp
import numpy as np
import pytest
from radio_cases import topology

from twinloop.errors import ScenarioError
from twinloop.simulator.topology import cell_positions

SQUARE = [[0.0, 0.0, 50.0], [100.0, 0.0, 50.0], [100.0, 100.0, 60.0], [0.0, 100.0, 60.0]]


def flying() -> object:
    path = jnp.asarray([SQUARE, [[300.0, 200.0, 25.0]] * 4])
    return topology([(0, 0, 0)] * 2, cell_path_m=path, cell_speed_mps=jnp.asarray([10.0, 0.0]))


@pytest.mark.parametrize(
    ("time_s", "expected"),
    [
        (0.0, (0.0, 0.0, 50.0)),
        (5.0, (50.0, 0.0, 50.0)),
        (10.0, (100.0, 0.0, 50.0)),
        (10.0 + 0.5 * 10.0 * 1.01**0.5, (100.0, 50.0, 55.0)),
    ],
)
def test_a_flying_cell_follows_its_polyline_at_its_speed(time_s: float, expected: tuple[float, ...]) -> None:
    place = cell_positions(flying(), jnp.float32(time_s))
    np.testing.assert_allclose(place[0], expected, atol=0.2)
    np.testing.assert_array_equal(place[1], (300.0, 200.0, 25.0))


def test_a_flying_cell_comes_round_again_and_never_jumps() -> None:
    places = jax.vmap(lambda t: cell_positions(flying(), t)[0])(jnp.arange(0.0, 100.0, 0.5))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert steps.max() <= 5.01
    assert steps.min() > 3.0
    path = np.asarray(SQUARE)
    lap_s = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1).sum() / 10.0
    np.testing.assert_allclose(cell_positions(flying(), jnp.float32(lap_s + 5.0))[0], (50.0, 0.0, 50.0), atol=0.01)


def test_a_cell_with_speed_but_no_way_to_go_stays() -> None:
    still = topology([(7.0, 8.0, 9.0)], cell_speed_mps=jnp.asarray([20.0]))
    np.testing.assert_array_equal(cell_positions(still, jnp.float32(33.3)), [[7.0, 8.0, 9.0]])


def test_unknown_model_and_wrong_number_of_models_are_refused_by_name() -> None:
    with pytest.raises(ScenarioError, match=r"'umx'.*umi, uma, rma"):
        topology([(0, 0, 25.0)], ("umx",))
    with pytest.raises(ScenarioError, match="2 cells have 1 path loss models"):
        topology([(0, 0, 25.0)] * 2, ("umi",))
