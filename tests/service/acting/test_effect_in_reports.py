"""The effect of a decision in what users report later: a site that confirms and does nothing is found out."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from service.acting.conftest import CELL_HZ, CELLS, SLICES, even, make_picture, moved

from twinloop.scenario.physics import build_radio
from twinloop.service.acting.effect import (
    EFFECT_SLOTS,
    SETTLING_SLOTS,
    Effects,
    Efficiency,
    Held,
    Means,
    capacity_bps,
    find,
    usage_of,
)
from twinloop.simulator import spectral_efficiency

WHOLE = np.full(CELLS, CELL_HZ)
GROUPS = np.array([-1, -1, -1, -1, -1, 0, 0], np.int32)


@pytest.fixture(scope="session")
def radio(three_sites):
    return build_radio(three_sites)


@pytest.fixture(scope="session")
def efficiency(radio) -> Efficiency:
    return Efficiency(radio)


def test_the_table_of_efficiency_is_the_twins_own_model(radio, efficiency):
    sinr_db = np.linspace(-20.0, 45.0, 97).astype(np.float32)
    np.testing.assert_allclose(
        efficiency(sinr_db), spectral_efficiency(radio, jnp.asarray(sinr_db)), rtol=0.01, atol=0.01
    )


def people(held_hz: np.ndarray, efficiency: Efficiency, rng, share: float = 1.0, cell: int = 0) -> list[dict]:
    """Two users of `premium`, three of `standard`, two of a multicast group, who take a share of what slices hold."""
    told = []
    for row, count in ((0, 2), (1, 3)):
        for sinr_db in rng.uniform(5.0, 25.0, count):
            rate = share * held_hz[cell, row] / count * efficiency(np.array([sinr_db]))[0]
            told.append({"slice": row, "cell": cell, "rate_bps": rate * rng.uniform(0.97, 1.03), "sinr_db": sinr_db})
    heard = rng.uniform(5.0, 25.0, 2)
    rate = share * held_hz[cell, 2] * efficiency(heard).min()
    return told + [{"slice": 2, "cell": cell, "rate_bps": rate, "sinr_db": one} for one in heard]


def test_bandwidth_is_rate_over_efficiency_and_a_bearer_counts_once(efficiency):
    picture = make_picture(users=people(even(), efficiency, np.random.default_rng(1)))
    used = usage_of(picture, GROUPS, efficiency)
    np.testing.assert_allclose(used.used_hz[0], CELL_HZ / 3, rtol=0.05)
    assert np.all(used.used_hz[1:] == 0.0) and np.all(used.known)
    expected = sum(1e6 / efficiency(picture.users.value[row, 4:5])[0] for row in (2, 3, 4))
    assert used.wanted_hz[0, 1] == pytest.approx(expected, rel=1e-5), "three users who are promised 1 Mbit/s"


def test_old_reports_and_too_few_of_them_say_nothing(efficiency):
    users = people(even(), efficiency, np.random.default_rng(1))
    users[0] |= {"slot": 60}
    used = usage_of(make_picture(users=users), GROUPS, efficiency)
    assert used.known[0].tolist() == [False, True, True]


def test_capacity_is_bandwidth_at_the_mean_efficiency_of_who_is_there(efficiency):
    users = [{"slice": 0, "cell": 0, "rate_bps": 0.0, "sinr_db": sinr_db} for sinr_db in (0.0, 20.0)]
    mean = efficiency(np.array([0.0, 20.0])).mean()
    assert capacity_bps(make_picture(users=users), efficiency) == pytest.approx(mean * CELLS * CELL_HZ, rel=1e-6)
    assert capacity_bps(make_picture(), efficiency) == pytest.approx(CELLS * CELL_HZ)


def finding(took, takes, had, has, *, wanted=10e6, slots=(30, 30), noise=0.0):
    def table(number):
        return np.full((CELLS, SLICES), float(number))

    before = Means(table(took), table(0), table(wanted), np.full((CELLS, SLICES), slots[0]))
    after = Means(table(takes), table(noise), table(wanted), np.full((CELLS, SLICES), slots[1]))
    return find(before, after, Held(table(had), table(has), WHOLE), 0, 0)


@pytest.mark.parametrize(
    ("numbers", "says", "why"),
    [
        ({"took": 4e6, "takes": 2e6, "had": 4e6, "has": 2e6}, "seen", "took 4,000,000 Hz of"),
        ({"took": 4.4e6, "takes": 2.3e6, "had": 4e6, "has": 2e6}, "seen", "took"),
        ({"took": 4e6, "takes": 4e6, "had": 4e6, "has": 2e6}, "not seen", "takes 4,000,000 Hz, holds 2,000,000 Hz"),
        ({"took": 4e6, "takes": 3.9e6, "had": 4e6, "has": 3e6}, "not seen", "took"),
        ({"took": 1e6, "takes": 1e6, "had": 4e6, "has": 2e6}, "cannot be told", "took no more than it holds now"),
        ({"took": 2e6, "takes": 4e6, "had": 2e6, "has": 4e6}, "seen", "took"),
        ({"took": 2e6, "takes": 2e6, "had": 2e6, "has": 4e6}, "not seen", "took"),
        ({"took": 2e6, "takes": 2e6, "had": 2e6, "has": 4e6, "wanted": 1e6}, "cannot be told", "needed no more"),
        ({"took": 1e6, "takes": 1e6, "had": 2e6, "has": 4e6}, "cannot be told", "did not take what it had"),
        ({"took": 2e6, "takes": 2e6, "had": 2e6, "has": 2.1e6}, "cannot be told", "holds as much as before"),
        ({"took": 2e6, "takes": 3.5e6, "had": 2e6, "has": 2e6}, "not seen", "takes 3,500,000 Hz, holds"),
        ({"took": 4e6, "takes": 3.2e6, "had": 4e6, "has": 2e6, "noise": 1e6}, "cannot be told", "varies too much"),
        ({"took": 4e6, "takes": 4e6, "had": 4e6, "has": 2e6, "slots": (9, 30)}, "cannot be told", "too few reports"),
        ({"took": 4e6, "takes": 4e6, "had": 4e6, "has": 2e6, "slots": (30, 9)}, "cannot be told", "too few reports"),
        ({"took": 0.0, "takes": 2e6, "had": 0.0, "has": 2e6}, "seen", "took 0 Hz of 0 Hz"),
        ({"took": 2e6, "takes": 2e6, "had": 2e6, "has": 0.0}, "not seen", "holds 0 Hz"),
    ],
)
def test_what_a_slice_takes_shows_what_it_holds(numbers, says, why):
    found = finding(**numbers)
    assert found.says == says
    assert why in found.why


class World:
    """Slots in which one site's cell is lived under what it really holds, and a decision is asked and confirmed."""

    def __init__(self, efficiency, window_slots: int = 60) -> None:
        self.effects = Effects({"west": [0, 1], "centre": [2, 3], "east": [4, 5]}, window_slots)
        self.effects.efficiency = efficiency
        self.efficiency, self.slot, self.rng = efficiency, 0, np.random.default_rng(5)
        self.doing, self.asked = even(), even()
        self.satisfaction = 0.5

    def live(self, slots: int) -> list:
        news = []
        picture = make_picture(self.slot, users=people(self.doing, self.efficiency, self.rng))
        for _ in range(slots):
            self.slot += 1
            fresh = np.full_like(picture.users.slot, self.slot)
            users = dataclasses.replace(picture.users, slot=fresh)
            slices = make_slices(self.slot, self.satisfaction)
            self.effects.note(dataclasses.replace(picture, slot=self.slot, users=users, slices=slices), GROUPS)
            news += self.effects.news()
        return news

    def decide(self, name: str, held: np.ndarray, *, obeyed: bool) -> list:
        before, self.asked = self.asked, held
        news = self.effects.asked(name, Held(before.astype(float), held.astype(float), WHOLE))
        self.doing = held if obeyed else self.doing
        self.live(1)
        self.effects.confirmed(name)
        return news


def make_slices(slot: int, satisfaction: float):
    return make_picture(slot, satisfaction=satisfaction).slices


def test_an_agent_that_does_as_told_is_seen_and_one_that_lies_is_not(efficiency):
    for obeyed, says in ((True, "seen"), (False, "not seen")):
        world = World(efficiency)
        world.live(20)
        world.decide("d1", moved(0.15), obeyed=obeyed)
        news = world.live(SETTLING_SLOTS + EFFECT_SLOTS)
        assert [one.name for one in news] == ["d1"]
        effect = news[0].effect
        assert (effect["west"]["says"], effect["west"]["slots"]) == (says, EFFECT_SLOTS)
        assert effect["centre"]["says"] == "cannot be told", "nobody is there, and nothing was asked"
        assert any("premium in west-macro" in why for why in effect["west"]["why"])


def test_a_lie_is_found_again_though_the_loop_believes_the_first_decision_stands(efficiency):
    world = World(efficiency)
    world.live(20)
    world.decide("d1", moved(0.2), obeyed=False)
    assert world.live(40)[0].effect["west"]["says"] == "not seen"
    world.decide("d2", moved(0.12), obeyed=False)
    assert world.live(40)[0].effect["west"]["says"] == "not seen", "it takes what it had before either of them"
    world.decide("d3", moved(0.2), obeyed=True)
    assert world.live(40)[0].effect["west"]["says"] == "seen"


def test_satisfaction_is_a_mean_over_the_windows_before_and_after(efficiency):
    world = World(efficiency, window_slots=12)
    world.live(20)
    world.satisfaction = 0.6
    world.live(6)
    world.decide("d1", even(), obeyed=True)
    world.satisfaction = 0.9
    told = [one for one in world.live(SETTLING_SLOTS + 12) if one.after is not None]
    assert told[0].before == (pytest.approx(0.55), 12)
    assert told[0].after == (pytest.approx(0.9), 12)


def test_a_decision_that_is_overtaken_is_judged_by_what_there_is(efficiency):
    world = World(efficiency)
    world.live(20)
    world.decide("d1", moved(0.2), obeyed=True)
    world.live(SETTLING_SLOTS + 15)
    news = world.decide("d2", even(), obeyed=True)
    assert [(one.name, one.effect is not None) for one in news] == [("d1", True), ("d1", False)]
    assert news[0].effect["west"]["says"] == "seen" and news[0].effect["west"]["slots"] == 16
    assert news[1].after == (0.5, 16)
    world.effects.dropped("d2")
    assert world.live(60) == []


def test_what_was_never_confirmed_is_not_looked_at(efficiency):
    world = World(efficiency)
    world.live(20)
    world.effects.asked("d1", Held(even().astype(float), moved(0.2).astype(float), WHOLE))
    assert world.live(80) == []
