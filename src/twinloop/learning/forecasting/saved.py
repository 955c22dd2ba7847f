"""Emulators as files: the weights, and a card from which their structure is rebuilt."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from twinloop.errors import ModelError
from twinloop.learning.forecasting.distribution import LEVELS
from twinloop.learning.forecasting.emulator import LINEAR_CANDIDATES, Emulator
from twinloop.learning.forecasting.memory import Quantity, blank_memory, linear_features, network_features
from twinloop.learning.forecasting.recurrent import NetworkStructure, RecurrentNetwork, new_network
from twinloop.learning.weights import load_model, read_card, save_model

KIND = "emulator"


def save_emulator(path: Path, emulator: Emulator, about: Mapping[str, Any]) -> None:
    """Write the weights to `path` and the card beside it: the structure, and `about` (attribute, unit, data, metrics).

    Several emulators of one structure, all arrays led by an axis that counts them, are saved in the same way.

    Raises OutputError where that is not possible.
    """
    quantity = emulator.quantity
    structure = {
        "quantity": {
            "resolution": quantity.resolution,
            "lags": quantity.lags,
            "wanders": quantity.wanders,
            "periods": list(quantity.periods),
        },
        "horizons": list(emulator.horizons),
        "low": _finite(emulator.low),
        "high": _finite(emulator.high),
        "levels": list(LEVELS),
        "networks": [
            {
                "cell": net.structure.cell,
                "head": net.structure.head,
                "hidden": net.structure.hidden,
                "inputs": net.structure.inputs,
                "members": int(net.bias.shape[-2]),
            }
            for net in emulator.networks
        ],
    }
    if emulator.linear.ndim == 3:
        structure["stacked"] = int(emulator.linear.shape[0])
    save_model(path, emulator, {"kind": KIND, **about, "structure": structure})


def load_emulator(path: Path, *, attribute: str | None = None, covariates: tuple[str, ...] | None = None) -> Emulator:
    """The emulator in `path`.

    Raises ModelError where the file or its card is missing, damaged or of another kind, and where the emulator was
    trained on another attribute or other covariates than those asked for.
    """
    card = read_card(path)
    if card.get("kind") != KIND:
        raise ModelError(
            path, f"this is a model of kind {card.get('kind')!r}", "a file that `twinloop train emulator` wrote"
        )
    for what, wanted in (("attribute", attribute), ("covariates", None if covariates is None else list(covariates))):
        if wanted is not None and card.get(what) != wanted:
            raise ModelError(
                path, f"trained on {what} {card.get(what)!r}", f"{what} {wanted!r}; train one on such data"
            )
    try:
        blank = _blank(card["structure"])
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ModelError(
            path.with_suffix(".json"), f"no structure of an emulator ({fault!r})", "the card that training wrote"
        ) from None
    return load_model(path, blank)


def _finite(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None


def _blank(said: Mapping[str, Any]) -> Emulator:
    """An emulator of that structure with every number 0. Raises what a wrong structure raises."""
    if list(said["levels"]) != list(LEVELS):
        raise ValueError("quantiles at other levels")
    form = said["quantity"]
    quantity = Quantity(
        float(form["resolution"]), int(form["lags"]), bool(form["wanders"]), tuple(int(p) for p in form["periods"])
    )
    horizons = tuple(int(h) for h in said["horizons"])
    memory = blank_memory(quantity, 1)
    features = linear_features(quantity, memory, horizons[0]).shape[1]
    least = network_features(quantity, memory, jnp.zeros((1, 0))).shape[1]
    linear = jnp.zeros((len(horizons), features))
    networks = tuple(_blank_networks(quantity, horizons, one, linear, least) for one in said["networks"])
    share = jnp.zeros((len(horizons), len(LINEAR_CANDIDATES) + len(networks)))
    levels = jnp.zeros((len(horizons), len(LEVELS)))
    low = -math.inf if said["low"] is None else float(said["low"])
    high = math.inf if said["high"] is None else float(said["high"])
    one = Emulator(quantity, linear, levels, levels, networks, share, share, levels, horizons, low, high)
    count = said.get("stacked")
    return one if count is None else jax.tree.map(lambda leaf: jnp.stack([leaf] * int(count)), one)


def _blank_networks(
    quantity: Quantity, horizons: tuple[int, ...], said: Mapping[str, Any], linear: jax.Array, least: int
) -> RecurrentNetwork:
    if said["cell"] not in ("gru", "lstm") or said["head"] not in ("quantiles", "mixture"):
        raise ValueError(f"a network of kind {said['cell']}, {said['head']}")
    inputs, members = int(said["inputs"]), int(said["members"])
    if inputs < least or members < 1:
        raise ValueError(f"{inputs} inputs, {members} members")
    structure = NetworkStructure(quantity, horizons, inputs, int(said["hidden"]), said["cell"], said["head"])
    net = new_network(
        jax.random.key(0),
        structure,
        shift=jnp.zeros(inputs),
        spread=jnp.ones(inputs),
        linear=linear,
        offset=jnp.zeros((len(horizons), structure.outputs)),
    )
    arrays, rest = eqx.partition(net, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda leaf: jnp.stack([leaf] * members), arrays), rest)
