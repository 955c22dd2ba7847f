"""Who is signed in: tokens stay in the server's memory, a browser holds but the signed number of its session."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twinloop.service.dashboard.asking import Answer, Api, Feeds

MOST_SESSIONS = 2_000
IDLE_S = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token is, as the API says: `expires_s` in epoch seconds, None for never."""

    name: str
    role: str
    permissions: frozenset[str]
    tenant: str = ""
    expires_s: float | None = None

    def why_not(self, permission: str) -> str:
        """Why the token may not do something, "" where it may."""
        if permission in self.permissions:
            return ""
        return f"Your token ({self.role}) may not do this: it lacks the permission {permission}."


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's sign-in."""

    caller: Caller
    api: Api
    feeds: Feeds


class Sessions:
    """Sign-ins by the number of the browser's session; the ones idle for longest end first."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: OrderedDict[str, tuple[Session, float]] = OrderedDict()

    async def sign_in(self, number: str, application: Any, token: str, address: str) -> Answer:
        """Opens a session where the API knows the token; gives the API's word on who it is."""
        if not (token.isascii() and token.isprintable()):
            return Answer(401, detail="the token holds characters that no token has", hint="copy it once more")
        api = Api(application, token, address)
        answer = await api.get("/whoami")
        if answer.ok:
            caller = Caller(
                name=answer.body["name"],
                role=answer.body["role"],
                permissions=frozenset(answer.body["permissions"]),
                tenant=answer.body.get("tenant", ""),
                expires_s=answer.body.get("expires_s"),
            )
            self._open[number] = (Session(caller, api, Feeds.of(application, token)), self._now())
            while len(self._open) > MOST_SESSIONS:
                self._open.popitem(last=False)
        return answer

    def find(self, number: str) -> Session | None:
        """The session of a browser, None where it has none or has not been seen for twelve hours."""
        session, seen_s = self._open.get(number, (None, 0.0))
        if session is None or self._now() - seen_s > IDLE_S:
            self._open.pop(number, None)
            return None
        self._open[number] = (session, self._now())
        self._open.move_to_end(number)
        return session

    def is_open(self, number: str, session: Session) -> bool:
        """Whether this is still the session of a browser."""
        return self._open.get(number, (None, 0.0))[0] is session

    def sign_out(self, number: str, session: Session) -> None:
        """Ends a session, and no later one of the same browser."""
        if self.is_open(number, session):
            del self._open[number]
