"""How a model is kept, and what is told of it."""

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["operation", "gathering", "training", "trial", "probation", "rest"]
Kind = Literal["drift", "refresh", "training", "fault", "refused", "promoted", "kept", "again", "rolled back"]


@dataclass(frozen=True)
class UpkeepRules:
    """How a model is kept; counts are of slots unless told.

    After an alarm `gather` slots are collected, every fifth of them for selection; training takes `courses` of `steps`
    steps with `replay` as the share of old examples (of at most `reservoir`). The candidate is tried on at least
    `fresh` slots that came after training began, serves on `probation`, and is then kept; `rest` follows a refusal
    or a rollback. Where a kept version's error is still more than `tolerance` above the level before the drift,
    another update follows at once, at most `repeats` in a row. Where a second candidate is refused soon after the
    first, updates do not help and the level of the error is learned anew. An update is also begun `refresh` slots after
    anything was last done, None: never. `lag` None takes a candidate when it is ready
    (live); a number takes it exactly so many slots after training began, so that a simulated run can be repeated.
    """

    gather: int = 40
    fresh: int = 10
    probation: int = 40
    rest: int = 20
    courses: int = 20
    steps: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    replay: float = 0.25
    reservoir: int = 2048
    confidence: float = 0.95
    tolerance: float = 0.1
    repeats: int = 2
    lag: int | None = 5
    refresh: int | None = None


@dataclass(frozen=True)
class UpkeepEvent:
    """Something that upkeep did in `slot`, to which version, why, and the figures that decided."""

    slot: int
    kind: Kind
    version: int
    reason: str
    figures: dict[str, float] = field(default_factory=lambda: {})
