"""The agent of a recording: it reports again what was measured, at the pace at which it was, or faster."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from twinloop.network.formats import Rows
from twinloop.service.agent.link import MOST_AHEAD, LinkError, LinkPort
from twinloop.service.agent.recordings import Recording
from twinloop.service.agent.sieve import Sieve, columns_of, cut

STEP_S = 1.0
"""How often something is sent."""

_PLAN_EVERY_STEPS = 5
_MOST_ROWS_A_BATCH = 2_000
_log = logging.getLogger("twinloop.agent")


class ReplayAgent:
    """Reports a recording over a link, thinned to the plan of `site` where one is given. It takes no commands.

    `speed` is how much faster time passes than when it was recorded. `shift`: the first row counts as measured when the
    replay begins, and the others as much later as they are sent; else times stay as they were recorded. While the
    server does not take what is sent, the replay stands; where it refuses whoever sends it, the replay ends, and
    `refusal` says why. `pause(seconds)` waits and gives True to end.
    """

    def __init__(
        self,
        recording: Recording,
        link: LinkPort,
        site: str | None = None,
        *,
        speed: float = 1.0,
        shift: bool = True,
        wall: Callable[[], float] = time.time,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self.sent = 0
        self.done = False
        self.refusal = ""
        self._recording = recording
        self._link = link
        self._site = site
        self._speed = speed
        self._shift = shift
        self._wall = wall
        self._stop = threading.Event()
        self._pause = pause or self._stop.wait
        self._sieve = Sieve()
        self._began_s = wall()
        self._first_s, self._last_s = recording.span_s
        self._until_s = self._first_s
        self._steps = 0

    @property
    def share(self) -> float:
        """How far the replay is, 0 to 1."""
        span_s = self._last_s - self._first_s
        return 1.0 if span_s <= 0 or self.done else min((self._until_s - self._first_s) / span_s, 1.0)

    def run(self) -> None:
        """Replays to the end, and until everything is acknowledged, or until `stop` or a refusal."""
        try:
            while not (self._step() or self._pause(STEP_S)):
                pass
        finally:
            self._link.close()

    def stop(self) -> None:
        """Ends after the step under way."""
        self._stop.set()

    def _step(self) -> bool:
        """Sends what has come to pass since the last step; True once all is over and acknowledged, or refused."""
        self._steps += 1
        try:
            if self._site is not None and self._steps % _PLAN_EVERY_STEPS == 1:
                self._sieve.follow_site(self._site, self._link)
            if self._until_s <= self._last_s and self._link.waiting < MOST_AHEAD:
                self._go_on()
            self.done = self._link.send() and self._until_s > self._last_s
        except LinkError as error:
            if error.lasting:
                self.refusal = str(error)
            else:
                _log.error("%s", error)
        return self.done or bool(self.refusal)

    def _go_on(self) -> None:
        """Sends what has come to pass since the last time, to this moment and with it."""
        passed_s = (self._wall() - self._began_s) * self._speed
        until_s = float(np.nextafter(self._first_s + passed_s, np.inf))
        for part in self._recording.between(self._until_s, until_s):
            self._put(part)
        self._until_s = max(until_s, self._until_s)

    def _put(self, part: Rows) -> None:
        if self._shift:
            part = replace(part, time_s=self._began_s + (part.time_s - self._first_s) / self._speed)
        part = self._sieve.sift(part)
        for first in range(0, len(part.ids), _MOST_ROWS_A_BATCH):
            batch = cut(part, first, min(first + _MOST_ROWS_A_BATCH, len(part.ids)))
            self._link.put([columns_of(batch)], [])
            self.sent += len(batch.ids)
