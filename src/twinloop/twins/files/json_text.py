"""A twin as JSON; reading keeps the place of every field, which the standard library's reader forgets."""

import json
import re
from bisect import bisect_left
from dataclasses import dataclass

from twinloop.twins.files.record import Fields, Path, Place, TwinRecord, texts_of

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_LITERAL = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)
_DEPTH = 4


def to_json(record: TwinRecord) -> str:
    """The twin as an indented JSON object; an attribute never reported, or not known at the time, is null."""
    twin, attributes, history = texts_of(record)
    parts = [f"  {_pair(name, text, name in _TEXTS)}" for name, text in twin.items()]
    parts += [f'  "{name}": [\n{_rows(rows)}\n  ]' for name, rows in (("attributes", attributes), ("history", history))]
    return "{\n" + ",\n".join(parts) + "\n}\n"


_TEXTS = frozenset({"format", "kind", "name", "unit"})


def _rows(rows: list[dict[str, str]]) -> str:
    objects = (", ".join(_pair(name, text, name in _TEXTS) for name, text in row.items()) for row in rows)
    return ",\n".join(f"    {{{inside}}}" for inside in objects)


def _pair(name: str, text: str, is_text: bool) -> str:
    return f"{json.dumps(name)}: {json.dumps(text) if is_text else text or 'null'}"


def fields_of_json(text: str, source: str) -> Fields:
    """Fields of a JSON text. Raises DataError, with line and column, where it is no JSON."""
    reader = _Reader(text, Fields(source))
    reader.value((), 0)
    if reader.peek():
        raise reader.fault("something follows the end of the JSON", "nothing more")
    return reader.fields


@dataclass
class _Reader:
    text: str
    fields: Fields
    at: int = 0

    def __post_init__(self) -> None:
        self.line_ends = [match.start() for match in re.finditer("\n", self.text)]

    def value(self, path: Path, depth: int) -> None:
        """Reads whatever stands at this place."""
        start = self.peek()
        if depth > _DEPTH:
            raise self.fault("nested too deep", f"at most {_DEPTH} levels")
        if start and start in "{[":
            self.fields.places[path] = self.place()
            self.group(path, depth, is_object=start == "{")
        else:
            place = self.place()
            self.fields.put(path or ("",), self.scalar(), place)

    def group(self, path: Path, depth: int, is_object: bool) -> None:
        """Reads an object or an array."""
        close = "}" if is_object else "]"
        self.at += 1
        index = 0
        while self.peek() != close:
            if index:
                self.expect(",")
                self.peek()
            key = self.key() if is_object else index
            if (*path, key) in self.fields.places:
                raise self.fault(f"{key!r} is there twice", "each field once")
            self.value((*path, key), depth + 1)
            index += 1
        self.at += 1

    def key(self) -> str:
        """Reads the name of an object's member, and the colon."""
        if self.peek() != '"':
            raise self.fault("this is no JSON", "a name in double quotes")
        name = self.scalar()
        self.expect(":")
        return name

    def scalar(self) -> str:
        """Reads a string, number or literal as text; null is an empty text."""
        match = _STRING.match(self.text, self.at) or _LITERAL.match(self.text, self.at)
        if match is None:
            raise self.fault("this is no JSON", "an object, array, string, finite number, true, false or null")
        try:
            text = json.loads(match[0]) if match[0].startswith('"') else match[0]
        except json.JSONDecodeError:
            raise self.fault("this is no JSON string", "valid escapes") from None
        self.at = match.end()
        return "" if match[0] == "null" else text

    def expect(self, mark: str) -> None:
        """Passes over `mark`."""
        if self.peek() != mark:
            raise self.fault("this is no JSON", f"{mark!r}")
        self.at += 1

    def peek(self) -> str:
        """Next character that is no space; empty at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def place(self) -> Place:
        """Line and column of this place."""
        line = bisect_left(self.line_ends, self.at)
        return Place(line + 1, self.at - (self.line_ends[line - 1] if line else -1))

    def fault(self, problem: str, expected: str) -> Exception:
        """The error to raise about this place."""
        return self.fields.fault(problem, expected, self.place())
