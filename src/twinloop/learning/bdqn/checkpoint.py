"""A training on disk, whole: its networks, replay and environments, so that going on equals never having stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from twinloop.errors import ModelError, OutputError
from twinloop.learning.weights import load_model, read_card, save_model

KIND = "bdqn training"
Learner = TypeVar("Learner", bound=eqx.Module)


def save_checkpoint(path: Path, learner: eqx.Module, card: Mapping[str, Any]) -> None:
    """Write everything to `path`, and `card` beside it; what was there stays until all is written.

    Raises OutputError where that is not possible.
    """
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    save_model(part, jax.tree.map(_as_bits, learner), {"kind": KIND, **card})
    try:
        part.with_suffix(".json").replace(path.with_suffix(".json"))
        part.replace(path)
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror or fault}); give another path") from None


def load_checkpoint(path: Path, like: Learner, card: Mapping[str, Any]) -> Learner:
    """The training in `path`, of the shapes of `like`.

    Raises ModelError where it is damaged, or of another key, other settings or an environment of other shapes.
    """
    found = read_card(path)
    for name, value in {"kind": KIND, **card}.items():
        if found.get(name) != json.loads(json.dumps(value)):
            problem = f"its {name} is {found.get(name)!r}, not {value!r}"
            raise ModelError(path, problem, "the checkpoint of this training, or a path where there is none")
    shapes = jax.eval_shape(lambda tree: jax.tree.map(_as_bits, tree), like)
    bits = load_model(path, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
    return jax.tree.map(_from_bits, bits, like)


def _as_bits(leaf: Any) -> Any:
    """Keys and floating-point numbers as whole numbers: states of environments may hold infinities."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return jax.lax.bitcast_convert_type(leaf, jnp.int32) if leaf.dtype == jnp.float32 else leaf


def _from_bits(leaf: Any, like: Any) -> Any:
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))
    return jax.lax.bitcast_convert_type(leaf, jnp.float32) if like.dtype == jnp.float32 else leaf
