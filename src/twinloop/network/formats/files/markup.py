"""Reports as XML: `<report><row kind="user" id="ue-1"><value name="RSRP">-87.5</value></row></report>`, as a stream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

import defusedxml.expatreader
from defusedxml.common import DefusedXmlException

from twinloop.errors import DataError
from twinloop.network.formats.decoding import ROW_TEXT_CHARACTERS, ReadRows
from twinloop.network.formats.files.tables import MISSING
from twinloop.network.formats.wire import Refusal, Row, shown

_CHUNK_BYTES = 2**16
_LONGEST_NUMBER = 400
_INSIDE = {"": "report", "report": "row", "row": "value"}
_ALLOWED = {
    "report": (),
    "row": ("kind", "id", "time_s", "slice", "group", "period_s"),
    "value": ("name",),
}


class _ReportReader(ContentHandler):
    """Collects rows from the events of the parser; a fault of the document ends the reading."""

    def __init__(self, path: Path, parser: Any) -> None:
        super().__init__()
        self.path = path
        self.parser = parser
        self.open = [""]
        self.rows: list[Row] = []
        self.places: list[int] = []
        self.refused: list[Refusal] = []
        self.row: dict[str, str] = {}
        self.values: dict[str, float | None] = {}
        self.name = ""
        self.text = ""
        self.fault = ""
        self.line = 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 - named by xml.sax
        """Begins a report, a row or a value."""
        expected = _INSIDE.get(self.open[-1])
        if name != expected:
            raise self.error(f"element {shown(name)}", f"<{expected}>" if expected else "a number")
        unknown = [key for key in attrs.getNames() if key not in _ALLOWED[name]]
        if unknown:
            allowed = ", ".join(_ALLOWED[name]) or "none"
            raise self.error(f"<{name}> has the attribute {shown(unknown[0])}", allowed)
        self.open.append(name)
        if name == "row":
            self.row, self.values, self.fault = dict(attrs.items()), {}, ""
            self.line = self.place()[0]
        elif name == "value":
            self.name, self.text = attrs.get("name", ""), ""
            if not self.name:
                raise self.error("<value> has no name", '<value name="rate_bps">')

    def characters(self, content: str) -> None:
        """Gathers the number of a value."""
        if self.open[-1] == "value":
            self.text = (self.text + content)[:_LONGEST_NUMBER]
        elif content.strip():
            raise self.error(f"text {shown(content.strip())}", "numbers inside of <value>")

    def endElement(self, name: str) -> None:  # noqa: N802 - named by xml.sax
        """Ends a report, a row or a value."""
        self.open.pop()
        if name == "value":
            if self.name in self.values:
                self.fault = self.fault or f"{shown(self.name)} is given twice"
            self.values[self.name] = self._number(self.name, self.text.strip())
        elif name == "row":
            self._end_row()

    def _number(self, name: str, text: str) -> float | None:
        try:
            return None if text in MISSING else float(text)
        except ValueError:
            self.fault = self.fault or f"{shown(name)} is {shown(text)}; a value is a number, empty for none"
            return None

    def _end_row(self) -> None:
        time_s, period_s = (self._number(key, self.row.get(key, "")) for key in ("time_s", "period_s"))
        kind, name = self.row.get("kind", ""), self.row.get("id", "")
        if self.fault:
            text = repr({**self.row, "values": self.values})[:ROW_TEXT_CHARACTERS]
            reason = f"line {self.line}: {self.fault}"
            self.refused.append(Refusal(self.line, kind[:128], name[:128], reason, text))
            return
        group, slice_name = self.row.get("group"), self.row.get("slice")
        self.rows.append(
            Row(
                kind=kind,
                id=name,
                values=self.values,
                time_s=time_s,
                slice=slice_name,
                group=group,
                period_s=period_s,
            )
        )
        self.places.append(self.line)

    def place(self) -> tuple[int, int]:
        """Line and column, from 1, of what is being read."""
        return self.parser.getLineNumber() or 1, (self.parser.getColumnNumber() or 0) + 1

    def error(self, problem: str, expected: str) -> DataError:
        """The fault of a document that is not a report."""
        line, column = self.place()
        return DataError(self.path, problem, expected, line=line, column=column)

    def taken(self) -> ReadRows:
        """The rows so far, which are then forgotten."""
        read = ReadRows(self.rows, self.places, self.refused)
        self.rows, self.places, self.refused = [], [], []
        return read


def read_markup(path: Path, rows_a_batch: int) -> Iterator[ReadRows]:
    """Rows of an XML file, `rows_a_batch` or a few more at a time; a value that is no number refuses its row.

    Raises DataError, with line and column, for broken XML, other elements and attributes, and for document types and
    entities, which are not read.
    """
    parser: Any = defusedxml.expatreader.DefusedExpatParser(forbid_dtd=True)
    reader = _ReportReader(path, parser)
    parser.setContentHandler(reader)
    try:
        for chunk in _chunks(path):
            parser.feed(chunk)
            if len(reader.rows) + len(reader.refused) >= rows_a_batch:
                yield reader.taken()
        parser.close()
    except DefusedXmlException:
        raise reader.error("a document type or entities, which are not read", "<report> without them") from None
    except SAXParseException as error:
        line, column = error.getLineNumber() or 1, (error.getColumnNumber() or 0) + 1
        raise DataError(path, f"broken XML ({error.getMessage()})", line=line, column=column) from None
    except (SAXException, LookupError, ValueError) as error:
        raise reader.error(f"broken XML ({error})", "<report>") from None
    if reader.rows or reader.refused:
        yield reader.taken()


def _chunks(path: Path) -> Iterator[bytes]:
    """A file piece by piece, first an empty one: the parser must begin to find that there is nothing."""
    yield b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
