"""Twin updates and memory against a store of Python objects and SQLite, in the same run, and a what-if fork.

    python benchmarks/twins.py [--json FILE] [--quick]

One update is one attribute of one user written with the slot it was measured in: accepted only if newer, revision
counted up, history of 16 steps kept, and the running error of emulation updated. Every user reports its 20 attributes
in one slot, except in the row that says otherwise. Times are medians after compilation; the observations lie ready in
each store's own form. `bytes`: ours of the arrays, the peers' as the process grew or as SQLite says.

Peers, up to 100,000 users: `Python objects, same work` keeps slot, value and error by attribute as ours does; `Python
objects, by report` knows one slot a user and keeps the report it is given, untouched, so it does no work an attribute;
`SQLite in memory` too knows one slot a user, and no errors. Both Python stores are better where few report, see the row
in which 1 % does: ours passes over all rows.

Quoted, not measured: Eclipse Ditto's own benchmark (blog of 2023-10-09, version 3.3.5) gives about 16 GB of heap for
its things service and 15 GB for its policies service with 1,000,000 things in memory, and about 800 modifications a
second with one instance of each service. It persists, authorises and serves every change over a network, on other
machines and with smaller things without history: a scale for what a general platform costs, not a contest.
"""

import resource
import sqlite3
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from table import Row, arguments, present

from twinloop import scenario
from twinloop.collection import Observations, Seen
from twinloop.emulation import Forecast, KindForecast, Served, TwinModel, kalman, rollout, sample_states
from twinloop.entities import USER_ATTRIBUTES, Action
from twinloop.simulator import Params
from twinloop.twins import Twins, TwinTable, assimilate_in_place, empty_twins, fork, take

ATTRIBUTES, HISTORY = len(USER_ATTRIBUTES), 16
LEAST_USERS_FOR_BYTES = 10_000  # below, a process reuses what it has and does not grow
PEER_USERS, QUOTED_USERS, QUOTED_BYTES = 100_000, 1_000_000, 31e9
GOAL_UPDATES, GOAL_BYTES, GOAL_FORK_S = 5e6, 2e9, 0.050


def main() -> None:
    options = arguments("Twin updates, memory and forks.").parse_args()
    sizes = [1_000, 10_000] if options.quick else [1_000, 10_000, 100_000, 1_000_000]
    present("Twins with 20 attributes and 16 steps of history", list(measured(sizes)), options.json)


def measured(sizes: list[int]) -> Iterator[Row]:
    """Every row, ours before the peers so that their memory is not counted as ours."""
    ours = {users: update_rate(users, 1.0) for users in sizes}
    largest = sizes[-1]
    rate, size = ours[largest]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for users in sizes:
        yield Row(f"{users:,} users: updates/s", ours[users][0])
        yield Row(f"{users:,} users: bytes of the twins", ours[users][1])
    yield Row(f"{largest:,} users: updates/s against the goal", rate, f"goal {GOAL_UPDATES:.0e}", rate / GOAL_UPDATES)
    yield Row("  peak bytes of the process, inputs and results included", peak)
    if largest == QUOTED_USERS:
        yield Row("  bytes of the twins against the goal", size, f"goal {GOAL_BYTES:.0e}", GOAL_BYTES / size)
        quoted = f"{QUOTED_BYTES:.2g} (quoted)"
        yield Row("  bytes against Eclipse Ditto 3.3.5, see the head of this file", size, quoted, QUOTED_BYTES / size)
    for users in [size for size in sizes if size <= PEER_USERS]:
        for name, store in STORES.items():
            peer, peer_size = peer_rate(store(users), users)
            rate, size = ours[users]
            yield Row(f"{users:,} users: updates/s against {name}", rate, peer, rate / peer)
            if users >= LEAST_USERS_FOR_BYTES:
                yield Row(f"{users:,} users: bytes against {name}", size, peer_size, peer_size / size)
    yield sparse(min(largest, PEER_USERS))
    fork_s = what_if_s(min(largest, PEER_USERS))
    yield Row("fork of 1,000 users and rollout of 10 slots: s", fork_s, f"goal {GOAL_FORK_S}", GOAL_FORK_S / fork_s)


def update_rate(users: int, share: float, repeats: int = 7) -> tuple[float, int]:
    """Attribute updates a second and bytes of the twins, when `share` of the users report all their attributes."""
    twins = empty_twins(
        users=users, cells=2, servers=1, slices=3, history=HISTORY, class_length_s=jnp.array([15.0, 60.0])
    )
    guess = forecast(users)
    times: list[float] = []
    for slot in range(repeats + 2):
        told = jax.block_until_ready(observed(users, slot, share))
        start = time.perf_counter()
        twins = jax.block_until_ready(assimilate_in_place(twins, told, guess, jnp.int32(slot)))
        times.append(time.perf_counter() - start)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(twins))
    return int(users * share) * ATTRIBUTES / statistics.median(times[2:]), size


def observed(users: int, slot: int, share: float) -> Observations:
    """Observations in which the first `share` of the users report everything."""
    reporting = jnp.arange(users) < int(users * share)

    def seen(entities: int, attributes: int, fresh: jax.Array) -> Seen:
        shape, nothing = (entities, attributes), jnp.zeros((), jnp.int32)
        value = jax.random.uniform(jax.random.key(slot), shape)
        return Seen(
            value, fresh & jnp.ones(shape, bool), jnp.full(shape, slot), jnp.zeros(()), nothing, nothing, nothing
        )

    nobody = jnp.zeros((1, 1), bool)
    return Observations(
        jnp.int32(slot), seen(users, ATTRIBUTES, reporting[:, None]), seen(2, 5, nobody), seen(1, 4, nobody)
    )


def forecast(users: int) -> Forecast:
    kinds = ((users, ATTRIBUTES), (2, 5), (1, 4))
    return Forecast(*(KindForecast(jnp.zeros(shape), jnp.zeros((1, 1))) for shape in kinds))


class PythonStore:
    """One object a user with slots instead of a dictionary, values in a list, history in a bounded deque."""

    class Twin:
        __slots__ = ("history", "revision", "slot", "value")

        def __init__(self) -> None:
            self.value: list[float] = [0.0] * ATTRIBUTES
            self.slot = -1
            self.revision = 0
            self.history: deque[tuple[int, list[float]]] = deque(maxlen=HISTORY)

    def __init__(self, users: int) -> None:
        self.before = resident_bytes()
        self.twins = {user: self.Twin() for user in range(users)}

    def write(self, slot: int, reports: list[tuple[int, list[float]]]) -> None:
        twins = self.twins
        for user, value in reports:
            twin = twins[user]
            if slot > twin.slot:
                twin.value = value
                twin.slot = slot
                twin.revision += 1
                twin.history.append((slot, value))

    def bytes(self) -> int:
        return resident_bytes() - self.before


class SameWorkStore:
    """One object an attribute of a user, with value, slot and running error; history as in `PythonStore`."""

    class Level:
        __slots__ = ("error", "slot", "value")

        def __init__(self) -> None:
            self.value, self.slot, self.error = 0.0, -1, -1.0

    class Twin:
        __slots__ = ("history", "levels", "revision")

        def __init__(self) -> None:
            self.levels = [SameWorkStore.Level() for _ in range(ATTRIBUTES)]
            self.revision = 0
            self.history: deque[tuple[int, list[float]]] = deque(maxlen=HISTORY)

    def __init__(self, users: int) -> None:
        self.before = resident_bytes()
        self.twins = {user: self.Twin() for user in range(users)}
        self.emulated = [0.0] * ATTRIBUTES

    def write(self, slot: int, reports: list[tuple[int, list[float]]]) -> None:
        twins, emulated = self.twins, self.emulated
        for user, values in reports:
            twin, wrote = twins[user], False
            for level, value, guess in zip(twin.levels, values, emulated, strict=True):
                if slot > level.slot:
                    if level.slot >= 0:
                        miss = min(abs(guess - value), 1.0)
                        level.error = 0.9 * level.error + 0.1 * miss if level.error >= 0 else miss
                    level.value, level.slot, wrote = value, slot, True
            if wrote:
                twin.revision += 1
                twin.history.append((slot, [level.value for level in twin.levels]))

    def bytes(self) -> int:
        return resident_bytes() - self.before


class SqliteStore:
    """One row a user and one a step of history, written by prepared statements in one transaction a slot."""

    def __init__(self, users: int) -> None:
        self.base = sqlite3.connect(":memory:", isolation_level=None)
        names = [f"a{index}" for index in range(ATTRIBUTES)]
        columns = ", ".join(f"{name} REAL" for name in names)
        self.base.execute(f"CREATE TABLE twin (user INTEGER PRIMARY KEY, slot INT, revision INT, {columns})")
        self.base.execute(
            f"CREATE TABLE history (user INT, place INT, slot INT, {columns}, PRIMARY KEY (user, place)) WITHOUT ROWID"
        )
        marks = ", ".join("?" * ATTRIBUTES)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names)
        self.upsert = (
            f"INSERT INTO twin VALUES (?, ?, 1, {marks}) ON CONFLICT (user) DO UPDATE SET slot = excluded.slot, "
            f"revision = revision + 1, {changes} WHERE excluded.slot > slot"
        )
        self.append = f"INSERT OR REPLACE INTO history VALUES (?, ?, ?, {marks})"

    def write(self, slot: int, reports: list[tuple[int, list[float]]]) -> None:
        self.base.execute("BEGIN")
        self.base.executemany(self.upsert, ((user, slot, *value) for user, value in reports))
        place = slot % HISTORY
        self.base.executemany(self.append, ((user, place, slot, *value) for user, value in reports))
        self.base.execute("COMMIT")

    def bytes(self) -> int:
        pages = self.base.execute("PRAGMA page_count").fetchone()[0]
        return pages * self.base.execute("PRAGMA page_size").fetchone()[0]


STORES = {
    "Python objects, same work": SameWorkStore,
    "Python objects, by report": PythonStore,
    "SQLite in memory": SqliteStore,
}


def peer_rate(store: PythonStore | SameWorkStore | SqliteStore, users: int, share: float = 1.0) -> tuple[float, int]:
    """Attribute updates a second and bytes of a peer with a full history."""
    rng, times = np.random.default_rng(0), []
    for slot in range(HISTORY + 3):
        values = rng.random((int(users * share), ATTRIBUTES)).tolist()
        reports = list(enumerate(values))
        start = time.perf_counter()
        store.write(slot, reports)
        times.append(time.perf_counter() - start)
    return int(users * share) * ATTRIBUTES / statistics.median(times[HISTORY:]), store.bytes()


def resident_bytes() -> int:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def sparse(users: int) -> Row:
    """What updates cost when only 1 % of the users report."""
    ours, _ = update_rate(users, 0.01)
    peer, _ = peer_rate(SameWorkStore(users), users, 0.01)
    return Row(f"{users:,} users of whom 1 % report: updates/s against {next(iter(STORES))}", ours, peer, ours / peer)


def what_if_s(users: int, chosen: int = 1_000, slots: int = 10) -> float:
    """Seconds to fork `chosen` of `users` twins with their history, to draw one world that agrees with them, and to
    live it for some slots in the judge's simulator of `campus` under equal shares.
    """
    twins = empty_twins(
        users=users, cells=2, servers=1, slices=3, history=HISTORY, class_length_s=jnp.array([15.0, 60.0])
    )
    for slot in range(3):
        twins = assimilate_in_place(twins, observed(users, slot, 1.0), forecast(users), jnp.int32(slot))
    rows = jax.random.permutation(jax.random.key(0), users)[:chosen]
    emulator, model = kalman(), crowded_campus(chosen)
    action = equal_shares(model.params)

    @jax.jit
    def gather(table: TwinTable, rows: jax.Array) -> TwinTable:
        return take(table, rows)

    @eqx.filter_jit
    def ahead(key: jax.Array, model: TwinModel, what_if: Twins) -> Served:
        k_sample, k_live = jax.random.split(key)
        _, expected = emulator.emulate(emulator.init(what_if), what_if, jnp.int32(3))
        state = jax.tree.map(lambda leaf: leaf[0], sample_states(k_sample, model, what_if, expected, 1))
        return rollout(k_live, model, state, action, slots)

    def once() -> Served:
        shared = fork(twins)
        what_if = Twins(gather(twins.users, rows), shared.cells, shared.servers, shared.slices, shared.swipes)
        return ahead(jax.random.key(1), model, what_if)

    if not bool(jnp.any(once().satisfaction > 0)):
        raise RuntimeError("nobody is served in the what-if: it shows nothing")
    return median_s(once)


def crowded_campus(users: int) -> TwinModel:
    """The simulator of the judge of `campus`, with `users` people in its three slices."""
    campus = scenario.load("campus")
    counts = [users // 4, users // 2, users - users // 4 - users // 2]
    people = [p.model_copy(update={"count": count}) for p, count in zip(campus.users, counts, strict=True)]
    loop, _ = scenario.build_loop(campus.model_copy(update={"users": people}))
    return loop.slot_judge.model


def equal_shares(params: Params) -> Action:
    """Equal slices, and for every flow as much as fits."""
    topology, slices = params.topology, params.slices.active.shape[0]
    flows = params.user_slice.shape[0] + params.group_slice.shape[0] * topology.cell_server.shape[0]
    share = jnp.full((1, slices), 1.0 / slices)
    return Action(
        slice_active=params.slices.active,
        slice_bandwidth_hz=topology.cell_bandwidth_hz[:, None] * share,
        slice_cycles_per_s=topology.server_cycles_per_s[:, None] * share,
        slice_cache_bytes=topology.server_cache_bytes[:, None] * share,
        flow_bandwidth_hz=jnp.full(flows, 1e7),
        flow_cycles_per_s=jnp.full(flows, 1e10),
    )


def median_s(work: Callable[[], object], repeats: int = 15) -> float:
    """Median time of `work`, after it ran twice."""
    times: list[float] = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        jax.block_until_ready(work())
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


if __name__ == "__main__":
    main()
