"""The agent of a web server: it follows the log, and reports what players say with their requests (CMCD)."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twinloop.network.formats import Batch, CmcdFollower, CmcdLog, Row, check, follow
from twinloop.service.agent.link import MOST_AHEAD, LinkError, LinkPort
from twinloop.service.agent.sieve import Sieve, columns_of, named

LOOK_S = 0.5
"""How often a log without news is looked at."""

_SEND_S = 1.0
_PLAN_S = 5.0
_MOST_ROWS_A_BATCH = 1_000
_log = logging.getLogger("twinloop.agent")


class CmcdLogAgent:
    """Reports over a link what is written into `path` from now on, or from its start, through rotations.

    Thinned to the plan of `site` where one is given. Players are users of `in_slice`. Where the server refuses whoever
    sends it, this ends, and `refusal` says why.
    `pause(seconds)` waits and gives True to end.
    """

    def __init__(
        self,
        path: Path,
        link: LinkPort,
        site: str | None = None,
        *,
        ladder_bps: Sequence[float] = (),
        from_start: bool = False,
        in_slice: str | None = None,
        wall: Callable[[], float] = time.time,
        tick: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self.log = CmcdLog(CmcdFollower(ladder_bps=ladder_bps))
        self.sent = 0
        self.refusal = ""
        self._path = path
        self._link = link
        self._site = site
        self._from_start = from_start
        self._slice = in_slice
        self._wall = wall
        self._tick = tick
        self._stop = threading.Event()
        self._pause = pause or self._stop.wait
        self._sieve = Sieve()
        self._planned_s, self._sent_s = float("-inf"), tick()
        self._rows: list[Row] = []
        self._told_bad = 0

    def run(self) -> None:
        """Follows the log until `stop`; what is read then is sent, if the server still takes it."""
        try:
            for row in self.log.rows(follow(self._path, self._wait, from_start=self._from_start)):
                self._rows.append(row)
                if len(self._rows) >= _MOST_ROWS_A_BATCH or self._tick() - self._sent_s >= _SEND_S:
                    self._send()
                    self._stand_by()
                if self._stop.is_set():
                    break
            if not self.refusal:
                self._send()
        finally:
            self._link.close()

    def stop(self) -> None:
        """Ends soon."""
        self._stop.set()

    def _wait(self) -> bool:
        """Nothing new in the log: what was read goes out, then some time passes. False to end."""
        self._send()
        return not (self._stop.is_set() or self._pause(LOOK_S))

    def _stand_by(self) -> None:
        """Reads no further while the server does not take what was read: the log keeps it."""
        while self._link.waiting >= MOST_AHEAD and not self._stop.is_set() and not self._pause(LOOK_S):
            self._send()

    def _send(self) -> None:
        self._sent_s = self._tick()
        try:
            if self._site is not None and self._sent_s - self._planned_s >= _PLAN_S:
                self._planned_s = self._sent_s
                self._sieve.follow_site(self._site, self._link)
            rows, self._rows = self._rows, []
            if rows:
                self._put(rows)
            self._link.send()
        except LinkError as error:
            self._fail(error)
        if self.log.bad > self._told_bad:
            _log.warning("%d lines of %s cannot be read, the last: %s", self.log.bad, self._path, self.log.fault)
            self._told_bad = self.log.bad

    def _fail(self, error: LinkError) -> None:
        if error.lasting:
            self.refusal = str(error)
            self._stop.set()
        else:
            _log.error("%s", error)

    def _put(self, rows: list[Row]) -> None:
        accepted = check(Batch(self._link.source, 0, rows), self._wall())
        if accepted.refused:
            _log.warning("%d rows are not sent, the first: %s", len(accepted.refused), accepted.refused[0].reason)
        columns = [columns_of(named(part, self._slice)) for part in map(self._sieve.sift, accepted.rows) if part.ids]
        if columns:
            self._link.put(columns, [])
            self.sent += sum(len(part["ids"]) for part in columns)
