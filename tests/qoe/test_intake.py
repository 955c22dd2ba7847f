import time

import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.qoe import fit_users, take_ratings, vague_prior

GOOD = {"stall_s": [0, 3, 1], "quality": [0.2, 0.9, 0.5], "behaviour": [1, 2, 1.5], "environment": [1.2, 1, 2]}


def test_ratings_are_filed_by_user_and_odd_ones_are_told():
    taken = take_ratings(["ann", "bo", "ann"], [5, 2, 3], GOOD, known=["cy"])
    assert taken.users == ("cy", "ann", "bo")
    assert taken.ratings.count == pytest.approx([0, 2, 1])
    assert taken.ratings.score[1] == pytest.approx([5, 3])
    assert taken.ratings.conditions.stall_s[2, 0] == 3
    assert any("cy: no rating" in note for note in taken.notes)
    assert any("bo: one rating" in note for note in taken.notes)
    fitted = fit_users(taken.ratings, vague_prior())
    assert bool(jnp.all(jnp.isfinite(fitted.parameters)))


def test_constant_factors_and_scores_are_told():
    taken = take_ratings(["a", "a"], [3, 3], {"quality": [0.5, 0.5], "stall_s": [0, 4]})
    assert any(note.startswith("quality never changes") for note in taken.notes)
    assert any(note.startswith("behaviour is not given") for note in taken.notes)
    assert any("all scores are the same" in note for note in taken.notes)
    assert not any(note.startswith(("stall_s never", "behaviour never")) for note in taken.notes)


def test_a_table_is_read_in_one_pass():
    names = [f"u{k % 4000}" for k in range(40_000)]
    start = time.perf_counter()
    taken = take_ratings(names, np.full(40_000, 3.0), {"stall_s": np.arange(40_000) % 60})
    assert time.perf_counter() - start < 5.0, "each user's rows were searched in the whole table"
    assert taken.ratings.conditions.stall_s[7, :3] == pytest.approx([7, 4007 % 60, 8007 % 60])


@pytest.mark.parametrize(
    ("score", "change", "said"),
    [
        ([5, 6, 3], {}, "line 3.*score 6.*1 to 5"),
        ([5, 0, 3], {}, "score 0.*0-100"),
        ([5, np.nan, 3], {}, "line 3.*not a finite"),
        ([5, 4], {}, "2 values for 3 ratings"),
        (["good", 4, 3], {}, "no number"),
        ([5, 4, 3], {"quality": [20, 90, 50]}, "line 2.*quality 20.*per cent"),
        ([5, 4, 3], {"stall_s": [0, 3000, 0]}, "stall_s 3000.*milliseconds"),
        ([5, 4, 3], {"behaviour": [0, 1, 1]}, "behaviour 0.*swipes"),
        ([5, 4, 3], {"mood": [0, 1, 1]}, "unknown condition 'mood'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(score, change, said):
    with pytest.raises(DataError, match=said) as refused:
        take_ratings(["a", "b", "a"], score, {**GOOD, **change}, source="mine.csv")
    assert str(refused.value).startswith("mine.csv") and "\n" not in str(refused.value)


def test_nobody_is_refused():
    with pytest.raises(DataError, match="no user"):
        take_ratings([], [], {})
