"""Times as people and programs write them: epoch seconds, RFC 3339, or how long ago."""

import math
from datetime import UTC, datetime

from twinloop.service.api.problems import ProblemError
from twinloop.units import seconds_from_text

_LATEST_S = 1e11
_HINT = "give epoch seconds, RFC 3339 such as 2026-03-01T12:00:00Z, now, or how long ago: -15min, -90s, -2h"


def time_s(name: str, text: str, now_s: float) -> float:
    """Epoch seconds that `text` means; `name` is the argument's. Raises ProblemError (422)."""
    text = text.strip()
    found = math.nan
    if text == "now":
        return now_s
    try:
        found = float(text)
    except ValueError:
        found = _written(text, now_s)
    else:
        found = now_s + found if text.startswith("-") else found
    if not -_LATEST_S < found < _LATEST_S:
        raise ProblemError(422, f"{name}: {text[:60]!r} is no time", _HINT)
    return max(found, 0.0)


def _written(text: str, now_s: float) -> float:
    try:
        if text.startswith("-"):
            return now_s - seconds_from_text(text[1:])
        # A plus in a query that was not quoted arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
