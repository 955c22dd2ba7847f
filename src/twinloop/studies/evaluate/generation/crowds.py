"""Generators of network scenes against crowds that none of them was fitted to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from twinloop.studies.evaluate.generation.drawings import draw_maps, draw_prospects
from twinloop.studies.evaluate.generation.prospects import Foreseen
from twinloop.studies.evaluate.generation.scores import (
    Held,
    Score,
    discriminative,
    marginal_distance,
    mean_distance,
    nearest_ratio,
    regression_error,
    resampled_files,
)
from twinloop.studies.evaluate.generation.verdicts import (
    DISCRIMINATIVE,
    FITTED,
    HELD_OUT,
    NEAREST,
    claims,
    mean_ranks,
    prospect_rows,
    score_rows,
)
from twinloop.studies.evaluate.judgement import Judgement
from twinloop.training import SCENE_GENERATORS, Scenes, SceneView, held_out_files, load_scenes, scene_view, scene_world

MEAN_MAP = "distance of mean maps"
FULLEST = "KS distance, fullest tile"
LOADS = "KS distance, load of cells"
LOAD_ERROR = "error, load from map"
RANKED = (DISCRIMINATIVE, MEAN_MAP, FULLEST, LOADS, LOAD_ERROR)

Maps = Float64[np.ndarray, "_ _"]


def evaluate_crowds(data: Path, seed: int, progress: Callable[[str], None]) -> Judgement:
    """Every generator of scenes against the third of the crowds that none was fitted to.

    Raises DataError when `kaist_walks` is absent or too small.
    """
    progress("walking simulated crowds")
    site, mobility = scene_world(seed)
    scenes = load_scenes(data, mobility, seed)
    kept = held_out_files(scenes.files, scenes.file_class())[scenes.file]
    fitted, unseen = scenes.only(~kept), scenes.only(kept)
    seen, wanted = (_maps(scene_view(site, jnp.asarray(part.position_m, jnp.float32))) for part in (fitted, unseen))
    beside, learned = {}, {FITTED: seen}
    pick = np.random.default_rng(seed)
    rows = np.array([pick.choice(np.flatnonzero(fitted.label == kind)) for kind in unseen.label])
    beside[FITTED] = (seen[0][rows], seen[1][rows])
    for name, fit in SCENE_GENERATORS.items():
        progress(f"fitting {name} to {fitted.count} scenes")
        source = fit(site, fitted, seed)
        beside[name] = _maps(source.draw(jax.random.key(seed + 1), jnp.asarray(unseen.label, jnp.int32)))
        learned[name] = _maps(source.draw(jax.random.key(seed + 2), jnp.asarray(fitted.label, jnp.int32)))
    progress("scoring what they draw")
    weight = resampled_files(unseen.file_class(), seed)
    scores = {
        name: _scores(wanted, one, learned[name], fitted, unseen, seen, weight, seed) for name, one in beside.items()
    }
    served = {name: _served(one[1], seen[1]) for name, one in {HELD_OUT: wanted, **beside}.items()}
    del scores[FITTED][NEAREST]
    ranks = mean_ranks(scores, RANKED)
    people = {name: one[0] for name, one in {HELD_OUT: wanted, **beside}.items()}
    return Judgement(
        title=f"Generation: scenes, {', '.join(scenes.classes)}",
        labels=("quantity", "from"),
        rows=(*score_rows(scores), *prospect_rows(served, seed)),
        claims=claims(scores, served, ranks, compared=RANKED[:-1], learned=(LOAD_ERROR,), seed=seed),
        numbers={
            "crowds_fitted": float(len(np.unique(fitted.file))),
            "crowds_judged_on": float(len(np.unique(unseen.file))),
            "scenes_judged_on": float(unseen.count),
            **{f"mean_rank_{name}": rank for name, rank in ranks.items()},
        },
        method=_METHOD,
        figures={
            "generation_scenes_maps.png": partial(draw_maps, scenes.classes, unseen.label, people),
            "generation_scenes_prospects.png": partial(draw_prospects, served, "scenes"),
        },
    )


_METHOD = (
    "a scene: 12 people of one crowd on a map of 2 km (64 tiles) under four cells, every 5 min for 5 h; classes: "
    "recorded walks (laid over each other by time since their start), simulated flights, simulated waypoints",
    "a third of every class's crowds is kept to judge by; a kernel's width makes later scenes of the fit likeliest",
    "all draw where people are; people by tile and loads of cells (3 Mbit/s each) follow by the twin's physics",
    f"{LOAD_ERROR}: ridge regression of every cell's load on the map, learned from drawn scenes, tested on held-out "
    f"ones, RMSE over deviation; {MEAN_MAP}: half the sum of absolute differences by class, in shares of all people",
    "division: the four cells share a band of the mean fitted total load; satisfaction is the share of load that fits "
    "each cell's part; intervals hold 90 % of scenes, coverage is the share of held-out scenes inside",
    "intervals of scores: 90 % over resampled held-out crowds; mean rank: over " + ", ".join(RANKED),
)


def _maps(seen: SceneView) -> tuple[Maps, Maps]:
    return np.asarray(seen.density, np.float64), np.asarray(seen.load, np.float64)


def _scores(
    wanted: tuple[Maps, Maps],
    made: tuple[Maps, Maps],
    learned: tuple[Maps, Maps],
    fitted: Scenes,
    unseen: Scenes,
    seen: tuple[Maps, Maps],
    weight: Float64[np.ndarray, "resamples files"],
    seed: int,
) -> dict[str, Score]:
    def held(real: Maps, known: Maps) -> Held:
        return Held(real[:, None], unseen.label, unseen.file, known[:, None], fitted.label, weight)

    people, load = held(wanted[0], seen[0]), held(wanted[1], seen[1])
    fullest = held(wanted[0].max(axis=1, keepdims=True), seen[0].max(axis=1, keepdims=True))
    features = [np.column_stack([*one, -np.sort(-one[0], axis=1)[:, :8], one[0].sum(axis=1)]) for one in (wanted, made)]
    return {
        DISCRIMINATIVE: discriminative(people, features[0], features[1], seed),
        MEAN_MAP: mean_distance(people, made[0][:, None]),
        FULLEST: marginal_distance(fullest, made[0].max(axis=1)[:, None, None]),
        LOADS: marginal_distance(load, made[1][:, None]),
        LOAD_ERROR: regression_error(people, learned, wanted),
        NEAREST: nearest_ratio(people, made[0][:, None]),
    }


def _served(load: Maps, fitted: Maps) -> dict[str, Foreseen]:
    """Share of the load that fits into each cell's part of a band of the mean fitted total load."""
    mean = fitted.mean(axis=0)
    parts = {"equal division": np.full(len(mean), mean.sum() / len(mean)), "by mean load": mean}
    share = {
        name: np.minimum(load, part).sum(axis=1) / np.maximum(load.sum(axis=1), 1e-9) for name, part in parts.items()
    }
    return {name: Foreseen(value) for name, value in share.items()}
