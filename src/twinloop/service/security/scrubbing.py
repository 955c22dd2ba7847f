"""Secrets do not get into logs: what looks like one is taken out of texts, structures and log records."""

import logging
import math
import re
import traceback
from collections.abc import Collection, Mapping
from typing import Any, cast

GONE = "***"
DEEPEST = 8
LONGEST = 16_384
_NAMES = (
    r"pass(?:word|wd|phrase)|secret|token|api[_-]?key|private[_-]?key|signing[_-]?key|authorization|cookie|credential"
    r"|ticket|assertion|signature|(?<![a-z])(?:pwd|sig)(?![a-z])"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)

# Every repetition is bounded or cannot fail after it, so that no text takes more than linear time.
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL)
_OURS = re.compile(r"(tl_[0-9a-f]{12})_[A-Za-z0-9_-]{20,}")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,4096}+(?:\.[A-Za-z0-9_-]*){1,4}")
_USERINFO = re.compile(r"(?<=://)[^\s/@:\"'<>]{0,200}:[^\s\"'<>]{1,200}@")
_SCHEME = re.compile(
    r"\b((?:bearer(?:\s|%20|\+){1,8}(?=[^\s]{8})|basic(?:\s|%20|\+){1,8}(?=[^\s]{16})))[A-Za-z0-9._~+/=%-]+",
    re.IGNORECASE,
)
_VALUE = re.compile(
    rf"((?:{_NAMES})[\w-]{{0,32}}(?:\\{{0,8}}[\"']\]?\s{{0,8}}(?:=>|[=:,])|\]?\s{{0,8}}(?:=>|[=:]|%3d|%3a))\s{{0,8}})"
    r"(?:b?\"(?:[^\"\\]|\\.)*\"?|b?'(?:[^'\\]|\\.)*'?|(?P<quote>\\{1,8}[\"'])(?:(?!(?<!\\)(?P=quote)).)*(?:(?P=quote))?"
    r"|(?:bearer|basic|digest|negotiate)\s{1,8}[^\s,;&\"'}\])]+|[^\s,;&\"'}\])]+)",
    re.IGNORECASE | re.DOTALL,
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_ACCESS = "uvicorn.access"
"""Whose formatter needs its arguments; each has been cleaned."""


def scrub(text: str) -> str:
    """The text without what looks like a secret: our tokens, JSON Web Tokens, values after `Bearer`, passwords in
    addresses, private keys, and whatever follows a name such as `password`, `token` or `cookie`.

    A text of more than 16,384 characters is cut.
    """
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    text = _PRIVATE_KEY.sub(GONE, text)
    text = _OURS.sub(rf"\1_{GONE}", text)
    text = _JWT.sub(GONE, text)
    text = _USERINFO.sub(f"{GONE}@", text)
    text = _VALUE.sub(rf"\1{GONE}", text)
    return _SCHEME.sub(rf"\1{GONE}", text)


def scrubbed(value: object, depth: int = 0) -> Any:
    """A structure in the types of JSON without secrets: values under names of secrets, and those that look like one.

    What is deeper than eight levels, or neither text, number, mapping nor sequence, is told by its scrubbed `str`.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return scrub(value.decode("utf-8", "replace"))
    if depth < DEEPEST and isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return {scrub(str(name)): _under(str(name), inner, depth) for name, inner in items}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return _scrubbed_all(cast(Collection[object], value), depth)
    return scrub(str(value))


def _scrubbed_all(values: Collection[object], depth: int) -> list[Any]:
    """The values of a sequence; of two, the first may be the name of a secret, as headers are written."""
    listed = list(values)
    if len(listed) == 2 and isinstance(listed[0], str | bytes):
        name = scrubbed(listed[0])
        return [name, _under(name, listed[1], depth)]
    return [scrubbed(inner, depth + 1) for inner in listed]


def _under(name: str, value: object, depth: int) -> Any:
    """The value of a name; gone where the name is that of a secret, unless there is none."""
    return GONE if _NAME.search(name) and value not in (None, "") else scrubbed(value, depth + 1)


class SecretFilter:
    """Takes secrets out of log records: message, arguments, traceback, and whatever was attached by `extra`.

    For `Handler.addFilter`: a filter of a logger does not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record passes, changed in place."""
        try:
            self._clean(record)
        except Exception as error:  # a log line must neither end a request nor be written unread
            record.msg, record.args = f"a log line was withheld: {type(error).__name__}", None
            record.exc_info = record.exc_text = record.stack_info = None
        return True

    def _clean(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, Mapping):
            record.args = {name: _argument(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(_argument(value) for value in record.args)
        said = record.getMessage()
        clean = scrub(said)
        if not record.args or (clean != said and record.name != _ACCESS):
            record.msg, record.args = clean, None
        if record.exc_info:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_info = None
        if record.exc_text:
            record.exc_text = scrub(record.exc_text)
        if record.stack_info:
            record.stack_info = scrub(record.stack_info)
        for name in vars(record).keys() - _STANDARD:
            setattr(record, name, _under(name, getattr(record, name), 0))


def _argument(value: object) -> object:
    """An argument of a log message: as it is where its text holds no secret, so that formats of numbers still fit."""
    if isinstance(value, int | float | None):
        return value
    if isinstance(value, Mapping | list | tuple | bytes):
        return scrubbed(cast(object, value))
    said = str(value)
    clean = scrub(said)
    return clean if clean != said else value
