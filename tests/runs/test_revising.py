"""Who swipes more than before is examined again, and a run keeps what changed."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.qoe import Conditions, Ratings, vague_prior
from twinloop.runs.revising import Revising
from twinloop.twins import begin_experience, empty_twins

USERS, ROOM = 4, 16


@pytest.fixture(scope="module")
def felt():
    """Two users' scores follow the picture, two users' follow stalls; the newer half is not known yet."""
    draw = np.random.default_rng(0)
    shape = (USERS, ROOM)
    stall, quality = draw.exponential(4.0, shape), draw.random(shape)
    mind = np.arange(USERS)[:, None] < 2
    score = np.clip(np.where(mind, 1 + 4 * quality, 5 - 0.4 * stall) + 0.3 * draw.normal(size=shape), 1, 5)
    conditions = Conditions(*(jnp.asarray(one, jnp.float32) for one in (stall, quality, 1 + draw.random(shape),
                                                                        1 + draw.random(shape))))  # fmt: skip
    every = Ratings(conditions, jnp.asarray(score, jnp.float32), jnp.ones(shape))
    few = eqx.tree_at(lambda r: r.weight, every, every.weight.at[:, 3:].set(0.0))
    begin = eqx.filter_jit(begin_experience)
    count, agreed = jnp.full(USERS, 3, jnp.int32), jnp.full(USERS, 3.0)
    return tuple(begin(ratings, count, vague_prior(), agreed) for ratings in (few, every))


def twins_with(experience):
    none = jnp.zeros((1, 8)) + 0.1
    sizes = {"users": USERS, "cells": 1, "servers": 1, "slices": 1, "history": 2}
    known = {"class_length_s": jnp.array([8.0]), "swipe_prior": none, "factor_spread": 0.5}
    twins = empty_twins(**sizes, **known, counted=jnp.ones(USERS, bool), experience=experience)
    return eqx.tree_at(lambda t: t.users.current.active, twins, jnp.ones(USERS, bool))


def live(revising, experience, minutes, behaviour, first=0):
    draw = np.random.default_rng(first)
    for minute in range(first, first + minutes):
        b = jnp.asarray(np.clip(behaviour + 0.05 * draw.normal(size=USERS), 1, 2), jnp.float32)
        last = Conditions(jnp.zeros(USERS), jnp.ones(USERS), b, jnp.full(USERS, 1.9))
        twins = twins_with(eqx.tree_at(lambda t: t.last, experience, last))
        revising.observe(60 * (minute + 1) - 30, twins)
        revising.observe(60 * (minute + 1), twins)


def test_who_moved_is_examined_after_the_fit_and_everything_that_changed_is_told(felt):
    before, after = felt
    revising = Revising(jax.random.key(0), before)
    calm, busy = np.full(USERS, 1.2), np.array([1.8, 1.2, 1.8, 1.2])
    live(revising, before, 12, calm)
    assert revising.examine(720, before) is None and revising.told()["examinations"] == 0
    live(revising, before, 5, busy, first=12)
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, revising.watch)
    table = revising.examine(1020, after)
    assert table is not None
    rows = table.to_pylist()
    assert [(row["slot"], row["user"]) for row in rows] == [(1020, 0), (1020, 2)]
    assert rows[0]["behaviour_shift"] > 3 > rows[0]["environment_shift"]
    assert (rows[0]["entered"], rows[1]["entered"]) == ("quality", "stall_s"), "three ratings had shown nothing"
    assert rows[0]["structure_after"].startswith("quality") and rows[1]["structure_after"].startswith("stall")
    assert rows[0]["quality_weight_before"] != rows[0]["quality_weight_after"]
    assert rows[0]["what"].startswith("behaviour moved by") and "quality entered" in rows[0]["what"]
    told = revising.told()
    assert (told["examinations"], told["users"], told["entered"], told["left"]) == (2, 2, 2, 0)
    assert revising.examine(1080, after) is None, "the new habit is what is known now"
    file.seek(0)
    again = Revising(jax.random.key(0), before)
    again.resume(eqx.tree_deserialise_leaves(file, again.watch), [])
    found = again.examine(1020, after)
    assert found is not None and found.equals(table)
