"""What a line to a broker serves, and nothing more of the server behind it."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from twinloop.network import Command, Plan
from twinloop.service.intake import Intake
from twinloop.storage import Storage


@dataclass(frozen=True)
class Served:
    """The parts of a server that messages reach, and where what is published comes from.

    `server` is its lasting name, `clock` gives epoch seconds. `plan` and `command` give what stands for a site if it is
    another than revision `after`; `news(number)` waits for a slot after `number`, or some seconds, and gives the last.
    """

    server: str
    clock: Callable[[], float]
    intake: Intake
    storage: Storage
    sites: Collection[str]
    plan: Callable[[str, int], Plan | None]
    command: Callable[[str, int], Command | None]
    news: Callable[[int], Awaitable[int]]
