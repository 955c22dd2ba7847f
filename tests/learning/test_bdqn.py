import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import ModelError, OutputError
from twinloop.learning import BdqnSettings, Observation, QNetwork, load_q_network, q_network, save_model, save_q_network
from twinloop.learning.bdqn import replay as replays
from twinloop.learning.bdqn import targets
from twinloop.learning.bdqn.targets import Transition, empty_window

KEY = jax.random.key(0)
compiled = eqx.filter_jit
draw, put, reprioritised = compiled(replays.draw), compiled(replays.put), compiled(replays.reprioritised)
td_loss, td_target, one_step = compiled(targets.td_loss), compiled(targets.td_target), compiled(targets.one_step)
pushed, folded = compiled(targets.pushed), compiled(targets.folded)
values = compiled(lambda network, features: network(features))
greedy = compiled(lambda network, features: network.greedy(features))
drawn_network = compiled(q_network)


@pytest.fixture(scope="module")
def net() -> QNetwork:
    return drawn_network(KEY, 3, (4, 2, 3), layers=4, width=8, head_width=5)


@pytest.fixture(scope="module")
def seen():
    return jax.random.normal(jax.random.key(1), (6, 3))


def of_tables(value: list[float], advantage: list[list[list[float]]]) -> QNetwork:
    """A network of one-hot features whose V and A are the given tables [state] and [state][branch][level]."""
    states, branches, levels = len(value), len(advantage[0]), len(advantage[0][0])
    blank = drawn_network(KEY, states, (levels,) * branches, layers=2, width=states, head_width=0)
    return eqx.tree_at(
        lambda n: (n.trunk[0].weight, n.value[0].weight, n.advantage[0].weight),
        blank,
        (jnp.eye(states), jnp.asarray(value)[:, None], jnp.asarray(advantage).reshape(states, -1)),
    )


def test_every_branch_has_the_state_value_as_its_mean_over_the_levels_it_has(net, seen):
    q = np.asarray(values(net, seen))
    assert q.shape == (6, 3, 4)
    assert np.array_equal(np.isfinite(q), np.broadcast_to(np.arange(4) < np.array([[4], [2], [3]]), q.shape))
    means = np.stack([q[:, branch, :count].mean(axis=1) for branch, count in enumerate(net.levels)], axis=1)
    np.testing.assert_allclose(means, np.broadcast_to(means[:, :1], means.shape), atol=1e-5)
    assert means.std() > 0.1
    assert np.array_equal(greedy(net, seen), q.argmax(axis=2))


def test_rows_may_have_any_leading_axes(net, seen):
    flat, folded_rows = values(net, seen), values(net, jnp.asarray(np.asarray(seen).reshape(2, 3, 3)))
    np.testing.assert_allclose(folded_rows, np.asarray(flat).reshape(2, 3, 3, 4), rtol=1e-6)
    assert greedy(net, seen[0]).shape == (3,)


@pytest.mark.parametrize(("part", "scale"), [("trunk", 1 / 4), ("advantage", 1.0)])
def test_what_flows_into_the_trunk_is_scaled_by_branches_and_value(net, seen, part, scale):
    def where(network):
        return getattr(network, part)[0].weight

    @eqx.filter_jit
    def slopes():
        def total(weight):
            q = eqx.tree_at(where, net, weight)(seen)
            return jnp.sum(jnp.where(jnp.isfinite(q), q, 0.0) ** 2)

        slope = jax.grad(total)(where(net))
        size = jnp.linalg.norm(slope)
        nudge = 1e-2 * slope / size
        return size, (total(where(net) + nudge) - total(where(net) - nudge)) / 2e-2

    told, measured = slopes()
    assert float(told) == pytest.approx(scale * float(measured), rel=0.02)
    assert float(told) > 0.1


def transition(**changes) -> Transition:
    """One draw of one agent with two branches, in state 0 and then in state 1."""
    given = {
        "features": jnp.asarray([[[1.0, 0.0]]]),
        "present": jnp.asarray([[True]]),
        "action": jnp.asarray([[[0, 1]]], jnp.int32),
        "reward": jnp.asarray([[0.5]]),
        "discount": jnp.asarray([[0.9]]),
        "seen": jnp.asarray([[[0.0, 1.0]]]),
    }
    return Transition(**{**given, **changes})


def test_the_network_chooses_and_the_target_network_values():
    network = of_tables([1.0, 2.0], [[[0.0, 0.0]] * 2, [[-1.0, 1.0], [3.0, -3.0]]])
    target = of_tables([0.0, 10.0], [[[0.0, 0.0]] * 2, [[4.0, -4.0], [1.0, -1.0]]])
    # in state 1 the network takes levels 1 and 0; the target network values them 10 - 4 and 10 + 1, its own best 14, 11
    assert float(td_target(network, target, transition())[0, 0]) == pytest.approx(0.5 + 0.9 * (6.0 + 11.0) / 2)
    ended = transition(discount=jnp.zeros((1, 1)))
    assert float(td_target(network, target, ended)[0, 0]) == 0.5


def test_the_loss_is_hubers_over_branches_and_absent_agents_count_for_nothing():
    network = of_tables([2.0, 0.0], [[[0.5, -0.5], [-3.0, 3.0]], [[0.0, 0.0]] * 2])
    step, y = transition(), jnp.asarray([[2.0]])
    loss, error = td_loss(network, y, step, jnp.asarray([0.5]), 1.0)
    assert float(loss) == pytest.approx(0.5 * (0.5 * 0.5**2 + (3.0 - 0.5)) / 2)  # apart by .5 and 3
    assert float(error[0]) == pytest.approx((0.5 + 3.0) / 2)
    two = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=1), step)
    two = eqx.tree_at(lambda t: (t.present, t.reward), two, (jnp.asarray([[True, False]]), jnp.asarray([[0.5, 1e6]])))
    again, same = td_loss(network, jnp.asarray([[2.0, 1e6]]), two, jnp.asarray([0.5]), 1.0)
    assert float(again) == pytest.approx(float(loss))
    assert float(same[0]) == pytest.approx(float(error[0]))


def test_an_agent_that_leaves_has_ended():
    def view(*present: bool) -> Observation:
        return Observation(jnp.asarray(np.zeros((1, 3, 2), np.float32)), jnp.asarray([present]))

    ended = jnp.asarray([[False, False, True]])
    step = one_step(
        view(True, True, True),
        jnp.asarray(np.zeros((1, 3, 2), np.int32)),
        jnp.ones((1, 3)),
        ended,
        view(True, False, True),
        0.9,
    )
    np.testing.assert_allclose(step.discount, [[0.9, 0.0, 0.0]], rtol=1e-6)


def test_rewards_of_n_steps_add_up_until_the_episode_or_the_agent_ends():
    def steps(rewards, discounts, over):
        like = transition(discount=jnp.ones((1, 1)))
        window = empty_window(like, 3)
        for k, (reward, discount, cut) in enumerate(zip(rewards, discounts, over, strict=True)):
            assert not bool(window.valid[0, 0])
            now = transition(
                reward=jnp.full((1, 1), reward),
                discount=jnp.full((1, 1), discount),
                seen=jnp.full((1, 1, 2), k + 1.0),
            )
            window = pushed(window, now, jnp.asarray([cut]))
        assert bool(window.valid[0, 0])
        out = folded(window)
        return float(out.reward[0, 0]), float(out.discount[0, 0]), float(out.seen[0, 0, 0])

    no = (False, False, False)
    assert steps((1.0, 2.0, 4.0), (0.5, 0.5, 0.5), no) == (1.0 + 1.0 + 1.0, 0.125, 3.0)
    assert steps((1.0, 2.0, 4.0), (0.5, 0.0, 0.5), no) == (2.0, 0.0, 2.0)
    assert steps((1.0, 2.0, 4.0), (0.5, 0.5, 0.5), (False, True, False)) == (2.0, 0.25, 2.0)
    assert steps((1.0, 2.0, 4.0), (0.0, 0.5, 0.5), no) == (1.0, 0.0, 1.0)


def test_draws_follow_priorities_and_weights_undo_them():
    exponent, draws = 0.6, 4096
    replay = put(
        replays.empty_replay(jnp.int32(0), 64),
        jnp.asarray(np.arange(32, dtype=np.int32)),
        jnp.asarray(np.arange(32) % 4 != 3),
    )
    errors = jnp.asarray(np.random.default_rng(0).uniform(0.1, 5.0, 32).astype(np.float32))
    replay = reprioritised(replay, jnp.asarray(np.arange(32)), errors, exponent)
    drawn = draw(jax.random.key(1), replay, draws, jnp.float32(0.5))
    chance = np.where(np.arange(32) % 4 != 3, np.asarray(errors) ** exponent, 0.0)
    chance = np.concatenate([chance / chance.sum(), np.zeros(32)])
    counts = np.bincount(np.asarray(drawn.place), minlength=64)
    assert np.abs(counts - chance * draws).max() < 2  # one draw from each of `draws` equal parts
    assert np.array_equal(drawn.items, drawn.place)
    raw = chance[np.asarray(drawn.place)] ** -0.5
    np.testing.assert_allclose(drawn.weight, raw / raw.max(), rtol=1e-3)
    evens = np.bincount(np.asarray(drawn.place)[::16], minlength=64)
    assert np.abs(evens - chance * draws / 16).max() < 2  # every batch spans all priorities


def test_new_items_take_the_oldest_places_at_the_greatest_priority():
    replay = replays.empty_replay(jnp.int32(0), 64)
    for first in (0, 32):
        replay = put(replay, jnp.asarray(np.arange(first, first + 32, dtype=np.int32)), jnp.asarray(np.ones(32, bool)))
    replay = reprioritised(replay, jnp.asarray([40, 41]), jnp.asarray([9.0, 0.0]), 1.0)
    replay = put(replay, jnp.asarray(np.arange(64, 96, dtype=np.int32)), jnp.asarray(np.ones(32, bool)))
    assert np.array_equal(replay.items[:32], 64 + np.arange(32))
    assert np.array_equal(replay.items[32:], 32 + np.arange(32))
    np.testing.assert_allclose(replay.priority[:32], 9.0, rtol=1e-5)
    assert 0 < float(replay.priority[41]) < 1e-5


def test_a_network_survives_its_file_and_other_files_are_refused(net, seen, tmp_path):
    path = tmp_path / "net.safetensors"
    flat = drawn_network(KEY, 3, (2, 2), layers=3, width=4, head_width=0)
    for network in (net, flat):
        save_q_network(path, network, {"score": 1.5})
        loaded = load_q_network(path)
        assert np.array_equal(values(loaded, seen), values(network, seen))
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"width": 4', '"width": 5'))
    with pytest.raises(ModelError, match=r"trunk.0.weight has shape"):
        load_q_network(path)
    card.write_text(card.read_text().replace('"width": 5', '"width": -1'))
    with pytest.raises(ModelError, match="structure is wrong"):
        load_q_network(path)
    save_model(path, net, {"kind": "emulator"})
    with pytest.raises(ModelError, match="kind 'emulator'"):
        load_q_network(path)
    with pytest.raises(OutputError):
        save_q_network(card / "net.safetensors", net, {})


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 10}, {"batch": 0}, {"gamma": 1.5}, {"capacity": 100}, {"learning_rate": 0.0}, {"environments": 0}],
)
def test_settings_that_could_never_work_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BdqnSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"layers": 2}, {"levels": (4, 1)}, {"levels": ()}, {"head_width": -1}])
def test_networks_without_trunk_or_choice_are_refused(wrong):
    given = {"features": 3, "levels": (4, 2), "layers": 4, "width": 8, "head_width": 4}
    with pytest.raises(ValueError, match="needs features"):
        q_network(KEY, **{**given, **wrong})
