"""Conditional generative adversarial networks for series over time and for sets of points, by class."""

import abc
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, PyTree

_DILATIONS = (1, 2, 4, 8, 16)
_TAPS = 3
_SLOPE = 0.2
_OCTAVES = 5
GeneratorT = TypeVar("GeneratorT", bound="AbstractGenerator")


class AbstractGenerator(eqx.Module):
    """Noise and a class to an example."""

    @abc.abstractmethod
    def generate(self, key: PRNGKeyArray, label: Int[Array, ""]) -> Float[Array, "..."]:
        """One example of the class `label`."""


class AbstractCritic(eqx.Module):
    """An example and its class to how real it looks."""

    @abc.abstractmethod
    def judge(self, example: Float[Array, "..."], label: Int[Array, ""]) -> Float[Array, ""]:
        """A score without scale: only differences of scores mean anything."""


class Dense(eqx.Module):
    """x W + b, weights drawn with variance gain^2 / inputs."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, key: PRNGKeyArray, inputs: int, outputs: int, gain: float = 1.0) -> None:
        self.weight = gain * jax.random.normal(key, (inputs, outputs)) / jnp.sqrt(inputs)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "*rows inputs"]) -> Float[Array, "*rows outputs"]:
        """The outputs of every row."""
        y = x @ self.weight
        return y + jnp.broadcast_to(self.bias, y.shape)


class SequenceGenerator(AbstractGenerator):
    """White noise through dilated convolutions, steered by a class and by noise that the whole series shares.

    h_0 = W eps_t + E_c + V z; h_l = h_{l-1} + silu(conv(h_{l-1}, dilation 2^(l-1)) + U_l (E_c, z)); out = W' h_L, with
    eps_t [noise] new in every step and z [shared] one for the series. Without padding, so every step has the same law
    and a linear network can give any moving average over 63 steps. The structure is WaveNet's (van den Oord et al.,
    2016), not causal.
    """

    class_embedding: Float[Array, "classes hidden"]
    enter: Dense
    share: Dense
    layers: tuple[Dense, ...]
    steer: tuple[Dense, ...]
    leave: Dense
    steps: int = eqx.field(static=True)

    def __init__(
        self, key: PRNGKeyArray, *, classes: int, steps: int, channels: int, hidden: int = 24, noise: int = 8
    ) -> None:
        keys = jax.random.split(key, 4 + 2 * len(_DILATIONS))
        self.class_embedding = jax.random.normal(keys[0], (classes, hidden))
        self.enter = Dense(keys[1], noise, hidden)
        self.share = Dense(keys[2], noise, hidden)
        self.leave = Dense(keys[3], hidden, channels)
        self.layers = tuple(Dense(k, _TAPS * hidden, hidden) for k in keys[4::2])
        self.steer = tuple(Dense(k, 2 * hidden, hidden) for k in keys[5::2])
        self.steps = steps

    def generate(self, key: PRNGKeyArray, label: Int[Array, ""]) -> Float[Array, "steps channels"]:
        """One series of the class `label`."""
        k_series, k_shared = jax.random.split(key)
        length, noise = self.steps + 2 * sum(_DILATIONS), self.enter.weight.shape[0]
        shared = self.share(jax.random.normal(k_shared, (noise,)))
        about = jnp.concatenate([self.class_embedding[label], shared])
        start = self.class_embedding[label] + shared
        h = self.enter(jax.random.normal(k_series, (length, noise))) + start[None, :]
        for dilation, layer, steer in zip(_DILATIONS, self.layers, self.steer, strict=True):
            inner = h.shape[0] - 2 * dilation
            around = jnp.concatenate([h[tap * dilation :][:inner] for tap in range(_TAPS)], axis=1)
            h = h[dilation:][:inner] + jax.nn.silu(layer(around) + steer(about)[None, :])
        return self.leave(h)


class SequenceCritic(AbstractCritic):
    """Three convolutions of stride 2 over a series and its differences, then a score by class.

    score = w . a + E_c . a, a the last activations (projection of Miyato and Koyama, 2018). Raises ValueError for
    series of fewer than 29 steps, of which the convolutions would leave nothing.
    """

    class_embedding: Float[Array, "classes hidden"]
    layers: tuple[Dense, ...]
    gather: Dense
    score: Dense
    taps: int = eqx.field(static=True, default=5)

    def __init__(self, key: PRNGKeyArray, *, classes: int, steps: int, channels: int, hidden: int = 32) -> None:
        k_class, k_gather, k_score, *keys = jax.random.split(key, 6)
        sizes = [2 * channels, hidden, hidden, hidden]
        self.taps = 5
        self.layers = tuple(Dense(k, self.taps * sizes[i], sizes[i + 1], 1.4) for i, k in enumerate(keys))
        left = steps
        for _ in self.layers:
            left = (left - self.taps) // 2 + 1
        if left < 1:
            raise ValueError(f"a critic of series needs at least 29 steps, not {steps}")
        self.gather = Dense(k_gather, left * hidden, 2 * hidden, 1.4)
        self.class_embedding = 0.1 * jax.random.normal(k_class, (classes, 2 * hidden))
        self.score = Dense(k_score, 2 * hidden, 1)

    def judge(self, example: Float[Array, "steps channels"], label: Int[Array, ""]) -> Float[Array, ""]:
        """How real the series looks as one of class `label`."""
        change = jnp.diff(example, axis=0, prepend=example[:1])
        h = jnp.concatenate([example, change], axis=1)
        for layer in self.layers:
            count = (h.shape[0] - self.taps) // 2 + 1
            around = jnp.concatenate([h[tap : tap + 2 * count : 2][:count] for tap in range(self.taps)], axis=1)
            h = jax.nn.leaky_relu(layer(around), _SLOPE)
        last = jax.nn.leaky_relu(self.gather(h.ravel()), _SLOPE)
        return self.score(last)[0] + jnp.dot(self.class_embedding[label], last)


class SetGenerator(AbstractGenerator):
    """Noise and a class to a set of points, some of which are absent.

    Every member has noise of its own and shares noise with the others: (x, p) = f(eps_i, z, E_c) through three hidden
    layers, place x in any number of dimensions, presence sigmoid(8 p) in [0, 1].
    """

    class_embedding: Float[Array, "classes hidden"]
    layers: tuple[Dense, ...]
    leave: Dense
    members: int = eqx.field(static=True)

    def __init__(
        self, key: PRNGKeyArray, *, classes: int, members: int, dimensions: int, hidden: int = 64, noise: int = 8
    ) -> None:
        k_class, k_leave, *keys = jax.random.split(key, 5)
        sizes = (2 * noise + hidden, hidden, hidden, hidden)
        self.class_embedding = jax.random.normal(k_class, (classes, hidden))
        self.layers = tuple(Dense(k, sizes[i], sizes[i + 1], 1.4) for i, k in enumerate(keys))
        self.leave = Dense(k_leave, hidden, dimensions + 1)
        self.members = members

    def generate(self, key: PRNGKeyArray, label: Int[Array, ""]) -> Float[Array, "members columns"]:
        """One set of the class `label`: places, and in the last column presence; absent members are at 0."""
        about = self.class_embedding[label]
        noise = (self.layers[0].weight.shape[0] - about.shape[0]) // 2
        k_own, k_shared = jax.random.split(key)
        own = jax.random.normal(k_own, (self.members, noise))
        shared = jnp.concatenate([jax.random.normal(k_shared, (noise,)), about])
        h = jnp.concatenate([own, jnp.broadcast_to(shared[None, :], (self.members, shared.shape[0]))], axis=1)
        for layer in self.layers:
            h = jax.nn.silu(layer(h))
        out = self.leave(h)
        present = jax.nn.sigmoid(8.0 * out[:, -1:] + 4.0)
        return jnp.concatenate([out[:, :-1] * present, present], axis=1)


class SetCritic(AbstractCritic):
    """A sum over members of what each says, then a score by class (Zaheer et al., Deep Sets, 2017).

    A place x is seen as sin and cos of 2^k pi x / 2, k = 0 to 4, so that fine structure counts.
    """

    class_embedding: Float[Array, "classes hidden"]
    member: tuple[Dense, Dense]
    gather: Dense
    score: Dense

    def __init__(self, key: PRNGKeyArray, *, classes: int, dimensions: int, hidden: int = 64) -> None:
        k_class, k_first, k_second, k_gather, k_score = jax.random.split(key, 5)
        inputs = dimensions * (1 + 2 * _OCTAVES) + 1
        self.class_embedding = 0.1 * jax.random.normal(k_class, (classes, hidden))
        self.member = (Dense(k_first, inputs, hidden, 1.4), Dense(k_second, hidden, hidden, 1.4))
        self.gather = Dense(k_gather, hidden, hidden, 1.4)
        self.score = Dense(k_score, hidden, 1)

    def judge(self, example: Float[Array, "members columns"], label: Int[Array, ""]) -> Float[Array, ""]:
        """How real the set looks as one of class `label`."""
        place, present = example[:, :-1], example[:, -1:]
        waves = [trig(0.5 * jnp.pi * 2.0**k * place) for k in range(_OCTAVES) for trig in (jnp.sin, jnp.cos)]
        h = jnp.concatenate([jnp.concatenate([place, *waves], axis=1) * present, present], axis=1)
        for layer in self.member:
            h = jax.nn.leaky_relu(layer(h), _SLOPE)
        last = jax.nn.leaky_relu(self.gather(jnp.sum(h, axis=0) / jnp.sqrt(h.shape[0])), _SLOPE)
        return self.score(last)[0] + jnp.dot(self.class_embedding[label], last)


class Adversaries(eqx.Module, Generic[GeneratorT]):
    """A trained generator (its weights averaged over the last steps) and how the game went, by check.

    `lead` is the mean of D(real) - D(generated): near 0 the critic can no longer tell them apart.
    """

    generator: GeneratorT
    lead: Float[Array, " checks"]


@eqx.filter_jit
def train_gan(
    key: PRNGKeyArray,
    generator: GeneratorT,
    critic: AbstractCritic,
    examples: Float[Array, "examples ..."],
    label: Int[Array, " examples"],
    *,
    steps: int,
    batch: int = 64,
    learning_rate: float = 1e-3,
    penalty: float = 1.0,
    memory: float = 0.995,
    checks: int = 20,
) -> Adversaries[GeneratorT]:
    """Both networks, one step each in turn, as one compiled scan.

    Relativistic pairing with zero-centred penalties (Huang et al., NeurIPS 2024): with d = D(x, c) - D(G(z, c), c) for
    a real example x of class c, the critic descends softplus(-d) + penalty/2 (|grad D(x)|^2 + |grad D(G)|^2), the
    generator softplus(d). Adam without momentum, learning rate falling to a tenth along a cosine. Classes are drawn as
    often as they occur. Left out: early stopping, since no number of the game tells when samples are best.
    """
    span = max(steps // checks, 1)
    schedule = optax.cosine_decay_schedule(learning_rate, span * checks, 0.1)
    rule = optax.adam(schedule, b1=0.0, b2=0.99)
    g_moving, g_fixed = eqx.partition(generator, eqx.is_inexact_array)
    d_moving, d_fixed = eqx.partition(critic, eqx.is_inexact_array)

    def fake(g: PyTree, k: PRNGKeyArray, labels: Array) -> Array:
        return jax.vmap(eqx.combine(g, g_fixed).generate)(jax.random.split(k, batch), labels)

    def critic_loss(d: PyTree, real: Array, made: Array, labels: Array) -> tuple[Array, Array]:
        score = jax.vmap(jax.value_and_grad(eqx.combine(d, d_fixed).judge))
        (on_real, slope_real), (on_made, slope_made) = score(real, labels), score(made, labels)
        steep = jnp.sum(slope_real**2) + jnp.sum(slope_made**2)
        lead = on_real - on_made
        return jnp.mean(jax.nn.softplus(-lead)) + 0.5 * penalty * steep / batch, jnp.mean(lead)

    def generator_loss(g: PyTree, d: PyTree, k: PRNGKeyArray, real: Array, labels: Array) -> Array:
        judge = jax.vmap(eqx.combine(d, d_fixed).judge)
        return jnp.mean(jax.nn.softplus(judge(real, labels) - judge(fake(g, k, labels), labels)))

    def one_step(carry: PyTree, k: PRNGKeyArray) -> tuple[PyTree, Array]:
        g, d, g_memory, d_memory, mean = carry
        k_pick, k_d, k_g = jax.random.split(k, 3)
        pick = jax.random.randint(k_pick, (2, batch), 0, examples.shape[0])
        real, labels = examples[pick[0]], label[pick[0]]
        slope, lead = jax.grad(critic_loss, has_aux=True)(d, real, fake(g, k_d, labels), labels)
        change, d_memory = rule.update(slope, d_memory, d)
        d = optax.apply_updates(d, change)
        slope = jax.grad(generator_loss)(g, d, k_g, examples[pick[1]], label[pick[1]])
        change, g_memory = rule.update(slope, g_memory, g)
        g = optax.apply_updates(g, change)
        mean = jax.tree.map(lambda old, new: memory * old + (1 - memory) * new, mean, g)
        return (g, d, g_memory, d_memory, mean), lead

    def one_check(carry: PyTree, keys: Key[Array, " span"]) -> tuple[PyTree, Array]:
        carry, lead = jax.lax.scan(one_step, carry, keys)
        return carry, jnp.mean(lead)

    start = (g_moving, d_moving, rule.init(g_moving), rule.init(d_moving), g_moving)
    keys = jax.random.split(key, span * checks).reshape(checks, span)
    (_, _, _, _, mean), leads = jax.lax.scan(one_check, start, keys)
    return Adversaries(eqx.combine(mean, g_fixed), leads)
