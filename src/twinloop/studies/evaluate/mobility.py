"""Levy flights of the simulator against walks that were not fitted."""

from dataclasses import astuple
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, PRNGKeyArray

from twinloop.datasets import (
    Flights,
    MobilityFigures,
    Walk,
    extract_flights,
    load_walks,
    shipped_figures,
)
from twinloop.errors import DataError
from twinloop.reporting import Curve, Panel, plot_curves, plot_tracks
from twinloop.simulator import KinematicState, Mobility, init_kinematics, move
from twinloop.studies.evaluate.judgement import KS_DISTANCE, KS_TARGET, Judgement, Role, Row, at_most, ks_row

FLIGHTS = "flight length above 50 m"
DURATIONS = "flight duration"
PAUSES = "time between flights"
_SLOT_S = 5.0
_SAMPLE_S = 30.0
_DAY_S = 12 * 3600.0
_WALKERS = 400
_AREA_M = 30_000.0
_CAMPUS_M = (1100.0, 1500.0)
_SHOWN = 12

Tracks = Float64[np.ndarray, "walkers samples 2"]
Samples = dict[str, dict[str, Float64[np.ndarray, "_"]]]


def evaluate_mobility(data: Path, seed: int = 0) -> Judgement:
    """Flights of simulated walkers against those of the walks in `data` that no shipped figure was fitted to.

    Raises DataError when the set is absent, faulty as a whole, or holds only fitted walks.
    """
    figures = shipped_figures().levy
    walks = load_walks(data).required()
    fitted = [walk for walk in walks if walk.name in figures.provenance.fitted_on]
    unseen = [walk for walk in walks if walk.name not in figures.provenance.fitted_on]
    if not unseen:
        raise DataError(data / "kaist_walks", "every walk was used in fitting", "walks under other file names")
    tracks = {
        "Levy flights": walk_around(figures, "levy", (_AREA_M, _AREA_M), seed),
        "random waypoint on a campus": walk_around(figures, "waypoint", _CAMPUS_M, seed),
    }
    measured = [extract_flights(walk.position_m, walk.step_s) for walk in unseen]
    rows, samples = _rows(measured, fitted, tracks, seed)
    still = np.concatenate([walk.stationary for walk in unseen])
    numbers = {
        "unseen_walks": float(len(unseen)),
        "unseen_flights": float(sum(len(flights.length_m) for flights in measured)),
        "stationary_share_measured": float(still.mean()),
        "stationary_share_generated": float(_still(tracks["Levy flights"]).mean()),
    }
    return Judgement(
        title="Mobility: Levy flights against unseen walks",
        labels=("quantity", "from"),
        rows=rows,
        claims=(at_most(f"KS distance of {FLIGHTS} at most {KS_TARGET:g}", rows[0].values[KS_DISTANCE], KS_TARGET),),
        numbers=numbers,
        method=(
            f"{_WALKERS} simulated walkers, 12 h each in slots of 5 s, seen every 30 s as the measured walks are",
            "the same extraction for both: steps above 40 m/s are jumps, below 4 m in 30 s standing still, a flight "
            "is an unbroken run of the other steps, its length the straight line; kept above 50 m",
            "intervals: 90 % over resampled walks",
        ),
        figures={
            "mobility_flights.png": partial(_draw_distributions, samples),
            "mobility_tracks.png": partial(_draw_tracks, unseen, tracks),
        },
    )


def walk_around(figures: MobilityFigures, model: str, area_m: tuple[float, float], seed: int) -> Tracks:
    """Positions every 30 s of walkers that move for 12 h by `model` (levy or waypoint) in an area."""
    mobility = _mobility(figures, model)
    track = _track(jax.random.key(seed), mobility, jnp.asarray(area_m, jnp.float32))
    return np.asarray(track, np.float64).transpose(1, 0, 2)


@jax.jit
def _track(key: PRNGKeyArray, mobility: Mobility, area_m: Float[Array, "2"]) -> Float[Array, "samples walkers 2"]:
    start = init_kinematics(key, mobility, area_m)
    slots = int(_SAMPLE_S / _SLOT_S)

    def one_slot(state: KinematicState, time_slot: Int[Array, ""]) -> tuple[KinematicState, None]:
        moved = move(jax.random.fold_in(key, time_slot), mobility, area_m, state, _SLOT_S, time_slot)
        return moved, None

    def one_sample(state: KinematicState, sample: Int[Array, ""]) -> tuple[KinematicState, Float[Array, "walkers 2"]]:
        moved, _ = jax.lax.scan(one_slot, state, sample * slots + jnp.arange(slots))
        return moved, moved.position_m

    return jax.lax.scan(one_sample, start, jnp.arange(int(_DAY_S / _SAMPLE_S)))[1]


def _mobility(figures: MobilityFigures, model: str) -> Mobility:
    rest = jnp.zeros(_WALKERS)
    first = jnp.zeros(_WALKERS, jnp.int32)
    levy = model == "levy"
    flight = jnp.asarray([astuple(part) for part in figures.flight_parts]).T
    pause = jnp.asarray([astuple(part) for part in figures.pause_parts]).T
    return Mobility(
        models=(model,),
        user_model=first,
        speed_low_mps=jnp.full(_WALKERS, 0.05 if levy else 0.5),
        speed_high_mps=jnp.full(_WALKERS, 30.0 if levy else 2.0),
        pause_max_s=jnp.float32(600.0),
        flight_weight=flight[0],
        flight_exponent=flight[1],
        flight_low_m=flight[2],
        flight_high_m=flight[3],
        pause_weight=pause[0],
        pause_exponent=pause[1],
        pause_low_s=pause[2],
        pause_high_s=pause[3],
        time_factor=jnp.float32(figures.time_factor),
        time_rho=jnp.float32(figures.time_rho),
        time_spread=jnp.float32(figures.time_spread),
        path_m=jnp.zeros((1, 1, 2)),
        user_path=first,
        walk_m=jnp.zeros((1, 2, 2)),
        walk_step_s=jnp.float32(_SAMPLE_S),
        walk_length=jnp.array([2], jnp.int32),
        user_walk=first,
        walk_start_s=rest,
    )


def _still(tracks: Tracks) -> Float64[np.ndarray, " steps"]:
    return (np.linalg.norm(np.diff(tracks, axis=1), axis=2) < 4.0).astype(np.float64).ravel()


def _values(flights: Flights, quantity: str) -> Float64[np.ndarray, " n"]:
    return {FLIGHTS: flights.length_m, DURATIONS: flights.duration_s, PAUSES: flights.pause_s}[quantity]


def _rows(
    measured: list[Flights], fitted: list[Walk], tracks: dict[str, Tracks], seed: int
) -> tuple[tuple[Row, ...], Samples]:
    """Rows of the table, and the samples behind them by quantity and name."""
    generated = {name: [extract_flights(track, _SAMPLE_S) for track in every] for name, every in tracks.items()}
    generated["walks of the fit"] = [extract_flights(walk.position_m, walk.step_s) for walk in fitted]
    roles: dict[str, Role] = {"Levy flights": "proposed", "walks of the fit": "reference"}
    rows: list[Row] = []
    samples: Samples = {}
    for quantity in (FLIGHTS, DURATIONS, PAUSES):
        unseen = [_values(flights, quantity) for flights in measured]
        samples[quantity] = {"unseen walks": np.concatenate(unseen)}
        for name, flights in generated.items():
            if not flights:
                continue
            values = np.concatenate([_values(one, quantity) for one in flights])
            samples[quantity][name] = values
            rows.append(ks_row((quantity, name), roles.get(name, "baseline"), unseen, values, seed))
    return tuple(rows), samples


def _draw_distributions(samples: Samples):
    labels = {FLIGHTS: "flight length (m)", DURATIONS: "flight duration (s)", PAUSES: "time between flights (s)"}
    panels = [
        Panel(
            labels[quantity],
            "share above",
            tuple(Curve.exceeding(name, values, measured=name == "unseen walks") for name, values in named.items()),
            log_x=True,
            log_y=True,
        )
        for quantity, named in samples.items()
    ]
    return plot_curves(panels, "Flights: simulated against walks that were not fitted")


def _draw_tracks(unseen: list[Walk], tracks: dict[str, Tracks]):
    every = {"unseen walks": [walk.clipped_position_m for walk in unseen[:_SHOWN]]}
    every |= {name: list(track[:_SHOWN]) for name, track in tracks.items()}
    centred = {name: [(track - track[0]) / 1e3 for track in some] for name, some in every.items()}
    return plot_tracks(centred, "Half a day of twelve people each, from where they started", half_width_km=3.0)
