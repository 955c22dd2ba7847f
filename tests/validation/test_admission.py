import jax
import jax.numpy as jnp
import numpy as np
import pytest
from validation.test_judge import Court

from twinloop.decision import EqualShare, RoundRobin
from twinloop.slicing import SliceSpec, create_slice, end_slice
from twinloop.validation import Breaches, Emulation, Outlook, admit, breaches, judge_order

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
    answer = admit(lambda scale: found, NAMES, 2, halvings=2)
    assert not answer.admitted
    assert (answer.code, answer.slice, answer.resource) == (1, "maps", "cycles")
    assert answer.missing == pytest.approx(0.9 - 0.68, abs=0.01)
    assert answer.offer == 0.0
    assert "maps" in answer.reason and "no part of it" in answer.reason


def test_a_new_slice_must_keep_its_own_agreement():
    found = judge(foretold(0.9, 0.95, jnp.nan), foretold(0.9, 0.95, 0.6))
    assert admit(lambda scale: found, NAMES, 2, halvings=1).code == 2


def test_what_was_broken_before_is_not_blamed_on_the_new_slice_unless_it_worsens():
    before = foretold(0.6, 0.95, jnp.nan)
    assert int(judge(before, foretold(0.6, 0.95, 0.8)).row) == -1
    assert int(judge(before, foretold(0.5, 0.95, 0.8)).row) == 0


def test_the_offer_is_the_largest_part_that_fits():
    def at(scale):
        return judge(foretold(0.95, 0.95, jnp.nan), foretold(0.95 - 0.4 * scale, 0.95, 0.8))

    answer = admit(at, NAMES, 2, halvings=8)
    exact = (0.95 - 0.02 - 0.8) / 0.4
    assert answer.slice == "video"
    assert exact - 0.05 <= answer.offer <= exact + 0.05
    assert int(at(answer.offer).row) == -1
    assert f"{answer.offer:.0%}" in answer.reason


def test_slices_without_anybody_promise_nothing():
    empty = foretold(jnp.nan, 0.95, jnp.nan)
    assert int(judge(empty, empty).row) == -1
    assert isinstance(judge(empty, empty), Breaches)
    assert np.asarray(judge(empty, empty).broken).sum() == 0


def test_an_order_is_lived_through_in_the_twin(tiny):
    court = Court(tiny)
    loop = court.loop
    emulation = Emulation(loop.slot_judge, loop.abstractor, EqualShare(), RoundRobin(), RoundRobin().init())
    standing = end_slice(court.slices, 2)
    order = create_slice(standing, 2, SliceSpec("new", 1, "", "short_video", 3e6))
    modest, greedy = jnp.zeros(3), jnp.array([0.0, 0.0, 1.1])
    given = (jax.random.key(0), emulation, court.twins, court.forecast, standing, order)
    assert admit(judge_order(*given, modest, 2), NAMES, 2).admitted
    refused = admit(judge_order(*given, greedy, 2), NAMES, 2, halvings=1)
    assert refused.code == 2
    assert refused.missing > 0.0
