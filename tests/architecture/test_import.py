"""LAW 5: `import twinloop` does nothing, and no module of ours does anything on import that a person could notice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = """
import logging, os, sys, threading, warnings

written = []
warnings.simplefilter("error")


def watch(event, arguments):
    if "__pycache__" in str(arguments[:1]):
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(str(arguments[0]))
    elif event in {"os.mkdir", "socket.connect", "subprocess.Popen"}:
        written.append(f"{event} {arguments[0]}")


before = {name: logger for name, logger in logging.root.manager.loggerDict.items()}
environment = dict(os.environ)
sys.addaudithook(watch)
"""

QUIET = (
    WATCHED
    + """
import twinloop

heavy = {"jax", "jaxlib", "numpy", "gymnasium", "matplotlib"}
loaded = sorted({name.partition(".")[0] for name in sys.modules} & heavy)
faults = [f"loads {name}" for name in loaded] + [f"writes {path}" for path in written]
faults += ["adds a log handler"] if logging.root.handlers else []
faults += ["sets a log level"] if set(logging.root.manager.loggerDict) - set(before) else []
faults += ["starts a thread"] if threading.active_count() > 1 else []
faults += ["changes the environment"] if dict(os.environ) != environment else []
print("\\n".join(faults), end="")
"""
)

EVERY = (
    """
import importlib, logging, pathlib, sys, threading, warnings
import equinox, gymnasium, jax, jaxtyping, matplotlib.figure, numpy
import nicegui, pettingzoo, pooch, pyarrow.parquet, pydantic, rich, typer
from jax._src import xla_bridge

threads = threading.active_count()
handlers = list(logging.root.handlers)
"""
    + WATCHED
    + """
import twinloop

faults = []
root = pathlib.Path(twinloop.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root.parent).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    if name.endswith("__main__") or not name.startswith(sys.argv[1]):
        continue
    module = importlib.import_module(name)
    faults += [f"{name} lacks {offered}" for offered in getattr(module, "__all__", ()) if not hasattr(module, offered)]

faults += ["starts a device"] if xla_bridge.backends_are_initialized() else []
faults += [f"writes {path}" for path in written]
faults += ["adds a log handler"] if logging.root.handlers != handlers else []
faults += ["starts a thread"] if threading.active_count() > threads else []
print("\\n".join(faults), end="")
"""
)


def words_of(program: str, source: Path, folder: Path, modules: str = "twinloop") -> str:
    """What the program prints, to either stream, run in `folder` with the package in `source` on its path.

    `modules` is the beginning of the names of the modules to import.
    """
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, modules],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source.parent), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_importing_twinloop_does_nothing(package, tmp_path):
    assert words_of(QUIET, package.source, tmp_path) == ""
    assert not list(tmp_path.iterdir())


def test_importing_any_module_is_silent_and_its_exports_exist(package, tmp_path):
    assert words_of(EVERY, package.source, tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("print('hello')", "hello"),
        ("import logging\nlogging.basicConfig()", "adds a log handler"),
        ("import logging\nlogging.getLogger('twinloop').setLevel(10)", "sets a log level"),
        ("import pathlib\npathlib.Path('note.txt').write_text('x')", "writes note.txt"),
        ("import pathlib\npathlib.Path('.cache').mkdir()", "writes os.mkdir"),
        ("import jax", "loads jax"),
        ("import gymnasium", "loads gymnasium"),
        ("import os\nos.environ['JAX_PLATFORMS'] = 'none'", "changes the environment"),
        ("import warnings\nwarnings.warn('old', stacklevel=1)", "UserWarning"),
    ],
)
def test_an_import_that_acts_is_caught(text, words, spoiled, tmp_path):
    spoiled.plant("__init__.py", text)
    assert words in words_of(QUIET, spoiled.source, tmp_path)


def test_a_module_that_starts_a_device_or_lacks_an_export_is_caught(spoiled, tmp_path):
    spoiled.plant("qoe/planted.py", "import jax.numpy as jnp\n\nONE = jnp.ones(3)\n__all__ = ['ONE', 'Gone']")
    words = words_of(EVERY, spoiled.source, tmp_path, "twinloop.qoe")
    assert "starts a device" in words
    assert "twinloop.qoe.planted lacks Gone" in words
