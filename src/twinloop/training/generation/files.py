"""Generators in files: weights, and a card that says what they draw, what they were fitted to, and which files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from twinloop.errors import ModelError
from twinloop.learning import SequenceGenerator, load_model, read_card, save_model
from twinloop.training.generation.fits import GENERATORS, KNOTS
from twinloop.training.generation.sources import AbstractSource, Autoregression, BlockBootstrap, GanSource, Margins
from twinloop.training.generation.windows import Windows

KIND = "generator of link series"
_NAMED: dict[type[AbstractSource], str] = {
    GanSource: "gan",
    Autoregression: "autoregression",
    BlockBootstrap: "block_bootstrap",
}


def save_source(path: Path, source: AbstractSource, fitted: Windows, about: dict[str, Any]) -> dict[str, Any]:
    """Write `source`, fitted to the windows `fitted`, and its card with `about` in it; gives the card.

    Raises OutputError where that is not possible.
    """
    kind = fitted.file_class()
    card = {
        "kind": KIND,
        "method": _NAMED[type(source)],
        "classes": list(fitted.classes),
        "channels": list(fitted.channels),
        "steps": int(fitted.value.shape[1]),
        "step_s": fitted.step_s,
        "sizes": _sizes(source),
        "fitted_on": [name for row, name in enumerate(fitted.files) if kind[row] >= 0],
        **about,
    }
    save_model(path, source, card)
    return card


def load_source(path: Path, like: Windows) -> tuple[AbstractSource, dict[str, Any]]:
    """The generator in `path` and its card. Raises ModelError where it does not draw what the windows `like` hold."""
    card = read_card(path)
    if card.get("kind") != KIND:
        raise ModelError(path, f"a model of kind {card.get('kind')!r}", f"a {KIND}, as twinloop train generator writes")
    wanted = {"classes": list(like.classes), "channels": list(like.channels), "steps": like.value.shape[1]}
    for name, value in wanted.items():
        if card.get(name) != value:
            raise ModelError(path, f"{name} {card.get(name)}", f"{value}, those of the data")
    method, sizes = card.get("method"), card.get("sizes")
    if method not in GENERATORS or not isinstance(sizes, dict):
        raise ModelError(path, f"method {method!r} of sizes {sizes!r}", f"one of {', '.join(GENERATORS)} and its sizes")
    try:
        blank = _blank(str(method), like, {name: int(size) for name, size in sizes.items()})
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(path, f"sizes {sizes} ({fault})", "the card that training wrote") from None
    return load_model(path, blank), card


def _sizes(source: AbstractSource) -> dict[str, int]:
    if isinstance(source, BlockBootstrap):
        return {"windows": int(source.value.shape[0])}
    if isinstance(source, Autoregression):
        return {"order": int(source.weight.shape[1]), "residuals": int(source.residual.shape[1])}
    return {}


def _blank(method: str, like: Windows, sizes: dict[str, int]) -> AbstractSource:
    classes, (steps, channels) = len(like.classes), like.value.shape[1:]
    margins = Margins(jnp.zeros((classes, channels, KNOTS)))
    if method == "gan":
        shape = {"classes": classes, "steps": steps, "channels": channels}
        return GanSource(margins, SequenceGenerator(jax.random.key(0), **shape))
    if method == "autoregression":
        weight = jnp.zeros((classes, sizes["order"], channels, channels))
        pool = jnp.zeros((classes, sizes["residuals"], channels))
        return Autoregression(margins, weight, pool, jnp.zeros((classes, channels)), steps)
    nothing, rows = jnp.zeros((sizes["windows"], steps, channels)), jnp.zeros(classes, jnp.int32)
    return BlockBootstrap(nothing, nothing, rows, rows, jnp.int32(0))
