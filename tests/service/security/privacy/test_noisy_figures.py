import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloop.service.security import (
    PERMISSIONS,
    Aggregates,
    BudgetSpent,
    Forbidden,
    Grants,
    Identity,
    InvalidInput,
    Ledger,
    PrivacySettings,
)
from twinloop.service.security.privacy.aggregates import STEPS, _measurement, noisy_sum

ACME = Identity("tl_1", "acme", "tenant", PERMISSIONS["tenant"], tenant="acme")
OTHER = Identity("tl_2", "other", "tenant", PERMISSIONS["tenant"], tenant="other")
DAY_S = 86_400


@pytest.fixture
def ledger(memory, clock):
    return Ledger(memory, PrivacySettings(epsilon_a_day=1.0, epsilon=0.25), clock)


@pytest.fixture
def grants(memory, clock):
    return Grants(memory, clock)


@pytest.fixture
def exact(monkeypatch):
    """The figures before noise, of which tests read what was summed."""
    summed = []

    def noisy(values, most, epsilon):
        summed.append((values.copy(), most, epsilon))
        return int(values.sum()), 0.0

    monkeypatch.setattr("twinloop.service.security.privacy.aggregates.noisy_sum", noisy)
    return summed


def crowd(picture_of, count=60, seed=0):
    rng = np.random.default_rng(seed)
    picture = picture_of([(f"u{n}", int(of)) for n, of in enumerate(rng.integers(-1, 3, count))], seed=seed)
    picture.users.slot[rng.random(picture.users.slot.shape) < 0.1] = -1
    return picture


def test_noise_has_the_scale_of_sensitivity_over_epsilon():
    """Of a discrete Laplace variable |x| / scale is nearly exponential: a mean of 1,000 off by 0.25 has probability
    below exp(-1000 (0.25 - ln 1.25)) = 3e-12 above, exp(-1000 (-ln 0.75 - 0.25)) = 5e-17 below.
    """
    for values, most, epsilon in ((np.ones(50, np.int64), 1, 0.02), (np.full(9, -STEPS), STEPS, 0.5)):
        noise = np.asarray([noisy_sum(values, most, epsilon)[0] - values.sum() for _ in range(1000)])
        assert np.abs(noise).mean() * epsilon / most == pytest.approx(1.0, abs=0.25)
        # The sign is a fair coin but for zeros (1 % at scale 50): fewer than 350 of 1,000 have probability below 1e-16.
        assert min((noise > 0).sum(), (noise < 0).sum()) > 350


@settings(max_examples=30, deadline=None)
@given(epsilon=st.floats(1e-3, 5.0), most=st.sampled_from([1, STEPS]))
def test_the_library_confirms_that_no_answer_costs_more_than_is_charged(epsilon, most):
    measurement = _measurement(most, epsilon)
    assert 0.999 * epsilon < measurement.map(1) <= epsilon
    assert measurement.map(2) <= 2 * epsilon * (1 + 1e-9)


def test_values_beyond_their_bounds_count_as_their_bounds():
    """Noise of scale 0.2: beyond 50 with probability below exp(-250)."""
    assert abs(noisy_sum(np.asarray([10**6, -(10**6), 10**6], np.int64), 1, 5.0)[0]) < 50


def test_intervals_hold_as_often_as_they_say(ledger, grants, picture_of, memory, clock):
    """Of 400 intervals of 95 % fewer than 300 hold with probability below 1e-30."""
    picture = crowd(picture_of)
    wide = Ledger(memory, PrivacySettings(epsilon_a_day=20.0, epsilon=0.05), clock)
    figures = Aggregates(lambda: picture, grants, wide)
    truth, held = int(picture.users.active.sum()), 0
    for _ in range(400):
        estimate = figures.count(ACME)
        held += estimate.low <= truth <= estimate.high
    assert held > 300


def test_a_count_is_of_other_slices_users(ledger, grants, picture_of, exact):
    picture = crowd(picture_of)
    grants.assign("red", "acme")
    grants.assign("blue", "other")
    others = picture.users.active & (picture.user_slice != 0)
    figures = Aggregates(lambda: picture, grants, ledger)
    assert figures.count(ACME).value == others.sum()
    serving, known = picture.users.value[:, 5], picture.users.slot[:, 5] >= 0
    assert figures.count(ACME, cell="south").value == (others & (serving == 1) & known).sum()
    assert all(most == 1 and epsilon == 0.25 for _, most, epsilon in exact)


def test_a_mean_is_of_what_others_reported(ledger, grants, picture_of, exact):
    picture = crowd(picture_of)
    grants.assign("red", "acme")
    column = [a.name for a in picture.users.attributes].index("buffer_s")
    picture.users.value[::7, column] = np.nan
    known = (picture.users.slot[:, column] >= 0) & np.isfinite(picture.users.value[:, column])
    others = picture.users.active & (picture.user_slice != 0) & known
    estimate = Aggregates(lambda: picture, grants, ledger).mean(ACME, "buffer_s")
    assert estimate.value == pytest.approx(picture.users.value[others, column].mean(), abs=60 / STEPS)
    assert estimate.unit == "s" and estimate.epsilon == 0.25
    assert [(most, epsilon) for _, most, epsilon in exact] == [(STEPS, 0.125), (1, 0.125)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=8),
    row=st.integers(0, 7),
    bounds=st.none() | st.tuples(st.floats(0, 20), st.floats(30, 60)),
)
def test_one_user_changes_a_sum_by_no_more_than_was_assumed(
    exact, grants, memory, clock, picture_of, values, row, bounds
):
    """The sensitivity, over whatever anybody may report: NaN, infinities, numbers out of range."""
    exact.clear()
    picture = picture_of([(f"u{n}", 1) for n in range(len(values))])
    picture.users.value[:, [a.name for a in picture.users.attributes].index("buffer_s")] = values
    free = Ledger(memory, PrivacySettings(epsilon_a_day=20.0, epsilon=0.001, least_epsilon=0.001), clock)
    figures = Aggregates(lambda: picture, grants, free)
    for active in (True, False):
        picture.users.active[row % len(values)] = active
        figures.mean(ACME, "buffer_s", bounds=bounds)
        figures.count(ACME)
    for (with_user, most, _), (without, _, _) in zip(exact[:3], exact[3:], strict=True):
        assert abs(int(with_user.sum()) - int(without.sum())) <= most
        assert len(with_user) - len(without) in (0, 1)
        assert not len(with_user) or np.abs(with_user).max() <= most


def test_an_empty_crowd_gives_nothing_away(ledger, grants, picture_of):
    picture = picture_of([("ann", 0)])
    grants.assign("red", "acme")
    figures = Aggregates(lambda: picture, grants, ledger)
    estimate = figures.mean(ACME, "quality")
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert math.isfinite(figures.count(ACME).value)


def test_only_tenants_ask_and_only_sound_questions_are_charged(ledger, grants, picture_of):
    figures = Aggregates(lambda: crowd(picture_of), grants, ledger)
    for role in ("viewer", "admin", "reporter"):
        with pytest.raises(Forbidden):
            figures.count(Identity("tl_9", "x", role, PERMISSIONS[role]))
    with pytest.raises(KeyError):
        figures.count(ACME, cell="west")
    with pytest.raises(KeyError):
        figures.mean(ACME, "salary")
    for attribute, bounds in [
        ("serving_cell", None),
        ("buffer_s", (5.0, 5.0)),
        ("buffer_s", (-1.0, 5.0)),
        ("buffer_s", (0.0, float("inf"))),
        ("buffer_s", (float("nan"), 5.0)),
    ]:
        with pytest.raises(InvalidInput):
            figures.mean(ACME, attribute, bounds=bounds)
    for epsilon in (0.0, -1.0, 1.1, 1e-9, float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            figures.count(ACME, epsilon=epsilon)
    assert figures.budget(ACME).left == 1.0


def test_the_budget_ends_and_says_when_it_renews(ledger, grants, picture_of, clock):
    figures = Aggregates(lambda: crowd(picture_of), grants, ledger)
    lefts = [figures.count(ACME).budget.left for _ in range(4)]
    assert lefts == [0.75, 0.5, 0.25, 0.0]
    with pytest.raises(BudgetSpent) as refused:
        figures.count(ACME, epsilon=0.01)
    renews_s = (clock() // DAY_S + 1) * DAY_S
    assert (refused.value.status, refused.value.left, refused.value.renews_s) == (429, 0.0, renews_s)
    assert int(refused.value.headers["Retry-After"]) == math.ceil(renews_s - clock())
    assert figures.count(OTHER).budget.left == 0.75
    clock.now_s = renews_s
    assert figures.count(ACME).budget.left == 0.75


def test_a_refused_question_costs_nothing(ledger):
    ledger.charge("acme", 0.9)
    with pytest.raises(BudgetSpent):
        ledger.charge("acme", 0.2)
    assert ledger.charge("acme", 0.1)[1].left == 0.0


def test_small_amounts_add_up_exactly(memory, clock):
    ledger = Ledger(memory, PrivacySettings(epsilon_a_day=1.0, least_epsilon=0.01), clock)
    for _ in range(100):
        ledger.charge("acme", 0.01)
    assert ledger.budget("acme").left == 0.0
    with pytest.raises(BudgetSpent):
        ledger.charge("acme", 0.01)


def test_no_restart_refills_a_budget(ledger, memory, clock):
    ledger.charge("acme", 1.0)
    again = Ledger(memory, PrivacySettings(epsilon_a_day=1.0), clock)
    with pytest.raises(BudgetSpent):
        again.charge("acme")
    assert again.budget("acme").spent == 1.0


def test_a_clock_that_goes_back_refills_nothing(ledger, clock):
    clock.pass_s(3 * DAY_S)
    ledger.charge("acme", 1.0)
    clock.pass_s(-2 * DAY_S)
    with pytest.raises(BudgetSpent) as refused:
        ledger.charge("acme")
    assert refused.value.renews_s > clock() + DAY_S


def test_what_could_not_be_charged_is_not_answered(grants, ledger, memory, picture_of, exact):
    figures = Aggregates(lambda: crowd(picture_of), grants, ledger)
    memory.full = True
    with pytest.raises(OSError, match="space"):
        figures.count(ACME)
    with pytest.raises(OSError, match="space"):
        figures.mean(ACME, "buffer_s")
    assert not exact


def test_two_servers_cannot_spend_the_same(memory, clock):
    one, other = (Ledger(memory, PrivacySettings(epsilon_a_day=1.0), clock) for _ in range(2))
    read = memory.get

    def overtaken(collection, key):
        record = read(collection, key)
        memory.get = read
        other.charge("acme", 0.9)
        return record

    memory.get = overtaken
    with pytest.raises(RuntimeError, match="conflict"):
        one.charge("acme", 0.9)
    assert one.budget("acme").spent == 0.9
