"""Who did what, to what, with what outcome: one entry in the append-only log, without secrets."""

import json

from twinloop.service.security.access import Identity
from twinloop.service.security.ports import LogPort
from twinloop.service.security.scrubbing import scrub, scrubbed

LONGEST_DETAIL = 4096
LONGEST_NAME = 200


class Audit:
    """Writes to the log. What cannot be written raises: an act that cannot be recorded is not done."""

    def __init__(self, log: LogPort) -> None:
        self._log = log

    def record(self, identity: Identity | None, action: str, target: str, outcome: str, **detail: object) -> None:
        """Appends an entry; `identity` is None for the server itself. `action` is a verb (`approve`), `target` what it
        was done to (`decision/17`), `outcome` what came of it (`done`, `refused`).
        """
        actor = "server" if identity is None else f"{identity.subject} {identity.name} ({identity.role})"
        text = json.dumps(scrubbed(detail), ensure_ascii=True, allow_nan=False, default=str)
        if len(text) > LONGEST_DETAIL:
            text = json.dumps({"cut": text[: LONGEST_DETAIL // 2]})
        self._log.log(_line(actor), _line(action), _line(target), _line(outcome), text)


def _line(text: str) -> str:
    """A text that stays on its line: without secrets and control characters, and not too long."""
    return "".join(c if c.isprintable() else " " for c in scrub(text))[:LONGEST_NAME]
