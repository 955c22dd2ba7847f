import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop import scenario
from twinloop.emulation import Served
from twinloop.qoe import Conditions
from twinloop.slicing import SliceTable
from twinloop.validation import (
    Breaches,
    Outlook,
    admit,
    agreed_figures,
    breaches,
    granted,
    most_grantable,
    promised_figure,
)

NAMES = ("video", "maps", "games")
AGREED = jnp.array([0.8, 0.9, 0.7])
STANDING = jnp.array([True, True, False])


def foretold(*means, load=(0.5, 1.4, 0.2)):
    """A future; cache is as full without the new slice as with it."""
    spread = jnp.linspace(-0.02, 0.02, 10)[:, None]
    return Outlook(jnp.array(means)[None, :] + spread, jnp.array(load))


judge = jax.jit(lambda without, having: breaches(without, having, AGREED, STANDING, jnp.int32(2)))


def test_a_slice_that_harms_nobody_is_admitted():
    found = judge(foretold(0.9, 0.95, jnp.nan), foretold(0.85, 0.93, 0.8))
    assert int(found.row) == -1
    assert admit(lambda _: found, NAMES, 2).admitted


def test_a_refusal_names_the_slice_and_what_it_lacks():
    found = judge(foretold(0.9, 0.95, jnp.nan, load=(0.3, 0.9, 2.0)), foretold(0.85, 0.7, 0.5, load=(0.5, 1.4, 2.0)))
    answer = admit(lambda scale: found, NAMES, 2)
    assert not answer.admitted
    assert (answer.code, answer.slice, answer.resource) == (1, "maps", "cycles")
    assert answer.missing == pytest.approx(0.9 - 0.68, abs=0.01)
    assert answer.offer == 0.0
    assert "maps" in answer.reason and "no part of it" in answer.reason


def test_a_new_slice_must_keep_its_own_agreement():
    found = judge(foretold(0.9, 0.95, jnp.nan), foretold(0.9, 0.95, 0.6, load=(0.6, 0.8, 0.2)))
    answer = admit(lambda scale: found, NAMES, 2)
    assert answer.code == 2 and answer.resource == "" and "no resource is full" in answer.reason


def test_what_was_broken_before_is_not_blamed_on_the_new_slice_unless_it_worsens():
    before = foretold(0.6, 0.95, jnp.nan)
    assert int(judge(before, foretold(0.6, 0.95, 0.8)).row) == -1
    assert int(judge(before, foretold(0.5, 0.95, 0.8)).row) == 0


def test_the_offer_is_the_largest_part_that_fits():
    def at(scale):
        return judge(foretold(0.95, 0.95, jnp.nan), foretold(0.95 - 0.4 * scale, 0.95, 0.8))

    answer = admit(at, NAMES, 2)
    exact = (0.95 - 0.02 - 0.8) / 0.4
    assert answer.slice == "video"
    assert exact - 0.04 <= answer.offer <= exact
    assert int(at(answer.offer).row) == -1
    assert f"{answer.offer:.0%}" in answer.reason


def test_an_offer_is_found_between_too_much_for_others_and_too_little_for_itself():
    def at(scale):
        return judge(foretold(0.95, 0.95, jnp.nan), foretold(0.95 - 0.2 * scale, 0.95, 0.4 + 0.7 * scale))

    answer = admit(at, NAMES, 2)
    assert (answer.code, answer.slice) == (1, "video")
    assert 0.58 <= answer.offer <= 0.68


def test_floors_beyond_everything_are_refused_with_what_is_left():
    table = SliceTable(STANDING, jnp.full(3, 1e6), jnp.array([0.4, 0.4, 0.0]), jnp.ones(3))
    order = eqx.tree_at(lambda t: (t.active, t.floor_share), table, (jnp.ones(3, bool), jnp.array([0.4, 0.4, 0.8])))
    most = most_grantable(table, order, 2)
    assert most == pytest.approx(0.25, abs=1e-4)
    fits = judge(foretold(0.9, 0.95, jnp.nan), foretold(0.85, 0.93, 0.8))
    asked = []
    answer = admit(lambda scale: asked.append(scale) or fits, NAMES, 2, most)
    assert (answer.admitted, answer.code) == (False, 3) and max(asked) <= 0.25 + 1e-4
    assert answer.offer == pytest.approx(0.25, abs=1e-4)
    assert float(granted(table, order, 2, answer.offer).floor_share.sum()) <= 1.0 + 1e-5


def test_slices_without_anybody_promise_nothing():
    empty = foretold(jnp.nan, 0.95, jnp.nan)
    assert int(judge(empty, empty).row) == -1
    assert isinstance(judge(empty, empty), Breaches)
    assert np.asarray(judge(empty, empty).broken).sum() == 0


def test_where_experience_is_followed_the_figure_is_that_of_a_whole_minute(tiny):
    followed = tiny.twin.model_copy(update={"ratings": 4})
    experience = tiny.experience.model_copy(update={"history": 4})
    loop, state = scenario.build_loop(tiny.model_copy(update={"twin": followed, "experience": experience}))
    users, none = tiny.user_count, jnp.zeros(tiny.user_count)
    smooth = Served(none + 1, none, none + 0.9, jnp.ones(users, bool))
    stalling = Served(none + 1, none + 0.2, none + 0.9, jnp.ones(users, bool))
    good, bad = (np.asarray(promised_figure(state.twin, served, 1.0)) for served in (smooth, stalling))
    minute = Conditions(none + 12.0, none + 0.9, state.twin.experience.last.behaviour, none + 1.0)
    assert bad == pytest.approx(np.asarray(state.twin.experience.fitted.blend.experience(minute)), rel=1e-5)
    assert (bad <= good).all() and bad.mean() < good.mean() - 0.3
    unknown = eqx.tree_at(lambda t: t.experience, state.twin, None)
    assert np.asarray(promised_figure(unknown, smooth, 1.0)) == pytest.approx(1.0)
    there = eqx.tree_at(lambda t: t.users.current.active, state.twin, jnp.arange(users) % 2 == 0)
    promised = np.asarray(state.twin.experience.agreed).reshape(3, 4)[:, ::2]
    row = loop.abstractor.params.user_slice
    assert np.asarray(agreed_figures(there, row, 3, 0.8)) == pytest.approx(promised.mean(axis=1), rel=1e-5)
    assert np.asarray(agreed_figures(unknown, row, 3, 0.8)) == pytest.approx(0.8)
