"""LAW 1 and LAW 2, and the fences: import-linter's contracts of pyproject.toml hold, and each is seen to break."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

PLANTS = {
    "The loop: a stage imports only upstream": ("entities/planted.py", "from twinloop.slicing import SliceTable"),
    "The twin never sees the truth: only collection reads the network, only enforcement writes it": (
        "twins/planted.py",
        "def peek() -> object:\n    from twinloop.network import Simulated\n    return Simulated",
    ),
    "cvxpy and its solvers live in decision alone": ("emulation/planted.py", "import cvxpy"),
    "Figures and pages are made in reporting alone": ("runs/planted.py", "from matplotlib import pyplot"),
    "Input is validated by pydantic in scenario and service alone": ("entities/forms.py", "import pydantic"),
    "YAML is read in scenario alone": ("cli/planted.py", "import yaml"),
    "Gymnasium and PettingZoo are doors of envs alone": ("simulator/planted.py", "from gymnasium.spaces import Box"),
    "The web lives in service alone": ("runs/web.py", "import fastapi"),
    "SQL lives in storage alone": ("runs/rows.py", "import sqlite3"),
    "The terminal is spoken to by cli alone": ("scenario/planted.py", "import typer"),
}


def lint(config: Path, source: Path) -> tuple[int, str]:
    """Exit status and words of import-linter over the package in `source`, under the contracts in `config`."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache", "--no-logo"],
        cwd=source.parent,
        env={**os.environ, "PYTHONPATH": str(source.parent), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def contracts(config: Path) -> set[str]:
    """Names of the contracts."""
    with config.open("rb") as file:
        return {contract["name"] for contract in tomllib.load(file)["tool"]["importlinter"]["contracts"]}


def test_contracts_hold(root, package):
    status, words = lint(root / "pyproject.toml", package.source)
    assert status == 0, words
    assert "0 broken" in words


def test_every_contract_breaks_when_it_is_violated(root, spoiled):
    config = root / "pyproject.toml"
    assert contracts(config) == set(PLANTS), "plant a violation of every contract"
    spoiled.plant("network/planted.py", "")
    for relative, text in PLANTS.values():
        spoiled.plant(relative, text)
    status, words = lint(config, spoiled.source)
    assert status == 1, words
    for name in PLANTS:
        assert f"{name} BROKEN" in words, words


def test_undeclared_packages_break_the_build(root, spoiled):
    names = ("utils", "core", "common")
    for name in names:
        spoiled.plant(f"{name}/__init__.py", '"""Planted."""')
    _, words = lint(root / "pyproject.toml", spoiled.source)
    assert "The loop: a stage imports only upstream BROKEN" in words, words
    assert all(f"- {name}" in words or f"twinloop.{name}" in words for name in names), words


def test_a_home_may_use_what_is_fenced(root, spoiled):
    spoiled.plant("decision/planted.py", "import cvxpy")
    spoiled.plant("reporting/planted.py", "import jinja2\nfrom matplotlib import figure")
    spoiled.plant("scenario/planted.py", "import pydantic\nimport yaml")
    _, words = lint(root / "pyproject.toml", spoiled.source)
    assert "planted" not in words, words
