"""The way in: batches are checked, made durable, acknowledged, and passed on to the twins in their order."""

from twinloop.service.intake.ledger import Ledger, SourceState
from twinloop.service.intake.pipeline import Ack, Bounds, BusyError, Intake
from twinloop.service.intake.placing import Owners, owners_of
from twinloop.service.intake.players import MOST_BYTES, Players, reports_of

__all__ = [
    "MOST_BYTES",
    "Ack",
    "Bounds",
    "BusyError",
    "Intake",
    "Ledger",
    "Owners",
    "Players",
    "SourceState",
    "owners_of",
    "reports_of",
]
