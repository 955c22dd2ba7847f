"""Who did what, to what, with what outcome: entries in the append-only log, without secrets."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from twinloop.service.security.access import Identity
from twinloop.service.security.ports import LogPort
from twinloop.service.security.scrubbing import scrub, scrubbed

LONGEST_DETAIL = 4096
LONGEST_NAME = 200


@dataclass
class Act:
    """What is being done: to what, and what came of it."""

    target: str
    outcome: str = "done"
    detail: dict[str, object] = field(default_factory=dict[str, object])


class Audit:
    """Writes to the log. What cannot be written raises."""

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

    @contextmanager
    def act(self, identity: Identity, action: str, target: str, **detail: object) -> Generator[Act]:
        """Around what is done: an entry `asked` before it, so that an act that cannot be recorded is not done, and one
        with its outcome behind it, which may be changed in between; `failed` with the reason where it raises. Raises
        whatever the log raises.
        """
        self.record(identity, action, target, "asked", **detail)
        doing = Act(target, detail=dict(detail))
        try:
            yield doing
        except Exception as error:
            self.record(identity, action, target, "failed", why=str(error) or type(error).__name__)
            raise
        self.record(identity, action, doing.target, doing.outcome, **doing.detail)


def _line(text: str) -> str:
    """A text that stays on its line: without secrets and control characters, and not too long."""
    return "".join(c if c.isprintable() else " " for c in scrub(text))[:LONGEST_NAME]
