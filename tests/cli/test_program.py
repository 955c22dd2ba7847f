"""The program as a person meets it: help worth reading, one line for a mistake, results where they were asked for."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from twinloop import scenario
from twinloop.cli import main

CAMPUS = scenario.source_text("campus")
COMMANDS = (
    *("run", "compare", "doctor", "scenario", "scenario list", "scenario show", "scenario schema"),
    *("scenario validate", "scenario copy", "data", "data list", "data check", "data get", "data fit"),
    *("evaluate", "evaluate mobility", "evaluate swipe", "evaluate emulation", "evaluate generation"),
    *("evaluate collection", "evaluate drift", "train", "train emulator", "train viewers", "train generator"),
)


@dataclass(frozen=True)
class Ended:
    """How the program ended, and what it said."""

    status: object
    out: str
    err: str


@pytest.fixture
def twinloop(monkeypatch, capsys, tmp_path):
    """Calls the program's entry point in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("TWINLOOP_DATA", raising=False)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["twinloop", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(ended.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def tiny_file(tiny, tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(scenario.dump(tiny))
    return path


def started(*arguments: object, **environment: str) -> subprocess.Popen:
    """The installed program as a process of its own, which hears Ctrl-C even where the tests run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cache = Path(__file__).parents[2] / ".cache" / "jax"
    surrounding = {**os.environ, "COLUMNS": "200", "TWINLOOP_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [Path(sys.executable).parent / "twinloop", *map(str, arguments)],
        env=surrounding | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def words(text: str) -> str:
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_and_each_option_does(command, twinloop):
    ended = twinloop(*command.split(), "--help")
    assert ended.status == 0
    assert f"Usage: twinloop {command}" in words(ended.out)
    about = re.split(r"Options|Arguments|Commands", words(ended.out).partition(command)[2])
    assert sum(len(part.split()) for part in about) > 12
    bare = [line for line in ended.out.splitlines() if re.fullmatch(r"│ \*?\s*--?[a-z-]+(\s+<?[A-Za-z]+>?)?\s*│", line)]
    assert not bare


def test_the_program_alone_shows_its_help(twinloop):
    for arguments in ((), ("scenario",), ("data",), ("evaluate",)):
        ended = twinloop(*arguments)
        assert ended.status == 2
        assert "Usage: twinloop" in words(ended.out) and not ended.err


def test_scenarios_are_listed_shown_checked_and_copied(twinloop, tmp_path):
    listed = words(twinloop("scenario", "list").out)
    for row in ("campus 2 60 30 min embedded", "city 19 2,000", "campus-real", "replay-5g 1 12 15 min needed"):
        assert row in listed
    assert twinloop("scenario", "show", "campus").out == CAMPUS
    assert "2 cells, 1 servers, 3 slices, 60 users" in twinloop("scenario", "validate", "campus").out
    copied = twinloop("scenario", "copy", "campus", "own.yaml")
    assert copied.status == 0 and "twinloop run own.yaml" in words(copied.out)
    assert (tmp_path / "own.yaml").read_text() == CAMPUS
    assert "campus: valid" in twinloop("scenario", "validate", "own.yaml").out
    assert json.loads(twinloop("scenario", "schema").out)["title"] == "Scenario"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run campuss", "no scenario 'campuss'; did you mean 'campus'?"),
        ("run campus --duration soon", "--duration: 'soon' is not a duration; write for example 90s, 30min or 1.5h"),
        ("run campus --duration 0s", "--duration: '0s' is not a duration above zero"),
        ("run campus --duration 99999h", "--duration: '99999h' is longer than 4,660h"),
        ("run campus --policy convex", "neither agents nor of the form reservation+allocation, such as convex+utility"),
        ("run campus --policy convx+utility", "did you mean 'convex'?"),
        ("run campus --seed -1", "'--seed': Input should be greater than or equal to 0; see: twinloop run --help"),
        ("run campus --seed 4294967296", "'--seed'"),
        ("run campus --seed one", "'--seed'"),
        ("run campus --sed 1", "No such option: --sed"),
        ("run", "Missing argument 'SCENARIO'; see: twinloop run --help"),
        ("run campus --data nowhere", "--data nowhere is not a directory; twinloop data list tells"),
        ("run campus-real", "campus-real reads public data sets: give their folder with --data DIR"),
        ("run campus --resume", "--resume needs the directory of the interrupted run: give --out DIR"),
        ("run campus --resume --out new", "new holds no interrupted run to resume; start one without --resume"),
        ("compare campus --seeds 1", "'--seeds'"),
        ("compare campus --policies ,", "name at least one policy"),
        ("compare campus --policies equal+best", "no allocation policy 'best'"),
        ("scenario copy campus no/where.yaml", "no/where.yaml cannot be written"),
        ("scenario shwo campus", "No such command 'shwo'"),
        ("data get dashlet", "dashlet: no such data set; expected dashlet_turk"),
        ("data check nowhere", "nowhere: no such folder"),
        ("evaluate swipe", "Missing option '--data'"),
        ("fly", "No such command 'fly'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, said, twinloop, tmp_path):
    ended = twinloop(*arguments.split())
    assert ended.status == 2
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert said in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bandwidth_hz: 10.0e+6", "bandwith_hz: 1", "network.cells[0].bandwith_hz: unknown field; did you mean 'band"),
        ("bandwidth_hz: 10.0e+6", "bandwidth_hz: -1", "network.cells[0].bandwidth_hz: must be greater than 0, not -1"),
        ("count: 16", "count: 0", "users[0].count: must be greater than or equal to 1, not 0"),
        ("count: 16", "count: 9_000_000", "9,000,044 users under 2 cells need about"),
        ("slices:", "slices: [", "not YAML"),
        ("duration: 30min", "events: [{at: 60, change: create, slice: gold}]", "an event names slice 'gold'"),
    ],
)
def test_a_spoiled_scenario_is_one_line_and_leaves_nothing(old, new, said, twinloop, tmp_path):
    (tmp_path / "own.yaml").write_text(CAMPUS.replace(old, new, 1))
    ended = twinloop("run", "own.yaml", "--out", "out")
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize("name", ["campus-real", "replay-5g"])
def test_a_folder_that_lacks_the_sets_is_one_line(name, twinloop, tmp_path):
    (tmp_path / "sets" / "oboe").mkdir(parents=True)
    ended = twinloop("run", name, "--data", "sets", "--out", "out")
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended.err
    assert "sets/" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["nan", "oops", "inf"])
def test_a_wrong_value_in_a_trace_is_named_with_its_line(value, twinloop, tmp_path):
    trace = tmp_path / "sets" / "oboe" / "oboe_trace_1.txt"
    trace.parent.mkdir(parents=True)
    trace.write_text(f"0 1200.5\n1 {value}\n2 900\n")
    ended = twinloop("data", "check", "sets")
    assert ended.status == 2
    assert f"{Path('sets/oboe/oboe_trace_1.txt')}, line 2" in ended.err
    assert "Traceback" not in ended.err


def test_a_run_writes_its_directory_and_a_second_one_is_refused(twinloop, tiny_file, tiny_run, programs, tmp_path):
    ended = twinloop("run", tiny_file, "--out", "out")
    assert ended.status == 0, ended.err
    assert "12 users, 2 cells -> out" in ended.out and "60/120 slots" in ended.out and "120/120 slots" in ended.out
    assert "report: out/report.html" in ended.out
    for said in ("satisfaction", "rebuffer ratio", "twin fidelity", "collected", "decisions"):
        assert said in ended.out
    saved = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert saved["satisfaction"] == tiny_run.summary["satisfaction"]
    assert json.loads((tmp_path / "out" / "command.json").read_text())["command"].endswith("tiny.yaml --out out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = twinloop("run", tiny_file, "--out", "out")
    assert again.status == 2
    assert "error: out is not empty; choose another --out" in again.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_an_output_that_cannot_be_written_is_one_line(twinloop, tiny_file, programs, tmp_path):
    (tmp_path / "file").write_text("precious")
    ended = twinloop("run", tiny_file, "--out", "file/out")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "file/out cannot be written (Not a directory); choose another with --out" in ended.err
    assert (tmp_path / "file").read_text() == "precious"


def test_ctrl_c_saves_and_resume_goes_on_without_repeating_options(twinloop, tiny_file, programs, tmp_path):
    arguments = ("--duration", "1h", "--seed", "5", "--out", "half way")
    with started("run", tiny_file, *arguments) as process:
        lines = iter(process.stdout.readline, "")
        assert any("/3600 slots" in line for line in lines), process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped after" in out and "of 3600 slots; what was lived is saved" in out
    assert "Traceback" not in err
    advice = next(line for line in out.splitlines() if line.startswith("go on with: "))
    target = tmp_path / "half way"
    partial = json.loads((target / "summary.json").read_text())
    assert partial["interrupted"] and 0 < partial["slots"] < 3600
    assert advice == f"go on with: twinloop run {tiny_file} --out 'half way' --resume"
    ended = twinloop("run", tiny_file, "--out", "half way", "--resume")
    assert ended.status == 0, ended.err
    whole = json.loads((target / "summary.json").read_text())
    assert (whole["slots"], whole["seed"], whole["interrupted"]) == (3600, 5, False)
    assert not (target / "progress.json").exists()


def test_ctrl_c_before_the_first_results_leaves_nothing(tiny_file, tmp_path):
    with started("run", tiny_file, "--out", tmp_path / "out") as process:
        assert "12 users, 2 cells" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "stopped at once; nothing was saved\n"
    assert not (tmp_path / "out").exists()


def test_a_changed_scenario_does_not_resume(twinloop, tiny_file, tiny, programs, tmp_path):
    from twinloop import runs

    def press(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)

    assert runs.run(tiny, out=tmp_path / "half", progress=press).interrupted
    tiny_file.write_text(tiny_file.read_text().replace("bandwidth_hz: 10000000.0", "bandwidth_hz: 20000000.0", 1))
    ended = twinloop("run", tiny_file, "--out", "half", "--resume")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "half holds a run of another scenario (tiny)" in ended.err


@pytest.fixture
def broken_jax(tmp_path) -> str:
    """A search path on which jax cannot be imported."""
    folder = tmp_path / "broken"
    (folder / "jax").mkdir(parents=True)
    (folder / "jax" / "__init__.py").write_text("raise RuntimeError('jaxlib is newer than jax')\n")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("doctor",), 1, "jaxlib is newer than jax"),
        (
            ("run", "campus"),
            2,
            "error: a part of twinloop cannot be loaded (jaxlib is newer than jax); twinloop doctor",
        ),
        (("--help",), 0, "Usage: twinloop"),
        (("run", "--help"), 0, "Usage: twinloop run"),
        (("data", "list"), 0, "kaist_walks"),
    ],
)
def test_a_broken_jax_is_told_and_stops_only_what_needs_it(arguments, status, said, broken_jax):
    with started(*arguments, PYTHONPATH=broken_jax) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert said in out + err
    assert "Traceback" not in out + err


def test_help_and_doctor_load_nothing_heavy():
    program = "import sys, twinloop.cli; print(*{'jax', 'numpy', 'pydantic', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"pydantic"}
