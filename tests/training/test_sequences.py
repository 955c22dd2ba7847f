from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.training import SEQUENCE_SETS, load_sequences, read_own_table, samples_of


def written(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def table(
    rows: int, value: Callable[[int], object] = lambda k: k % 7, time: Callable[[int], object] = lambda k: k
) -> str:
    return "t,x,c\n" + "".join(f"{time(k)},{value(k)},{k % 3}\n" for k in range(rows))


def test_own_tables_become_blocks_of_time_on_the_median_step(tmp_path: Path) -> None:
    text = table(400, lambda k: "" if k == 5 else k % 7, lambda k: 0.5 * k + (k > 300) * 2.0)
    source = read_own_table([written(tmp_path, text)], "t", "x", ["c"])
    assert source.step_s == 0.5 and source.in_blocks and len(source.files) == 8
    assert source.covariates == ("c",) and source.attribute == "x"
    first = source.sequences[0]
    assert np.isnan(first.value[5]) and first.value[6] == 6 and first.covariates[5, 0] == 2
    scored = sum(int(sequence.scored.sum()) for sequence in source.sequences)
    assert scored == 404, "every step of the grid, the four of the gap included, is scored once"
    later = source.sequences[3]
    assert not later.scored[:30].any() and later.scored[30:].all()


def test_several_own_tables_stay_whole_and_times_may_be_dates(tmp_path: Path) -> None:
    dated = table(40, time=lambda k: f"2026-01-0{1 + k // 24}T{k % 24:02d}:00:00")
    source = read_own_table([written(tmp_path, dated, f"{n}.csv") for n in range(4)], "t", "x")
    assert source.step_s == 3600 and source.files == ("0", "1", "2", "3") and not source.in_blocks


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (table(60, lambda k: "high" if k == 3 else k), ("t", "x"), r"mine.csv, line 5: x is 'high'; expected a number"),
        (table(60, lambda k: "inf" if k == 3 else k), ("t", "x"), r"line 5: x is 'inf'; expected a finite number"),
        (table(60, lambda _: ""), ("t", "x"), r"column 'x' holds no number at all"),
        (table(60, lambda _: 3.0), ("t", "x"), r"column 'x' is constant \(3\)"),
        (table(60), ("t", "xx"), r"no column 'xx'; expected did you mean x\?"),
        (table(60), ("tt", "x"), r"no column 'tt'"),
        (table(60, time=lambda k: 60 - k), ("t", "x"), r"line 3: t 59 follows 60; expected rows in order of time"),
        (table(60, time=lambda _: 1), ("t", "x"), r"t does not advance"),
        (table(60, time=lambda k: "noon" if k == 1 else k), ("t", "x"), r"line 3: t is 'noon'; expected seconds, or"),
        (table(60, time=lambda k: k if k < 59 else 1e9), ("t", "x"), r"rows in most of the steps"),
        ("t,x\n1,2\n3\n", ("t", "x"), r"line 3: 1 columns; expected 2"),
        ("t,x\n", ("t", "x"), r"no row below the header"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, asked: tuple[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_own_table([written(tmp_path, text)], *asked)


def test_empty_covariates_and_absent_files_are_named(tmp_path: Path) -> None:
    text = "t,x,c\n" + "".join(f"{k},{k % 5},\n" for k in range(60))
    with pytest.raises(DataError, match=r"column 'c' holds no number at all; expected .*leave this one out"):
        read_own_table([written(tmp_path, text)], "t", "x", ["c"])
    with pytest.raises(DataError, match=r"absent.csv: cannot be read"):
        read_own_table([tmp_path / "absent.csv"], "t", "x")


def test_traces_that_are_too_short_say_how_long_they_must_be(tmp_path: Path) -> None:
    source = read_own_table([written(tmp_path, table(100))], "t", "x")
    with pytest.raises(DataError, match=r"has 1[23] reports; at least 20 are needed for 10 steps"):
        samples_of(source, (1, 10))


def noise(rows: int = 400) -> np.ndarray:
    return np.random.default_rng(0).random(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: 1e20 * x,
            r"csv: x reaches 9.97e\+19 in mine block \d; expected numbers up to 1e\+15 in size; rescale",
        ),
        (lambda x: 1e300 * x, r"csv: x reaches 9.97e\+299 in mine block"),
        (lambda x: 1e-25 * x, r"csv: x differs by 2.9e-26 only; expected differences above 1e-18; rescale"),
        (
            lambda x: 1e9 + x,
            r"csv: x changes by about 0.2\d in numbers of size 1e\+09 .*subtract an offset such as 1e\+09",
        ),
    ],
)
@pytest.mark.parametrize("asked", [("x",), ("y", ["x"])])
def test_numbers_that_32_bits_cannot_hold_are_refused(tmp_path: Path, asked: tuple, change, message: str) -> None:
    x = change(noise())
    text = "t,x,y\n" + "".join(f"{k},{x[k]:.17g},{k % 7}\n" for k in range(400))
    if len(asked) > 1:
        message = message.replace("1e-18", "1e-06")
    with pytest.raises(DataError, match=message):
        samples_of(read_own_table([written(tmp_path, text)], "t", *asked), (1,))


def test_large_numbers_that_differ_enough_and_constant_covariates_are_taken(tmp_path: Path) -> None:
    x = 1e5 + 1e3 * noise()
    text = "t,x,c\n" + "".join(f"{k},{x[k]:.17g},0.1\n" for k in range(400))
    samples = samples_of(read_own_table([written(tmp_path, text)], "t", "x", ["c"]), (1,))
    assert len(samples.files) == 8 and samples.told_left_out is None


def test_what_is_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    x = np.where(np.arange(800) < 400, 3.0, noise(800))
    text = "t,x\n" + "".join(f"{k},{x[k]:.17g}\n" for k in range(800))
    samples = samples_of(read_own_table([written(tmp_path, text)], "t", "x"), (1,))
    assert samples.files == tuple(f"mine block {k}" for k in range(5, 9))
    told = ", ".join(f"mine block {k} is constant (3)" for k in range(1, 5))
    assert samples.told_left_out == f"4 of 8 blocks of time left out: {told}"


def test_an_unknown_set_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such data set; expected did you mean irish5g\?"):
        load_sequences("irish5", tmp_path)
    with pytest.raises(DataError, match=r"one of irish5g, norway_hsdpa"):
        load_sequences("zzz", tmp_path)


def test_truths_are_reports_and_never_held_values(tmp_path: Path) -> None:
    text = table(400, lambda k: "" if k % 4 == 3 else k)
    samples = samples_of(read_own_table([written(tmp_path, text)], "t", "x"), (1, 2))
    counted = samples.truth[..., 0][samples.valid[..., 0]]
    assert len(counted) and not (counted % 4 == 3).any()
    entity, step = np.argwhere(samples.valid[..., 1])[0]
    assert samples.truth[entity, step, 1] == samples.value[entity, step + 2]
    assert samples.measured[entity, : step + 1].sum() >= 8


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(SEQUENCE_SETS))
def test_every_named_set_becomes_sequences(data_dir: Path, name: str) -> None:
    source = load_sequences(name, data_dir)
    values = np.concatenate([sequence.value[sequence.scored] for sequence in source.sequences])
    known = values[np.isfinite(values)]
    assert len(source.files) >= 10 and known.min() >= source.low and known.max() <= source.high
    for sequence in source.sequences:
        assert sequence.covariates.shape == (len(sequence.value), len(source.covariates))


@pytest.mark.data
def test_the_traps_of_the_sets_are_met(data_dir: Path) -> None:
    irish = load_sequences("irish5g", data_dir)
    assert len(irish.files) == 11, "bulk downloads only"
    first = irish.sequences[0]
    assert 0.05 < np.isnan(first.value).mean() < 0.2, "gaps stay gaps"
    assert np.nanmax(first.value) > 2e7 and np.nanmin(first.covariates[:, 0]) > -200
    sutd = load_sequences("sutd5g", data_dir)
    assert 1e8 < np.nanmean(np.concatenate([s.value for s in sutd.sequences])) < 4e8, "bit/s already"
    scored = np.concatenate([s.value[s.scored] for s in sutd.sequences])
    assert np.mean(np.diff(scored[np.isfinite(scored)]) == 0) < 0.02, "held rates are no reports"
    kaist = load_sequences("kaist_walks", data_dir)
    fastest = max(np.abs(np.diff(s.value)).max() for s in kaist.sequences)
    assert fastest <= 40 * 30 + 1e-6, "jumps are cut"
    cells = load_sequences("lte_cell_hourly", data_dir)
    assert np.isnan(np.concatenate([s.value[s.scored] for s in cells.sequences])).sum() == 55, "hours missing"
    idle = load_sequences("tractor_oran", data_dir)
    assert len(idle.sequences) > len(idle.files) == 16, "parted where the user idled"
