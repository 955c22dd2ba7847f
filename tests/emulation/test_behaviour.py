import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import (
    GIVENS,
    LENGTH_EDGES_S,
    LIKINGS,
    LOOPS,
    OUTCOMES,
    PHASES,
    PLACES,
    STATES,
    ZONES,
    Frailty,
    History,
    Imitated,
    Machine,
    Video,
    default_assumptions,
    ending_step,
    exposure,
    leave_probability,
    live,
    log_chances,
    no_history,
    own_factor,
    place,
    step_edges_s,
    step_middle_s,
    watch_through,
    watching_forecast,
)
from twinloop.learning import stopping_policy

FLAT = Machine(jnp.full((1, 1, 1, LOOPS, ZONES), 0.2))


def videos(*length_s: float, liking: int = 0, factor: float = 1.0) -> Video:
    users = len(length_s)
    return Video(jnp.asarray(length_s, jnp.float32), jnp.full(users, liking), jnp.full(users, factor))


def past(left: float, expected: float, users: int = 1) -> History:
    each = jnp.full((users, PHASES), 1.0) / PHASES
    return History(jnp.full(users, 5.0), jnp.full(users, 0.1), left * each, expected * each, 0.0 * each)


def test_exposure_counts_the_first_second_apart_and_every_loop() -> None:
    spent = np.asarray(exposure(jnp.array([0.5, 5.5, 10.0, 45.0]), jnp.full(4, 10.0)))
    assert spent[0].sum() == spent[0, 0, 0] == pytest.approx(0.5)
    assert spent[1, 0, 0] == pytest.approx(1) and spent[1, 0, 1:].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(spent[2].sum(axis=1), [2, 0, 0], atol=1e-5)
    np.testing.assert_allclose(spent[3].sum(axis=1), [2, 2, 2 * 2 + 1 + 4 / 9], atol=1e-5)


def test_a_view_ends_in_the_zone_its_exposure_was_growing_in() -> None:
    watched = jnp.asarray(np.random.default_rng(0).uniform(0.01, 40, 300), jnp.float32)
    length = jnp.asarray(np.random.default_rng(1).uniform(3, 30, 300), jnp.float32)
    loop, zone = place(watched, length)
    grown = np.asarray(exposure(watched, length) - exposure(watched - 1e-3, length))
    biggest = grown.reshape(300, -1).argmax(axis=1)
    assert np.mean(biggest == np.asarray(loop) * ZONES + np.asarray(zone)) > 0.98


def test_the_machine_tells_lengths_likings_outcomes_and_types_apart() -> None:
    rate = np.full((len(LENGTH_EDGES_S) + 1, LIKINGS, OUTCOMES, LOOPS, ZONES), 0.1)
    rate[0] *= 2
    rate[:, 1] *= 3
    rate[:, :, 1] *= 5
    machine = Machine(jnp.asarray(rate, jnp.float32))
    edges = jnp.array([[0.0, 1.0]])

    def risk(video: Video, last: float = -1.0) -> float:
        history = eqx.tree_at(lambda h: h.last_ratio, no_history(1), jnp.array([last]))
        return float(machine.intensity(history, video, edges)[0, 0])

    assert risk(videos(20.0)) == pytest.approx(0.1)
    assert risk(videos(5.0)) == pytest.approx(0.2)
    assert risk(videos(20.0, liking=-1)) == pytest.approx(0.3)
    assert risk(videos(20.0), last=0.1) == pytest.approx(0.5)
    assert risk(videos(20.0), last=1.3) == pytest.approx(0.1)
    assert risk(videos(20.0, factor=4.0)) == pytest.approx(0.4)


def test_memory_holds_what_was_left_against_what_was_expected() -> None:
    watched = jnp.array([0.5, 2.0, 9.0, 10.5, 15.0])
    history = FLAT.remember(no_history(5), videos(*[10.0] * 5), watched)
    np.testing.assert_array_equal(history.left, np.eye(5))
    np.testing.assert_allclose(history.expected[4], 0.2 * np.array([1, 0.3, 0.7, 1, 4 / 9]), rtol=1e-4)
    np.testing.assert_allclose(history.recent, history.left - history.expected, atol=1e-6)
    np.testing.assert_allclose(history.last_ratio, watched / 10, rtol=1e-6)
    later = FLAT.remember(history, videos(*[10.0] * 5), watched)
    np.testing.assert_allclose(later.recent, 1.7 * history.recent, rtol=1e-5)
    np.testing.assert_allclose(later.expected, 2 * history.expected, rtol=1e-5)


def test_a_users_factor_is_mixed_as_gamma_says() -> None:
    shape, left, expected = 4.0, 6.0, 2.0
    edges = jnp.array([[0.0, 1.0, 4.0]])
    got = Frailty(FLAT, jnp.float32(shape)).intensity(past(left, expected), videos(10.0), edges)
    risk = np.asarray(FLAT.intensity(no_history(1), videos(10.0), edges))[0]
    factor = np.random.default_rng(0).gamma(shape + left, 1 / (shape + expected), 200_000)
    survival = np.exp(-factor[:, None] * np.cumsum(risk)[None, :]).mean(axis=0)
    np.testing.assert_allclose(np.exp(-np.cumsum(np.asarray(got)[0])), survival, rtol=3e-3)


def test_a_factor_is_one_for_a_newcomer_and_above_it_for_who_leaves_often() -> None:
    model, edges = Frailty(FLAT, jnp.float32(4.0)), jnp.array([[0.0, 1.0, 2.0]])
    np.testing.assert_allclose(own_factor(model, no_history(1), videos(10.0), edges), 1.0)
    assert np.all(own_factor(model, past(9.0, 3.0), videos(10.0), edges) > 1.3)
    assert np.all(own_factor(model, past(1.0, 6.0), videos(10.0), edges) < 0.7)


def test_an_untrained_network_leaves_as_the_machine() -> None:
    model = Imitated(FLAT, stopping_policy(jax.random.key(0), PLACES, GIVENS, 8))
    history, video = past(3.0, 2.0, users=2), videos(5.0, 70.0)
    ours, plain = (leave_probability(m, history, video, 12) for m in (model, FLAT))
    np.testing.assert_allclose(ours, plain, rtol=1e-6)
    chance = np.exp(np.asarray(log_chances(model, history, video)))
    np.testing.assert_allclose(
        chance.sum(axis=1),
        1 - np.exp(-np.asarray(FLAT.intensity(history, video, jnp.tile(step_edges_s()[None], (2, 1)))).sum(axis=1)),
        rtol=1e-4,
    )


def test_segments_are_watched_until_the_end_by_the_product_of_staying() -> None:
    leave = np.asarray(leave_probability(FLAT, no_history(1), videos(6.0), 8))[0]
    got = np.asarray(watching_forecast(FLAT, no_history(1), videos(6.0), jnp.array([2.4]), 6))[0]
    stay = np.concatenate([[1.0], np.cumprod(1 - leave[2:5])])
    np.testing.assert_allclose(got, [*stay, 0, 0], rtol=1e-5)


def test_simulated_viewers_stop_as_often_as_they_should() -> None:
    length = jnp.full((4000, 2), 8.0)
    watched = watch_through(jax.random.key(0), FLAT, length, jnp.zeros((4000, 2), jnp.int32))
    steps = np.bincount(np.asarray(ending_step(watched)).ravel(), minlength=len(step_middle_s())) / 8000
    chance = np.exp(np.asarray(log_chances(FLAT, no_history(1), videos(8.0))))[0]
    np.testing.assert_allclose(steps, chance / chance.sum(), atol=0.015)


def test_steps_hold_their_middles() -> None:
    middle = step_middle_s()
    np.testing.assert_array_equal(ending_step(middle), np.arange(len(middle)))
    assert ending_step(jnp.array([0.0, 1e5])).tolist() == [0, len(middle) - 1]


def lived(stalled: float, **assumed: float):
    users, seconds = 300, 240
    given = default_assumptions()
    given = (
        eqx.tree_at(lambda a: [getattr(a, name) for name in assumed], given, [jnp.float32(v) for v in assumed.values()])
        if assumed
        else given
    )
    stall = jnp.asarray(np.random.default_rng(0).random((users, seconds // 8)) < stalled)
    return LIVE(
        jax.random.key(1),
        FLAT,
        given,
        jnp.full((users, 9), 12.0),
        jnp.zeros((users, 9), jnp.int32),
        jnp.repeat(stall, 8, axis=1),
    )


LIVE = eqx.filter_jit(live)


def share(result, name: str) -> float:
    return float(np.mean(np.asarray(result.state) == STATES.index(name)))


def test_without_stalls_pauses_and_ends_people_watch_and_replay() -> None:
    result = lived(0.0, pause_per_s=0.0, session_end=0.0)
    assert share(result, "watch") + share(result, "replay") == pytest.approx(1)
    assert share(result, "replay") > 0.3
    mean_s = 240 * 300 / float(jnp.sum(result.shown - 1))
    intensity = np.asarray(FLAT.intensity(no_history(1), videos(12.0), jnp.arange(400.0)[None]))[0]
    assert mean_s == pytest.approx(1 + np.exp(-np.cumsum(intensity)).sum(), rel=0.1)


def test_stalls_stop_playback_and_drive_viewers_on_after_their_patience() -> None:
    calm, bad = lived(0.0), lived(0.3)
    assert share(calm, "stall") == 0 < share(bad, "stall")
    patient, hasty = (lived(0.3, stall_leave_per_s=leave, session_end=0.0) for leave in (0.0, 0.8))
    assert float(jnp.mean(hasty.shown)) > 1.2 * float(jnp.mean(patient.shown))
    spared = lived(0.3, stall_leave_per_s=0.8, session_end=0.0, patience_s=1e3)
    assert float(jnp.mean(spared.shown)) < float(jnp.mean(hasty.shown))


def test_pauses_and_absence_take_the_time_they_are_given() -> None:
    often = lived(0.0, pause_per_s=0.1, pause_mean_s=10.0, session_end=0.0)
    assert share(often, "pause") == pytest.approx(0.5, abs=0.05)
    away = lived(0.0, pause_per_s=0.0, session_end=1.0, away_mean_s=10.0)
    assert 0.1 < share(away, "away") < 0.9 and share(away, "pause") == 0
