"""The recurrent emulator, its training, and what a network emulates in a slot: against PyTorch and a Python loop.

    python benchmarks/emulation.py [--json FILE] [--quick]

Inference: one slot of the emulator that `twinloop train emulator` makes by default (GRU, LSTM and GRU with mixtures,
three members each, horizons 1, 5 and 10, seven covariates), with carried state, in users/s. Its weights are random:
the cost does not depend on them. Least of some slots after one that compiles. `cost` rows: time a user at 1,000 users
over that at the size of the row; 1 is flat.
Training: a GRU of that size by `twinloop.learning.fit` with the settings of `train emulator`, 180 steps of 32
excerpts of 48 steps with ten looks at 224 excerpts held out; compiled before.

Peers, in the same run on the same cores:
- `PyTorch eager` (`pip install 'twinloop[bench]'`; left out where it is not installed): the same network with the same
  weights, checked to agree within 1e-4 of the forecast (or loss and gradient within 1e-3), in blocks of 2,000 users
  where that is faster; training through `torch.nn.GRU` and `torch.optim.Adam`, clipping and cosine alike.
- `Python loop`: one call a user, ours compiled for one user, and PyTorch's. Timed for a few hundred users; as a loop
  costs every user alike, its users/s hold for any number.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from table import Row, arguments, present

from twinloop.learning import (
    LEVELS,
    LINEAR_CANDIDATES,
    Arrival,
    Emulator,
    EmulatorState,
    NetworkStructure,
    Quantity,
    RecurrentNetwork,
    blank_memory,
    fit,
    linear_features,
    network_features,
    new_network,
    starting_offset,
)
from twinloop.training import NETWORK_KINDS, EmulatorSettings
from twinloop.training.forecasting.networks import ExcerptLoss, Excerpts

SETTINGS = EmulatorSettings()
HORIZONS, COVARIATES = (1, 5, 10), 7
QUANTITY = Quantity(resolution=1e5)
QUANTILES = jnp.asarray([[3.2 * (level - 0.5) for level in LEVELS]] * len(HORIZONS))
BURN_IN, SPAN = 12, 36
PEER_BLOCK, LOOP_USERS = 2_000, 200
Step = Callable[[], Any]


def main() -> None:
    options = arguments("The recurrent emulator: inference and training.").parse_args()
    present("Emulation", list(rows_of(options.quick)), options.json)


def rows_of(quick: bool) -> Iterator[Row]:
    """All rows."""
    if not torch_is_there():
        tell("PyTorch is not installed: its rows are left out; pip install 'twinloop[bench]' brings it")
    yield from inference_rows([1_000, 2_000] if quick else [1_000, 10_000, 100_000, 1_000_000])
    yield from training_rows(20 if quick else SETTINGS.steps)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def torch_is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


def default_emulator(key: jax.Array, covariates: int = COVARIATES) -> Emulator:
    """The structure of what `twinloop train emulator` makes by default, with random numbers in it."""
    k_linear, *keys = jax.random.split(key, 1 + len(NETWORK_KINDS) * SETTINGS.members)
    features = linear_features(QUANTITY, blank_memory(QUANTITY, 1), 1).shape[1]
    linear = 0.01 * jax.random.normal(k_linear, (len(HORIZONS), features))
    networks = []
    for place, kind in enumerate(NETWORK_KINDS):
        own = keys[place * SETTINGS.members : (place + 1) * SETTINGS.members]
        members = [random_network(k, kind, linear, covariates) for k in own]
        networks.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members))
    candidates = len(LINEAR_CANDIDATES) + len(networks)
    share = jnp.full((len(HORIZONS), candidates), 1.0 / candidates)
    factor = jnp.ones((len(HORIZONS), len(LEVELS)))
    return Emulator(
        QUANTITY, linear, 1e6 * QUANTILES, QUANTILES, tuple(networks), share, share, factor, HORIZONS, 0.0, np.inf
    )


def random_network(key: jax.Array, kind: str, linear: jax.Array, covariates: int) -> RecurrentNetwork:
    inputs = network_features(QUANTITY, blank_memory(QUANTITY, 1), jnp.zeros((1, covariates))).shape[1]
    cell, head = "lstm" if kind == "lstm" else "gru", "mixture" if kind == "gru-mixture" else "quantiles"
    structure = NetworkStructure(QUANTITY, HORIZONS, inputs, SETTINGS.hidden, cell, head)
    k_net, k_head = jax.random.split(key)
    offset = starting_offset(structure.head, QUANTILES)
    zero, one = jnp.zeros(inputs), jnp.ones(inputs)
    net = new_network(k_net, structure, shift=zero, spread=one, linear=linear, offset=offset)
    return eqx.tree_at(lambda n: n.head, net, 0.1 * jax.random.normal(k_head, net.head.shape))


def arrivals(users: int, seed: int = 0) -> Arrival:
    """What comes in one slot: a report of seven users in ten, a covariate of nine in ten."""
    k_value, k_report, k_covariate, k_known = jax.random.split(jax.random.key(seed), 4)
    covariates = jax.random.normal(k_covariate, (users, COVARIATES))
    known = jax.random.bernoulli(k_known, 0.9, (users, COVARIATES))
    return Arrival(
        1e7 * jax.random.uniform(k_value, (users,)),
        jax.random.bernoulli(k_report, 0.7, (users,)),
        jnp.where(known, covariates, jnp.nan),
    )


@eqx.filter_jit
def advance(emulator: Emulator, state: EmulatorState, came: Arrival) -> Any:
    return emulator.step(state, came)


def inference_rows(sizes: list[int]) -> Iterator[Row]:
    """Users/s of one slot, by size, against the peers."""
    emulator = default_emulator(jax.random.key(0))
    ours: dict[int, float] = {}
    for users in sizes:
        tell(f"one slot of {users:,} users")
        ours[users] = slot_s(emulator, users)
        yield Row(f"{users:,} users: users/s", users / ours[users])
    for users in sizes[1:]:
        ratio = (ours[sizes[0]] / sizes[0]) / (ours[users] / users)
        micro = ours[users] / users * 1e6
        yield Row(f"  cost: µs a user at {users:,} users against {sizes[0]:,}", micro, micro * ratio, ratio)
    calls: dict[str, float] = {"Python loop, one compiled call a user": LOOP_USERS / loop_s(emulator)}
    if torch_is_there():
        peer = torch_peer(emulator)
        tell(f"PyTorch agrees within {agreement(emulator, peer):.1e}")
        for users in sizes:
            tell(f"PyTorch, one slot of {users:,} users")
            rate = users / torch_slot_s(peer, users)
            yield Row(
                f"{users:,} users: users/s against PyTorch eager", users / ours[users], rate, users / ours[users] / rate
            )
        calls["Python loop, PyTorch a user"] = LOOP_USERS / torch_loop_s(peer)
    for name, rate in calls.items():
        for users in (sizes[0], sizes[-1]):
            what = f"{users:,} users: users/s against {name} ({LOOP_USERS} users timed)"
            yield Row(what, users / ours[users], rate, users / ours[users] / rate)


def repeats_of(users: int) -> int:
    return max(2, min(9, 400_000 // users))


def slot_s(emulator: Emulator, users: int) -> float:
    """Least time of a slot with carried state, after one that compiles."""
    state, came = emulator.start(users), arrivals(users)
    times: list[float] = []
    for _ in range(1 + repeats_of(users)):
        begun = time.perf_counter()
        state, ahead = advance(emulator, state, came)
        jax.block_until_ready((state, ahead))
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def loop_s(emulator: Emulator) -> float:
    """Least time of a slot of `LOOP_USERS` users, called one by one, each with a state of its own."""
    one = arrivals(1)
    states = [emulator.start(1) for _ in range(LOOP_USERS)]
    times: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        states = [advance(emulator, state, one)[0] for state in states]
        jax.block_until_ready(states)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def torch_peer(emulator: Emulator) -> Any:
    from torch_emulator import TorchEmulator

    return TorchEmulator(emulator)


def as_tensors(came: Arrival) -> tuple[Any, ...]:
    from torch_emulator import tensor

    return tuple(map(tensor, (came.value, came.measured, came.covariates)))


def agreement(emulator: Emulator, peer: Any, users: int = 300, slots: int = 8) -> float:
    """Largest difference of the forecasts of both over some slots, over their size. Raises RuntimeError above 1e-4."""
    state, other, worst = emulator.start(users), peer.start(users), 0.0
    for number in range(slots):
        came = arrivals(users, seed=number)
        state, ahead = advance(emulator, state, came)
        other, mean, quantiles = peer.step(other, *as_tensors(came))
        for ours, theirs in ((ahead.mean, mean), (ahead.quantiles, quantiles)):
            difference = np.abs(np.asarray(ours) - theirs.numpy())
            worst = max(worst, float(np.max(difference / np.maximum(np.abs(np.asarray(ours)), QUANTITY.resolution))))
    if not worst <= 1e-4:
        raise RuntimeError(f"the PyTorch peer is no longer this emulator: forecasts differ by {worst:.1e}")
    return worst


def torch_slot_s(peer: Any, users: int) -> float:
    """Least time of a slot, whole where that is not too large for memory, and in blocks."""
    blocks = {min(users, PEER_BLOCK)} | ({users} if users <= 5 * PEER_BLOCK else set())
    came = as_tensors(arrivals(users))
    return min(torch_blocks_s(peer, users, came, block) for block in blocks)


def torch_blocks_s(peer: Any, users: int, came: tuple[Any, ...], block: int) -> float:
    parts = [tuple(array[first : first + block] for array in came) for first in range(0, users, block)]
    states = [peer.start(len(part[0])) for part in parts]
    times: list[float] = []
    for _ in range(1 + min(repeats_of(users), 3)):
        begun = time.perf_counter()
        states = [peer.step(state, *part)[0] for state, part in zip(states, parts, strict=True)]
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def torch_loop_s(peer: Any) -> float:
    return torch_blocks_s(peer, LOOP_USERS, as_tensors(arrivals(LOOP_USERS)), 1)


def synthetic_excerpts(seed: int, entities: int = 64, steps: int = 400) -> Excerpts:
    draw = np.random.default_rng(seed)
    inputs = network_features(QUANTITY, blank_memory(QUANTITY, 1), jnp.zeros((1, COVARIATES))).shape[1]
    features = linear_features(QUANTITY, blank_memory(QUANTITY, 1), 1).shape[1]

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(draw.normal(size=(entities, steps, *shape)), jnp.float32)

    scale = jnp.exp(normal())
    unit = jnp.abs(normal(len(HORIZONS))) * (normal(1) > -1.0)
    return Excerpts(normal(inputs), normal(len(HORIZONS), features), normal(len(HORIZONS)), scale, unit)


def training_rows(steps: int) -> Iterator[Row]:
    """Steps/s of one GRU, against the same in PyTorch."""
    excerpts, draw = synthetic_excerpts(0), np.random.default_rng(1)
    loss = ExcerptLoss(excerpts)
    entities, length = excerpts.scale.shape
    picks = np.stack([draw.integers(entities, size=4096 + 224), draw.integers(length - BURN_IN - SPAN, size=4320)], 1)
    examples, held_out = (jnp.asarray(part, jnp.int32) for part in (picks[:4096], picks[4096:]))
    features = excerpts.linear.shape[-1]
    net = random_network(jax.random.key(1), "gru", jnp.zeros((len(HORIZONS), features)), COVARIATES)
    how = {"steps": steps, "batch": SETTINGS.batch, "learning_rate": SETTINGS.learning_rate, "checks": 10}
    times: list[float] = []
    for number in range(4):
        tell(f"training {steps} steps, {'compiling first' if number == 0 else f'round {number}'}")
        begun = time.perf_counter()
        jax.block_until_ready(fit(jax.random.key(number), net, loss, examples, held_out, **how).held_out_loss)
        times.append(time.perf_counter() - begun)
    rate = steps / min(times[1:])
    yield Row("training a GRU: steps/s", rate)
    yield Row("  trace and compile: s", times[0] - min(times[1:]))
    if torch_is_there():
        peer = steps / torch_training_s(net, loss, examples, held_out, how)
        yield Row("training a GRU: steps/s against PyTorch eager", rate, peer, rate / peer)


def torch_training_s(net: RecurrentNetwork, loss: ExcerptLoss, examples: Any, held_out: Any, how: Any) -> float:
    """Least time of two trainings, after one batch on which loss and gradient must be those of ours."""
    from torch_emulator import TorchTraining, tensor

    def fresh() -> Any:
        return TorchTraining(net, loss.excerpts, burn_in=BURN_IN, span=SPAN)

    peer, batch = fresh(), examples[: how["batch"]]
    ours, gradient = eqx.filter_value_and_grad(loss)(net, jax.random.key(0), batch)
    theirs = peer.loss(tensor(batch).long())
    theirs.backward()
    pairs = [
        (ours, theirs.detach()),
        (gradient.head, peer.head.grad),
        (np.asarray(gradient.into).T[peer.order], peer.gru.weight_ih_l0.grad),
        (np.asarray(gradient.within).T[peer.order], peer.gru.weight_hh_l0.grad),
    ]
    for mine, other in pairs:
        if not np.allclose(mine, other.numpy(), rtol=1e-3, atol=1e-3 * float(np.max(np.abs(np.asarray(mine))))):
            raise RuntimeError("the PyTorch peer no longer trains this network: loss or gradient differ")
    times: list[float] = []
    for number in range(3):
        tell(f"PyTorch training, round {number}")
        peer = fresh()
        begun = time.perf_counter()
        peer.fit(tensor(examples).long(), tensor(held_out).long(), **how)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


if __name__ == "__main__":
    main()
