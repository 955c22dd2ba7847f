from pathlib import Path

import numpy as np
import pytest
from set_samples import waterloo

from twinloop.datasets import load_opinions, score_matrix


def test_scores_are_a_full_matrix_of_raters_and_the_mos_is_not_their_mean(tmp_path: Path) -> None:
    waterloo(tmp_path)
    sessions = load_opinions(tmp_path).items
    assert score_matrix(sessions, "hdtv").shape == (32, 1)
    assert score_matrix(sessions, "phone").shape == (29, 1)
    assert sessions[0].mos == 80.0 and sessions[0].scores.mean() < 80.0


def test_row_zero_holds_the_start_up_delay_and_rates_are_kbit(tmp_path: Path) -> None:
    waterloo(tmp_path)
    session = load_opinions(tmp_path).items[0]
    assert (session.codec, session.device, session.trace) == ("H264", "hdtv", 1)
    np.testing.assert_allclose(session.rebuffer_s, [1.5, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(session.rate_bps, 5091.68e3)
    np.testing.assert_allclose(session.chunk_bits, 8 * 2545840)


def test_a_missing_or_short_log_is_a_fault_and_other_sessions_load(tmp_path: Path) -> None:
    folder = waterloo(tmp_path)
    path = folder / "streaming_logs/0001.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    loaded = load_opinions(tmp_path)
    assert [session.name for session in loaded.items] == ["0002"]
    assert "6 chunks" in str(loaded.faults[0])
    path.unlink()
    assert "0001.csv" in str(load_opinions(tmp_path).faults[0])


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("[80 80", "[80 nan", 3),
        ("[80 80", "[80 180", 3),
        ("[80 80", "[80", 3),
        ("hdtv", "watch", 7),
        ("80.000", "x", 2),
    ],
)
def test_a_bad_row_is_named_with_line_and_column(tmp_path: Path, old: str, new: str, column: int) -> None:
    path = waterloo(tmp_path) / "data.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    loaded = load_opinions(tmp_path)
    assert len(loaded.items) == 1
    assert (loaded.faults[0].path, loaded.faults[0].line, loaded.faults[0].column) == (path, 2, column)
