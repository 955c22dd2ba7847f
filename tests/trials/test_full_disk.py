"""A disk without room: what cannot be kept is refused, the server lives on, and keeps again once there is room."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from trials.live_server import LiveServer, Promises, reporting, running, wait_until
from trials.watched_site import watched

pytestmark = pytest.mark.trial
DISK_BYTES = 48 * 2**20
ROOM_BYTES = 2 * 2**20


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small disk in memory at a folder; whether this machine lets us."""
    options = ("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    mounted = os.getuid() == 0 and subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Callable[[], None]:
    """Fills the disk but for a little; what makes room again."""
    filler, left = folder / "filler", os.statvfs(folder)
    with suppress(OSError):  # the server may take what was left meanwhile
        filler.write_bytes(b"x" * max(left.f_bavail * left.f_frsize - ROOM_BYTES, 0))
    return filler.unlink


def ration(server: LiveServer) -> Callable[[], None]:
    """Where no disk can be mounted: lets no file of the server grow much beyond what it is; what takes that back."""
    assert server.process is not None
    largest = max(file.stat().st_size for file in Path(server.database).parent.iterdir())
    who, unlimited = server.process.pid, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(who, resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, resource.RLIM_INFINITY))

    def make_room() -> None:
        resource.prlimit(who, resource.RLIMIT_FSIZE, unlimited)

    return make_room


def disk_full(server: LiveServer, promises: Promises, make_full: Callable[[], Callable[[], None]]) -> float:
    """Takes the room for a while; seconds until reports are kept again, once there is room."""

    def refused() -> int:
        return promises.statuses[503] + promises.statuses[507]

    kept, before = len(promises.acknowledged), refused()
    wait_until(lambda: len(promises.acknowledged) > kept + 20, "reports are kept")
    make_room = make_full()
    wait_until(lambda: refused() > before + 20, "reports are refused")
    slot = server.slot
    wait_until(lambda: server.slot > slot, "slots go on")
    assert server.answers("/healthz") and server.answers("/twins/user")
    kept = len(promises.acknowledged)
    make_room()
    return wait_until(lambda: len(promises.acknowledged) > kept + 5, "reports are kept again")


def test_a_full_disk_refuses_and_forgets_nothing(site_file, site, tmp_path, extent, note):
    promises, disk = Promises("disk"), tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk) as mounted, running(site_file, tmp_path, str(disk / "live.db")) as server:
        server.wait_for_life()
        make_full = (lambda: fill(disk)) if mounted else (lambda: ration(server))
        with watched(server, site), reporting(server, promises):
            recovery_s = [disk_full(server, promises, make_full) for _ in range(extent.outages)]
        promises.require_kept(server)
        assert set(promises.statuses) <= {200, 503, 507} and promises.impatient == 0, promises.statuses
        if extent.whole:
            server.kill()
            server.start()
            promises.require_kept(server)
    note(
        acknowledged=len(promises.acknowledged),
        statuses=dict(promises.statuses),
        recovery_s=[round(seconds, 2) for seconds in recovery_s],
        disk="tmpfs" if mounted else "file size limit",
    )
