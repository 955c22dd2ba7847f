"""Outputs that are tried before any work: what cannot be written is told at once, not after minutes.

Each function is the callback of an option. What it makes to try is gone again when it returns.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from twinloop.errors import OutputError


def writable_model(out: Path) -> Path:
    """`out`, once its weights and the card beside them can be written. Raises OutputError otherwise."""
    if out.suffix != ".safetensors":
        raise OutputError(f"{out}: the name of a model ends in .safetensors; give another --out")
    for path in (out, out.with_suffix(".json")):
        with _trying(path, "--out"), _folders(path.parent):
            _try_file(path)
    return out


def writable_json(path: Path | None) -> Path | None:
    """`path`, once it can be written, if one is given. Raises OutputError otherwise."""
    if path is not None:
        with _trying(path, "--json"):
            _try_file(path)
    return path


def writable_folder(folder: Path | None) -> Path | None:
    """`folder`, once files can be written into it, if one is given. Raises OutputError otherwise."""
    if folder is not None:
        with _trying(folder, "--out"), _folders(folder), tempfile.TemporaryFile(dir=folder):
            pass
    return folder


@contextmanager
def _trying(path: Path, option: str) -> Generator[None]:
    """Raises OutputError for what the system refuses."""
    try:
        yield
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror or fault}); give another {option}") from None


@contextmanager
def _folders(folder: Path) -> Generator[None]:
    """The folder with all above it, of which those that were not there are taken away again. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()


def _try_file(path: Path) -> None:
    """Opens the file, or the one that a link leads to, without a change. Pipes and devices are let pass."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        return
    target = Path(os.path.realpath(path))
    anew = not target.exists()
    target.open("ab").close()
    if anew:
        target.unlink()
