"""A run directory: one run at a time, nothing half-written, parts that survive an interruption."""

import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twinloop.errors import OutputError

TABLES = (
    "users",
    "experience",
    "cells",
    "servers",
    "slices",
    "twins",
    "forecasts",
    "collection",
    "requests",
    "decisions",
    "needs",
    "foreseen",
    "revisions",
    "views",
    "looks",
)
PARTS, CHECKPOINT, PROGRESS, LOCK, SUMMARY = "parts", "state.eqx", "progress.json", "run.lock", "summary.json"
SCENARIO, COMMAND = "scenario.yaml", "command.json"


def free_directory(root: Path, name: str) -> Path:
    """First of root/name-1, root/name-2, ... that does not exist."""
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"


def prepare(directory: Path, *, resume: bool) -> None:
    """Makes `directory` ready for a run.

    Raises OutputError when it cannot be written, is written by another run, holds a finished run, holds an interrupted
    run and `resume` is False, or has nothing to resume. Nothing is left behind then.
    """
    try:
        locked, interrupted = (directory / LOCK).exists(), (directory / PROGRESS).exists()
    except OSError as error:
        raise OutputError(f"--out cannot be used ({error.strerror}); choose another") from error
    if locked and _alive(directory / LOCK):
        raise OutputError(_taken(directory))
    if resume and not interrupted:
        raise OutputError(f"{directory} holds no interrupted run to resume; start one without --resume")
    if interrupted and not resume:
        raise OutputError(f"{directory} holds an interrupted run; go on with --resume or choose another --out")
    _make_writable(directory)
    if not resume and any(entry.name != LOCK for entry in directory.iterdir()):
        raise OutputError(f"{directory} is not empty; choose another --out so that nothing is lost")


def _make_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = "it is a file" if directory.is_file() else error.strerror
        raise OutputError(f"{directory} cannot be written ({why}); choose another with --out") from error


def _taken(directory: Path) -> str:
    return f"another run (process {_holder(directory / LOCK)}) writes into {directory}; choose another --out"


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Holds `directory` for this process. A run that ends by an error before its first checkpoint leaves nothing there.

    Raises OutputError while another living process holds it, and when writing fails, such as on a full disk.
    """
    lock = directory / LOCK
    if lock.exists() and _alive(lock):
        raise OutputError(_taken(directory))
    try:
        lock.unlink(missing_ok=True)
        with lock.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError as error:
        raise OutputError(f"another run has just started in {directory}; choose another --out") from error
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{directory}: writing failed ({error.strerror or error}); make room, then go on with --resume"
        ) from error
    finally:
        lock.unlink(missing_ok=True)
        if not any((directory / name).exists() for name in (PROGRESS, SUMMARY)):
            _sweep(directory)


def _sweep(directory: Path) -> None:
    """Removes what a run that never came to a checkpoint wrote, and the directory where nothing else is in it."""
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    for name in (SCENARIO, COMMAND, CHECKPOINT, *(f"{table}.parquet" for table in (*TABLES, "retention"))):
        for path in (directory / name, directory / f"{name}.new"):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON whole or not at all. Raises OutputError for a figure that is not finite."""
    scratch = path.with_suffix(path.suffix + ".new")
    try:
        text = json.dumps(content, indent=2, allow_nan=False)
    except ValueError as error:
        raise OutputError(f"{path.name} is not written: a figure is not finite; report this scenario") from error
    scratch.write_text(text + "\n", encoding="utf-8")
    scratch.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises OutputError when missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}") from error


def write_part(directory: Path, table: str, number: int, content: pa.Table) -> None:
    """Saves one block's rows of a table."""
    folder = directory / PARTS / table
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, folder / f"{number:06d}.parquet", compression="zstd")


def drop_parts_from(directory: Path, number: int) -> None:
    """Removes parts that were saved after the checkpoint of block `number`."""
    for part in (directory / PARTS).glob("*/*.parquet"):
        if int(part.stem) >= number:
            part.unlink()


def read_parts(directory: Path, table: str) -> list[pa.Table]:
    """The parts of a table in the order of their blocks."""
    return [pq.read_table(part) for part in sorted((directory / PARTS / table).glob("*.parquet"))]


def merge_parts(directory: Path) -> None:
    """Joins the parts of every table into one Parquet file a table."""
    for table in TABLES:
        parts = sorted((directory / PARTS / table).glob("*.parquet"))
        if not parts:
            continue
        scratch = directory / f"{table}.parquet.new"
        with pq.ParquetWriter(scratch, pq.read_schema(parts[0]), compression="zstd") as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
        scratch.replace(directory / f"{table}.parquet")


def forget_progress(directory: Path) -> None:
    """Removes what only an interrupted run needs."""
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    for name in (CHECKPOINT, PROGRESS):
        (directory / name).unlink(missing_ok=True)


def _holder(lock: Path) -> int | None:
    """Number of the process that a lock names; None where it is gone or names none."""
    try:
        return int(lock.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _alive(lock: Path) -> bool:
    holder = _holder(lock)
    if holder is None or holder <= 0:
        return False
    try:
        os.kill(holder, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
