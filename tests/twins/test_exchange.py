import json
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin_cases import HISTORY, forecast, observations, twins

from twinloop.errors import DataError, TwinloopError
from twinloop.twins import ATTRIBUTES, TwinRecord, Twins, assimilate, export_twin, import_twin, record_of, restore_twin

FORMATS = ("json", "xml", "csv")
EXTREMES = (0.0, -0.0, 3.4028234663852886e38, -3.4028234663852886e38, 1e-45, 1.1754943508222875e-38, 0.1, 16777217.0)

float32 = st.one_of(
    st.sampled_from(EXTREMES).map(lambda x: float(np.float32(x))),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@st.composite
def records(draw) -> dict[str, object]:
    """What a record is made of; made in the test, since the type checker draws random numbers of its own."""
    kind = draw(st.sampled_from(sorted(ATTRIBUTES)))
    columns = len(ATTRIBUTES[kind])
    values = st.tuples(*[st.one_of(st.none(), float32)] * columns)
    slots = st.integers(0, 2**31 - 1)
    value = draw(values)
    return {
        "kind": kind,
        "row": 0,
        "active": draw(st.booleans()),
        "revision": draw(slots),
        "value": value,
        "slot": tuple(-1 if v is None else draw(slots) for v in value),
        "error": draw(st.tuples(*[st.one_of(st.none(), st.floats(0, 1, width=32))] * columns)),
        "history": tuple(draw(st.lists(st.tuples(slots, values), max_size=HISTORY))),
    }


def bits(record: TwinRecord) -> list[object]:
    """A record with every number as its float32 bit pattern, so that -0.0 is not 0.0."""
    rows = (record.value, record.error, *(what for _, what in record.history))
    numbers = [[None if v is None else np.float32(v).tobytes() for v in row] for row in rows]
    return [record, [when for when, _ in record.history], numbers]


@settings(max_examples=8, deadline=None)
@given(records(), st.sampled_from(FORMATS))
def test_what_goes_out_comes_back_bit_by_bit(parts, form):
    record = TwinRecord(**parts)
    state = restore_twin(twins(), record)
    assert bits(record_of(state, record.kind, 0)) == bits(record)
    text = export_twin(state, record.kind, 0, form)
    assert bits(import_twin(text, form)) == bits(record)
    assert export_twin(restore_twin(twins(), import_twin(text, form)), record.kind, 0, form) == text


@cache
def assimilated() -> Twins:
    state = twins()
    for now in range(5):
        state = assimilate(
            state, observations(now, {(1, 0): (now / 3, now), (1, 4): (1.5, 0)}), forecast(), jnp.int32(now)
        )
    return state


@pytest.mark.parametrize("form", FORMATS)
def test_a_twin_that_lived_comes_back_with_its_ring_in_order(form):
    state = assimilated()
    record = import_twin(export_twin(state, "users", 1, form), form)
    assert record == record_of(state, "users", 1)
    assert [when for when, _ in record.history] == [2, 3, 4]
    assert record.value[0] == float(np.float32(4 / 3)) and record.value[1] is None
    back = restore_twin(twins(), record, row=3)
    later = assimilate(back, observations(9, {(3, 0): (7.0, 9)}), forecast(), jnp.int32(9))
    assert [when for when, _ in record_of(later, "users", 3).history] == [3, 4, 9]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", sorted(ATTRIBUTES))
def test_units_are_in_the_file_and_are_checked(form, kind):
    text = export_twin(twins(), kind, 0, form)
    assert all(attribute.unit in text for attribute in ATTRIBUTES[kind])
    unit = next(a.unit for a in ATTRIBUTES[kind] if a.unit != "1")
    marks = {"json": (f'"unit": "{unit}"', '"unit": "mile"'), "xml": (f'unit="{unit}"', 'unit="mile"')}
    mark, other = marks.get(form, (f",{unit},", ",mile,"))
    assert mark in text
    with pytest.raises(DataError, match="mile"):
        import_twin(text.replace(mark, other, 1), form)


@cache
def text_of_a_life(form: str) -> str:
    return export_twin(assimilated(), "users", 1, form)


def spoiled(form: str, old: str, new: str) -> DataError:
    text = text_of_a_life(form)
    assert old in text
    with pytest.raises(TwinloopError) as caught:
        import_twin(text.replace(old, new, 1), form, "given.file")
    assert isinstance(caught.value, DataError)
    assert str(caught.value).startswith("given.file, line ")
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "line", "column"),
    [
        ('"revision": 5', '"revision": 5.5', 6, 15),
        ('"revision": 5', '"revision": 5, "revision": 6', 6, 29),
        ('"revision": 5', '"colour": "red", "revision": 5', 6, 13),
        ('  "revision": 5,\n', "", 1, 1),
        ('"active": true', '"active": maybe', 5, 13),
        ('"format": "twinloop twin 1"', '"format": "twinloop twin 2"', 2, 13),
        ('"kind": "users"', '"kind": "ships"', 3, 11),
        ('"value": 1.3333334', '"value": NaN', 8, 63),
        ('"value": 1.3333334', '"value": 1e39', 8, 63),
        ('"value": 1.3333334', '"value": "much"', 8, 63),
        ('"value": 1.3333334', '"value": null', 8, 51),
        ('"name": "position_y_m"', '"name": "position_x_m"', 9, 14),
        ('"row": 1', '"row": [[[[[1]]]]]', 4, 14),
    ],
)
def test_bad_json_is_named_with_its_place(old, new, line, column):
    error = spoiled("json", old, new)
    assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('revision="5"', 'revision="-5"', 1),
        ('revision="5"', 'revision="5', 2),
        ('revision="5"', 'revision="5" colour="red"', 1),
        ("<twin ", "<!DOCTYPE twin>\n<twin ", 1),
        ("<twin ", '<!DOCTYPE t [<!ENTITY a "b">]>\n<twin ', 1),
        ("<history ", "<past ", 24),
        ("<history ", "words<history ", 24),
        ("</twin>", "", 28),
        ('name="position_x_m"', 'name="&a;"', 2),
        ('slot="2"', 'slot="-2"', 24),
    ],
)
def test_bad_xml_is_named_with_its_place(old, new, line):
    assert spoiled("xml", old, new).line == line


@pytest.mark.parametrize(
    ("old", "new", "line", "column"),
    [
        ("record,", "rekord,", 1, 1),
        ("position_x_m", "position_z_m", 1, 8),
        ("value,", "worth,", 4, 1),
        ("1.3333334", "many", 4, 8),
        ("1.3333334,", "", 4, 1),
        ("slot,twinloop twin 1,users", "slot,twinloop twin 1,cells", 3, 3),
        ("unit,", '"unit"x,', 2, 1),
    ],
)
def test_bad_csv_is_named_with_its_line_and_cell(old, new, line, column):
    error = spoiled("csv", old, new)
    assert (error.line, error.column) == (line, column)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "text", ["", " ", "{", "[]", "3", '"x"', "<a/>", "a,b\n1,2\n", "\x00", "null", "{}" * 2, "<twin/>"]
)
def test_what_is_no_twin_at_all_is_refused(form, text):
    with pytest.raises(DataError) as caught:
        import_twin(text, form)
    assert caught.value.line is not None


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_gives_anything_but_a_twin_or_a_data_error(form, data):
    text = export_twin(EXAMPLE, "cells", 0, form)
    at = data.draw(st.integers(0, len(text) - 1))
    damage = data.draw(st.sampled_from(['"', "{", "<", ",", "\n", "9", "-", "", "\ud800", "]", "&", "\\"]))
    try:
        import_twin(text[:at] + damage + text[at + 1 :], form)
    except DataError as error:
        assert error.line is not None


EXAMPLE = twins()


def test_json_is_json_with_numbers_and_nulls():
    read = json.loads(export_twin(assimilated(), "users", 1, "json"))
    assert read["attributes"][0]["value"] == 1.3333334
    assert read["attributes"][1]["value"] is None
    assert read["active"] is True


def test_a_restored_twin_never_has_a_lower_revision():
    state = assimilated()
    record = record_of(twins(), "users", 0)
    assert int(restore_twin(state, record, row=1).users.current.revision[1]) == 6


def test_rows_formats_and_lengths_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="rows 0 to 3"):
        export_twin(twins(), "users", 4, "json")
    record = record_of(assimilated(), "users", 1)
    longer = TwinRecord(**{**vars(record), "history": record.history * 2})
    with pytest.raises(ValueError, match="keep 3"):
        restore_twin(twins(), longer)
