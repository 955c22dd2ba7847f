"""Three sizes of a forecaster and a chooser: error against energy, and the time that grouping really saves."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from twinloop.learning import fit
from twinloop.studies.evaluate.drift.worlds import CALM, Dynamics, series
from twinloop.studies.evaluate.judgement import Estimate, Row
from twinloop.training import (
    HORIZONS,
    JOULE_PER_MULTIPLY_ADD,
    Choices,
    Examples,
    GruForecaster,
    LinearForecaster,
    SizeChooser,
    choose,
    context_of,
    examples_of,
    forecast_in_groups,
    gru_forecaster,
    horizon_errors,
    joined,
    linear_forecaster,
    mean_squared_error,
    train_chooser,
)

SIZES = ("linear", "GRU-8", "GRU-48")
PRICES = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3)
OURS = "chosen by entity"
_MEMORY = 0.9
_TIMED, _REPEATS = 10_000, 5
_RESAMPLES = 400


@dataclass(frozen=True)
class Link:
    """A series of one entity at 1-s steps, with what else is known of it in every step (or nothing)."""

    value: Float64[np.ndarray, " steps"]
    covariates: Float64[np.ndarray, "steps covariates"] | None = None


@dataclass(frozen=True)
class Sizing:
    """Mean error and multiply-adds an inference of every way to choose, on links not seen before; figures by name.

    `error` has a row for each link. `seconds` is the time for 10,000 entities.
    """

    name: str
    error: Mapping[str, Float64[np.ndarray, " links"]]
    multiply_adds: Mapping[str, float]
    seconds: Mapping[str, float]
    picked: str

    def mean(self, way: str) -> float:
        """Mean over links of the squared error as a share of the variance."""
        return float(self.error[way].mean())


def simulated_links(seed: int, count: int = 60, steps: int = 500) -> Sequence[Link]:
    """Links most of which follow a simple law; a third leap in waves of many periods."""
    draw = np.random.default_rng(seed)
    links: list[Link] = []
    for number in range(count):
        own = CALM if number % 2 else Dynamics((0.5, 0.2), 10.0, 1.0)
        value = series(draw, 1, steps, own, own, 0)[0]
        if number % 3 == 0:
            period = 5 + number // 3 % 5
            wave = (np.arange(steps) + draw.integers(period)) % period < 2
            value = 10 + 0.3 * (value - 10) + 3.0 * wave
        links.append(Link(value))
    return links


def judge_sizes(name: str, links: Sequence[Link], seed: int, *, steps: int = 600) -> Sizing:
    """Two fifths of the links (drawn) train the models, as many the chooser and its price, the last fifth is reported.

    `steps` is how long each model is trained, the chooser twice as long.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(links))
    half, rest = len(links) * 2 // 5, len(links) * 4 // 5
    parts = [[links[row] for row in order[cut]] for cut in (slice(half), slice(half, rest), slice(rest, None))]
    models = _trained(jax.random.key(seed), draw, parts[0], steps)
    cost = [model.multiply_adds for model in models]
    tuning, test = (_Asked(models, [_examples(link) for link in part], draw) for part in parts[1:])
    chooser = _trained_chooser(jax.random.key(seed + 1), draw, tuning, cost, 2 * steps)
    ways, spent = _fixed_ways(test, cost)
    rows = {price: _chosen(chooser, test, price) for price in PRICES}
    price = _price(chooser, tuning, cost)
    for value, choice in rows.items():
        way = f"chosen, price {value:g}"
        ways[way], spent[way] = test.by_link(choice), _spent(choice, cost, chooser)
    ways[OURS], spent[OURS] = ways[f"chosen, price {price:g}"], spent[f"chosen, price {price:g}"]
    share = np.bincount(rows[price], minlength=len(cost)) / len(rows[price])
    mixed = draw.choice(len(cost), size=len(test.task), p=share)
    ways["random mix, same shares"], spent["random mix, same shares"] = test.by_link(mixed), _spent(mixed, cost, None)
    seconds = _timed(models, chooser, test, price, draw)
    return Sizing(
        name,
        ways,
        spent,
        seconds,
        f"price {price:g}: " + ", ".join(f"{s:.0%} {n}" for s, n in zip(share, SIZES, strict=True)),
    )


class _Asked:
    """Links whose users ask for one horizon each time: context, and error of every model, example by example."""

    def __init__(
        self, models: Sequence[LinearForecaster | GruForecaster], by_link: Sequence[Examples], draw: np.random.Generator
    ) -> None:
        self.examples = joined(by_link)
        self.link = np.repeat(np.arange(len(by_link)), [one.weight.shape[0] for one in by_link])
        task = draw.integers(len(HORIZONS), size=len(self.link))
        self.task = task
        every = np.stack([np.asarray(horizon_errors(model, self.examples), np.float64) for model in models], axis=2)
        self.error = every[np.arange(len(task)), task]
        past = np.concatenate([_running(every[self.link == row, 0, 0]) for row in range(len(by_link))])
        self.context = context_of(self.examples, jnp.asarray(task, jnp.int32), jnp.asarray(past, jnp.float32))

    def by_link(self, choice: Int64[np.ndarray, " examples"]) -> Float64[np.ndarray, " links"]:
        """Mean error of each link under a choice."""
        taken = self.error[np.arange(len(choice)), choice]
        return np.bincount(self.link, weights=taken) / np.bincount(self.link)


def _running(error: Float64[np.ndarray, " steps"]) -> Float64[np.ndarray, " steps"]:
    """Running mean of the linear model's one-step errors up to the step before the last; what a twin knows by then."""
    out = np.empty_like(error)
    level = float(error[0]) if len(error) else 0.0
    for step in range(len(error)):
        out[step] = level
        if step >= 1:
            level = _MEMORY * level + (1 - _MEMORY) * float(error[step - 1])
    return out


def _examples(link: Link) -> Examples:
    return examples_of(link.value, link.covariates)


def _trained(
    key: jax.Array, draw: np.random.Generator, links: Sequence[Link], steps: int
) -> tuple[LinearForecaster | GruForecaster, ...]:
    """All three sizes on the same examples: the last fifth of each link chooses the best step of training."""
    every = [_examples(link) for link in links]
    cut = [one.weight.shape[0] * 4 // 5 for one in every]
    train = joined([jax.tree.map(lambda leaf, c=c: leaf[:c], one) for one, c in zip(every, cut, strict=True)])
    held = joined([jax.tree.map(lambda leaf, c=c: leaf[c:], one) for one, c in zip(every, cut, strict=True)])
    rows = draw.integers(held.weight.shape[0], size=min(2000, held.weight.shape[0]))
    held = jax.tree.map(lambda leaf: leaf[jnp.asarray(rows)], held)
    linear = linear_forecaster(train)
    grus: list[GruForecaster] = []
    for number, hidden in enumerate((8, 48)):
        k_model, k_fit = jax.random.split(jax.random.fold_in(key, number))
        start = gru_forecaster(k_model, hidden, train.past.shape[2], linear)
        grus.append(fit(k_fit, start, mean_squared_error, train, held, steps=steps, batch=64).model)
    return (linear, *grus)


def _trained_chooser(
    key: jax.Array, draw: np.random.Generator, tuning: _Asked, cost: Sequence[int], steps: int
) -> SizeChooser:
    """On four fifths of the tuning links' examples, chosen on the rest."""
    choices = Choices(tuning.context, jnp.asarray(tuning.error, jnp.float32))
    order = draw.permutation(len(tuning.task))
    cut = len(order) * 4 // 5
    train, held = (
        jax.tree.map(lambda leaf, rows=rows: leaf[jnp.asarray(rows)], choices) for rows in (order[:cut], order[cut:])
    )
    return train_chooser(key, train, held, cost, steps=steps)


def _chosen(chooser: SizeChooser, asked: _Asked, price: float) -> Int64[np.ndarray, " examples"]:
    return np.asarray(choose(chooser, asked.context, jnp.float32(price)), np.int64)


def _price(chooser: SizeChooser, tuning: _Asked, cost: Sequence[int]) -> float:
    """The highest price at which the tuning links' error is still no more than the best fixed size's, or price 0."""
    best = min(float(tuning.by_link(np.full(len(tuning.task), row)).mean()) for row in range(len(cost)))
    kept = [price for price in PRICES if tuning.by_link(_chosen(chooser, tuning, price)).mean() <= best]
    return max(kept, default=0.0)


def _fixed_ways(
    asked: _Asked, cost: Sequence[int]
) -> tuple[dict[str, Float64[np.ndarray, " links"]], dict[str, float]]:
    ways = {f"always {size}": asked.by_link(np.full(len(asked.task), row)) for row, size in enumerate(SIZES)}
    return ways, {f"always {size}": float(cost[row]) for row, size in enumerate(SIZES)}


def _spent(choice: Int64[np.ndarray, " examples"], cost: Sequence[int], chooser: SizeChooser | None) -> float:
    """Mean multiply-adds an inference; the chooser's own, and the linear model whose error it watches, count too."""
    own = 0 if chooser is None else chooser.multiply_adds + cost[0]
    return float(np.asarray(cost, np.float64)[choice].mean()) + own


def _timed(
    models: Sequence[LinearForecaster | GruForecaster],
    chooser: SizeChooser,
    asked: _Asked,
    price: float,
    draw: np.random.Generator,
) -> dict[str, float]:
    """Least of five times for 10,000 entities (least, since others use the machine too), choosing included."""
    rows = jnp.asarray(draw.integers(len(asked.task), size=_TIMED))
    past, context = asked.examples.past[rows], asked.context[rows]

    def adaptive() -> None:
        forecast_in_groups(models, past, np.asarray(choose(chooser, context, jnp.float32(price)), np.int64))

    ways = {
        f"always {size}": lambda row=row: forecast_in_groups(models, past, np.full(_TIMED, row))
        for row, size in enumerate(SIZES)
    }
    found: dict[str, float] = {}
    for name, work in {**ways, OURS: adaptive}.items():
        work()
        times: list[float] = []
        for _ in range(_REPEATS):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
        found[name] = min(times)
    return found


def sizing_rows(found: Sizing, seed: int) -> list[Row]:
    """Error, energy and time of every way; intervals are 95 % over links."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for way in (OURS, *(f"always {size}" for size in SIZES), "random mix, same shares"):
        by_link = found.error[way]
        pick = draw.integers(len(by_link), size=(_RESAMPLES, len(by_link)))
        low, high = np.quantile(by_link[pick].mean(axis=1), [0.025, 0.975])
        values = {
            "MSE / variance": Estimate(found.mean(way), float(low), float(high)),
            "energy (nJ)": Estimate(1e9 * JOULE_PER_MULTIPLY_ADD * found.multiply_adds[way]),
        }
        if way in found.seconds:
            values["10,000 entities (ms)"] = Estimate(1e3 * found.seconds[way])
        rows.append(Row((f"inference: {found.name}", way), "proposed" if way == OURS else "baseline", values))
    return rows
