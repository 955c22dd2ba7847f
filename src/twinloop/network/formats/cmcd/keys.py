"""What players say of themselves with each request: CTA-5004 Common Media Client Data, version 1.

Sent as a query argument, as headers, or as JSON; here all three become the same `Cmcd`.
"""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from twinloop.errors import FormatError
from twinloop.network.formats.wire import one_line, shown

LONGEST_CHARACTERS = 8_192
HEADERS = ("cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status")

_Whole = Annotated[int, Meta(ge=0, le=2**53)]
_Name = Annotated[str, Meta(max_length=128)]
_PAIR = re.compile(r'[ \t]*([A-Za-z0-9.-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^,"]*)))?(?:,|\Z)')
_ESCAPED = re.compile(r"\\(.)")

_KEYS = {
    "encoded_kbps": "br",
    "buffer_ms": "bl",
    "starved": "bs",
    "content": "cid",
    "duration_ms": "d",
    "throughput_kbps": "mtp",
    "object_type": "ot",
    "playback_rate": "pr",
    "session": "sid",
    "startup": "su",
}


class Cmcd(msgspec.Struct, frozen=True, kw_only=True, rename=_KEYS, omit_defaults=True):
    """The keys of CTA-5004 that say something of a user; None where the player did not send one.

    In the order of the fields: `br` encoded bitrate in kbit/s, `bl` media in the buffer in ms, `bs` true where the
    buffer ran dry since the last request, `cid` content, `d` duration of the object in ms, `mtp` measured throughput in
    kbit/s, `ot` type of the object, `pr` playback rate (absent: 1), `sid` session, `su` true at start, seek or
    recovery.
    Left out: `dl`, `nor`, `nrr`, `rtp`, `sf`, `st`, `tb`, `v` and custom keys, which ask for delivery and do not
    describe the user.
    """

    encoded_kbps: _Whole | None = None
    buffer_ms: _Whole | None = None
    starved: bool = False
    content: _Name | None = None
    duration_ms: _Whole | None = None
    throughput_kbps: _Whole | None = None
    object_type: _Name | None = None
    playback_rate: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    session: _Name | None = None
    startup: bool = False


_KNOWN = frozenset(_KEYS.values())


def parse_cmcd(text: str) -> Cmcd:
    """The keys of a list like `bl=21300,br=3200,bs,sid="6e2fb550"`, as it stands in a header or, decoded, in a query.

    Raises FormatError, naming offset or key, where the text is no such list or a value is impossible.
    """
    if len(text) > LONGEST_CHARACTERS:
        raise FormatError(f"CMCD has {len(text):,} characters; at most {LONGEST_CHARACTERS:,} are read")
    text = text.strip()
    found: dict[str, str | bool] = {}
    place = 0
    while place < len(text):
        match = _PAIR.match(text, place)
        if match is None:
            raise FormatError(
                f'CMCD is broken at character {place}: {shown(text[place:])}; keys are like bl=1200 or sid="x"'
            )
        key, quoted, bare = match.groups()
        if key in _KNOWN:
            found[key] = _ESCAPED.sub(r"\1", quoted) if quoted is not None else bare if bare is not None else True
        place = match.end()
    return _converted(found)


def cmcd_of_query(query: str) -> Cmcd | None:
    """CMCD of the part of a URL behind `?`; None where there is none. Raises FormatError for CMCD that is broken."""
    for argument in query.split("&"):
        if argument.startswith("CMCD="):
            try:
                return parse_cmcd(unquote(argument[len("CMCD=") :], errors="strict"))
            except UnicodeDecodeError:
                raise FormatError("CMCD of the query is not UTF-8 when its escapes are resolved") from None
    return None


def cmcd_of_headers(headers: Mapping[str, str]) -> Cmcd | None:
    """CMCD of the headers of a request, their names in any case; None where there is none.

    Raises FormatError for CMCD that is broken.
    """
    parts = [text for name, text in headers.items() if name.lower() in HEADERS and text.strip()]
    return parse_cmcd(",".join(parts)) if parts else None


def cmcd_of_json(body: bytes) -> Cmcd:
    """CMCD of a JSON object of keys. Raises FormatError for anything else."""
    if len(body) > LONGEST_CHARACTERS:
        raise FormatError(f"CMCD has {len(body):,} bytes; at most {LONGEST_CHARACTERS:,} are read")
    try:
        return msgspec.json.decode(body, type=Cmcd)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"CMCD as JSON: {one_line(error)}") from None


def _converted(found: dict[str, str | bool]) -> Cmcd:
    try:
        return msgspec.convert(found, Cmcd, strict=False)
    except msgspec.ValidationError as error:
        raise FormatError(f"CMCD: {one_line(error)}") from None
