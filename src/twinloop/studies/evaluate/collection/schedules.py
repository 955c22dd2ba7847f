"""Ways to collect, as grids of knobs: opponents from the literature, tuned on the same part as ours.

Send-on-delta: M. Miskowicz, Sensors 6, 2006. A filter shared by agent and collector: A. Jain, E. Y. Chang and Y.-F.
Wang, SIGMOD 2004. Age-optimal rates by a square-root law: I. Kadota et al., IEEE/ACM Trans. Networking 26, 2018.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from twinloop.network import HEADER_BITS
from twinloop.studies.evaluate.collection.emulator import CANDIDATES, Filter, candidate
from twinloop.studies.evaluate.collection.records import Record
from twinloop.studies.evaluate.collection.replay import NEVER, Cost, Status, Trigger, replay

PERIODS = (1, 2, 4, 8, 16, 32, 64)
STEPS = (0.01, 0.03, 0.1, 0.3, 0.6, 1.2)
DELTAS = tuple(np.geomspace(0.03, 3.0, 11).tolist())
_PRICES = np.geomspace(3e-6, 3e-1, 24)
_FINE = 0.01


def status_of(record: Record, spread: Float64[np.ndarray, " attributes"]) -> Status:
    """The record on the device, errors in units of `spread`."""
    return Status(
        jnp.asarray(record.truth),
        jnp.asarray(record.measured),
        jnp.asarray(record.present),
        jnp.asarray(spread, jnp.float32),
        jnp.asarray([entry.low for entry in record.table], jnp.float32),
        jnp.asarray([entry.kind == "label" for entry in record.table]),
    )


def stacked(triggers: Sequence[Trigger]) -> Trigger:
    """Triggers with a leading axis of knobs."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *triggers)


def trigger(
    record: Record,
    spread: Float64[np.ndarray, " attributes"],
    *,
    period: Sequence[int] | int = NEVER,
    change: float = np.inf,
    surprise: float = np.inf,
    step: Sequence[float] | float = _FINE,
    remembers: bool = False,
) -> Trigger:
    """A trigger whose `change`, `surprise` and `step` are in standard deviations; labels are sent exactly.

    A report of an attribute takes as many bits as its range has steps, no more than the attribute table says.
    """
    count = len(record.table)
    span = np.array([entry.high - entry.low for entry in record.table])
    most = np.array([entry.bits for entry in record.table])
    step_of = np.maximum(np.broadcast_to(step, count) * spread, span / (2.0**most - 1))
    label = np.array([entry.kind == "label" for entry in record.table])
    bits = np.where(label, most, np.ceil(np.log2(span / step_of + 1)))
    return Trigger(
        jnp.asarray(np.broadcast_to(period, count), jnp.int32),
        jnp.asarray(change * spread, jnp.float32),
        jnp.asarray(surprise * spread, jnp.float32),
        jnp.asarray(step_of, jnp.float32),
        jnp.asarray(bits, jnp.float32),
        jnp.asarray(remembers),
    )


def fitted_filter(record: Record) -> Filter:
    """Of the candidates, for each attribute the one that emulates best between reports every 2, 4, 8 and 16 slots."""
    rules = [candidate(record, damping, ratio, trends=trends) for damping, ratio, trends in CANDIDATES]
    status = status_of(record, record.spread)
    every = stacked([trigger(record, record.spread, period=period) for period in (2, 4, 8, 16)])
    error = np.stack([np.asarray(replay(status, rule, every).by_attribute).sum(axis=0) for rule in rules])
    best = error.argmin(axis=0)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves)[best, jnp.arange(best.size)], *rules)


def uniform(record: Record, spread: Float64[np.ndarray, " attributes"]) -> list[Trigger]:
    """All attributes at one period and one precision."""
    return [trigger(record, spread, period=period, step=step) for period in PERIODS for step in STEPS[:4]]


def tuned_periods(
    record: Record,
    spread: Float64[np.ndarray, " attributes"],
    grid: Cost,
    periods: Sequence[int],
    steps: Sequence[float],
) -> list[Trigger]:
    """For a row of prices, the period and precision of each attribute that minimise error + price x bits.

    `grid` holds the error by attribute at every period and step, on the part to tune on. An attribute's error does not
    depend on the others', and periods that double share their headers, so this is the best such schedule there is.
    """
    count = len(record.table)
    error = np.asarray(grid.by_attribute, np.float64).reshape(len(periods), len(steps), count)
    error = error / float(np.asarray(grid.slots)[0].sum()) / count
    size = np.stack([np.asarray(trigger(record, spread, step=step).bits, np.float64) for step in steps])
    rate = 1.0 / np.asarray(periods, np.float64)
    found: list[Trigger] = []
    for price in _PRICES:
        worth = error + price * rate[:, None, None] * size[None]
        choices: list[tuple[float, Trigger]] = []
        for first in range(len(periods)):
            flat = worth[first:].reshape(-1, count)
            best = flat.argmin(axis=0)
            period = [periods[first + place // len(steps)] for place in best.tolist()]
            step = [steps[place % len(steps)] for place in best.tolist()]
            total = float(flat.min(axis=0).sum() + price * HEADER_BITS * rate[first])
            choices.append((total, trigger(record, spread, period=period, step=step)))
        found.append(min(choices, key=lambda choice: choice[0])[1])
    return found


def age_optimal(record: Record, spread: Float64[np.ndarray, " attributes"]) -> list[Trigger]:
    """Periods proportional to sqrt(bits / rate at which the error grows with age), rounded to powers of two.

    The growth is the mean squared step of an attribute over its variance; powers of two share their headers.
    """
    step = np.diff(record.truth.astype(np.float64), axis=0)[record.present[1:]] / spread
    label = np.array([entry.kind == "label" for entry in record.table])
    growth = np.where(label, (step != 0).mean(axis=0), (step**2).mean(axis=0))
    found: list[Trigger] = []
    for precision in STEPS[1:4]:
        bits = np.asarray(trigger(record, spread, step=precision).bits, np.float64)
        relative = np.sqrt(bits / np.maximum(growth, 1e-6))
        relative = relative / relative.min()
        for scale in PERIODS:
            wanted = np.clip(scale * relative, 1, 4 * PERIODS[-1])
            period = (2 ** np.round(np.log2(wanted))).astype(int).tolist()
            found.append(trigger(record, spread, period=period, step=precision))
    return found


def send_on_delta(record: Record, spread: Float64[np.ndarray, " attributes"]) -> list[Trigger]:
    """An attribute is sent when it left its last value by more than delta."""
    return [
        trigger(record, spread, change=delta, step=share * delta, remembers=True)
        for delta in DELTAS
        for share in (0.3, 0.6)
    ]


def shared_filter(record: Record, spread: Float64[np.ndarray, " attributes"]) -> list[Trigger]:
    """An attribute is sent when it left the prediction of the filter that agent and collector share."""
    return [trigger(record, spread, surprise=delta, step=share * delta) for delta in DELTAS for share in (0.3, 0.6)]
