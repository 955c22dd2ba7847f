"""The way in: batches are checked, made durable, acknowledged, and passed on to the twins in their order."""

from twinloop.service.intake.ledger import Ledger, SourceState
from twinloop.service.intake.pipeline import Ack, Bounds, BusyError, Intake

__all__ = ["Ack", "Bounds", "BusyError", "Intake", "Ledger", "SourceState"]
