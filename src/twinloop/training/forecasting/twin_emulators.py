"""Emulators of all levels of user twins, trained in worlds that the twins simulate, and what they are worth there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int64

from twinloop.emulation import Z90
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import DataError
from twinloop.learning import Emulator, Quantity, save_emulator
from twinloop.scenario import Scenario
from twinloop.training.forecasting.samples import Samples, samples_of
from twinloop.training.forecasting.saving import check_converged
from twinloop.training.forecasting.sequences import Sequence as Values
from twinloop.training.forecasting.sequences import SequenceSet
from twinloop.training.forecasting.train import EmulatorSettings, Progress, forecast_candidates, train_emulators
from twinloop.training.forecasting.twin_records import (
    BASELINES,
    COVARIATES,
    LEVELS_OF_USERS,
    TwinRecord,
    record_twins,
)
from twinloop.twins import quantum

TWIN_SETTINGS = EmulatorSettings(kinds=("gru",), members=2, steps=300)
"""What `twinloop train emulator --scenario` trains: one kind of network, since the kinds are worth about the same."""
WORLDS = 2
_HELD_OUT_SHARE = 0.25
_LEAST_USERS = 4
_QUANTUM: Mapping[str, float] = {
    attribute.name: float(step) for attribute, step in zip(USER_ATTRIBUTES, quantum("users"), strict=True)
}


@dataclass(frozen=True)
class TwinEmulators:
    """Emulators of `attributes`, all arrays led by an axis that counts them, in units of `scales`.

    `metrics` is, by attribute and emulator, what held-out users say: root mean square and mean absolute error for the
    next slot, and the share of truths in the 90 % interval. `left_out` says why other attributes were not trained.
    """

    attributes: tuple[str, ...]
    scales: tuple[float, ...]
    emulator: Emulator
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    left_out: Mapping[str, str]


def twin_sequences(records: Sequence[TwinRecord], attribute: str) -> SequenceSet:
    """What user twins were told of `attribute` in every slot, in units of its precision, with the truth beside it.

    A sequence begins where the twins took a user to be new for the last time; each user of each world is a file.
    """
    sequences: list[Values] = []
    for record in records:
        value, truth = (record.column(of, attribute) / _QUANTUM[attribute] for of in ("value", "truth"))
        came, anew = (record.column(of, attribute) for of in ("came", "anew"))
        steps, users = value.shape
        for user in range(users):
            begun = int(np.flatnonzero(anew[:, user])[-1]) if anew[:, user].any() else steps
            known = came[:, user] & (np.arange(steps) >= begun)
            sequences.append(
                Values(
                    f"world {record.seed} user {user}",
                    np.where(known, value[:, user], np.nan).astype(np.float64),
                    record.slots["covariates"][:, user].astype(np.float64),
                    np.ones(steps, bool),
                    truth=truth[:, user].astype(np.float64),
                )
            )
    step_s = records[0].slot_s
    form, name = Quantity(resolution=1.0), f"twins: {attribute}"
    step, unit = f"{step_s:g} s", f"{_QUANTUM[attribute]:g} {USER_ATTRIBUTES[column(USER_ATTRIBUTES, attribute)].unit}"
    return SequenceSet(name, attribute, unit, step_s, step, COVARIATES, form, -np.inf, np.inf, tuple(sequences))


def train_twin_emulators(
    records: Sequence[TwinRecord],
    attributes: Sequence[str],
    *,
    seed: int,
    settings: EmulatorSettings = TWIN_SETTINGS,
    progress: Progress = lambda _: None,
) -> TwinEmulators:
    """One emulator an attribute, trained on three quarters of the users of `records` and scored on the others.

    Attributes that never change are left out. Raises DataError where none is left, and for fewer than four users.
    """
    users = sum(record.slots["value"].shape[1] for record in records)
    if users < _LEAST_USERS:
        raise DataError("users", f"{users} of them in the simulated worlds", f"at least {_LEAST_USERS}")
    order = np.random.default_rng([seed, users]).permutation(users)
    apart = max(round(_HELD_OUT_SHARE * users), 1)
    held_out, taught = np.sort(order[:apart]), np.sort(order[apart:])
    trained: dict[str, Emulator] = {}
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    left_out: dict[str, str] = {}
    for attribute in attributes:
        if (fault := _untrainable(records, attribute, held_out, taught)) is not None:
            left_out[attribute] = fault
            progress(f"{attribute} is left out: {fault}")
            continue
        told_of = twin_sequences(records, attribute)
        samples = samples_of(_of_users(told_of, taught), (1,))
        (made,) = train_emulators(seed, samples, [np.arange(len(samples.files))], settings)
        trained[attribute] = made.emulator
        unseen = samples_of(_of_users(told_of, held_out), (1,))
        metrics[attribute] = _held_to(records, unseen, made.emulator, held_out, _QUANTUM[attribute])
        progress(f"{attribute}: {told(metrics[attribute])}")
    if not trained:
        raise DataError(
            "--attributes", "none of them can be trained on", "attributes that change, or a longer --duration"
        )
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained.values())
    return TwinEmulators(tuple(trained), tuple(_QUANTUM[name] for name in trained), together, metrics, left_out)


def told(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One attribute's metrics in a line: mean absolute error beside the baselines', and coverage."""
    own = metrics["trained"]
    others = ", ".join(f"{name} {metrics[name]['mae']:.3g}" for name in BASELINES)
    return f"mean error {own['mae']:.3g} ({others}); {own['coverage_90']:.2f} of truths in the 90 % interval"


def _untrainable(
    records: Sequence[TwinRecord], attribute: str, held_out: Int64[np.ndarray, " _"], taught: Int64[np.ndarray, " _"]
) -> str | None:
    truth = np.concatenate([record.column("truth", attribute) for record in records], axis=1)
    came = np.concatenate([record.column("came", attribute) for record in records], axis=1)
    for some in (held_out, taught):
        if not (came[:-1, some] & np.isfinite(truth[1:, some])).any():
            return "never reported"
        if np.nanmax(truth[:, some]) - np.nanmin(truth[:, some]) <= _QUANTUM[attribute]:
            return "it does not change"
    return None


def _of_users(source: SequenceSet, users: Int64[np.ndarray, " _"]) -> SequenceSet:
    return replace(source, sequences=tuple(source.sequences[user] for user in users))


def _held_to(
    records: Sequence[TwinRecord],
    samples: Samples,
    emulator: Emulator,
    users: Int64[np.ndarray, " held_out"],
    scale: float,
) -> dict[str, dict[str, float]]:
    """Errors and coverage on `users`, of whom `samples` are, by the emulator and by the baselines.

    In the attribute's unit, which is that of `samples` times `scale`.
    """
    attribute = samples.source.attribute
    said = emulator.combined(forecast_candidates(emulator, samples, np.arange(len(users))))
    low, high = said.interval
    judged = samples.valid[..., 0]
    truth = scale * samples.truth[..., 0]
    median, std = scale * np.asarray(said.median)[..., 0], scale * np.asarray(high - low)[..., 0] / (2 * Z90)
    scores = {"trained": _scores(truth, median, np.maximum(std, scale / np.sqrt(12.0)), judged)}
    foretold, spread = (
        np.concatenate([record.column(of, attribute) for record in records], axis=2) for of in ("foretold", "spread")
    )
    for place, name in enumerate(BASELINES):
        scores[name] = _scores(truth, foretold[:, place, users].T, spread[:, place, users].T, judged)
    return scores


def _scores(truth: np.ndarray, expected: np.ndarray, std: np.ndarray, judged: np.ndarray) -> dict[str, float]:
    miss = (truth - expected)[judged].astype(np.float64)
    inside = np.abs(miss) <= Z90 * std[judged]
    return {
        "rmse": float(np.sqrt(np.mean(miss**2))),
        "mae": float(np.mean(np.abs(miss))),
        "coverage_90": float(np.mean(inside)),
    }


def train_and_save_twins(
    scenario: Scenario,
    out: Path,
    *,
    attributes: Sequence[str] | None,
    duration_s: float,
    seed: int,
    settings: EmulatorSettings = TWIN_SETTINGS,
    data: Path | None = None,
    command: str,
    progress: Progress = lambda _: None,
) -> TwinEmulators:
    """Simulate what the twins of `scenario` believe, train on it, and write `out` with its card beside it.

    `duration_s` is shared between two worlds, of `seed` and the next. Raises DataError for attributes that users'
    twins do not have as levels, for too little to learn from and where training did not converge, OutputError where
    `out` cannot be written.
    """
    chosen = checked_attributes(attributes)
    records: list[TwinRecord] = []
    for world in range(seed, seed + WORLDS):
        progress(f"simulating world {world} of {scenario.name} as its twins believe it")
        records.append(record_twins(scenario, seed=world, duration_s=duration_s / WORLDS, data=data))
    made = train_twin_emulators(records, chosen, seed=seed, settings=settings, progress=progress)
    check_converged(scenario.name, made.emulator, {name: made.metrics[name]["trained"] for name in made.attributes})
    about = {
        "attributes": list(made.attributes),
        "units": [USER_ATTRIBUTES[column(USER_ATTRIBUTES, name)].unit for name in made.attributes],
        "scales": list(made.scales),
        "covariates": list(COVARIATES),
        "step_s": records[0].slot_s,
        "horizons": list(made.emulator.horizons),
        "data": {
            "scenario": scenario.name,
            "believed": scenario.twin.mismatch.model_dump(),
            "worlds": [record.seed for record in records],
            "slots_a_world": int(records[0].slots["value"].shape[0]),
            "users_a_world": int(records[0].slots["value"].shape[1]),
            "collection": "periodic in the first half of each world, adaptive in the second",
        },
        "left_out": dict(made.left_out),
        "metrics_on_held_out_users": made.metrics,
        "training": {**vars(settings), "seed": seed},
        "command": command,
    }
    save_emulator(out, made.emulator, about)
    return made


def checked_attributes(names: Sequence[str] | None) -> tuple[str, ...]:
    """`names` in the order of the table, all levels of users without any. Raises DataError for anything else."""
    if names is None:
        return LEVELS_OF_USERS
    for name in names:
        if name not in LEVELS_OF_USERS:
            raise DataError(
                "--attributes", f"{name!r} is no level of user twins", f"some of {', '.join(LEVELS_OF_USERS)}"
            )
    return tuple(name for name in LEVELS_OF_USERS if name in names)
