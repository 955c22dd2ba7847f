"""The table that every benchmark prints and writes: rows of work, ours, peer, ratio."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison of numbers or free text; `ratio` is how many times better ours is, empty without a peer."""

    work: str
    ours: float | str
    peer: float | str = ""
    ratio: float | str = ""


def arguments(about: str) -> argparse.ArgumentParser:
    """Parser with the two options of every benchmark: `--json FILE` and `--quick`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    parser.add_argument("--quick", action="store_true", help="smaller and shorter: a check that it runs, not a result")
    return parser


def present(title: str, rows: Sequence[Row], json_file: Path | None = None) -> None:
    """Prints the rows as a table and, if asked, writes them to `json_file` with what they were measured on."""
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"
    cells = [("work", "ours", "peer", "ratio")]
    cells += [(row.work, _text(row.ours), _text(row.peer), _text(row.ratio)) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    print(f"{title} ({machine})")
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    if json_file is not None:
        content = {"title": title, "machine": machine, "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
