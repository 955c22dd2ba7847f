"""One page in one browser: what it looks at, and for how long."""

from collections.abc import Callable
from typing import Any

from nicegui import Client, ui

from twinloop.service.dashboard.asking import Answer, Listener
from twinloop.service.dashboard.sessions import Caller, Session

PERIOD_S = 1.0
REFUSED = 401


class Watch:
    """What a page looks at: one address, which may become another."""

    def __init__(self, visit: "Visit", show: Listener, period_s: float) -> None:
        self.latest: Answer | None = None
        self._visit = visit
        self._show = show
        self._period_s = period_s
        self._path = ""

    def turn(self, path: str) -> None:
        """Looks at another address, or at none."""
        if path == self._path:
            return
        self.end()
        self._path, self.latest = path, None
        if path:
            feed = self._visit.session.feeds.join(path, self._period_s, self._hear)
            if feed.latest is not None:
                self._hear(feed.latest)

    def end(self) -> None:
        """Looks no more."""
        if self._path:
            self._visit.session.feeds.leave(self._path, self._period_s, self._hear)
            self._path = ""

    def again(self) -> None:
        """Shows once more what was heard last."""
        if self.latest is not None:
            self._visit.in_page(lambda: self._show(self.latest or Answer(0)))

    def _hear(self, answer: Answer) -> None:
        first, self.latest = self.latest is None, answer
        if answer.status == REFUSED or not self._visit.is_open():
            self._visit.refused()
        elif self._visit.shows(first):
            self.again()


class Visit:
    """A page while it is open. `show` functions run in the page and may change its elements."""

    def __init__(
        self, client: Client, session: Session, is_open: Callable[[], bool], ended: Callable[[], None]
    ) -> None:
        self.session = session
        self.is_open = is_open
        self._client = client
        self._ended = ended
        self._watches: list[Watch] = []
        self._built = False
        client.on_delete(self._leave)
        client.on_connect(self._return)

    @property
    def caller(self) -> Caller:
        """Whose token it is."""
        return self.session.caller

    def shows(self, first: bool) -> bool:
        """Whether news is shown now: once the page is built, and then where a browser is connected."""
        return self._built and (first or self._client.has_socket_connection)

    def watch(self, path: str, show: Listener, period_s: float = PERIOD_S) -> Watch:
        """Shows an address of the API, as soon as the page is built and every `period_s`."""
        watch = Watch(self, show, period_s)
        self._watches.append(watch)
        watch.turn(path)
        return watch

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Asks the API for something once, unless the sign-in is over."""
        if not self.is_open():
            self.refused()
            return Answer(REFUSED, detail="you are signed out", hint="sign in again")
        answer = await self.session.api.send(method, path, body)
        if answer.status == REFUSED:
            self.refused()
        return answer

    def in_page(self, change: Callable[[], None]) -> None:
        """Changes the page from outside."""
        with self._client:
            change()

    def built(self) -> None:
        """All elements are there: what is known already is shown in them."""
        self._built = True
        self._return()

    def refused(self) -> None:
        """The token is no longer taken, or another page of this browser signed out: the sign-in is over."""
        for watch in self._watches:
            watch.end()
        self._ended()
        if self._built:
            self.in_page(lambda: ui.navigate.to("/sign-in?why=ended"))

    def sign_out(self) -> None:
        """Ends the sign-in."""
        self._ended()
        ui.navigate.to("/sign-in?why=out")

    def _return(self) -> None:
        for watch in self._watches:
            watch.again()

    def _leave(self) -> None:
        for watch in self._watches:
            watch.end()
        self._watches.clear()
