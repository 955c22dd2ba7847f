"""Orders of slices in a run: the twins judge each before it is applied, and what they answered is kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.scenario import Scenario, changed, due_events, order_of
from twinloop.slicing import SliceTable
from twinloop.validation import (
    Admission,
    Breaches,
    Emulation,
    admit,
    agreed_figures,
    granted,
    judge_order,
    most_grantable,
)

_SALT = 13
_NOT_STANDING = "left out: the slice does not stand, since its order was refused"
_STANDS = "left out: the slice stands already"


@dataclass(frozen=True)
class Answer:
    """What became of an event: `answer` is admitted, refused or left out, with the reason.

    `number` is the event's in the scenario. `target_bps` and `floor_share` are what was asked for, `offer_bps` and
    `offer_floor_share` what would fit (0 where nothing would), `offer` that as a part of the order.
    """

    number: int
    slot: int
    change: str
    slice: str
    answer: str
    reason: str
    offer: float = 0.0
    target_bps: float = 0.0
    floor_share: float = 0.0
    offer_bps: float = 0.0
    offer_floor_share: float = 0.0


class Orders:
    """The orders of one scenario, judged as they come where its policy says so."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._names = [entry.name for entry in scenario.slices]
        self.answers: list[Answer] = []

    @property
    def left_out(self) -> set[int]:
        """Numbers of the events that are not applied."""
        return {answer.number for answer in self.answers if answer.answer != "admitted"}

    def told(self) -> list[dict[str, Any]]:
        """All answers so far, for a summary or a checkpoint."""
        return [asdict(answer) for answer in self.answers]

    def remember(self, told: list[dict[str, Any]]) -> None:
        """Go on from what `told` said."""
        self.answers = [Answer(**answer) for answer in told]

    def prepare(self, key: PRNGKeyArray, loop: Loop[SimulatedNetwork], state: LoopState, slots: int) -> None:
        """Compile what judging takes if anything is ordered within `slots`, not in operation."""
        coming = due_events(self._scenario, 0, slots) if self._scenario.policy.admission else []
        if any(event.change != "end" for _, event in coming):
            _judge(key, self._scenario, loop, state, loop.slices, (0, loop.slices))(1.0)

    def judge(
        self, key: PRNGKeyArray, loop: Loop[SimulatedNetwork], state: LoopState, first_slot: int, slots: int
    ) -> None:
        """Answer what is ordered in the coming block; `loop` is as it stood before it."""
        if not self._scenario.policy.admission:
            return
        table = loop.slices
        for number, event in due_events(self._scenario, first_slot, slots):
            answer = Answer(number, round(event.at / loop.slot_s), event.change, event.slice, "admitted", "")
            stands = bool(table.active[self._names.index(event.slice)])
            order = order_of(self._scenario, table, event)
            if stands == (event.change == "create"):
                self.answers.append(replace(answer, answer="left out", reason=_STANDS if stands else _NOT_STANDING))
                continue
            if order is not None:
                k = jax.random.fold_in(jax.random.fold_in(key, _SALT), number)
                found = admission(k, self._scenario, loop, state, table, order)
                answer = _answered(answer, found, table, order)
                self.answers.append(answer)
            table = changed(self._scenario, table, event) if answer.answer == "admitted" else table


def admission(
    key: PRNGKeyArray,
    scenario: Scenario,
    loop: Loop[Any],
    state: LoopState,
    table: SliceTable,
    order: tuple[int, SliceTable],
) -> Admission:
    """What the twins of a loop, simulated or live, answer to an order: its row and the table as ordered, where `table`
    stands. Compiles on first use.
    """
    row, ordered = order
    names = [entry.name for entry in scenario.slices]
    return admit(_judge(key, scenario, loop, state, table, order), names, row, most_grantable(table, ordered, row))


def _judge(
    key: PRNGKeyArray,
    scenario: Scenario,
    loop: Loop[Any],
    state: LoopState,
    table: SliceTable,
    order: tuple[int, SliceTable],
) -> Callable[[float], Breaches]:
    emulation = Emulation(
        judge=loop.window_judge,
        abstractor=loop.abstractor,
        reservation=loop.reservations[0],
        allocation=loop.allocations[0],
        memory=state.allocations[0],
        foresight=loop.foresight,
        standing=state.standing.action,
    )
    satisfaction, slices = scenario.policy.agreed_satisfaction, len(scenario.slices)
    agreed = agreed_figures(state.twin, loop.abstractor.params.user_slice, slices, satisfaction)
    row, ordered = order
    return judge_order(key, emulation, state.twin, state.forecast, table, ordered, agreed, row)


def _answered(blank: Answer, found: Admission, table: SliceTable, order: tuple[int, SliceTable]) -> Answer:
    row, ordered = order
    offer = granted(table, ordered, row, found.offer)
    fits = found.offer > 0.0
    return replace(
        blank,
        answer="admitted" if found.admitted else "refused",
        reason=found.reason,
        offer=found.offer,
        target_bps=float(ordered.target_bps[row]),
        floor_share=round(float(ordered.floor_share[row]), 6),
        offer_bps=float(offer.target_bps[row]) if fits else 0.0,
        offer_floor_share=round(float(offer.floor_share[row]), 6) if fits else 0.0,
    )
