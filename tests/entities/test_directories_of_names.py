"""Names against rows: given once, let go, given again in another generation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.entities import Directory


def test_a_row_that_is_let_go_is_given_out_last_and_in_its_next_generation():
    directory = Directory(2)
    assert (directory.claim("a"), directory.claim("b"), directory.claim("c")) == (0, 1, None)
    directory.release(1)
    directory.release(0)
    assert directory.claim("c") == 1
    assert directory.generation.tolist() == [1, 2]
    assert (directory.row("a"), directory.row("c"), len(directory)) == (None, 1, 1)


def test_what_was_saved_must_fit():
    with pytest.raises(ValueError, match="3 names do not fit 2 rows"):
        Directory(2).restore(["a", "", "b"], [1, 0, 1])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_names_and_rows_stay_one_to_one(steps):
    directory, there = Directory(4), {}
    for comes, number in steps:
        name = f"u{number}"
        if comes and name not in there:
            row = directory.claim(name)
            assert (row is None) == (len(there) == 4)
            if row is not None:
                there[name] = row
        elif not comes and name in there:
            directory.release(there.pop(name))
        assert {name: directory.row(name) for name in there} == there
    copy = Directory(4)
    copy.restore(directory.names, directory.generation.tolist())
    assert {name: copy.row(name) for name in there} == there
    assert len(copy) == len(there)
