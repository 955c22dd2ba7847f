"""Committed files hold nothing of one machine: no home folders, no package-index addresses; pins are name==version."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

MACHINE = re.compile(r"(?<![\w.~/-])/(?:home|Users)/\w|(?<![\w./-])/(?:root|work)/|[A-Z]:\\Users\\")
INDEX = re.compile(
    r"https?://[^\s\"']*/simple\b|pypi\.(?:org|python)|pythonhosted"
    r"|--(?:extra-)?index-url|--find-links|\"resolved\":|@ file:"
)
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+]+")
REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
HERE = Path(__file__).name


def committed(root: Path) -> list[Path]:
    """Files that git tracks or would add; where there is no git, none."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def text_faults(path: Path) -> Iterator[str]:
    """Lines of a text file that only make sense on one machine."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    for number, line in enumerate(lines, 1):
        for pattern in (MACHINE, INDEX):
            if pattern.search(line):
                yield f"{path.name}:{number}: {line.strip()[:100]}"


def pin_faults(text: str) -> list[str]:
    """Lines of a constraints file that are neither a pin nor a comment."""
    return [line for line in text.splitlines() if line and not line.startswith("#") and not PIN.fullmatch(line)]


def pinned(text: str) -> set[str]:
    """Normalised names of what is pinned."""
    return {normal(line.partition("==")[0]) for line in text.splitlines() if "==" in line}


def normal(name: str) -> str:
    """A distribution's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_committed_files_know_no_machine(root):
    files = [path for path in committed(root) if path.name != HERE]
    assert files or not (root / ".git").exists()
    assert not [fault for path in files for fault in text_faults(path)]


def test_names_of_test_files_are_unique(root):
    names = [path.name for path in committed(root) if path.is_relative_to(root / "tests") and path.match("test_*.py")]
    assert names, "no test file was found"
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_constraints_pin_everything_that_is_asked_for(root):
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    assert not pin_faults(text)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["dev"], *extras["reference"], *extras["bench"], "hatchling", "editables"]
    names = {normal(REQUIREMENT.match(line)[0]) for line in asked} - {"twinloop"}
    assert not names - pinned(text)


@pytest.mark.parametrize(
    "line",
    [
        "data = '/home/someone/data'",
        "run /work/main/x.py",
        "cd /root/code",
        "pip install --index-url https://example.net/simple jax",
        "see https://pypi.org/project/jax",
        '"resolved": "https://example.net/a.tgz"',
        "jax @ file:///wheels/jax.whl",
    ],
)
def test_a_line_of_one_machine_is_caught(line, tmp_path):
    planted = tmp_path / "planted.md"
    planted.write_text(f"fine\n{line}\n", encoding="utf-8")
    assert len(list(text_faults(planted))) == 1


@pytest.mark.parametrize(
    "line", ["GET {root}/nnwdaf/home", "network/work/x", "docs/home/page", "a simple thing", "~/home"]
)
def test_an_innocent_line_is_not_caught(line, tmp_path):
    planted = tmp_path / "planted.md"
    planted.write_text(line, encoding="utf-8")
    assert not list(text_faults(planted))


@pytest.mark.parametrize("line", ["-e .", "jax>=0.7", "jax @ https://example.net/jax.whl", "--no-index", "jax"])
def test_a_line_that_pins_nothing_is_caught(line):
    assert pin_faults(f"# comment\nnumpy==2.0\n{line}") == [line]
