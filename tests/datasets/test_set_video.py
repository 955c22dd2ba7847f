from pathlib import Path

import numpy as np
import pytest
from set_samples import dashlet, kuairand, svs, write

from twinloop.datasets import (
    load_chunk_sizes,
    load_leave_distributions,
    load_retention,
    load_svs_throughput,
    load_viewing_log,
)


def test_the_last_retention_row_is_an_end_mark_and_not_measured(tmp_path: Path) -> None:
    svs(tmp_path)
    first = load_retention(tmp_path).items[0]
    assert (first.name, first.kind, first.length_s) == ("1_tj", "study", 3.0)
    np.testing.assert_allclose(first.leave_probability, [0.1, 0.3, 0.1])
    np.testing.assert_allclose(first.survival, [1.0, 0.9, 0.6, 0.5])
    assert first.end_share == pytest.approx(0.5)
    assert first.leave_probability.sum() + first.end_share == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("0\t1\n1\t0.9\n2\t0.6\n", 3, "end mark"),
        ("0\t0.9\n1\t0.8\n2 0", 1, "start at 1"),
        ("0\t1\n2\t0.8\n3 0", 2, "second 2"),
        ("0\t1\n1\t0.8\n2\t0.9\n3 0", 3, "survival rises"),
        ("0\t1\n1\t1.2\n2 0", 2, "1.2"),
        ("0\t1\n1\n", 2, "1 columns"),
    ],
)
def test_a_retention_curve_that_is_none_is_a_fault(tmp_path: Path, text: str, line: int, what: str) -> None:
    svs(tmp_path)
    write(tmp_path / "svs_challenge/user_ret/7_yd", text)
    loaded = load_retention(tmp_path)
    assert [item.name for item in loaded.items] == ["1_tj"]
    assert loaded.faults[0].line == line and what in str(loaded.faults[0])


def test_chunk_sizes_are_bytes_and_come_as_bits_with_their_real_rates(tmp_path: Path) -> None:
    svs(tmp_path)
    (video,) = load_chunk_sizes(tmp_path).items
    assert video.chunk_bits.shape == (3, 3)
    assert video.chunk_bits[0, 1] == 8 * 90_001
    np.testing.assert_allclose(video.version_bps, 8 * np.array([90_001, 150_001, 230_001]))
    np.testing.assert_array_equal(video.nominal_bps, [750e3, 1200e3, 1850e3])


@pytest.mark.parametrize("text", ["1\n2\n", "1\n2.5\n3\n", "1\n0\n3\n", ""])
def test_chunk_sizes_that_do_not_fit_are_a_fault(tmp_path: Path, text: str) -> None:
    path = write(svs(tmp_path) / "short_video_size/1_tj/video_size_1", text)
    loaded = load_chunk_sizes(tmp_path)
    assert not loaded.items and loaded.faults[0].path == path


def test_a_missing_version_is_a_fault(tmp_path: Path) -> None:
    (svs(tmp_path) / "short_video_size/1_tj/video_size_2").unlink()
    assert "video_size_2" in str(load_chunk_sizes(tmp_path).faults[0])


def test_throughput_of_the_challenge_is_floored_at_200_kbit(tmp_path: Path) -> None:
    svs(tmp_path)
    (trace,) = load_svs_throughput(tmp_path).items
    assert (trace.group, trace.floor_bps) == ("low", 0.2e6)
    np.testing.assert_allclose(trace.rate_bps, [0.2e6, 1.5e6, 0.2e6])
    np.testing.assert_allclose(np.diff(trace.time_s), 0.5)


def test_the_last_bin_means_watched_to_the_end(tmp_path: Path) -> None:
    dashlet(tmp_path)
    (video,) = load_leave_distributions(tmp_path).items
    assert (video.length_s, video.end_share) == (3.0, 0.5)
    np.testing.assert_allclose(video.survival, [1.0, 0.75, 0.625, 0.5])


def test_uniform_placeholders_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    dashlet(tmp_path)
    assert [video.name for video in load_leave_distributions(tmp_path).items] == ["v1"]
    every = load_leave_distributions(tmp_path, placeholders=True).items
    assert {video.name: video.placeholder for video in every} == {"v1": False, "placeholder": True}


@pytest.mark.parametrize("text", ["0.5\n0.4\n", "0.5\n-0.1\n0.6\n", "1\n", "0.5 0.5\n"])
def test_probabilities_that_are_none_are_a_fault(tmp_path: Path, text: str) -> None:
    write(dashlet(tmp_path) / "v2.txt", text)
    loaded = load_leave_distributions(tmp_path)
    assert [video.name for video in loaded.items] == ["v1"]
    assert loaded.faults[0].path.name == "v2.txt"


def test_images_are_dropped_and_replays_kept_above_one(tmp_path: Path) -> None:
    kuairand(tmp_path)
    (log,) = load_viewing_log(tmp_path).items
    assert log.images_dropped == 1 and log.rows == 2
    np.testing.assert_allclose(log.watch_ratio, [1.5, 0.25])
    np.testing.assert_array_equal(log.replayed, [True, False])
    np.testing.assert_array_equal(log.liked, [True, False])


def test_a_label_that_is_none_is_named(tmp_path: Path) -> None:
    path = kuairand(tmp_path) / "even_users.tsv"
    path.write_text(path.read_text().replace("8000\t0\n", "8000\t7\n"))
    (fault,) = load_viewing_log(tmp_path).faults
    assert (fault.line, fault.column) == (4, 5)
