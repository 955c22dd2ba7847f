"""From what a player says with its requests to what the twin of its user knows."""

import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network.formats.cmcd.keys import Cmcd
from twinloop.network.formats.wire import MAX_NAME_CHARACTERS, Row
from twinloop.units import bps_from_kbps, s_from_ms

VIDEO_TYPES = (None, "v", "av")
"""Object types of which rows are made: video, video with audio, and objects that do not say."""

_HIGH = {name: USER_ATTRIBUTES[column(USER_ATTRIBUTES, name)].high for name in ("buffer_s", "rate_bps", "rebuffer_s")}
_CLASSES = 65_536


@dataclass(slots=True)
class _Session:
    """What is remembered of a session: the last request, what was then buffered and fetched, and the stalls so far."""

    time_s: float
    buffer_s: float | None
    fetched_s: float
    playback_rate: float
    stalled_s: float = 0.0


@dataclass
class CmcdFollower:
    """Makes a row of a user from each request for video that carries CMCD.

    - the user is the session `sid` (what no id may hold becomes `_`), or the client where there is none;
    - `bl` becomes `buffer_s` and `mtp` becomes `rate_bps`, each at most what the attribute holds;
    - `br` becomes `version`, the nearest step of `ladder_bps`; absent without a ladder;
    - `cid` becomes `video_class` by `classes`, else by CRC-32 modulo 65,536, the same on every machine;
    - `bs` becomes `rebuffer_s`, the sum since this follower first saw the session. CMCD tells that playback stalled,
      not for how long. Between two requests, dt apart, a buffer of b0 gained what the first one fetched, d, and is b1
      now; what was played took (b0 + d - b1) / pr, and the rest of dt was the stall. A d or b1 that was not sent counts
      as 0 s. Nothing is added at a session's first request, without b0, and at a playback rate of 0: the sum is then
      too low. A request that is not marked `bs` adds nothing.

    Requests for audio, manifests, subtitles and the like are passed over: their `br` and `bl` are not the video's.
    Sessions silent for `forget_s`, and the longest silent above `most_sessions`, are forgotten; their sums start anew.
    """

    ladder_bps: Sequence[float] = ()
    classes: Mapping[str, int] = field(default_factory=dict[str, int])
    forget_s: float = 300.0
    most_sessions: int = 100_000
    _sessions: OrderedDict[str, _Session] = field(default_factory=OrderedDict[str, _Session], init=False, repr=False)

    def take(self, time_s: float, client: str, cmcd: Cmcd) -> Row | None:
        """The row of a request of `client` at `time_s` (epoch seconds); None where it tells nothing of a user."""
        name = fit_name(cmcd.session or client)
        if cmcd.object_type not in VIDEO_TYPES or not name:
            return None
        self._forget(time_s)
        stalled_s = self._follow(name, time_s, cmcd)
        values: dict[str, float | None] = {"rebuffer_s": min(stalled_s, _HIGH["rebuffer_s"])}
        if cmcd.buffer_ms is not None:
            values["buffer_s"] = min(s_from_ms(float(cmcd.buffer_ms)), _HIGH["buffer_s"])
        if cmcd.throughput_kbps is not None:
            values["rate_bps"] = min(bps_from_kbps(float(cmcd.throughput_kbps)), _HIGH["rate_bps"])
        if cmcd.encoded_kbps is not None and self.ladder_bps:
            encoded_bps = bps_from_kbps(float(cmcd.encoded_kbps))
            steps = range(len(self.ladder_bps))
            values["version"] = float(min(steps, key=lambda step: abs(self.ladder_bps[step] - encoded_bps)))
        if cmcd.content:
            values["video_class"] = float(self.classes.get(cmcd.content, _class_of(cmcd.content)))
        return Row(kind="user", id=name, time_s=time_s, values=values)

    def _follow(self, name: str, time_s: float, cmcd: Cmcd) -> float:
        """Remembers the request; gives the stalls of the session so far, in seconds."""
        buffer_s = None if cmcd.buffer_ms is None else s_from_ms(float(cmcd.buffer_ms))
        last = self._sessions.pop(name, None)
        now = _Session(
            time_s=time_s,
            buffer_s=buffer_s,
            fetched_s=s_from_ms(float(cmcd.duration_ms or 0)),
            playback_rate=1.0 if cmcd.playback_rate is None else cmcd.playback_rate,
        )
        if last is not None:
            now.stalled_s = last.stalled_s + (_stall_s(last, time_s, buffer_s or 0.0) if cmcd.starved else 0.0)
            now.time_s = max(time_s, last.time_s)
        self._sessions[name] = now
        return now.stalled_s

    def _forget(self, now_s: float) -> None:
        while self._sessions:
            name, oldest = next(iter(self._sessions.items()))
            if now_s - oldest.time_s <= self.forget_s and len(self._sessions) < self.most_sessions:
                break
            del self._sessions[name]


def _stall_s(last: _Session, time_s: float, buffer_s: float) -> float:
    """How long playback stood still since the last request; 0 where that cannot be told."""
    if last.buffer_s is None or last.playback_rate <= 0:
        return 0.0
    passed_s = max(time_s - last.time_s, 0.0)
    played_s = (last.buffer_s + last.fetched_s - buffer_s) / last.playback_rate
    return min(max(passed_s - played_s, 0.0), passed_s)


def _class_of(content: str) -> int:
    return zlib.crc32(content.encode("utf-8", "surrogatepass")) % _CLASSES


def fit_name(name: str) -> str:
    """A name that may be an id: printable, without `/` and space (these become `_`), at most 128 characters."""
    return "".join(c if c.isprintable() and c not in " /" else "_" for c in name[:MAX_NAME_CHARACTERS])
