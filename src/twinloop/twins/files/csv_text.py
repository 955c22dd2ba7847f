"""A twin as CSV: one column an attribute; rows of units, slots, values and errors, then the rows of history."""

import csv
import io

from twinloop.twins.files.record import Fields, Place, TwinRecord, texts_of

_TWIN = ("format", "kind", "row", "active", "revision")
_HEAD = ("record", *_TWIN, "slot")
_OF_ATTRIBUTE = ("unit", "slot", "value", "error")


def to_csv(record: TwinRecord) -> str:
    """The twin as a table; what is not known is an empty cell."""
    twin, attributes, history = texts_of(record)
    about = [twin[name] for name in _TWIN]
    names = [attribute["name"] for attribute in attributes]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_HEAD, *names])
    for record_name in _OF_ATTRIBUTE:
        writer.writerow([record_name, *about, "", *(attribute[record_name] for attribute in attributes)])
    for row in history:
        writer.writerow(["history", *about, row["slot"], *(row[name] for name in names)])
    return stream.getvalue()


def fields_of_csv(text: str, source: str) -> Fields:
    """Fields of a CSV text. Raises DataError with the line, and the cell as column, where it is not such a table."""
    fields = Fields(source)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise fields.fault(f"this is no CSV ({error})", "a table", Place(reader.line_num, 1)) from None
    if not rows or tuple(rows[0][1][: len(_HEAD)]) != _HEAD:
        raise fields.fault("the first row is not that of a twin", ",".join(_HEAD), Place(1, 1))
    names = rows[0][1][len(_HEAD) :]
    fields.places[()] = Place(1, 1)
    for index, name in enumerate(names):
        place = Place(rows[0][0], len(_HEAD) + index + 1)
        fields.places["attributes", index] = place
        fields.put(("attributes", index, "name"), name, place)
    past = 0
    for line, row in rows[1:]:
        if len(row) != len(_HEAD) + len(names):
            raise fields.fault(f"{len(row)} cells", f"{len(_HEAD) + len(names)}", Place(line, 1))
        _add_row(fields, names, line, row, past)
        past += row[0] == "history"
    return fields


def _add_row(fields: Fields, names: list[str], line: int, row: list[str], past: int) -> None:
    record_name, slot, cells = row[0], row[len(_HEAD) - 1], row[len(_HEAD) :]
    for index, name in enumerate(_TWIN):
        place = Place(line, index + 2)
        if (name,) not in fields.text:
            fields.put((name,), row[index + 1], place)
        elif fields.text[name,] != row[index + 1]:
            raise fields.fault(f"{name} is {row[index + 1]!r}", f"{fields.text[name,]!r} as above", place)
    places = [Place(line, len(_HEAD) + index + 1) for index in range(len(cells))]
    if record_name == "history":
        fields.places["history", past] = Place(line, 1)
        fields.put(("history", past, "slot"), slot, Place(line, len(_HEAD)))
        for name, cell, place in zip(names, cells, places, strict=True):
            fields.put(("history", past, name), cell, place)
    elif record_name in _OF_ATTRIBUTE:
        for index, (cell, place) in enumerate(zip(cells, places, strict=True)):
            fields.put(("attributes", index, record_name), cell, place)
    else:
        raise fields.fault(f"unknown record {record_name!r}", ", ".join((*_OF_ATTRIBUTE, "history")), Place(line, 1))
