"""A run directory holds one run at a time and nothing half-written; a machine that is too small is told beforehand."""

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from twinloop import runs, scenario
from twinloop.errors import OutputError, ResourceError
from twinloop.runs.resources import available_bytes, check, needed_bytes
from twinloop.runs.results import directory as files


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_next_free_directory_is_found(tmp_path):
    assert runs.free_directory(tmp_path, "campus") == tmp_path / "campus-1"
    (tmp_path / "campus-1").mkdir()
    (tmp_path / "campus-2").write_text("")
    assert runs.free_directory(tmp_path, "campus") == tmp_path / "campus-3"


def test_a_directory_that_cannot_be_made_is_told_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("precious")
    for target in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match=r"cannot be written .*choose another with --out"):
            files.prepare(target, resume=False)
    with pytest.raises(OutputError, match="no interrupted run"):
        files.prepare(tmp_path / "new", resume=True)
    assert everything(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        files.prepare(tmp_path / "closed" / "run", resume=False)


def test_a_directory_that_holds_anything_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="is not empty"):
        files.prepare(tmp_path, resume=False)
    assert everything(tmp_path) == ["thesis.tex"]


def test_two_runs_at_once_do_not_share_a_directory(tiny, tmp_path):
    target = tmp_path / "run"
    files.prepare(target, resume=False)
    with files.locked(target):
        with pytest.raises(OutputError, match=rf"another run \(process {os.getpid()}\) writes into"):
            files.prepare(target, resume=False)
        with pytest.raises(OutputError, match="another run"), files.locked(target):
            pytest.fail("the lock was given twice")
        assert everything(target) == ["run.lock"]


@pytest.mark.parametrize("content", ["dead", "", "not a number", "-1", "9" * 40])
def test_a_lock_without_a_living_holder_is_taken_over(content, tmp_path):
    if content == "dead":
        with subprocess.Popen([sys.executable, "-c", ""]) as done:
            content = str(done.pid)
    (tmp_path / "run.lock").write_text(content)
    files.prepare(tmp_path, resume=False)
    with files.locked(tmp_path):
        assert (tmp_path / "run.lock").read_text() == str(os.getpid())
        (tmp_path / "summary.json").write_text("{}")
    assert everything(tmp_path) == ["summary.json"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(fault, tmp_path):
    target = tmp_path / "run"
    files.prepare(target, resume=False)
    with pytest.raises(fault), files.locked(target):
        (target / "scenario.yaml").write_text("name: x")
        files.write_json(target / "command.json", {})
        (target / "parts" / "users").mkdir(parents=True)
        raise fault
    assert everything(tmp_path) == []


def test_what_a_person_put_there_survives_a_failed_run(tmp_path):
    with pytest.raises(RuntimeError), files.locked(tmp_path):
        (tmp_path / "notes.txt").write_text("precious")
        raise RuntimeError
    assert everything(tmp_path) == ["notes.txt"]


def test_a_checkpoint_survives_a_failure(tmp_path):
    with pytest.raises(RuntimeError), files.locked(tmp_path):
        (tmp_path / "scenario.yaml").write_text("name: x")
        files.write_json(tmp_path / "progress.json", {"next_slot": 60})
        raise RuntimeError
    assert everything(tmp_path) == ["progress.json", "scenario.yaml"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path):
    told = pytest.raises(OutputError, match=r"writing failed \(No space left on device\); make room")
    with told, files.locked(tmp_path), Path("/dev/full").open("w") as disk:
        disk.write("x")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "summary.json"
    files.write_json(path, {"satisfaction": 0.5})
    with pytest.raises(OutputError, match="a figure is not finite"):
        files.write_json(path, {"satisfaction": math.nan})
    assert json.loads(path.read_text()) == {"satisfaction": 0.5}
    assert everything(tmp_path) == ["summary.json"]


def crowd(count: int):
    """The campus with `count` users in each of its three populations."""
    campus = scenario.load("campus")
    return campus.model_copy(update={"users": [entry.model_copy(update={"count": count}) for entry in campus.users]})


@pytest.fixture
def small_machine():
    """A limit on this process as on a machine with 4 GiB, or 1 GiB above what the process holds now."""
    kind = resource.RLIMIT_AS
    soft, hard = resource.getrlimit(kind)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(kind, (max(4 * 2**30, held + 2**30), hard))
    yield
    resource.setrlimit(kind, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what the process holds from /proc")
def test_a_limit_on_memory_is_heeded(small_machine):
    assert available_bytes() <= resource.getrlimit(resource.RLIMIT_AS)[0]


def test_memory_there_is_is_what_the_system_tells():
    told = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")]
    assert 0 < available_bytes() <= float(told[0].split()[1]) * 1024


def test_needed_memory_grows_with_people_history_and_samples():
    campus = crowd(20)
    few, many = needed_bytes(campus, 60), needed_bytes(crowd(333_334), 60)
    assert few < 2 * 2**30
    assert 8 * 2**30 < many < 200 * 2**30
    longer = campus.twin.model_copy(update={"history": 160})
    assert needed_bytes(campus.model_copy(update={"twin": longer}), 60) > few
    judge = campus.twin.judge.model_copy(update={"samples": 64})
    assert needed_bytes(campus.model_copy(update={"twin": campus.twin.model_copy(update={"judge": judge})}), 60) > few


def test_too_many_people_are_refused_before_anything_is_written(tmp_path):
    huge = crowd(3_000_000)
    with pytest.raises(ResourceError) as caught:
        runs.run(huge, out=tmp_path / "run")
    text = str(caught.value)
    assert "9,000,000 users under 2 cells need about" in text
    assert "GiB of memory and" in text and "lower the number of users" in text and "\n" not in text
    assert everything(tmp_path) == []
    check(crowd(20), 60)
