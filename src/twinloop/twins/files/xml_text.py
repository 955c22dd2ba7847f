"""A twin as XML; reading refuses document types and entities, which can make a small file fill the memory."""

from xml.etree import ElementTree
from xml.parsers import expat

from twinloop.twins.files.record import Fields, Path, Place, TwinRecord, texts_of

_LISTS = {"attribute": "attributes", "history": "history"}


def to_xml(record: TwinRecord) -> str:
    """The twin as one element with an element an attribute and a row of history; what is not known is left out."""
    twin, attributes, history = texts_of(record)
    root = ElementTree.Element("twin", twin)
    for name, rows in (("attribute", attributes), ("history", history)):
        for row in rows:
            ElementTree.SubElement(root, name, {key: text for key, text in row.items() if text})
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def fields_of_xml(text: str, source: str) -> Fields:
    """Fields of an XML text. Raises DataError, with line and column, where it is no XML or declares anything.

    Read with the parser that ElementTree stands on, since ElementTree forgets places.
    """
    fields = Fields(source)
    parser = expat.ParserCreate("utf-8")
    open_elements: list[str] = []
    counts = dict.fromkeys(_LISTS, 0)

    def place() -> Place:
        return Place(parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)

    def start(name: str, attributes: dict[str, str]) -> None:
        expected = _LISTS if open_elements == ["twin"] else ({} if open_elements else {"twin": ""})
        if name not in expected:
            wanted = " or ".join(f"<{tag}>" for tag in expected) or "no element here"
            raise fields.fault(f"<{name}> does not belong here", wanted, place())
        path: Path = () if name == "twin" else (_LISTS[name], counts[name])
        fields.places[path] = place()
        for key, value in attributes.items():
            fields.put((*path, key), value, place())
        open_elements.append(name)
        if name in counts:
            counts[name] += 1

    def end(name: str) -> None:
        open_elements.remove(name)

    def characters(data: str) -> None:
        if data.strip():
            raise fields.fault(f"the text {data.strip()[:20]!r} does not belong here", "elements only", place())

    def doctype(*_: object) -> None:
        raise fields.fault("a document type or entity is declared", "none: they are refused", place())

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError as error:
        problem = f"this is no XML ({expat.errors.messages[error.code]})"
        raise fields.fault(problem, "a well-formed twin", Place(error.lineno, error.offset + 1)) from None
    return fields
