"""How far a source's clock is off, told apart from how long its batches are on their way."""

from dataclasses import dataclass

WATCH_S = 5.0
"""Length of the spans of arrival whose least lags are compared."""

_DRAIN = 0.02


@dataclass
class _Span:
    began_s: float
    least_s: float


@dataclass
class SourceClock:
    """The lag of a batch, its arrival less its `sent_s`, is how far the clock is behind (`off_s`) and the way together.

    The way takes time, so the least lag of a span is nearest to the clock (Cristian 1989). It is believed where two
    spans, one after the other, agree to 2 % of the time between them: a clock's lag stays, that of a backlog shrinks
    as it drains.
    """

    off_s: float = 0.0
    _before: _Span | None = None
    _span: _Span | None = None

    def shift(self, now_s: float, lag_s: float, tolerance_s: float) -> float:
        """Takes note of a batch. Returns the seconds that its times are to be shifted by, 0 within tolerance.

        A clock is never further behind than any batch shows, so one that is ahead is known at once.
        """
        if self._span is None:
            self._span = _Span(now_s, lag_s)
        elif now_s - self._span.began_s < WATCH_S:
            self._span.least_s = min(self._span.least_s, lag_s)
        else:
            self._compare(self._span, tolerance_s)
            self._before, self._span = self._span, _Span(now_s, lag_s)
        off_s = min(self.off_s, lag_s)
        return off_s if abs(off_s) > tolerance_s else 0.0

    def _compare(self, span: _Span, tolerance_s: float) -> None:
        if self._before is None:
            return
        change_s = abs(span.least_s - self._before.least_s)
        if change_s <= min(_DRAIN * (span.began_s - self._before.began_s), tolerance_s):
            self.off_s = min(span.least_s, self._before.least_s)
