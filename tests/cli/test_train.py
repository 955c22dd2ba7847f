"""`twinloop train` and `twinloop evaluate emulation` as a person meets them."""

import json
from pathlib import Path

import numpy as np
import pytest

from twinloop.cli.outputs import writable_folder, writable_json, writable_model
from twinloop.training import EmulatorSettings


@pytest.fixture
def table(tmp_path) -> Path:
    draw = np.random.default_rng(0)
    value = np.convolve(draw.normal(size=480), np.ones(4), mode="same")
    path = tmp_path / "mine.csv"
    path.write_text("t,x,c\n" + "".join(f"{k},{x:.4f},{k % 2}\n" for k, x in enumerate(value)))
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "norway_hsdp", "--data", "."), "did you mean norway_hsdpa?"),
        (("--dataset", "oboe"), "no folder of data sets given; expected --data DIR"),
        (("--dataset", "oboe", "--data", "."), "oboe: no such folder"),
        (("--dataset", "oboe", "--data", ".", "--time", "t"), "say nothing here; expected them with --dataset csv"),
        (("--dataset", "csv"), "expected --file FILE --time COLUMN --value COLUMN"),
        (("--dataset", "csv", "--file", "mine.csv", "--time", "t", "--value", "y"), "no column 'y'"),
        (("--dataset", "csv", "--file", "no.csv", "--time", "t", "--value", "x"), "no.csv: cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(twinloop, table, arguments, message) -> None:
    for command in (("train", "emulator", "--out", "m.safetensors"), ("evaluate", "emulation")):
        status, _, err = twinloop(*command, *arguments)
        assert status == 2 and err.count("\n") == 1 and message in err
    assert not (table.parent / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--horizons", "1,x"), "whole numbers from 1 to 1000"),
        (("--horizons", "0"), "whole numbers from 1 to 1000"),
        (("--horizons", "400"), "are needed for 400 steps"),
        (("--model", "cnn"), "expected one of gru, lstm, gru-mixture"),
        (("--out", "m.bin"), "ends in .safetensors"),
        (("--out", "mine.csv/m.safetensors"), "cannot be written (File exists)"),
        (("--out", "/proc/m.safetensors"), "cannot be written"),
        (("--out", "taken.safetensors"), "taken.json: cannot be written (Is a directory)"),
        (("--seed", "99999999999999999999"), "2147483647"),
    ],
)
def test_wrong_options_are_told_before_training(twinloop, table, arguments, message) -> None:
    own = ("--dataset", "csv", "--file", table, "--time", "t", "--value", "x")
    given = ("--out", "m.safetensors") if "--out" not in arguments else ()
    (table.parent / "taken.json").mkdir()
    status, _, err = twinloop("train", "emulator", *own, *given, *arguments)
    assert status == 2 and err.count("\n") == 1 and message in err


@pytest.mark.parametrize("command", ["mobility", "swipe", "emulation", "collection", "drift", "generation"])
def test_outputs_of_evaluations_are_tried_before_any_work(twinloop, tmp_path, command) -> None:
    (tmp_path / "file").write_text("kept")
    absent = ("--data", "absent", *(("--dataset", "oboe") if command == "emulation" else ()))
    for option, place in (("--json", "absent/x.json"), ("--json", "."), ("--out", "/proc/x"), ("--out", "file/x")):
        status, _, err = twinloop("evaluate", command, *absent, option, place)
        assert status == 2 and err.count("\n") == 1
        assert f"error: {place}: cannot be written" in err and f"give another {option}" in err
    status, _, err = twinloop("evaluate", command, *absent, "--seed", "99999999999999999999")
    assert status == 2 and err.count("\n") == 1 and "2147483647" in err


def test_trying_an_output_changes_nothing(tmp_path) -> None:
    (tmp_path / "kept.json").write_text("kept")
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere.json")
    for name in ("kept.json", "link.json", "new.json"):
        writable_json(tmp_path / name)
    writable_json(Path("/dev/null"))
    writable_folder(tmp_path / "a" / "b")
    writable_model(tmp_path / "c" / "d" / "m.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"kept.json", "link.json"}
    assert (tmp_path / "kept.json").read_text() == "kept" and (tmp_path / "link.json").is_symlink()


@pytest.mark.parametrize("command", ["viewers", "generator"])
def test_other_trainings_try_their_output_and_seed_first(twinloop, command) -> None:
    given = ("train", command, "--data", "absent")
    status, _, err = twinloop(*given, "--out", "/proc/m.safetensors")
    assert status == 2 and err.count("\n") == 1 and "/proc/m.safetensors: cannot be written" in err
    status, _, err = twinloop(*given, "--out", "m.safetensors", "--seed", "99999999999999999999")
    assert status == 2 and err.count("\n") == 1 and "2147483647" in err


def test_a_table_of_ones_own_is_trained_on_and_judged(twinloop, table, monkeypatch) -> None:
    tiny = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=10, batch=8)
    monkeypatch.setattr("twinloop.cli.training.train.settings_from", lambda models: tiny)
    monkeypatch.setattr("twinloop.cli.evaluate.settings_from", lambda models: tiny)
    own = ("--dataset", "csv", "--file", table, "--time", "t", "--value", "x", "--covariate", "c", "--horizons", "1,2")
    status, out, _ = twinloop("train", "emulator", *own, "--out", "m.safetensors")
    assert status == 0 and "wrote m.safetensors and m.json" in out
    card = json.loads((table.parent / "m.json").read_text())
    assert card["covariates"] == ["c"] and card["command"].startswith("twinloop train emulator --dataset csv")
    status, out, err = twinloop("evaluate", "emulation", *own, "--split", "2", "--json", "j.json", "--out", "figures")
    assert status == 0 and "default emulator" in out and "training 4 networks of kind gru" in err
    assert json.loads((table.parent / "j.json").read_text())["rows"][0]["model"] == "default emulator"
    assert len(list((table.parent / "figures").glob("*.png"))) == 3
