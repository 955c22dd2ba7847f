"""Orders of slices in a running network: judged by the twins, consented to, applied, and still there after a restart.

Rows of slices are the scenario's: an order takes the row of its name. What stands is a table in the loop; each change
of it is kept before it is answered.
"""

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from twinloop.errors import TwinloopError
from twinloop.scenario import Scenario, changed, order_of
from twinloop.service.acting.decisions import Consent
from twinloop.service.acting.record import Decision, DecisionError, name_of
from twinloop.service.acting.slices.order import (
    ENDED,
    AuthorityPort,
    Change,
    ConsentsPort,
    GrantsPort,
    Ground,
    Judge,
    NoSliceError,
    Order,
    Orderer,
    order_from,
)
from twinloop.service.acting.slices.profiles import Asked
from twinloop.service.intake import BusyError
from twinloop.service.live import Picture
from twinloop.service.security import OrderedRecordsPort
from twinloop.slicing import SliceSpec, SliceTable, create_slice, end_slice
from twinloop.validation import granted

_log = logging.getLogger("twinloop.slices")
STANDING = "slices"
ORDERS = "slice_orders"
MOST_ORDERS = 200
"""Orders of one tenant, or of those who run the network, that are remembered, and as many checks of each."""
MOST_REMEMBERED = 5_000
MOST_JUDGING = 8
MOST_JUDGING_OF_ONE = 4
"""Of those, orders of one tenant."""
MOST_WAITING = 8
"""Orders of one tenant that may wait for consent."""
_PROMISES = ("target_bps", "floor_share", "weight")


class Slices:
    """Slices of one scenario and the orders about them. Orders are judged one after the other on a thread of its own;
    `changed_slices` is told on the loop's thread.
    """

    def __init__(
        self,
        scenario: Scenario,
        records: OrderedRecordsPort,
        clock: Callable[[], float],
        ground: Ground,
        judge: Judge,
        grants: GrantsPort,
        authority: AuthorityPort,
        decisions: ConsentsPort,
    ) -> None:
        self.orders: dict[str, Order] = {}
        self.standing = frozenset[str]()
        self._scenario = scenario
        self._rows = {entry.name: row for row, entry in enumerate(scenario.slices)}
        self._records = records
        self._clock = clock
        self._ground = ground
        self._judge = judge
        self._grants = grants
        self._authority = authority
        self._decisions = decisions
        self._kept: dict[str, dict[str, Any]] = {}
        self._judged_on: dict[str, bytes] = {}
        self._writing: list[Future[Any]] = []
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "orders")

    def restored(self, table: SliceTable) -> SliceTable:
        """The table with all that was changed in operation, when a server starts. Raises TwinloopError where that does
        not fit the scenario any more.
        """
        kept = {record.key: json.loads(record.body) for record in self._records.list(STANDING)}
        self._kept = {name: told for name, told in kept.items() if name in self._rows}
        for row in (self._rows[name] for name in self._kept):
            table = end_slice(table, row) if bool(table.active[row]) else table
        try:
            for name, told in self._kept.items():
                table = create_slice(table, self._rows[name], self._spec(name, told)) if told["active"] else table
        except ValueError as error:
            raise TwinloopError(
                f"the slices that stood when the server ended do not fit this scenario: {error}; lower floor_share of "
                "its slices, or begin another --database"
            ) from None
        self.standing = self._names_of(table)
        return table

    def remember(self) -> None:
        """Goes on from what was kept: orders that wait for consent go on waiting, and are judged again when they get
        it; one that was being judged has to be given again.
        """
        for record in reversed(self._records.newest(ORDERS, MOST_REMEMBERED)):
            order = order_from(record.body)
            self.orders[order.id] = order
            decision = None if order.decision is None else self._decisions.get(order.decision)
            if order.state == "waiting" and decision is not None and decision.state == "waiting":
                self._decisions.ask(decision, self._consent(order))
            elif order.state not in ENDED:
                self._end(order, "failed", "the server was started anew before it was answered; order again")

    def submit(
        self, change: Change, asked: Asked, who: Orderer, *, check: bool = False
    ) -> tuple[Order, "Future[None]"]:
        """Takes an order in; the future is done once it is answered, waits for consent, or has failed.

        Raises NoSliceError for a slice that who asks does not see or could not have, DecisionError where it cannot be
        changed now, BusyError where too many orders are being judged.
        """
        if self._authority.mode == "halted" and not check:
            raise DecisionError("the kill switch is on: no slice is changed; release it first")
        name = self._found(change, asked, who)
        order = Order(
            id=name_of(self._clock(), f"o{secrets.token_hex(4)}"),
            made_s=self._clock(),
            change=change,
            slice=name,
            by=who.name,
            tenant=who.tenant or asked.tenant,
            check=check,
            promises=self._promises(change, asked, who),
            profile=asked.profile,
            not_covered=list(asked.not_covered),
            granted=self._granted(name),
        )
        with self._lock:
            judging = [one.tenant for one in self.orders.values() if one.state == "judging"]
            waiting = sum(one.state == "waiting" and one.tenant == who.tenant for one in self.orders.values())
            crowd = who.tenant and judging.count(who.tenant) >= MOST_JUDGING_OF_ONE
            if crowd or len(judging) >= MOST_JUDGING:
                raise BusyError("as many orders are being judged as can be", 10.0)
            if who.tenant and waiting >= MOST_WAITING and not check:
                raise DecisionError(f"{waiting} of your orders wait for consent, and no more may")
            self.orders[order.id] = order
        self._keep(order)
        return order, self._worker.submit(self._answer, order, who)

    def seen(self, picture: Picture, tenant: str) -> list[dict[str, Any]]:
        """Slices that a tenant ("": who runs the network) sees: what is promised, held, and lived."""
        return [self._row_told(picture, name, tenant) for name in self._rows if self._is_visible(name, tenant)]

    def orders_of(self, tenant: str) -> list[Order]:
        """Orders that a tenant sees, newest first."""
        return [one for one in reversed(list(self.orders.values())) if not tenant or one.tenant == tenant]

    def close(self) -> None:
        """Takes no more orders; the one that is being judged is let go."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _answer(self, order: Order, who: Orderer) -> None:
        try:
            why = self._judged(order)
            if order.check:
                self._end(order, "infeasible" if why else "feasible", why or order.reason)
            elif why:
                self._end(order, "refused", why)
            elif self._needs_consent(who, order):
                self._ask(order)
            else:
                why = self._ground.run(lambda: self._apply(order))
                self._finish(order, "refused" if why else "applied", why)
        except TwinloopError as error:
            self._end(order, "failed", str(error))
        except Exception as error:
            _log.exception("an order could not be judged")
            self._end(order, "failed", f"it could not be judged: {type(error).__name__}")

    def _judged(self, order: Order) -> str:
        """Why the twins refuse an order, "" where they admit it; the offer is noted in it."""
        loop, state = self._ground.run(self._ground.now)
        self._judged_on[order.id] = _print(loop.slices)
        why = self._why_not(order, loop.slices)
        if why or order.change == "end":
            return why
        ordered = order_of(self._scenario, loop.slices, order.event())
        if ordered is None or not self._scenario.policy.admission:
            order.reason = "it asks for no more than before" if ordered is None else "orders are not judged here"
            order.part = 1.0
            return ""
        found = self._judge(loop, state, loop.slices, ordered)
        offer = granted(loop.slices, ordered[1], ordered[0], found.offer)
        order.reason, order.breaks, order.lacks, order.part = found.reason, found.slice, found.resource, found.offer
        if found.offer > 0.0:
            order.offer_bps = float(offer.target_bps[ordered[0]])
            order.offer_floor_share = round(float(offer.floor_share[ordered[0]]), 6)
        return "" if found.admitted else found.reason

    def _why_not(self, order: Order, table: SliceTable) -> str:
        """Why an order does not fit what stands now."""
        stands = bool(table.active[self._rows[order.slice]])
        if stands == (order.change == "create"):
            return f"slice {order.slice} {'stands already; adjust it' if stands else 'does not stand; create it first'}"
        if self._granted(order.slice) != order.granted:
            return f"slice {order.slice} is not whose it was when this was ordered; order again"
        entry = self._scenario.slices[self._rows[order.slice]]
        twins = [
            other.name
            for row, other in enumerate(self._scenario.slices)
            if (other.sst, other.sd.lower()) == (entry.sst, entry.sd.lower())
            and other.name != entry.name
            and bool(table.active[row])
        ]
        if order.change == "create" and twins:
            return f"S-NSSAI {entry.sst}-{entry.sd} is that of another slice that stands; that has to end first"
        return ""

    def _needs_consent(self, who: Orderer, order: Order) -> bool:
        if not who.tenant or order.change == "end" or self._authority.mode == "halted":
            return False
        return not self._authority.acts

    def _ask(self, order: Order) -> None:
        decision = Decision(
            id=name_of(order.made_s, order.id.rpartition("-")[2]),
            made_s=order.made_s,
            slot=-1,
            state="waiting",
            mode=self._authority.mode,
            kind="slice",
            verdict=order.reason,
            order=order.id,
            why=f"tenant {order.tenant} asks to {order.change} {order.slice}: a person decides",
        )
        order.state, order.decision = "waiting", decision.id
        self._keep(order)
        self._decisions.ask(decision, self._consent(order))

    def _consent(self, order: Order) -> Consent:
        return Consent(
            act=lambda: (self._apply(order), None),
            check=lambda: self._judged(order),
            ended=lambda state, why: self._finish(order, state, why),
        )

    def _apply(self, order: Order) -> str:
        """On the loop's thread: the table changes and is kept. Why it did not, "" where it did."""
        if self._authority.mode == "halted":
            return "the kill switch is on"
        loop, _ = self._ground.now()
        why = self._why_not(order, loop.slices)
        if why:
            return why
        if self._judged_on.pop(order.id, b"") != _print(loop.slices):
            return "other slices changed while it was judged; order again"
        row = self._rows[order.slice]
        try:
            table = changed(self._scenario, loop.slices, order.event())
        except TwinloopError as error:
            _log.info("order %s cannot be applied: %s", order.id, error)
            return "it does not fit beside what other slices are promised" if order.tenant else str(error)
        kept = {name: float(getattr(table, name)[row]) for name in _PROMISES}
        kept |= {"active": bool(table.active[row]), "changed_s": self._clock(), "order": order.id}
        before = self._kept.get(order.slice, {}) if order.change == "adjust" else {}
        kept |= {"since_s": before.get("since_s", self._clock()), "profile": order.profile or before.get("profile")}
        kept["tenant"] = order.tenant or before.get("tenant", "")
        self._kept[order.slice] = kept
        self._writing.append(self._records.later(STANDING, order.slice, json.dumps(kept), state=order.change))
        self._ground.change_slices(table)
        self.standing = self._names_of(table)
        self._decisions.supersede(f"slice {order.slice} was changed ({order.change})")
        _log.info("slice %s: %s by %s", order.slice, order.change, order.by)
        return ""

    def _finish(self, order: Order, state: str, why: str) -> None:
        """What became of an order, once what it changed is durable; whose the slice is changes with it."""
        reason = why or order.reason
        if state == "applied":
            try:
                self._hand_over(order)
                with self._lock:
                    writing, self._writing = self._writing, []
                for done in writing:
                    done.result()
            except TwinloopError as error:
                reason = f"applied, but it could not be kept for a restart: {error}"
                _log.error("slice %s: %s", order.slice, reason)
        self._end(order, state, reason)

    def _hand_over(self, order: Order) -> None:
        if order.change == "end":
            self._grants.release(order.slice)
        elif order.change == "create" and order.tenant and self._grants.get(order.slice) is None:
            self._grants.assign(order.slice, order.tenant)

    def _end(self, order: Order, state: str, reason: str) -> None:
        self._judged_on.pop(order.id, None)
        order.state, order.reason, order.ended_s = state, reason, self._clock()
        self._keep(order)

    def _keep(self, order: Order) -> None:
        with self._lock:
            self.orders[order.id] = order
            alike = [one for one in self.orders.values() if (one.tenant, one.check) == (order.tenant, order.check)]
            over = max(len(alike) - MOST_ORDERS, 0)
            for name in [one.id for one in alike if one.state in ENDED][:over]:
                del self.orders[name]
        if order.check:
            return
        kept = self._records.later(ORDERS, order.id, json.dumps(asdict(order)), state=order.state)
        kept.add_done_callback(_say_failure)

    def _granted(self, name: str) -> str:
        """Whose a slice is, and since when; "" where it is nobody's."""
        grant = self._grants.get(name)
        return "" if grant is None else f"{grant.tenant} {grant.since_s}"

    def _is_visible(self, name: str, tenant: str) -> bool:
        grant = self._grants.get(name)
        return not tenant or (grant is not None and grant.tenant == tenant)

    def _found(self, change: Change, asked: Asked, who: Orderer) -> str:
        """The row that an order is about. Raises NoSliceError, DecisionError."""
        rows = {entry.name: entry for entry in self._scenario.slices if self.may(change, entry.name, who.tenant)}
        if change == "create" and not rows:
            raise DecisionError(
                "no slice can be created: no row of the scenario is free; end a slice, or serve a scenario that names "
                "more of them"
            )
        code = "" if asked.sst is None else f"{asked.sst}-{'any' if asked.sd is None else asked.sd.lower()}"
        fitting = [
            name
            for name, entry in rows.items()
            if asked.sst in (None, entry.sst) and asked.sd in (None, entry.sd, entry.sd.lower(), entry.sd.upper())
        ]
        if asked.name is not None:
            if asked.name not in rows:
                raise NoSliceError(f"there is no slice {asked.name!r} to {change}; {_choice(change, rows)}")
            if asked.name not in fitting:
                entry = rows[asked.name]
                raise DecisionError(f"S-NSSAI {code} is not that of slice {asked.name}, {entry.sst}-{entry.sd}")
            return asked.name
        if not fitting:
            raise NoSliceError(f"there is no slice with S-NSSAI {code} to {change}; {_choice(change, rows)}")
        if len(fitting) > 1:
            raise NoSliceError(f"S-NSSAI {code} fits slices {', '.join(fitting)}; give the name, or the sd")
        return fitting[0]

    def may(self, change: Change, name: str, tenant: str) -> bool:
        """Whether there is a slice to change so, as far as who asks may know."""
        if change != "create":
            return name in self.standing and self._is_visible(name, tenant)
        free = name not in self.standing
        return free and (self._is_visible(name, tenant) or self._grants.get(name) is None)

    def _promises(self, change: Change, asked: Asked, who: Orderer) -> dict[str, float]:
        given = asked.promises.model_dump(exclude_none=True)
        if who.tenant and "weight" in given:
            raise DecisionError(
                "weight, the worth of a satisfied user, is for who runs the network to set; leave it out"
            )
        if change == "adjust" and not given:
            raise DecisionError("nothing is to be changed; give target_bps, floor_share or weight")
        return given if change != "end" else {}

    def _spec(self, name: str, kept: dict[str, Any]) -> SliceSpec:
        entry = self._scenario.slices[self._rows[name]].model_dump()
        return SliceSpec(**(entry | {promise: kept[promise] for promise in _PROMISES}))

    def _names_of(self, table: SliceTable) -> frozenset[str]:
        active = np.asarray(table.active)
        return frozenset(name for name, row in self._rows.items() if active[row])

    def _row_told(self, picture: Picture, name: str, tenant: str) -> dict[str, Any]:
        entry, kept = self._scenario.slices[self._rows[name]], self._kept.get(name, {})
        stands, grant = name in self.standing, self._grants.get(name)
        promised = kept if stands and kept else entry.model_dump()
        row = picture.slices.ids.index(name) if stands and name in picture.slices.ids else None
        told = stands and (not tenant or kept.get("tenant") == tenant)  # how it was ordered is not the next tenant's
        mine = [one for one in self.orders_of(tenant) if one.slice == name]
        return {
            "name": name,
            "state": "standing" if stands else "free",
            "sst": entry.sst,
            "sd": entry.sd,
            "service": entry.service,
            "target_bps": promised["target_bps"],
            "floor_share": round(promised["floor_share"], 6),
            "tenant": grant.tenant if grant is not None else "",
            "since_s": kept.get("since_s") if told else None,
            "lived": {} if row is None else _lived(picture, row),
            "reserved_share": {} if row is None or tenant else _shares(picture, row),
            "profile": kept.get("profile") if told else None,
            "orders": [one.id for one in mine if one.state in ("judging", "waiting")],
        }


def _print(table: SliceTable) -> bytes:
    """What tells two tables apart."""
    return b"".join(np.asarray(column).tobytes() for column in vars(table).values())


def _choice(change: Change, rows: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} ({entry.sst}-{entry.sd})" for name, entry in rows.items()) or "none"
    return f"{'free rows' if change == 'create' else 'slices'}: {listed}"


def _lived(picture: Picture, row: int) -> dict[str, float]:
    """What the slice's twin knows."""
    twin = picture.slices
    return {
        attribute.name: float(twin.value[row, at])
        for at, attribute in enumerate(twin.attributes)
        if twin.slot[row, at] >= 0
    }


def _shares(picture: Picture, row: int) -> dict[str, float]:
    """The slice's share of every cell and server."""
    pools = (
        (picture.cells.ids, picture.reserved_bandwidth_hz, picture.cell_bandwidth_hz),
        (picture.servers.ids, picture.reserved_cycles_per_s, picture.server_cycles_per_s),
    )
    return {
        name: round(float(held[at, row] / max(float(whole[at]), 1e-9)), 4)
        for ids, held, whole in pools
        for at, name in enumerate(ids)
    }


def _say_failure(done: "Future[Any]") -> None:
    error = done.exception()
    if error is not None:
        _log.error("an order of a slice could not be kept: %s", error)
