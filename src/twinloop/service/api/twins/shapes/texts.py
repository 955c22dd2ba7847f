"""Twins as JSON, XML and CSV, and which of them a caller accepts."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec
from fastapi import Request, Response

from twinloop.service.api.problems import ProblemError

JSON = "application/json"
XML = "application/xml"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
encode = msgspec.json.Encoder().encode
_ALIAS = {"text/xml": XML, "application/csv": CSV, "application/jsonl": NDJSON}
_HEAD = ("part", "name", "value", "unit", "std", "measured_s", "age_s", "fidelity")
_ABOUT = ("kind", "id", "slice", "active", "revision", "slot", "time_s")
_ODD = {point: " " for point in range(32) if point not in (9, 10, 13)}


def accepted(request: Request, offers: Sequence[str]) -> str:
    """The media type that the caller likes best of what is offered; the first where it does not say.

    Raises ProblemError (406) where it accepts none.
    """
    best, weight = "", 0.0
    for part in request.headers.get("accept", "*/*").split(","):
        kind, _, rest = part.strip().partition(";")
        kind = _ALIAS.get(kind.strip().lower(), kind.strip().lower())
        liked = _weight(rest)
        found = next((offer for offer in offers if kind in (offer, "*/*", offer.partition("/")[0] + "/*")), "")
        if found and liked > weight:
            best, weight = found, liked
    if not best:
        raise ProblemError(406, "none of the types that you accept is made here", f"accept {', '.join(offers)}")
    return best


def answer(twin: dict[str, Any], media_type: str, headers: dict[str, str]) -> Response:
    """One twin in a media type."""
    made = {JSON: encode, XML: xml_of, CSV: csv_of}[media_type](twin)
    return Response(made, headers={"Vary": "Accept", **headers}, media_type=media_type)


def csv_of(twin: dict[str, Any]) -> str:
    """A twin as a table: lines of `twin` say what it is; then what is reported, emulated, desired, a value a line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEAD)
    for name in _ABOUT:
        if twin.get(name) is not None:
            writer.writerow(["twin", name, _plain(twin[name]), *[""] * 5])
    for part in ("reported", "emulated"):
        for name, told in (twin.get(part) or {}).items():
            writer.writerow([part, name, *(_plain(told.get(key)) for key in _HEAD[2:])])
    for name, value in _flat(twin.get("desired") or {}):
        writer.writerow(["desired", name, _plain(value), *[""] * 5])
    return stream.getvalue()


def xml_of(twin: dict[str, Any]) -> bytes:
    """A twin as one element; what is not known is left out."""
    root = element_of(twin)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def element_of(twin: dict[str, Any]) -> ElementTree.Element:
    """A twin as an element."""
    root = ElementTree.Element("twin", {name: _plain(twin[name]) for name in _ABOUT if twin.get(name) is not None})
    for part in ("reported", "emulated"):
        for name, told in (twin.get(part) or {}).items():
            known = {key: _plain(value) for key, value in told.items() if value is not None}
            ElementTree.SubElement(root, part, {"name": name, **known})
    for name, value in _flat(twin.get("desired") or {}):
        if value is not None:
            ElementTree.SubElement(root, "desired", {"name": name, "value": _plain(value)})
    return root


def lines_of(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if head:
        writer.writerow(head)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return stream.getvalue()


def _flat(nested: dict[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).translate(_ODD)


def _weight(parameters: str) -> float:
    for part in parameters.split(";"):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
