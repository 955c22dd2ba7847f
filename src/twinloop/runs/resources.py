"""What a run needs of the machine, estimated before anything is started."""

import math
import os
import resource
from pathlib import Path

from twinloop.errors import ResourceError
from twinloop.scenario import Scenario

_BYTES_PER_HISTORY_VALUE = 4 * 20
_BYTES_PER_USER = 6_000
_BYTES_PER_LINK = 4 * 24
_TRACE_BYTES_PER_USER_SLOT = 4 * 52
_BASE_BYTES = 1.2e9


def needed_bytes(scenario: Scenario, block_slots: int) -> float:
    """Rough memory of a run: twins with history, links of users to cells in every rollout, and one block of traces."""
    judge = scenario.twin.judge
    candidates = 2 * judge.samples
    links = scenario.user_count * len(scenario.network.cells) * _BYTES_PER_LINK * (1 + candidates)
    history = scenario.user_count * scenario.twin.history * _BYTES_PER_HISTORY_VALUE
    traces = scenario.user_count * block_slots * _TRACE_BYTES_PER_USER_SLOT * 2
    return _BASE_BYTES + scenario.user_count * _BYTES_PER_USER + links + history + traces


def check(scenario: Scenario, block_slots: int) -> None:
    """Raises ResourceError when the machine has less free memory than the run needs."""
    needed, free = needed_bytes(scenario, block_slots), available_bytes()
    if needed > free:
        raise ResourceError(
            f"{scenario.name}: {scenario.user_count:,} users under {len(scenario.network.cells)} cells need about "
            f"{needed / 2**30:.0f} GiB of memory and {free / 2**30:.0f} GiB are free; lower the number of users, "
            f"twin.history or twin.judge.samples"
        )


def available_bytes() -> float:
    """Memory that a new process can use, in bytes: what is free, or less where a container or a limit allows less."""
    return min(_free_bytes(), _container_bytes(), _limit_bytes())


def _free_bytes() -> float:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _container_bytes() -> float:
    limit = _text(Path("/sys/fs/cgroup/memory.max")).strip()
    return float(limit) if limit.isdigit() else math.inf


def _limit_bytes() -> float:
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min((float(soft) for soft in limits if soft != resource.RLIM_INFINITY), default=math.inf)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
