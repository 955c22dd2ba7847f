"""Names of topics, who may speak on them, and what the bytes of a message are."""

from enum import StrEnum

import msgspec

ROOT = "twinloop"
SHARED_REPORTS = f"$share/{ROOT}/{ROOT}/+/reports"
"""What a server subscribes to: every report goes to one of those who share the subscription."""

MOST_BYTES = 2 * 2**20
"""Of one message; a broker that speaks MQTT 5 is told, and delivers nothing larger."""

_MSGPACK_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)
_decode_line = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Topic(StrEnum):
    """What is said on `twinloop/{site}/...`: reports by the site, the rest by the server."""

    REPORTS = "reports"
    PLAN = "plan"
    COMMAND = "command"
    ANSWERS = "answers"


def topic_of(site: str, topic: Topic) -> str:
    """Full name of a site's topic."""
    return f"{ROOT}/{site}/{topic}"


def site_of(topic: str) -> str:
    """The site in the name of a topic, "" where there is none."""
    parts = topic.split("/")
    return parts[1] if len(parts) == 3 else ""


def may_speak(site: str, source: str) -> bool:
    """Whether reports of `source` may come on the topic of `site`: it is the site, or a part of it (`site:...`)."""
    return bool(site) and source.partition(":")[0] == site


def media_type_of(payload: bytes, content_type: str) -> str:
    """What a payload is: as it says itself (MQTT 5), else msgpack by its first byte, else JSON or lines of JSON."""
    if content_type:
        return content_type
    if payload[:1] and payload[0] in _MSGPACK_MAPS:
        return "application/msgpack"
    first, _, rest = payload.lstrip().partition(b"\n")
    if not rest.strip():
        return "application/json"
    try:
        _decode_line(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "application/json"
    return "application/x-ndjson"
