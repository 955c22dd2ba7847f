"""Training beside operation: slots of a closed loop, paced and timed, with and without training in the background."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float64

from twinloop.learning import BackgroundTraining, fit
from twinloop.loop import slot
from twinloop.scenario import build_loop, load
from twinloop.studies.evaluate.drift.operating import RULES, World, mean_swipe_error
from twinloop.studies.evaluate.drift.worlds import SwipeModel
from twinloop.studies.evaluate.judgement import Estimate, Row

DUTY = 0.5
_WARM = 5


@dataclass(frozen=True)
class Beside:
    """Seconds that each slot took, by how training went on beside it; the deadline; steps trained in each way."""

    slot_s: dict[str, Float64[np.ndarray, " slots"]]
    deadline_s: float
    trained: dict[str, int]

    def missed(self, way: str) -> int:
        """Slots over the deadline."""
        return int(np.sum(self.slot_s[way] > self.deadline_s))


def time_slots(world: World[SwipeModel], seed: int, slots: int = 60, deadline_s: float = 0.25) -> Beside:
    """Slots of the campus loop, one every `deadline_s` (the campus's own are 1 s long): alone, and beside training of
    the swipe model that never ends, at a duty of `DUTY` and without rest.
    """
    loop, state = build_loop(load("campus"))
    live = eqx.filter_jit(slot)
    key = jax.random.key(seed)
    for number in range(_WARM):
        state = jax.block_until_ready(live(jax.random.fold_in(key, number), loop, state))[0]
    next(_endless(world, key))
    taken: dict[str, Float64[np.ndarray, " slots"]] = {}
    trained: dict[str, int] = {}
    for way, duty in (("alone", None), (f"beside training, duty {DUTY:g}", DUTY), ("beside training, no rest", 1.0)):
        training: BackgroundTraining[int] | None = None if duty is None else BackgroundTraining(duty)
        if training is not None:
            training.start(lambda: _endless(world, key))
        times: list[float] = []
        for number in range(slots):
            begun = time.perf_counter()
            state = jax.block_until_ready(live(jax.random.fold_in(key, _WARM + number), loop, state))[0]
            if training is not None:
                training.poll()
            times.append(time.perf_counter() - begun)
            time.sleep(max(deadline_s - times[-1], 0.0))
        taken[way] = np.array(times)
        outcome = None if training is None else training.stop()
        trained[way] = (outcome.result or 0) * RULES.steps if outcome is not None else 0
    return Beside(taken, deadline_s, trained)


def _endless(world: World[SwipeModel], key: jax.Array) -> Iterator[int]:
    """Courses of training, one after another; gives how many were done."""
    done = 0
    model = world.model
    while True:
        model = jax.block_until_ready(
            fit(
                jax.random.fold_in(key, done), model, mean_swipe_error, world.history, world.history,
                steps=RULES.steps, batch=RULES.batch, learning_rate=RULES.learning_rate, checks=1,
            ).model
        )  # fmt: skip
        done += 1
        yield done


def beside_rows(found: Beside) -> list[Row]:
    """Median, 99th percentile and greatest time of a slot, and deadlines missed."""
    rows: list[Row] = []
    for way, times in found.slot_s.items():
        values = {
            "slot, median (ms)": Estimate(1e3 * float(np.median(times))),
            "slot, 99 % (ms)": Estimate(1e3 * float(np.quantile(times, 0.99))),
            "slot, greatest (ms)": Estimate(1e3 * float(times.max())),
            "deadlines missed": Estimate(float(found.missed(way))),
            "steps trained": Estimate(float(found.trained[way])),
        }
        role = "proposed" if f"{DUTY:g}" in way else "baseline"
        rows.append(Row(("slots of the campus loop", way), role, values))
    return rows
