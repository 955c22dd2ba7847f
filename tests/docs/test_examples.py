"""Documents are true: their Python runs, their commands exist, their links lead somewhere.

A fenced block is marked after its language: `python slow` takes more than a few seconds (deselect: `-m "not slow"`),
`python data` needs the public data sets. The blocks of one document run in order, as one program.
"""

import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<language>\w*)(?P<marks>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(twinloop [^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]\n]*\]\((?!https?:|mailto:|#)([^)\s#]+)[^)\n]*\)")
MARKS = {"slow", "data"}
SHELLS = {"", "bash", "console", "sh", "shell", "text"}


Program = Callable[..., object]


def identify(path: Path) -> str:
    """`docs/channel.md`."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def program(text: str) -> str:
    """The Python of a document, every line where it stands in the document, so that a traceback names the right one."""
    lines = [""] * (text.count("\n") + 1)
    for block in FENCE.finditer(text):
        if block["language"] == "python":
            start = text[: block.start("body")].count("\n")
            body = block["body"].splitlines()
            lines[start : start + len(body)] = body
    return "\n".join(lines)


def marks(text: str) -> set[str]:
    """Marks of a document's Python blocks. Raises ValueError for an unknown one."""
    found = {mark for block in FENCE.finditer(text) if block["language"] == "python" for mark in block["marks"].split()}
    if found - MARKS:
        raise ValueError(f"unknown marks {sorted(found - MARKS)}; there are {sorted(MARKS)}")
    return found


def commands(text: str) -> Iterator[str]:
    """Every `twinloop ...` command of a document: those in blocks, and those named in the text, which ask for help."""
    for block in FENCE.finditer(text):
        if block["language"] in SHELLS:
            for line in block["body"].replace("\\\n", " ").splitlines():
                stripped = re.sub(r"^(\$ )?(\.venv/bin/)?(?=twinloop )", "", line.strip())
                if stripped.startswith("twinloop "):
                    yield re.split(r"\s[#>&]", stripped)[0]
    for named in INLINE.findall(FENCE.sub("", text)):
        yield f"{re.split(r' [|] ', named)[0]} --help"


def typed(command: str) -> list[str]:
    """Arguments of a command as one would type it: without the brackets, bars and dots of a usage line."""
    first = re.split(r"\s\|\s", command)[0]
    return [word for word in shlex.split(re.sub(r"[\[\]]", "", first))[1:] if word not in {"...", "…"}]


def refusal(program: Program, arguments: list[str]) -> str:
    """Why the command line would refuse `arguments`, empty where it would not. A file that is named need not exist."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            program(args=arguments, prog_name="twinloop")
    except SystemExit as end:
        if end.code not in (None, 0) and "does not exist" not in said.getvalue():
            return said.getvalue()
    return ""


def without_effect(app: typer.Typer, patch: pytest.MonkeyPatch) -> None:
    """Leaves every command of `app` its options and takes away what it does."""
    for command in app.registered_commands:
        assert command.callback is not None
        patch.setattr(command, "callback", functools.wraps(command.callback)(lambda **_: None))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        without_effect(group.typer_instance, patch)


def documented() -> list[object]:
    """Each document with Python, with its marks."""
    found: list[object] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        if program(text).strip():
            needed = marks(text)
            found.append(
                pytest.param(path, id=identify(path), marks=[getattr(pytest.mark, mark) for mark in sorted(needed)])
            )
    return found


@pytest.mark.parametrize("path", documented())
def test_python_of_documents_runs(path, tmp_path, request):
    text = path.read_text(encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg"}
    if "data" in marks(text):
        environment["TWINLOOP_DATA"] = str(request.getfixturevalue("data_dir"))
    script = tmp_path / path.with_suffix(".py").name
    script.write_text(program(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{identify(path)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


@pytest.fixture(scope="module")
def twinloop() -> Program:
    """The whole command line, with commands that read their options and do nothing."""
    from twinloop.cli.root import app

    with pytest.MonkeyPatch.context() as patch:
        without_effect(app, patch)
        return typer.main.get_command(app).main


@pytest.mark.parametrize("path", DOCUMENTS, ids=identify)
def test_commands_of_documents_exist(path, twinloop):
    refused = {
        command: why
        for command in commands(path.read_text(encoding="utf-8"))
        if (why := refusal(twinloop, typed(command)))
    }
    assert not refused


@pytest.mark.parametrize("path", DOCUMENTS, ids=identify)
def test_links_of_documents_lead_somewhere(path):
    targets = LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    assert not [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize("line", ["twinloop fly campus", "twinloop run campus --sed 1", "twinloop scenario shew"])
def test_a_command_that_does_not_exist_is_caught(line, twinloop):
    found = list(commands(f"text\n\n```console\n$ {line}  # remark\n```\nand `{line}`"))
    assert [command.strip() for command in found] == [line, f"{line} --help"]
    assert all("No such" in refusal(twinloop, typed(command)) for command in found)


def test_a_command_that_lacks_its_argument_is_caught(twinloop):
    assert refusal(twinloop, typed("twinloop run"))
    assert refusal(twinloop, typed("twinloop run campus city"))
    assert not refusal(twinloop, typed("twinloop run campus --seed 3"))


def test_a_usage_line_is_read_as_typed():
    assert typed("twinloop run SCENARIO [--seed N] ...") == ["run", "SCENARIO", "--seed", "N"]
    assert typed("twinloop data list | check PATH") == ["data", "list"]


def test_python_keeps_its_lines_and_marks():
    text = "one\n\n```python slow\nx = 1\n```\n\n```text\nnot code\n```\n\n```python\ny = x + 1\n```\n"
    assert program(text).splitlines()[3] == "x = 1"
    assert program(text).splitlines()[11] == "y = x + 1"
    assert "not code" not in program(text)
    assert marks(text) == {"slow"}
    with pytest.raises(ValueError, match="unknown marks"):
        marks("```python skip\nx\n```\n")
