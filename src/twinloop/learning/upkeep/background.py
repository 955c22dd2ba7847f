"""Training beside operation: a thread that works in short courses, rests between them, and is asked, never awaited."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
_LEAST_REST_S = 1e-3


@dataclass(frozen=True)
class TrainingOutcome(Generic[Result]):
    """What came of a job: its last result, or in words why there is none; `busy_s` it worked of `elapsed_s`."""

    result: Result | None
    fault: str | None
    busy_s: float
    elapsed_s: float


class BackgroundTraining(Generic[Result]):
    """At most one job at a time in a thread of low priority that works no more than the share `duty` of the time.

    A job is a function that makes an iterator of results, each better than the one before: after every course of work
    the thread rests busy time x (1 / `duty` - 1), so a slot never waits longer than one course for the processor. On
    Linux the thread's own niceness is raised by `niceness`; elsewhere that is left out. Compiled code leaves Python's
    lock, but tracing holds it: compile before operation begins. A job that raises gives its fault as data.
    """

    def __init__(self, duty: float = 0.5, niceness: int = 10) -> None:
        if not 0 < duty <= 1:
            raise ValueError(f"duty {duty}: must lie above 0 and at most at 1")
        self._duty = duty
        self._niceness = niceness
        self._thread: threading.Thread | None = None
        self._outcome: TrainingOutcome[Result] | None = None
        self._stopped = threading.Event()

    @property
    def busy(self) -> bool:
        """True from `start` until the outcome was taken."""
        return self._thread is not None

    def start(self, job: Callable[[], Iterator[Result]]) -> None:
        """Begin a job. Raises RuntimeError while another one's outcome has not been taken."""
        if self.busy:
            raise RuntimeError("a job is under way; take its outcome before starting another")
        self._outcome = None
        self._stopped.clear()
        self._thread = threading.Thread(target=self._work, args=(job,), name="training", daemon=True)
        self._thread.start()

    def poll(self) -> TrainingOutcome[Result] | None:
        """The outcome if there is one, else None; returns at once."""
        if self._thread is None or self._thread.is_alive():
            return None
        return self.wait()

    def wait(self) -> TrainingOutcome[Result] | None:
        """The outcome when it is there; None where no job was started."""
        if self._thread is None:
            return None
        self._thread.join()
        self._thread = None
        return self._outcome

    def stop(self) -> TrainingOutcome[Result] | None:
        """End the job after its present course and give what it has."""
        self._stopped.set()
        return self.wait()

    def _work(self, job: Callable[[], Iterator[Result]]) -> None:
        begun, busy = time.perf_counter(), 0.0
        result: Result | None = None
        fault: str | None = None
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        try:
            courses = iter(job())
            while not self._stopped.is_set():
                start = time.perf_counter()
                result = next(courses)
                course_s = time.perf_counter() - start
                busy += course_s
                self._stopped.wait(max(course_s * (1 / self._duty - 1), _LEAST_REST_S))
        except StopIteration:
            pass
        except Exception as wrong:  # a thread has nobody above it to tell
            fault = f"{type(wrong).__name__}: {wrong}"
        self._outcome = TrainingOutcome(result if fault is None else None, fault, busy, time.perf_counter() - begun)
