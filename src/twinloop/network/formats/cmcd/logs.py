"""Logs of web servers as rows of users: Common and Combined lines (nginx, Apache) and JSON, where they carry CMCD."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from twinloop.errors import FormatError
from twinloop.network.formats.cmcd.follower import CmcdFollower
from twinloop.network.formats.cmcd.keys import Cmcd, cmcd_of_headers, cmcd_of_query
from twinloop.network.formats.wire import Row, one_line, shown

LONGEST_LINE_CHARACTERS = 65_536

_LINE = re.compile(r'(\S+) \S+ .{0,256}?\[([^\]]{1,64})\] "((?:[^"\\]|\\.)*)"')
_MOMENT = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIMES = ("msec", "time_s", "ts", "time", "time_iso8601", "timestamp", "@timestamp", "time_local")
_CLIENTS = ("remote_addr", "client_ip", "client", "remote_host", "clientip")
_TARGETS = ("request_uri", "uri", "url", "request", "path")
_QUERIES = ("args", "query_string", "query")
_HEADER = re.compile(r"(?:.*[_-])?(cmcd)[_-](object|request|session|status)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A request with CMCD: when (epoch seconds), by whom, and what it said."""

    time_s: float
    client: str
    cmcd: Cmcd


def parse_log_line(line: str) -> LogEntry | None:
    """The request in a line of a log; None where it carries no CMCD.

    Common and Combined lines carry it in the query; a JSON line in the query or as fields like `http_cmcd_request`.
    Raises FormatError for a line that is neither, and for CMCD that is broken.
    """
    if len(line) > LONGEST_LINE_CHARACTERS:
        raise FormatError(f"the line has {len(line):,} characters; at most {LONGEST_LINE_CHARACTERS:,} are read")
    if line.lstrip().startswith("{"):
        return _of_json(line)
    match = _LINE.match(line)
    if match is None:
        raise FormatError(f"{shown(line)} is no line of a Common, Combined or JSON log")
    client, moment, request = match.groups()
    if "CMCD=" not in request:
        return None
    cmcd = cmcd_of_query(_query_of(request))
    return None if cmcd is None else LogEntry(_epoch_s(moment), client, cmcd)


@dataclass
class CmcdLog:
    """Rows of the lines of a log.

    Counts lines, those without CMCD (passed over), and bad ones; `fault` is what is wrong with the last bad one.
    """

    follower: CmcdFollower
    lines: int = 0
    without: int = 0
    bad: int = 0
    fault: str = ""

    def rows(self, lines: Iterable[str]) -> Iterator[Row]:
        """One row for each request that tells something of a user."""
        for line in lines:
            self.lines += 1
            try:
                entry = parse_log_line(line)
            except FormatError as error:
                self.bad += 1
                self.fault = str(error)
                continue
            if entry is None:
                self.without += 1
                continue
            row = self.follower.take(entry.time_s, entry.client, entry.cmcd)
            if row is not None:
                yield row


def _query_of(request: str) -> str:
    """Query of a request line as servers log it: `GET /a/seg-1.m4s?CMCD=... HTTP/1.1`, or of a bare target."""
    words = request.split(" ")
    target = words[1] if len(words) > 1 and "?" not in words[0] else words[0]
    query = target.partition("?")[2].partition("#")[0]
    return query.replace("\\x22", "%22").replace('\\"', "%22").replace("\\x5C", "%5C")


def _epoch_s(moment: str) -> float:
    """Epoch seconds of `10/Oct/2025:13:55:36 -0700`. Raises FormatError for anything else."""
    match = _MOMENT.fullmatch(moment)
    if match is None or match[2] not in _MONTHS:
        raise FormatError(f"{shown(moment)} is no time of a log; it is like 10/Oct/2025:13:55:36 -0700")
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    ahead = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    try:
        zone = timezone(ahead)
        parts = (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), min(int(second), 59))
        return datetime(*parts, tzinfo=zone).timestamp()
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{shown(moment)} is no time of a log ({error})") from None


def _of_json(line: str) -> LogEntry | None:
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FormatError(f"the line is no JSON ({one_line(error)})") from None
    cmcd = _cmcd_of(fields)
    if cmcd is None:
        return None
    time = next((fields[name] for name in _TIMES if name in fields), None)
    client = next((fields[name] for name in _CLIENTS if isinstance(fields.get(name), str)), "")
    time_s = _json_time_s(time)
    if not 0.0 <= time_s < math.inf:
        raise FormatError(f"the line's time is {time_s}; allowed are epoch seconds from 0")
    return LogEntry(time_s, str(client), cmcd)


def _cmcd_of(fields: Mapping[str, object]) -> Cmcd | None:
    headers: dict[str, str] = {}
    for name, value in fields.items():
        match = _HEADER.fullmatch(name[:64])
        if match is not None and isinstance(value, str) and value not in ("", "-"):
            headers[f"cmcd-{match[2].lower()}"] = value
    found = cmcd_of_headers(headers)
    if found is not None:
        return found
    texts = [fields[name] for name in (*_QUERIES, *_TARGETS) if isinstance(fields.get(name), str)]
    for text in map(str, texts):
        if "CMCD=" in text:
            return cmcd_of_query(_query_of(text) if "?" in text else text)
    return None


def _json_time_s(time: object) -> float:
    """Epoch seconds of the time field: a number or its text, ISO 8601 (UTC where no zone is named), or a log's time."""
    if isinstance(time, int | float) and not isinstance(time, bool):
        return float(time)
    if not isinstance(time, str):
        raise FormatError(f"the line has no time; it is looked for in {', '.join(_TIMES)}")
    try:
        return float(time)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return _epoch_s(time)
