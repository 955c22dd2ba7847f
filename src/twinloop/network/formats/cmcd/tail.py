"""The lines of a file that another program goes on writing."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

LONGEST_LINE_BYTES = 2**20
_CHUNK_BYTES = 2**16


def follow(path: Path, wait: Callable[[], bool], *, from_start: bool = False) -> Iterator[str]:
    """Lines of a growing file, without their ends, for as long as `wait` says so.

    `wait` is called whenever there is nothing new; it sleeps, and gives False to end. The file need not exist yet. A
    rotated file (another inode at the path) is read to its end before the new one is begun; a truncated file is read
    from its start. What is there at the beginning is passed over unless `from_start`. Lines above 1 MiB are dropped.
    A file that is truncated and grows beyond its old size between two looks is not noticed: rotate by renaming.
    """
    file: IO[bytes] | None = None
    rest = b""
    try:
        while True:
            if file is None:
                file = _opened(path, from_start)
                from_start = True
            chunk = file.read(_CHUNK_BYTES) if file is not None else b""
            if chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (_text(line) for line in lines if len(line) <= LONGEST_LINE_BYTES)
                rest = rest[: LONGEST_LINE_BYTES + 1]
                continue
            if file is not None and _replaced(path, file):
                # Only now is the old file known to be over: what came since the last read is still in it.
                last, file = _drained(file, rest), None
                rest = b""
                yield from last
                continue
            if file is not None and os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
                rest = b""
                continue
            if not wait():
                return
    finally:
        if file is not None:
            file.close()


def _opened(path: Path, from_start: bool) -> IO[bytes] | None:
    """The file at its start or end; None where it is not there (yet)."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    if not from_start:
        file.seek(0, os.SEEK_END)
    return file


def _replaced(path: Path, file: IO[bytes]) -> bool:
    """Whether another file stands at the path. Where none does, the old one may still be written."""
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _drained(file: IO[bytes], rest: bytes) -> list[str]:
    """Last lines of a file that is over, one without an end included; the file is closed."""
    with file:
        lines = (rest + file.read()).split(b"\n")
    return [_text(line) for line in lines if line and len(line) <= LONGEST_LINE_BYTES]


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
