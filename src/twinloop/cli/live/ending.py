"""Ctrl-C and polite kills for programs that run until they are told to end.

As an exception either would come in the midst of compiled code, which loses it or crashes.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType


def leave_at_once() -> None:
    """From now on a signal ends the program with one line: nothing was begun that could be left half done."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.stderr.write("ended before it began\n")
        sys.stderr.flush()
        os._exit(130)

    _on_signals(leave)


def told_to_end() -> threading.Event:
    """Is set by a signal from now on; further ones change nothing."""
    told = threading.Event()
    _on_signals(lambda number, frame: told.set())
    return told


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)
