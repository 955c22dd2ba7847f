import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.qoe import UserModels
from twinloop.simulator import Raters, init_opinions
from twinloop.simulator.opinions import live_through

USERS = 4


def raters(*, rating_p=1.0, bend=0.0, kappa=0.1):
    """Users who mind stalling, quality, both, and both with B and C."""
    rule = np.array([0, 1, 2, 2])

    def row(values):
        return jnp.asarray(values, jnp.float32)

    models = UserModels(
        rule=jnp.asarray(rule, jnp.int32),
        impact=jnp.array([0, 0, 0, 3], jnp.int32),
        level=row(rule == 0),
        stall_weight=row(np.where(rule == 1, 0.0, 0.1)),
        quality_weight=row(rule > 0),
        kappa_b=row([0, 0, 0, kappa]),
        kappa_c=row([0, 0, 0, kappa]),
    )
    return Raters(models, jnp.full(3, 0.8), jnp.float32(rating_p), jnp.float32(bend))


def live(people, *, slots=60, active=True, stalls=2, quality=0.6, swipes=6):
    """`slots` slots of which the first `stalls` stall and `swipes` end in a swipe, at 5 m/s."""
    advance = jax.jit(live_through, static_argnums=9)
    state = init_opinions(USERS)
    for slot in range(slots):
        state = advance(
            jax.random.key(slot),
            people,
            state,
            jnp.full(USERS, active),
            jnp.full(USERS, float(slot < stalls)),
            jnp.full(USERS, quality),
            jnp.full(USERS, slot < swipes),
            jnp.full(USERS, 5.0),
            jnp.int32(slot),
            1.0,
        )
    return state


def test_experience_of_a_minute_follows_everybodys_own_rule():
    felt = live(raters())
    behaviour, environment = 1.0 + 6 / 12, 1.0 + (40 - 18) / 38
    both = 0.6 - 0.1 * 2
    expected = [5 - 0.4 * 2, 1 + 4 * 0.6, 1 + 4 * both, 1 + 4 * both * (behaviour * environment) ** -0.1]
    assert np.asarray(felt.experience) == pytest.approx(expected, abs=1e-4)


def test_scores_are_on_the_scale_and_counted_and_the_next_minute_starts_empty():
    felt = live(raters())
    assert np.all((np.asarray(felt.opinion) >= 1) & (np.asarray(felt.opinion) <= 5))
    assert np.all(np.asarray(felt.opinions) == 1)
    assert np.all(np.asarray(felt.slots) == 0)
    assert np.all(np.asarray(live(raters(rating_p=0.0)).opinions) == 0)


def test_before_a_minute_is_over_and_for_the_absent_nothing_is_felt():
    assert np.all(np.asarray(live(raters(), slots=59).experience) == 0)
    away = live(raters(), active=False)
    assert np.all(np.asarray(away.experience) == 0)
    assert np.all(np.asarray(away.opinions) == 0)


def test_bent_experience_is_better_in_between_and_the_same_at_the_ends():
    plain, bent = live(raters()), live(raters(bend=0.5))
    assert np.all(np.asarray(bent.experience) > np.asarray(plain.experience))
    best = live(raters(bend=0.5), stalls=0, quality=1.0, swipes=0)
    assert np.asarray(best.experience)[:3] == pytest.approx([5.0, 5.0, 5.0])
