import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision.demand import (
    BINDING,
    Caps,
    Futures,
    People,
    Prices,
    Store,
    Supply,
    cheapest,
    look,
    needed_cycles,
    plan,
    predict_demand,
    rules_of,
    started,
    store_of,
)
from twinloop.decision.demand.least import least_amount
from twinloop.qoe import UserModels
from twinloop.simulator import Player, default_catalogue

CATALOGUE = default_catalogue(64)
PLAYER = Player(jnp.float32(6.0), jnp.float32(2.0), jnp.float32(0.3), jnp.float32(0.9))
NAMES = ("content", "demanding", "stalls", "blind", "narrow", "moved", "idle")
USERS, SAMPLES, SLOTS = len(NAMES), 8, 60
REPORTS = jnp.array([1.0, 0.1])


def supply(per_bit: float = 400.0) -> Supply:
    return Supply(rules_of(PLAYER, CATALOGUE), store_of(CATALOGUE), jnp.float32(per_bit))


def people() -> People:
    """Quality matters to all but `stalls`; `moved` feels half of what it gets, whatever that is."""
    rule = jnp.array([1, 1, 0, 1, 1, 1, 1], jnp.int32)
    stall = jnp.where(rule == 0, 1.0, 0.0)
    heavy = jnp.where(jnp.arange(USERS) == 5, 1.0, 0.0)
    models = UserModels(rule, rule * 0, stall, 0.1 * stall, 1.0 - stall, heavy, 0.0 * heavy)
    ela = jnp.array([3.0, 4.2, 4.0, 3.5, 4.5, 4.5, 3.0])
    held = started(rules_of(PLAYER, CATALOGUE), jnp.full(USERS, 3.0), jnp.full(USERS, 1e6), jnp.zeros(USERS))
    return People(models, jnp.full(USERS, 0.02), ela, held)


def futures() -> Futures:
    """Two rates of reports: the second believes links as they were 15 slots before."""
    rng = np.random.default_rng(0)
    slow = np.cumsum(rng.normal(size=(SAMPLES, USERS, SLOTS + 15)), axis=2) * 0.15
    links = 2.0 * np.exp(slow - slow.mean(axis=2, keepdims=True))
    now, before = (jnp.asarray(one, jnp.float32) for one in (links[:, :, 15:], links[:, :, :-15]))
    chance = jnp.asarray(rng.random((SAMPLES, USERS, SLOTS)), jnp.float32)
    one = (jnp.full((SAMPLES, USERS, 1), 3.0), jnp.full((SAMPLES, USERS), 0.08), chance)
    fresh, stale = Futures(now, now, *one), Futures(now, before, *one)
    return jax.tree.map(lambda a, b: jnp.stack([a, b]), fresh, stale)


def prices(sensing: float) -> Prices:
    return Prices(jnp.float32(1e-6), jnp.float32(1e-9), jnp.float32(1e-10), jnp.float32(sensing))


CAPS = Caps(
    jnp.array([8e6, 8e6, 8e6, 8e6, 0.3e6, 8e6, 8e6]), jnp.full(USERS, 10e9).at[3].set(1e3), jnp.full(USERS, 1e6)
)
PREDICT = jax.jit(predict_demand)


@pytest.fixture(scope="module")
def wanted():
    return PREDICT(supply(), people(), futures(), REPORTS, prices(1e-3), CAPS, jnp.float32(0.5))


def test_bandwidth_is_the_least_of_all_amounts_that_suffice(wanted):
    chosen = jnp.argmin(jnp.abs(REPORTS[:, None] - wanted.reports_per_s[None]), axis=0)
    world = jax.tree.map(lambda leaf: leaf[chosen, :, jnp.arange(USERS)].swapaxes(0, 1), futures())
    asked, tried = people(), np.geomspace(0.02, 1.0, 90) * 8e6

    def mean(amount):
        grant = jnp.full(USERS, amount)
        course = plan(supply().rules, world, wanted.follow)
        told = look(supply().rules, asked.models, asked.held, world, course, grant)
        return jnp.mean(told.experience, axis=0)

    curve = np.asarray(jax.jit(lambda amounts: jax.lax.map(mean, amounts))(jnp.asarray(tried, jnp.float32)))
    for user in (0, 1, 2):
        enough = curve[:, user] >= float(asked.ela[user])
        first = tried[np.argmax(enough)]
        assert enough.any() and first > tried[0]
        assert float(wanted.bandwidth_hz[user]) == pytest.approx(first, rel=0.07)
    assert np.all(np.asarray(wanted.experience)[:3] >= np.asarray(asked.ela)[:3] - 1e-3)


def test_who_cannot_be_satisfied_says_what_binds(wanted):
    binding = {name: BINDING[int(code)] for name, code in zip(NAMES, wanted.binding, strict=True)}
    assert binding["content"] == binding["demanding"] == binding["stalls"] == "none"
    assert binding["narrow"] == "bandwidth"
    assert binding["moved"] == "experience"
    assert binding["blind"] in ("cycles", "cache")
    feasible = np.asarray(wanted.feasible)
    assert feasible[:3].all() and not feasible[3:6].any()
    assert np.all(np.asarray(wanted.ratio)[3:6] < 1.0)


def test_more_certainty_takes_more_bandwidth(wanted):
    sure = PREDICT(supply(), people(), futures(), REPORTS, prices(1e-3), CAPS, jnp.float32(0.95))
    assert np.all(np.asarray(sure.bandwidth_hz)[:2] >= 1.02 * np.asarray(wanted.bandwidth_hz)[:2])
    assert np.all(np.asarray(sure.low)[:2] <= np.asarray(sure.experience)[:2])


def test_dear_reports_are_not_asked_for(wanted):
    dear = PREDICT(supply(), people(), futures(), REPORTS, prices(100.0), CAPS, jnp.float32(0.5))
    assert np.all(np.asarray(dear.reports_per_s)[:3] == pytest.approx(0.1))
    assert np.all(np.asarray(dear.bandwidth_hz)[:3] >= 0.98 * np.asarray(wanted.bandwidth_hz)[:3])


def test_mix_of_cycles_and_cache_is_the_cheapest_of_all_sizes():
    rng = np.random.default_rng(3)
    missing = np.vstack([np.sort(rng.random((3, 40)), axis=1)[:, ::-1], np.zeros(40)])
    held = np.sort(rng.random(40)) * 1e9
    held[0] = 0.0
    bits, most = rng.random((4, 5)) * 1e6, np.array([1e9, 1e9, 2e8, 1e9, 1.0])
    room = np.array([1e9, 2e8, 1e9, 0.0, 5e8])
    store = Store(jnp.asarray(held, jnp.float32), jnp.asarray(missing, jnp.float32))
    one_sample = jnp.asarray(bits, jnp.float32)[:, None]
    expected = needed_cycles(store, one_sample, jnp.ones(5), jnp.float32(400.0), jnp.float32(0.0))
    given = (jnp.asarray(v, jnp.float32) for v in (1e-9, 2e-10, most, room))
    mix = cheapest(store, expected, *given)
    for user in range(5):
        needed = 400.0 * bits[:, user] @ missing
        allowed = (held <= room[user]) & (needed <= most[user])
        assert bool(mix.fits[user]) == allowed.any()
        if allowed.any():
            assert float(mix.cost[user]) == pytest.approx((1e-9 * needed + 2e-10 * held)[allowed].min(), rel=1e-4)
    assert float(mix.cache_bytes[4]) == pytest.approx(held[held <= room[4]].max(), rel=1e-5)


def test_cycles_hold_for_as_many_draws_of_videos_as_asked():
    rng = np.random.default_rng(5)
    store = Store(jnp.array([0.0]), jnp.array([[0.3], [0.0]]))
    bits = jnp.array([[[2e6], [1e6], [3e6]], [[1e6], [1e6], [1e6]]])
    videos, z = 12, 1.2816
    asked = float(needed_cycles(store, bits, jnp.full(1, float(videos)), jnp.float32(400.0), jnp.float32(z))[0, 0])
    sample = rng.integers(3, size=20_000)
    took = 400.0 * np.asarray(bits)[0, sample, 0] * rng.binomial(videos, 0.3, size=20_000) / videos
    assert 0.87 < np.mean(took <= asked) < 0.93


def test_a_larger_store_lacks_less_and_the_top_version_is_never_missing():
    store = store_of(CATALOGUE)
    assert np.all(np.diff(np.asarray(store.missing), axis=1) <= 1e-6)
    assert np.all(np.asarray(store.missing)[:-1, 0] == pytest.approx(1.0))
    assert np.all(np.asarray(store.missing)[-1] == 0.0)
    assert np.asarray(store.missing)[:, -1].max() == pytest.approx(0.0, abs=1e-5)


def test_least_amount_is_the_inverse_of_what_rises_and_nearest_to_what_is_out_of_reach():
    def worth(amount):
        value = jnp.minimum(amount / jnp.array([100.0, 100.0]), 3.0)
        return value, (2.0 * amount)[None]

    found = least_amount(worth, jnp.array([1.7, 4.0]), jnp.full(2, 1000.0))
    assert float(found.amount[0]) == pytest.approx(170.0, rel=0.01)
    assert float(found.facts[0, 0]) == pytest.approx(340.0, rel=0.01)
    assert float(found.amount[1]) == pytest.approx(298.0, rel=0.01)
    assert float(found.best[1]) == pytest.approx(3.0)


def test_least_amount_of_what_dips_is_the_first_crossing():
    def worth(amount):
        return amount - 150.0 * ((amount > 300.0) & (amount < 500.0)), amount[None]

    found = least_amount(worth, jnp.full(1, 250.0), jnp.full(1, 1000.0))
    assert float(found.amount[0]) == pytest.approx(250.0, rel=0.01)
