"""`twinloop doctor`: what this machine has, what is installed, what extras would add, what is wrong and what to do."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LEAST_PYTHON = (3, 11)
LEAST_MEMORY_GIB = 2.0

EXTRAS = {
    "reference": "exact solvers that decisions are checked against",
    "bench": "the peers that the benchmarks compare with",
    "examples": "an agent to train on the environments",
    "dev": "tests and checks",
}
MARKS = {
    "ok": "[green]ok[/green]",
    "note": "[cyan]note[/cyan]",
    "wrong": "[yellow]wrong[/yellow]",
    "stops": "[red]stops[/red]",
}

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One row: the part looked at, how it stands, what was found, and what to do about it.

    `note` is for information, `wrong` should be mended but the embedded scenarios run, `stops` means that nothing runs.
    """

    part: str
    state: Literal["ok", "note", "wrong", "stops"]
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Requirement:
    """A distribution that twinloop asks for; `extra` is empty for what it cannot run without."""

    name: str
    least: str
    extra: str


def doctor() -> None:
    """Say what is installed, what extras would add, and what is wrong. Exit status 1 when nothing can run."""
    findings = [*machine(), *parts(requirements()), *extras(requirements()), backend(), data(), cache(), output()]
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for row in findings:
        table.add_row(row.part, MARKS[row.state], escape(row.found), escape(row.advice))
    console = Console()
    console.print(table)
    stopping = [row.part for row in findings if row.state == "stops"]
    wrong = [row.part for row in findings if row.state == "wrong"]
    if stopping:
        console.print(f"\n[red]twinloop cannot run here[/red]: mend {', '.join(stopping)} first.")
        raise typer.Exit(1)
    console.print("\n[green]twinloop can run here[/green]: try twinloop run campus." + _to_mend(wrong))


def _to_mend(wrong: list[str]) -> str:
    return f" To mend: {', '.join(wrong)}." if wrong else ""


def machine() -> Iterator[Finding]:
    """Python, cores and memory."""
    running = platform.python_version()
    if sys.version_info[:2] < LEAST_PYTHON:
        yield Finding("python", "stops", running, f"use Python {'.'.join(map(str, LEAST_PYTHON))} or newer")
    else:
        yield Finding("python", "ok", f"{running}, {platform.system()} {platform.machine()}")
    yield Finding("cores", "ok", str(cores()))
    yield memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None)


def cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(gib: float | None) -> Finding:
    """How `gib` of memory stands; None where the system does not tell."""
    if gib is None:
        return Finding("memory", "note", "this system does not tell")
    if gib < LEAST_MEMORY_GIB:
        return Finding("memory", "wrong", f"{gib:.1f} GiB", f"{LEAST_MEMORY_GIB:g} GiB and more run campus at ease")
    return Finding("memory", "ok", f"{gib:.1f} GiB")


def requirements() -> list[Requirement]:
    """What the installed twinloop asks for, as its metadata has it; empty where twinloop was not installed by pip."""
    try:
        asked = metadata.requires("twinloop") or []
    except metadata.PackageNotFoundError:
        return []
    return [found for line in asked if (found := _requirement(line)) is not None]


def _requirement(line: str) -> Requirement | None:
    specification, _, marker = line.partition(";")
    match, extra = _REQUIREMENT.match(specification), _EXTRA.search(marker)
    if match is None or match[1] == "twinloop":
        return None
    return Requirement(match[1], match[3] or "", extra[1] if extra else "")


def version(name: str) -> str | None:
    """Installed version of the distribution `name`; None where it is absent."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def older(found: str, least: str) -> bool:
    """True when version `found` lies before `least`, compared number by number."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (found, least)]
    return numbers[0] < numbers[1]


def parts(asked: list[Requirement]) -> Iterator[Finding]:
    """What twinloop cannot run without."""
    if not asked:
        yield Finding("installation", "wrong", "twinloop has no metadata", "install it: pip install . in its folder")
    for one in asked:
        if one.extra:
            continue
        found = version(one.name)
        if found is None:
            yield Finding(one.name, "stops", "missing", f"pip install {one.name}")
        elif older(found, one.least):
            yield Finding(one.name, "wrong", f"{found}, older than {one.least}", f"pip install --upgrade {one.name}")
        else:
            yield Finding(one.name, "ok", found)


def extras(asked: list[Requirement]) -> Iterator[Finding]:
    """What each extra has brought, or would."""
    for extra in dict.fromkeys(one.extra for one in asked if one.extra):
        held = {one.name: version(one.name) for one in asked if one.extra == extra}
        missing = [name for name, found in held.items() if found is None]
        purpose = EXTRAS.get(extra, extra)
        if missing:
            how = f"pip install 'twinloop[{extra}]'"
            yield Finding(f"extra {extra}", "note", f"would add {purpose}: {', '.join(missing)}", how)
        else:
            yield Finding(f"extra {extra}", "ok", ", ".join(f"{name} {found}" for name, found in held.items()))


def backend() -> Finding:
    """The device that JAX computes on. Starting it is the one slow part."""
    try:
        import jax

        devices = jax.devices()
    except Exception as error:  # a broken installation raises anything from ImportError to a driver's own error
        why = str(error).strip().splitlines() or [type(error).__name__]
        return Finding("jax backend", "stops", why[0], "reinstall jax and jaxlib, or set JAX_PLATFORMS=cpu")
    return Finding("jax backend", "ok", f"{devices[0].platform}, {len(devices)} device(s): {devices[0].device_kind}")


def data() -> Finding:
    """The folder of public data sets that TWINLOOP_DATA names."""
    named = os.environ.get("TWINLOOP_DATA")
    if not named:
        return Finding("data sets", "note", "TWINLOOP_DATA is not set", "set it, or give --data DIR, for campus-real")
    folder = Path(named)
    if not folder.is_dir():
        return Finding("data sets", "wrong", f"TWINLOOP_DATA={named} is no folder", "correct it or unset it")
    held = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not held:
        return Finding("data sets", "wrong", f"{named} holds no data set", "twinloop data list says what there is")
    return Finding("data sets", "ok", f"{named}: {', '.join(held)}", f"to verify: twinloop data check {named}")


def compilation_cache() -> Path:
    """Folder where runs keep compiled programs: as JAX or TWINLOOP_CACHE say, else below the user's cache folder.

    Repeated from `runs`, whose import needs a sound JAX; a test holds the two to each other.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinloop" / "jax"
    return Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.environ.get("TWINLOOP_CACHE", default))


def writable(folder: Path) -> bool:
    """True when `folder` can be written, or made: its nearest existing parent can."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def cache() -> Finding:
    """The cache of compiled programs."""
    folder = compilation_cache()
    if writable(folder):
        return Finding("compile cache", "ok", str(folder))
    advice = "every start compiles anew; set TWINLOOP_CACHE to a folder you may write"
    return Finding("compile cache", "wrong", f"{folder} cannot be written", advice)


def output() -> Finding:
    """The folder that runs are written below."""
    folder = Path.cwd()
    if writable(folder):
        return Finding("output", "ok", str(folder))
    return Finding("output", "wrong", f"{folder} cannot be written", "go elsewhere, or give --out DIR")
