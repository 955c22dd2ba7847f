from pathlib import Path

import numpy as np
import pytest
from set_samples import eua, kaist, walk_text, write

from twinloop.datasets import load_sites, load_walks


def test_steps_above_40_mps_are_jumps_and_can_be_cut(tmp_path: Path) -> None:
    position = np.array([[0, 0], [30, 0], [3030, 0], [30, 0], [60, 0]], dtype=float)
    write(tmp_path / "kaist_walks/KAIST_30sec_001.txt", walk_text(position))
    (walk,) = load_walks(tmp_path).items
    np.testing.assert_array_equal(walk.jump, [False, True, True, False])
    clipped = walk.clipped_position_m
    assert np.linalg.norm(np.diff(clipped, axis=0), axis=1).max() <= 40 * 30 + 1e-6
    np.testing.assert_allclose(clipped[-1], [60, 0])


def test_drift_of_a_resting_receiver_counts_as_standing_still(tmp_path: Path) -> None:
    position = np.array([[0, 0], [3.9, 0], [3.9, 0], [8, 0], [48, 0]], dtype=float)
    write(tmp_path / "kaist_walks/KAIST_30sec_001.txt", walk_text(position))
    (walk,) = load_walks(tmp_path).items
    np.testing.assert_array_equal(walk.stationary, [True, True, False, False])
    assert walk.step_s == 30.0


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("0 1 2\n30 1 2\n90 1 2\n", 3, 1),
        ("0 1 2\n30 1 2\n15 1 2\n", 3, 1),
        ("0 1 2\n30 1 nan\n", 2, 3),
        ("0 1 2\n", 1, None),
    ],
)
def test_a_walk_that_is_none_is_a_fault_and_others_load(
    tmp_path: Path, text: str, line: int, column: int | None
) -> None:
    kaist(tmp_path, walks=1)
    write(tmp_path / "kaist_walks/KAIST_30sec_099.txt", text)
    loaded = load_walks(tmp_path)
    assert [walk.name for walk in loaded.items] == ["KAIST_30sec_001"]
    assert (loaded.faults[0].line, loaded.faults[0].column) == (line, column)


def test_empty_elevations_are_missing_and_positions_are_metres(tmp_path: Path) -> None:
    eua(tmp_path)
    (sites,) = load_sites(tmp_path).items
    np.testing.assert_array_equal(np.isnan(sites.elevation_m), [True, False])
    assert sites.title == ("Corner, North", "B")
    east, north = np.diff(sites.position_m, axis=0)[0]
    assert north == pytest.approx(-0.01 * np.pi / 180 * 6_371_000, rel=1e-6)
    assert east == pytest.approx(-0.02 * np.pi / 180 * 6_371_000 * np.cos(np.radians(37.815)), rel=1e-4)


def test_a_latitude_off_the_globe_is_a_fault(tmp_path: Path) -> None:
    path = eua(tmp_path)
    path.write_text(path.read_text().replace("-37.82", "137.82"))
    (fault,) = load_sites(tmp_path).faults
    assert (fault.line, fault.column) == (3, 2)
