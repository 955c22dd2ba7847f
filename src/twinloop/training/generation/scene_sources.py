"""Generators of network scenes by class: conditional GAN, jittered resampling (kernels), Poisson from mean density."""

import abc
from collections.abc import Callable, Mapping
from types import MappingProxyType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.emulation import TwinModel
from twinloop.learning import SetCritic, SetGenerator, train_gan
from twinloop.training.generation.scenes import PEOPLE, SCENE_WIDTH_M, TILES, Scenes, SceneView, scene_view

SCENE_GAN_STEPS = 9000
KERNELS_M = (25.0, 50.0, 100.0, 200.0, 400.0)
_MOST_PEOPLE = 3 * PEOPLE
_LATE_SHARE = 0.25


class AbstractSceneSource(eqx.Module):
    """Draws scenes by class."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, label: Int[Array, " scenes"]) -> SceneView:
        """One scene for each class in `label`."""


class SceneGan(AbstractSceneSource):
    """People placed by a generator of sets; who is placed outside the map or is less than half present is not there."""

    site: TwinModel
    generator: SetGenerator

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " scenes"]) -> SceneView:
        """One scene for each class in `label`."""
        drawn = jax.vmap(self.generator.generate)(jax.random.split(key, label.shape[0]), label)
        people = 0.5 * SCENE_WIDTH_M * (drawn[:, :, :2] + 1.0)
        inside = jnp.all((people >= 0) & (people < SCENE_WIDTH_M), axis=2) & (drawn[:, :, 2] > 0.5)
        return scene_view(self.site, jnp.where(inside[:, :, None], people, jnp.nan))


class SceneKernel(AbstractSceneSource):
    """A recorded scene of the class, everybody moved by normal noise of `width_m`; who leaves the map is gone."""

    site: TwinModel
    position_m: Float[Array, "recorded people 2"]
    first: Int[Array, " classes"]
    count: Int[Array, " classes"]
    width_m: Float[Array, ""]

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " scenes"]) -> SceneView:
        """One scene for each class in `label`."""
        k_pick, k_move = jax.random.split(key)
        pick = self.first[label] + jax.random.randint(k_pick, label.shape, 0, self.count[label])
        people = self.position_m[pick]
        people = people + self.width_m * jax.random.normal(k_move, people.shape)
        inside = jnp.all((people >= 0) & (people < SCENE_WIDTH_M), axis=2, keepdims=True)
        return scene_view(self.site, jnp.where(inside, people, jnp.nan))


class ScenePoisson(AbstractSceneSource):
    """People by tile independent and Poisson with the mean of the class, anywhere in their tile."""

    site: TwinModel
    mean: Float[Array, "classes tiles"]

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " scenes"]) -> SceneView:
        """One scene for each class in `label`; at most three times as many people as a crowd has."""
        k_count, k_tile, k_place = jax.random.split(key, 3)
        mean, shape = self.mean[label], (label.shape[0], _MOST_PEOPLE)
        count = jax.random.poisson(k_count, jnp.sum(mean, axis=1))
        tile = jax.random.categorical(k_tile, jnp.log(jnp.maximum(mean, 1e-12))[:, None, :], shape=shape)
        corner = jnp.stack([tile % TILES, tile // TILES], axis=2).astype(jnp.float32)
        people = (corner + jax.random.uniform(k_place, (*shape, 2))) * (SCENE_WIDTH_M / TILES)
        there = jnp.arange(_MOST_PEOPLE)[None, :] < count[:, None]
        return scene_view(self.site, jnp.where(there[:, :, None], people, jnp.nan))


def fit_scene_gan(site: TwinModel, scenes: Scenes, seed: int, steps: int = SCENE_GAN_STEPS) -> SceneGan:
    """A generator of 12 places against a critic, `steps` steps each; the map is [-1, 1] wide."""
    k_generator, k_critic, k_train = jax.random.split(jax.random.key(seed), 3)
    there = np.isfinite(scenes.position_m).all(axis=2, keepdims=True)
    place = np.where(there, 2.0 * scenes.position_m / SCENE_WIDTH_M - 1.0, 0.0)
    examples = jnp.asarray(np.concatenate([place, there], axis=2), jnp.float32)
    classes = len(scenes.classes)
    generator = SetGenerator(k_generator, classes=classes, members=examples.shape[1], dimensions=2)
    critic = SetCritic(k_critic, classes=classes, dimensions=2)
    trained = train_gan(k_train, generator, critic, examples, jnp.asarray(scenes.label, jnp.int32), steps=steps)
    return SceneGan(site, trained.generator)


def fit_scene_kernel(site: TwinModel, scenes: Scenes, seed: int) -> SceneKernel:
    """The width, of `KERNELS_M`, under which the later scenes of the fit are likeliest given the earlier ones.

    Likelihood of everybody's place under the mean over earlier scenes' people of the class of normal densities.
    """
    late = np.zeros(scenes.count, np.bool_)
    for number in np.unique(scenes.file):
        mine = np.flatnonzero(scenes.file == number)
        late[mine[len(mine) - int(_LATE_SHARE * len(mine)) :]] = True
    order = np.argsort(scenes.label, kind="stable")
    count = np.bincount(scenes.label, minlength=len(scenes.classes))
    return SceneKernel(
        site,
        jnp.asarray(scenes.position_m[order], jnp.float32),
        jnp.asarray(np.cumsum(count) - count, jnp.int32),
        jnp.asarray(np.maximum(count, 1), jnp.int32),
        jnp.float32(max(KERNELS_M, key=lambda width: _likelihood(scenes, late, width))),
    )


def _likelihood(scenes: Scenes, late: np.ndarray, width_m: float) -> float:
    total = 0.0
    for kind in range(len(scenes.classes)):
        known, asked = (scenes.position_m[(scenes.label == kind) & part].reshape(-1, 2) for part in (~late, late))
        known, asked = (one[np.isfinite(one).all(axis=1)] for one in (known, asked))
        if not len(known) or not len(asked):
            continue
        square = ((asked[:, None] - known[None]) ** 2).sum(axis=2)
        density = np.exp(-0.5 * square / width_m**2).mean(axis=1) / (2.0 * np.pi * width_m**2)
        total += float(np.log(density + 1e-3 / SCENE_WIDTH_M**2).sum())
    return total


def fit_scene_poisson(site: TwinModel, scenes: Scenes, seed: int) -> ScenePoisson:
    """Mean people by tile and class."""
    density = np.asarray(scene_view(site, jnp.asarray(scenes.position_m, jnp.float32)).density)
    mean = [density[scenes.label == kind].mean(axis=0) for kind in range(len(scenes.classes))]
    return ScenePoisson(site, jnp.asarray(np.stack(mean), jnp.float32))


SCENE_GENERATORS: Mapping[str, Callable[[TwinModel, Scenes, int], AbstractSceneSource]] = MappingProxyType(
    {"gan": fit_scene_gan, "kernel": fit_scene_kernel, "poisson": fit_scene_poisson}
)
"""How to fit every generator of scenes, from the site, scenes and a seed."""
