"""How much each tenant may still ask today: a budget of epsilon that only the next day renews."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.security.errors import BudgetSpent, InvalidInput
from twinloop.service.security.ports import RecordsPort

COLLECTION = "privacy"
DAY_S = 86_400
STEPS = 1_000_000
"""Epsilon is counted in whole millionths, rounded up, so that a sum of many small ones is exact."""


class PrivacySettings(BaseModel):
    """Epsilon of each tenant a day, of an answer that names none, and the least that an answer may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epsilon_a_day: Annotated[float, Field(gt=0, le=20)] = 2.0
    epsilon: Annotated[float, Field(gt=0, le=5)] = 0.1
    least_epsilon: Annotated[float, Field(ge=1e-3, le=1)] = 0.01


@dataclass(frozen=True, slots=True)
class Budget:
    """A tenant's epsilon of today: the whole, what is spent and left, and when it is renewed (epoch seconds)."""

    epsilon_a_day: float
    spent: float
    left: float
    renews_s: float


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a tenant spent on a day, counted from the epoch, in steps."""

    day: int
    spent: int


class Ledger:
    """Budgets of all tenants, written to `records` before an answer is given: no restart and no crash refills one.

    A day is one of UTC, and never an earlier one than was charged before, whatever the clock says.
    """

    def __init__(self, records: RecordsPort, settings: PrivacySettings, now: Callable[[], float]) -> None:
        self._records = records
        self._settings = settings
        self._now = now
        self._lock = threading.Lock()

    def budget(self, tenant: str) -> Budget:
        """What a tenant has today."""
        return self._told(self._read(tenant)[0])

    def charge(self, tenant: str, epsilon: float | None = None) -> tuple[float, Budget]:
        """Takes the epsilon of one answer, the settings' where None; gives it and what is left.

        Raises InvalidInput for an epsilon out of range, BudgetSpent where less is left. What the storage does not
        accept is not charged, and its error goes to the caller, who has no answer to give.
        """
        asked = self._settings.epsilon if epsilon is None else epsilon
        if not self._settings.least_epsilon <= asked <= self._settings.epsilon_a_day:
            lowest, highest = self._settings.least_epsilon, self._settings.epsilon_a_day
            raise InvalidInput(f"epsilon {asked} is out of range", f"give {lowest:g} to {highest:g}")
        steps = math.ceil(asked * STEPS)
        with self._lock:
            held, revision = self._read(tenant)
            if held.spent + steps > self._whole:
                told = self._told(held)
                raise BudgetSpent(asked, told.left, told.renews_s, told.renews_s - self._now())
            charged = _Kept(held.day, held.spent + steps)
            body = msgspec.json.encode(charged).decode()
            self._records.put(COLLECTION, tenant, body, tenant=tenant, expected_revision=revision)
        return asked, self._told(charged)

    @property
    def _whole(self) -> int:
        return int(self._settings.epsilon_a_day * STEPS)

    def _read(self, tenant: str) -> tuple[_Kept, int]:
        """What a tenant spent today, and the revision of the document that says so."""
        today = int(self._now() // DAY_S)
        record = self._records.get(COLLECTION, tenant)
        if record is None:
            return _Kept(today, 0), 0
        kept = msgspec.json.decode(record.body, type=_Kept)
        return (_Kept(today, 0) if today > kept.day else kept), record.revision

    def _told(self, kept: _Kept) -> Budget:
        left = max(self._whole - kept.spent, 0)
        return Budget(self._settings.epsilon_a_day, kept.spent / STEPS, left / STEPS, float((kept.day + 1) * DAY_S))
