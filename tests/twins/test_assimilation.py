import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twin_cases import COLUMNS, HISTORY, USERS, Forecast, KindForecast, forecast, observations, seen, twins

from twinloop.collection import Observations
from twinloop.twins import (
    Twins,
    admit,
    age_s,
    assimilate,
    assimilate_in_place,
    empty_twins,
    fidelity,
    fork,
    recent,
    retire,
    retire_silent,
    take,
)

step = jax.jit(assimilate)
X, SPEED, SINR, CELL = 0, 2, 4, 5

slots_of_reports = st.lists(
    st.dictionaries(
        st.tuples(st.integers(0, USERS - 1), st.sampled_from([X, SINR, CELL])),
        st.tuples(st.integers(-5, 5).map(float), st.integers(0, 6)),
        max_size=5,
    ),
    min_size=1,
    max_size=6,
)


def told(stream) -> Twins:
    state = twins()
    for now, reported in enumerate(stream):
        state = step(state, observations(now, reported), forecast(), jnp.int32(now))
    return state


@settings(max_examples=40, deadline=None)
@given(slots_of_reports)
def test_late_repeated_disordered_and_missing_reports_leave_the_newest_value(stream):
    known: dict[tuple[int, int], tuple[float, int]] = {}
    writes = np.zeros(USERS, int)
    state = twins()
    for now, reported in enumerate(stream):
        wrote = set()
        for place, (level, when) in reported.items():
            if min(when, now) > known.get(place, (0.0, -1))[1]:
                known[place] = (level, min(when, now))
                wrote.add(place[0])
        writes[list(wrote)] += 1
        before = state
        state = step(state, observations(now, reported), forecast(), jnp.int32(now))
        assert np.all(np.asarray(state.users.current.revision) >= np.asarray(before.users.current.revision))
    current = state.users.current
    for user in range(USERS):
        for attribute in range(COLUMNS):
            level, when = known.get((user, attribute), (0.0, -1))
            assert (float(current.value[user, attribute]), int(current.slot[user, attribute])) == (level, when)
    assert current.revision.tolist() == writes.tolist()
    assert current.active.tolist() == (writes > 0).tolist()
    assert state.users.history.cursor.tolist() == writes.tolist()


@settings(max_examples=15, deadline=None)
@given(slots_of_reports, st.permutations(range(USERS)))
def test_permuting_users_permutes_their_twins(stream, order):
    permuted = [{(order.index(user), attribute): what for (user, attribute), what in s.items()} for s in stream]
    plain, moved = told(stream).users, told(permuted).users
    for a, b in zip(
        jax.tree.leaves((plain.current, plain.history)), jax.tree.leaves((moved.current, moved.history)), strict=True
    ):
        np.testing.assert_allclose(np.asarray(a)[np.array(order)], np.asarray(b), rtol=1e-5)


def test_telling_the_same_again_changes_nothing():
    once = step(twins(), observations(3, {(0, X): (5.0, 3)}), forecast(), jnp.int32(3))
    again = step(once, observations(4, {(0, X): (5.0, 3)}), forecast(), jnp.int32(4))
    for a, b in zip(jax.tree.leaves(once.users), jax.tree.leaves(again.users), strict=True):
        np.testing.assert_array_equal(a, b)


def test_age_grows_by_one_slot_without_a_report():
    current = step(twins(), observations(3, {(0, X): (5.0, 2)}), forecast(), jnp.int32(3)).users.current
    now, next_ = age_s(current, jnp.int32(3), 0.5), age_s(current, jnp.int32(4), 0.5)
    assert float(now[0, X]) == 0.5
    assert float(now[0, SINR]) == 2.0
    np.testing.assert_allclose(next_ - now, 0.5)


def test_history_is_a_ring_of_what_was_known():
    state = told([{(0, X): (float(t), t)} if t != 1 else {(0, SINR): (7.0, 1)} for t in range(5)])
    value, slot = recent(state.users.history, jnp.array([0, 3]))
    assert slot.tolist() == [[2, 3, 4], [-1, -1, -1]]
    assert value[0, :, X].tolist() == [2.0, 3.0, 4.0]
    assert value[0, :, SINR].tolist() == [7.0, 7.0, 7.0]
    assert bool(jnp.all(jnp.isnan(value[0, :, SPEED])))
    assert state.users.history.slot.shape == (USERS, HISTORY)


def test_fidelity_is_one_for_exact_emulation_and_zero_for_none():
    spread = {(user, X): (100.0 * user, 0) for user in range(USERS)}
    state = step(twins(), observations(0, spread), forecast(), jnp.int32(0))
    assert float(jnp.max(fidelity(state.users.current))) == 0.0
    exact, wrong = np.zeros((USERS, COLUMNS)), np.zeros((USERS, COLUMNS))
    exact[:, X] = [0.0, 100.0, 200.0, 300.0]
    wrong[:, X] = [1e6] * USERS
    later = observations(1, {place: (value, 1) for place, (value, _) in spread.items()})
    good, bad = (step(state, later, forecast(guess), jnp.int32(1)).users.current for guess in (exact, wrong))
    np.testing.assert_allclose(fidelity(good)[:, X], 1.0)
    np.testing.assert_allclose(fidelity(bad)[:, X], 0.0)
    half = exact + 0.5 * np.std(exact[:, X])
    middling = step(state, later, forecast(half), jnp.int32(1)).users.current
    np.testing.assert_allclose(fidelity(middling)[:, X], 0.5, atol=1e-3)


def test_the_error_of_a_label_is_all_or_nothing():
    state = step(twins(), observations(0, {(0, CELL): (3.0, 0), (1, CELL): (3.0, 0)}), forecast(), jnp.int32(0))
    guess = np.zeros((USERS, COLUMNS))
    guess[:, CELL] = 3.0
    state = step(state, observations(1, {(0, CELL): (3.0, 1), (1, CELL): (4.0, 1)}), forecast(guess), jnp.int32(1))
    assert state.users.current.error[:2, CELL].tolist() == [0.0, 1.0]
    state = step(state, observations(2, {(1, CELL): (3.0, 2)}), forecast(guess), jnp.int32(2))
    np.testing.assert_allclose(state.users.current.error[:2, CELL], [0.0, 0.9])


@settings(max_examples=15, deadline=None)
@given(slots_of_reports)
def test_fidelity_stays_in_the_unit_interval(stream):
    state = told(stream)
    assert bool(jnp.all((fidelity(state.users.current) >= 0) & (fidelity(state.users.current) <= 1)))


def test_a_fork_shares_current_values_and_survives_later_assimilation():
    state = step(twins(), observations(0, {(0, X): (5.0, 0)}), forecast(), jnp.int32(0))
    what_if = fork(state)
    assert what_if.users.current.value is state.users.current.value
    assert what_if.users.history.value.size == 0
    later = assimilate_in_place(state, observations(1, {(0, X): (6.0, 1)}), forecast(), jnp.int32(1))
    assert float(what_if.users.current.value[0, X]) == 5.0
    assert float(later.users.current.value[0, X]) == 6.0
    changed = step(what_if, observations(1, {(0, X): (9.0, 1)}), forecast(), jnp.int32(1))
    assert float(changed.users.current.value[0, X]) == 9.0
    assert float(later.users.current.value[0, X]) == 6.0


def test_history_is_written_in_place_when_given_up():
    state = assimilate_in_place(twins(), observations(0, {(0, X): (5.0, 0)}), forecast(), jnp.int32(0))
    memory = state.users.history.value.unsafe_buffer_pointer()
    later = assimilate_in_place(state, observations(1, {(0, X): (6.0, 1)}), forecast(), jnp.int32(1))
    assert state.users.history.value.is_deleted()
    assert not state.users.current.value.is_deleted()
    assert later.users.history.value.unsafe_buffer_pointer() == memory
    plain = step(twins(), observations(0, {(0, X): (5.0, 0)}), forecast(), jnp.int32(0))
    plain = step(plain, observations(1, {(0, X): (6.0, 1)}), forecast(), jnp.int32(1))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(later), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_scan_carries_the_history_without_a_copy():
    users, history = 64, 4096
    state = empty_twins(users=users, cells=2, servers=1, slices=2, history=history, class_length_s=jnp.array([5.0]))
    reports = seen(np.zeros((users, COLUMNS)), np.ones((users, COLUMNS), bool), np.zeros((users, COLUMNS)))
    other, guess, zeros = observations(0, {}), forecast(), jnp.zeros((users, COLUMNS))
    emulated = Forecast(KindForecast(zeros), guess.cells, guess.servers)

    def slot(carry: Twins, now):
        return assimilate(carry, Observations(now, reports, other.cells, other.servers), emulated, now), None

    compiled = jax.jit(lambda s: jax.lax.scan(slot, s, jnp.arange(5))[0], donate_argnums=0).lower(state).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < state.users.history.value.nbytes / 10


def test_it_runs_in_vmap():
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), twins())
    told_batch = jax.tree.map(
        lambda *x: jnp.stack(x), observations(0, {(0, X): (5.0, 0)}), observations(0, {(1, X): (6.0, 0)})
    )
    both = jax.jit(jax.vmap(assimilate, in_axes=(0, 0, None, None)))(batch, told_batch, forecast(), jnp.int32(0))
    assert both.users.current.value[:, :2, X].tolist() == [[5.0, 0.0], [0.0, 6.0]]
    assert both.users.history.slot[:, :2, 0].tolist() == [[0, -1], [-1, 0]]


def test_one_compilation_serves_whoever_is_there():
    traces = []

    @jax.jit
    def traced(*arguments):
        traces.append(1)
        return assimilate(*arguments)

    state = step(twins(), observations(0, {}), forecast(), jnp.int32(0))
    for now, reported in enumerate([{}, {(0, X): (1.0, 1)}, {(1, X): (1.0, 2), (2, SINR): (3.0, 2)}]):
        state = traced(state, observations(now, reported), forecast(), jnp.int32(now))
        state = Twins(
            retire(state.users, jnp.arange(USERS) == now), state.cells, state.servers, state.slices, state.swipes
        )
    assert len(traces) == 1


def test_a_new_occupant_starts_with_nothing_known_and_a_higher_revision():
    state = step(twins(), observations(0, {(0, X): (5.0, 0), (1, X): (6.0, 0)}), forecast(), jnp.int32(0)).users
    admitted = admit(state, jnp.arange(USERS) == 0)
    assert bool(admitted.current.active[0])
    assert int(admitted.current.slot[0, X]) == -1 and int(admitted.current.slot[1, X]) == 0
    assert int(admitted.current.revision[0]) == int(state.current.revision[0]) + 1
    assert recent(admitted.history, jnp.array([0]))[1].tolist() == [[-1] * HISTORY]


def test_the_silent_are_retired_and_return_with_their_next_report():
    state = step(twins(), observations(0, {(0, X): (5.0, 0), (1, X): (6.0, 0)}), forecast(), jnp.int32(0))
    state = step(state, observations(3, {(1, X): (6.0, 3)}), forecast(), jnp.int32(3))
    silent = retire_silent(state.users, jnp.int32(4), 4)
    assert silent.current.active.tolist() == [False, True, False, False]
    assert float(silent.current.value[0, X]) == 5.0
    assert (silent.current.revision - state.users.current.revision).tolist() == [1, 0, 0, 0]
    back = jax.tree.map(lambda x: x, state)
    back = Twins(silent, back.cells, back.servers, back.slices, back.swipes)
    back = step(back, observations(5, {(0, X): (8.0, 5)}), forecast(), jnp.int32(5))
    assert bool(back.users.current.active[0])
    gone = retire(back.users, jnp.ones(USERS, bool))
    assert not bool(jnp.any(gone.current.active))


def test_taking_rows_takes_their_history():
    state = told([{(2, X): (float(t), t)} for t in range(2)])
    chosen = take(state.users, jnp.array([2, 0]))
    assert chosen.current.value[:, X].tolist() == [1.0, 0.0]
    assert recent(chosen.history, jnp.array([0]))[1].tolist() == [[-1, 0, 1]]
