from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import ModelError
from twinloop.learning import (
    LEVELS,
    Along,
    Arrival,
    Distribution,
    Emulator,
    NetworkStructure,
    Quantity,
    RecurrentNetwork,
    blank_memory,
    forecast_recursively,
    linear_features,
    load_emulator,
    network_features,
    new_network,
    remember,
    running_scale,
    save_emulator,
    starting_offset,
)

QUANTITY = Quantity(resolution=0.1, lags=4)
HORIZONS = (1, 3)
STEPS, ENTITIES = 14, 3


def arrivals(seed: int = 0, entities: int = ENTITIES) -> Arrival:
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    value = 5.0 + jnp.cumsum(jax.random.normal(k1, (STEPS, entities)), axis=0)
    measured = jax.random.bernoulli(k2, 0.7, (STEPS, entities)).at[0].set(True)
    covariates = jax.random.normal(k3, (STEPS, entities, 2)).at[0, 0].set(jnp.nan)
    return Arrival(value, measured, covariates)


def widths(quantity: Quantity = QUANTITY) -> tuple[int, int]:
    memory = blank_memory(quantity, 1)
    inputs = network_features(quantity, memory, jnp.zeros((1, 2))).shape[1]
    return inputs, linear_features(quantity, memory, 1).shape[1]


def network(cell: str = "gru", head: str = "quantiles", seed: int = 0) -> RecurrentNetwork:
    inputs, features = widths()
    structure = NetworkStructure(QUANTITY, HORIZONS, inputs, 4, cell, head)
    quantiles = jnp.stack([jnp.asarray(LEVELS) - 0.5, 2 * (jnp.asarray(LEVELS) - 0.5)])
    k_net, k_linear, k_head = jax.random.split(jax.random.key(seed), 3)
    net = new_network(
        k_net,
        structure,
        shift=jnp.zeros(inputs),
        spread=jnp.ones(inputs),
        linear=0.1 * jax.random.normal(k_linear, (2, features)),
        offset=starting_offset(head, quantiles),
    )
    return eqx.tree_at(lambda n: n.head, net, 0.1 * jax.random.normal(k_head, net.head.shape))


def emulator(*kinds: tuple[str, str]) -> Emulator:
    nets = tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(network(*kind, seed) for seed in (1, 2))) for kind in kinds
    )
    _, features = widths()
    share = jnp.full((2, 2 + len(kinds)), 1.0 / (2 + len(kinds)))
    levels = jnp.stack([jnp.asarray(LEVELS) - 0.5] * 2)
    linear = 0.1 * jax.random.normal(jax.random.key(9), (2, features))
    return Emulator(
        QUANTITY, linear, levels, levels, nets, share, share, jnp.full(levels.shape, 1.3), HORIZONS, 0.0, jnp.inf
    )


def run(model: RecurrentNetwork | Emulator, came: Arrival):
    return jax.lax.scan(lambda state, one: model.step(state, one), model.start(came.value.shape[1]), came)


def along(came: Arrival) -> Along:
    def one(memory, now):
        memory = remember(memory, now.value, now.measured)
        linear = jnp.stack([linear_features(QUANTITY, memory, h) for h in HORIZONS], axis=1)
        inputs = network_features(QUANTITY, memory, now.covariates)
        return memory, Along(inputs, linear, memory.last, running_scale(QUANTITY, memory))

    return jax.lax.scan(one, blank_memory(QUANTITY, came.value.shape[1]), came)[1]


def test_what_is_remembered_is_what_was_reported() -> None:
    memory = blank_memory(QUANTITY, 1)
    for value, measured in ((4.0, True), (9.0, False), (6.0, True), (8.0, True)):
        memory = remember(memory, jnp.array([value]), jnp.array([measured]))
    np.testing.assert_allclose(memory.lags[0], [8, 6, 4, 4])
    np.testing.assert_allclose(memory.levels[0, -1], 6.0, rtol=1e-6)
    assert float(memory.age[0]) == 0 and float(memory.reports[0]) == 3
    silent = remember(memory, jnp.array([99.0]), jnp.array([False]))
    assert float(silent.age[0]) == 1 and float(silent.last[0]) == 8
    np.testing.assert_allclose(silent.levels, memory.levels)
    assert float(running_scale(QUANTITY, memory)[0]) > float(running_scale(QUANTITY, blank_memory(QUANTITY, 1))[0])


def test_seasons_are_values_one_period_before_the_horizon() -> None:
    quantity = Quantity(resolution=0.1, lags=3, periods=(5,))
    memory = blank_memory(quantity, 1)
    for value in range(10):
        memory = remember(memory, jnp.array([float(value)]), jnp.array([True]))
    assert float(linear_features(quantity, memory, 2)[0, -1] + memory.last[0]) == 6.0


def test_an_untrained_network_says_the_linear_forecast() -> None:
    net = eqx.tree_at(lambda n: n.head, network(), jnp.zeros_like(network().head))
    came = jax.tree.map(lambda leaf: leaf[0], arrivals())
    state, said = net.step(net.start(ENTITIES), came)
    features = jnp.stack([linear_features(QUANTITY, state.memory, h) for h in HORIZONS], axis=1)
    base = came.value[:, None] + jnp.einsum("ehf,hf->eh", features, net.linear)
    np.testing.assert_allclose(said.mean, base, rtol=1e-5)
    scale = running_scale(QUANTITY, state.memory)[:, None]
    np.testing.assert_allclose(said.interval[1] - said.median, 0.45 * jnp.array([[1.0, 2.0]]) * scale, rtol=1e-2)


@pytest.mark.parametrize(("cell", "head"), [("gru", "quantiles"), ("lstm", "mixture")])
def test_stepping_and_unrolling_agree(cell: str, head: str) -> None:
    net, came = network(cell, head), arrivals()
    state, stepped = run(net, came)
    seen = along(came)
    inputs = net.normalised(seen.inputs)
    assert not bool(jnp.isnan(inputs).any())
    hidden = net.unroll(net.hidden_start(ENTITIES), inputs)
    np.testing.assert_allclose(hidden[-1], state.hidden, atol=1e-5)
    assert (jnp.diff(stepped.quantiles, axis=-1) >= 0).all()


def test_an_emulator_says_the_same_step_by_step_and_along_a_sequence() -> None:
    made, came = emulator(("gru", "quantiles"), ("lstm", "mixture")), arrivals()
    _, stepped = run(made, came)
    at_once = made.combined(made.candidates(along(came)))
    np.testing.assert_allclose(stepped.mean, at_once.mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(stepped.quantiles, at_once.quantiles, rtol=1e-4, atol=1e-4)
    assert float(stepped.quantiles.min()) >= 0.0


def test_entities_do_not_touch_each_other() -> None:
    made, came = emulator(("gru", "quantiles")), arrivals()
    _, together = run(made, came)
    alone = jax.tree.map(lambda leaf: leaf[:, 1:2], came)
    _, single = run(made, alone)
    np.testing.assert_allclose(together.quantiles[:, 1:2], single.quantiles, rtol=1e-4, atol=1e-4)


def test_blocks_of_entities_say_what_their_parts_say() -> None:
    made = emulator(("lstm", "mixture"))
    came: Arrival = jax.tree.map(lambda leaf: leaf[:3], arrivals(entities=999))
    state, together = run(made, came)
    for first in (0, 333, 666):
        part = jax.tree.map(lambda leaf, first=first: leaf[:, first : first + 333], came)
        own, alone = run(made, part)
        np.testing.assert_allclose(together.quantiles[:, first : first + 333], alone.quantiles, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state.hidden[0][:, first : first + 333], own.hidden[0], rtol=1e-4, atol=1e-5)


def test_an_emulator_for_one_horizon_says_what_the_whole_one_says_of_it() -> None:
    made, came = emulator(("gru", "mixture")), jax.tree.map(lambda leaf: leaf[0], arrivals())
    for place, horizon in enumerate(HORIZONS):
        part = made.only((horizon,))
        _, said = part.step(part.start(ENTITIES), came)
        _, wanted = made.step(made.start(ENTITIES), came)
        np.testing.assert_allclose(said.quantiles, wanted.quantiles[:, place : place + 1], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(said.mean, wanted.mean[:, place : place + 1], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError):
        made.only((2,))


def test_futures_fed_back_spread_with_the_horizon() -> None:
    net, came = network(), arrivals()
    state, said = run(net, came)
    newest: Distribution = jax.tree.map(lambda leaf: leaf[-1], said)
    ahead = forecast_recursively(jax.random.key(3), net, state, newest, came.covariates[-1], steps=6, paths=200)
    width = ahead.interval[1] - ahead.interval[0]
    assert ahead.mean.shape == (ENTITIES, 6) and (width[:, 5] > width[:, 0]).all()
    np.testing.assert_allclose(ahead.median[:, 0], newest.median[:, 0], atol=float(width[:, 0].max()) / 4)


def test_a_saved_emulator_comes_back_with_its_structure(tmp_path: Path) -> None:
    made, came = emulator(("gru", "mixture")), jax.tree.map(lambda leaf: leaf[0], arrivals())
    path = tmp_path / "e.safetensors"
    save_emulator(path, made, {"attribute": "rate_bps", "covariates": ["a", "b"]})
    again = load_emulator(path, attribute="rate_bps", covariates=("a", "b"))
    assert again.horizons == HORIZONS and again.high == np.inf and again.networks[0].structure.head == "mixture"
    said, wanted = (one.step(one.start(ENTITIES), came)[1] for one in (again, made))
    assert np.array_equal(said.quantiles, wanted.quantiles)
    with pytest.raises(ModelError, match=r"trained on attribute 'rate_bps'; expected attribute 'sinr_db'"):
        load_emulator(path, attribute="sinr_db")
    with pytest.raises(ModelError, match=r"trained on covariates \['a', 'b'\]"):
        load_emulator(path, covariates=("a",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kind": "emulator"', '"kind": "policy"', "this is a model of kind 'policy'"),
        ('"hidden": 4', '"hidden": 5', "has shape"),
        ('"cell": "gru"', '"cell": "rnn"', "no structure of an emulator"),
        ('"horizons"', '"steps"', "no structure of an emulator"),
    ],
)
def test_a_wrong_card_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "e.safetensors"
    save_emulator(path, emulator(("gru", "quantiles")), {})
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace(old, new))
    with pytest.raises(ModelError, match=message):
        load_emulator(path)
