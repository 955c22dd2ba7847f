"""Models as files: weights in safetensors, and beside them a card in JSON that says what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from twinloop.errors import ModelError, OutputError

Model = TypeVar("Model", bound=eqx.Module)


def save_model(path: Path, model: eqx.Module, card: Mapping[str, Any]) -> None:
    """Write the arrays of `model` to `path` and `card` to the same name ending in .json.

    Raises OutputError where that is not possible.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.asarray(leaf) for name, leaf in _named(model).items()}, path)
        path.with_suffix(".json").write_text(json.dumps(dict(card), indent=1) + "\n", encoding="utf-8")
    except OSError as fault:
        raise OutputError(f"{path}: cannot be written ({fault.strerror or fault}); give another path") from None
    except SafetensorError as fault:
        raise OutputError(f"{path}: cannot be written ({fault}); give another path") from None


def read_card(path: Path) -> dict[str, Any]:
    """The card of the model in `path`. Raises ModelError where there is none, or it is no JSON object."""
    card = path.with_suffix(".json")
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ModelError(card, f"cannot be read ({fault.strerror or fault})", "the card beside the model") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as fault:
        raise ModelError(card, f"this is no JSON ({fault})", "the card that training wrote") from None
    if not isinstance(content, dict):
        raise ModelError(card, "this is no card", "a JSON object")
    return content


def load_model(path: Path, like: Model) -> Model:
    """`like` with its arrays read from `path`. Raises ModelError where they are not those of such a model."""
    wanted = _named(like)
    try:
        found = load_file(path)
    except OSError as fault:
        raise ModelError(path, f"cannot be read ({fault.strerror or fault})", "a file that training wrote") from None
    except SafetensorError as fault:
        raise ModelError(path, f"this is no safetensors file ({fault})", "a file that training wrote") from None
    for name, leaf in wanted.items():
        if name not in found:
            raise ModelError(path, f"no array {name}", "the arrays of this kind of model")
        if found[name].shape != leaf.shape:
            raise ModelError(path, f"{name} has shape {found[name].shape}", f"{leaf.shape}")
        if not np.isfinite(found[name]).all():
            raise ModelError(path, f"{name} holds values that are not finite", "a model whose training converged")
    if left := sorted(set(found) - set(wanted)):
        raise ModelError(path, f"unknown array {left[0]}", "the arrays of this kind of model")
    leaves = [jnp.asarray(found[name], leaf.dtype) for name, leaf in wanted.items()]
    arrays, rest = eqx.partition(like, eqx.is_array)
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), rest)


def _named(model: eqx.Module) -> dict[str, jax.Array]:
    """Arrays of a model by their path in it, in the order of its leaves."""
    arrays = eqx.filter(model, eqx.is_array)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(arrays)
    }
