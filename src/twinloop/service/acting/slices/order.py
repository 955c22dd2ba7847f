"""An order of a slice and its answer, and what ordering needs of the rest of the service."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from twinloop.errors import TwinloopError
from twinloop.loop import Loop, LoopState
from twinloop.scenario import Event
from twinloop.service.acting.decisions import Consent
from twinloop.service.acting.dispatch import Mode
from twinloop.service.acting.record import Decision
from twinloop.slicing import SliceTable
from twinloop.validation import Admission

Change = Literal["create", "adjust", "end"]
ENDED = frozenset({"feasible", "infeasible", "applied", "refused", "rejected", "failed"})
_AT_S = 1.0
Result = TypeVar("Result")
Judge = Callable[[Loop[Any], LoopState, SliceTable, tuple[int, SliceTable]], Admission]
"""What the twins answer to an order: `runs.admission`."""


class NoSliceError(TwinloopError):
    """There is no such slice, as far as who asks may know."""


@runtime_checkable
class Ground(Protocol):
    """The loop, as far as slices touch it."""

    def run(self, job: Callable[[], Result]) -> Result:
        """Does `job` on the loop's thread between two slots. Raises DecisionError where it does not come to it."""
        ...

    def now(self) -> tuple[Loop[Any], LoopState]:
        """The loop and its state; on its thread."""
        ...

    def change_slices(self, table: SliceTable) -> None:
        """Other promises hold from the next slot on; on the loop's thread."""
        ...


@runtime_checkable
class GrantLike(Protocol):
    """Whose a slice is."""

    @property
    def slice(self) -> str:
        """Its name."""
        ...

    @property
    def tenant(self) -> str:
        """Who has it."""
        ...

    @property
    def since_s(self) -> float:
        """Since when, epoch seconds."""
        ...


@runtime_checkable
class GrantsPort(Protocol):
    """Which tenant has which slice."""

    def assign(self, name: str, tenant: str) -> GrantLike:
        """Gives a slice to a tenant."""
        ...

    def release(self, name: str) -> None:
        """Takes it away."""
        ...

    def get(self, name: str) -> GrantLike | None:
        """Whose a slice is."""
        ...

    def of(self, tenant: str) -> Sequence[GrantLike]:
        """What a tenant has."""
        ...


@runtime_checkable
class ConsentsPort(Protocol):
    """Where orders wait for a person."""

    def ask(self, decision: Decision, consent: Consent) -> None:
        """Has a decision wait."""
        ...

    def get(self, name: str) -> Decision | None:
        """A decision."""
        ...

    def supersede(self, why: str) -> None:
        """Decisions about reservations that wait are overtaken."""
        ...


@runtime_checkable
class AuthorityPort(Protocol):
    """What may be done without asking."""

    @property
    def mode(self) -> Mode:
        """How decisions are taken now."""
        ...

    @property
    def acts(self) -> bool:
        """Whether anything is done now without asking."""
        ...


@dataclass(frozen=True)
class Orderer:
    """Who orders: a name, and the tenant; "" for who runs the network."""

    name: str
    tenant: str = ""


@dataclass
class Order:
    """One order and its answer. `part` is the largest part of it that fits (1 is all), with its rate and floor.
    `granted` says whose the slice was when it was ordered, and since when.

    `state`: judging, waiting (for consent), and the ends: feasible and infeasible (only asked whether), applied,
    refused (by the twins, or no longer possible), rejected (by a person), failed (could not be judged).
    """

    id: str
    made_s: float
    change: Change
    slice: str
    by: str
    tenant: str
    check: bool
    promises: dict[str, float]
    state: str = "judging"
    reason: str = ""
    breaks: str = ""
    lacks: str = ""
    part: float = 0.0
    offer_bps: float = 0.0
    offer_floor_share: float = 0.0
    decision: str | None = None
    profile: dict[str, Any] | None = None
    not_covered: list[str] = field(default_factory=list[str])
    ended_s: float | None = None
    granted: str = ""

    def event(self) -> Event:
        """The change, as a scenario would write it."""
        return Event(at=_AT_S, change=self.change, slice=self.slice, **self.promises)

    def told(self, tenant: str) -> dict[str, Any]:
        """For who asks: a tenant learns of no other slice than its own."""
        told = asdict(self)
        del told["granted"]
        if tenant and self.breaks and self.breaks != self.slice:
            told |= {"breaks": "another slice", "reason": _of_another(self)}
        return told


def _of_another(order: Order) -> str:
    """Why an order is refused for the sake of a slice that is not its own: neither which one nor how near it is."""
    short = f", which would be short of {order.lacks}" if order.lacks else ""
    fits = f"{order.part:.0%} of the order would fit" if order.part > 0 else "no part of it would fit"
    return f"refused: with it the agreement of another slice would break{short}; {fits}"


def order_from(text: str) -> Order:
    """An order as it was kept; what another version wrote besides is left out."""
    kept, known = json.loads(text), {entry.name for entry in fields(Order)}
    return Order(**{name: value for name, value in kept.items() if name in known})
