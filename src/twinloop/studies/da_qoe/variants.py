"""What the study asks besides: one component less, twins made wrong on purpose, other mismatch, other loads."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.qoe import Prior, Ratings, learn_prior
from twinloop.scenario import Mismatch, Scenario, build_raters, load, past_ratings
from twinloop.studies.da_qoe.setting import PROPOSED, SCHEMES, Case, Part, World
from twinloop.twins import begin_experience

USERS = 24
"""Number of users at which variants are lived."""

MOST_MINUTES = 24
_STRANGERS_SEED, _STRANGERS = 9001, 10
_MEAN_AGREEMENT = 4.0
_NEVER_REFUSE, _ALWAYS_REFUSE = 1e3, -1e3
_MISMATCHES = (0.0, 2.0, 4.0, 8.0)
_LOADS_MHZ = (10.0, 20.0, 30.0)
_NO_IMPACT_ODDS = 1e-6


def _with(part: str, scenario: Scenario, **changes: Any) -> Scenario:
    return scenario.model_copy(update={part: getattr(scenario, part).model_copy(update=changes)})


def _mismatched(scale: float, scenario: Scenario) -> Scenario:
    """Twin's and judge's parameters `scale` times as far from the network's as they are by default."""

    def scaled(mismatch: Mismatch) -> Mismatch:
        factors = {name: getattr(mismatch, name) ** scale for name in ("se_factor", "hazard", "cycles_per_bit")}
        biases = {name: getattr(mismatch, name) * scale for name in ("exponent_bias", "power_bias_db")}
        return Mismatch(**(factors | biases))

    judge = scenario.twin.judge.model_copy(update={"mismatch": scaled(scenario.twin.judge.mismatch)})
    return _with("twin", scenario, judge=judge, mismatch=scaled(scenario.twin.mismatch))


def _loaded(mhz: float, scenario: Scenario) -> Scenario:
    cells = [cell.model_copy(update={"bandwidth_hz": mhz * 1e6}) for cell in scenario.network.cells]
    return _with("network", scenario, cells=cells)


def _tolerant(judges: tuple[str, ...], tolerance: float, loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    value = jnp.float32(tolerance)
    return eqx.tree_at(lambda lp: [getattr(lp, name).tolerance for name in judges], loop, [value] * len(judges)), state


def _without_impacts(loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    """Twins that do not think of behaviour and environment."""
    felt = state.twin.experience
    assert felt is not None
    shares = felt.prior.shares.at[:, 1:].set(_NO_IMPACT_ODDS)
    prior = replace(felt.prior, shares=shares / jnp.sum(shares))
    return loop, _knowing(state, felt.ratings, prior)


def _alike(loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    """A Q-network to which all levels are worth the same takes the first, at which groups pay alike."""
    blank = jax.tree.map(lambda leaf: leaf * 0.0 if eqx.is_inexact_array(leaf) else leaf, loop.allocations)
    return eqx.tree_at(lambda lp: lp.allocations, loop, blank), state


def _with_general_model(loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    """Twins that know of people in general what others' ratings tell, and of nobody anything."""
    felt = state.twin.experience
    assert felt is not None
    ratings = replace(felt.ratings, weight=jnp.zeros_like(felt.ratings.weight))
    return loop, _knowing(state, ratings, _strangers())


def _with_one_agreement(loop: Loop[SimulatedNetwork], state: LoopState) -> World:
    felt = state.twin.experience
    assert felt is not None
    same = jnp.full_like(felt.agreed, _MEAN_AGREEMENT)
    return loop, eqx.tree_at(lambda s: s.twin.experience.agreed, state, same)


def _knowing(state: LoopState, ratings: Ratings, prior: Prior) -> LoopState:
    felt = state.twin.experience
    assert felt is not None
    anew = eqx.filter_jit(begin_experience)(ratings, felt.rated, prior, felt.agreed)
    return eqx.tree_at(lambda s: s.twin.experience, state, anew)


@cache
def _strangers() -> Prior:
    """What the ratings of other worlds' people tell of people."""
    told: list[Ratings] = []
    for seed in range(_STRANGERS_SEED, _STRANGERS_SEED + _STRANGERS):
        scenario = load("da-qoe").model_copy(update={"seed": seed})
        conditions, score = past_ratings(scenario, build_raters(scenario))
        told.append(Ratings(conditions, score, jnp.ones_like(score)))
    return learn_prior(jax.tree.map(lambda *parts: jnp.concatenate(parts), *told))


def _case(part: Part, title: str, about: str, base: str = PROPOSED, **changes: Any) -> Case:
    of = SCHEMES[base]
    return Case(title, about, dict(of.policy) | changes.pop("policy", {}), part, base, **changes)


def _windows(minutes: int) -> Case:
    return _case(
        "window",
        f"windows of {minutes} min",
        f"as proposed, slices decided every {minutes} minutes whatever happens",
        policy={"windows": "fixed"},
        change=lambda scenario: scenario.model_copy(update={"window": 60.0 * minutes}),
    )


def _indifferent(scenario: Scenario) -> Scenario:
    return _with("experience", scenario, indifferent=1.0)


VARIANTS: Mapping[str, Case] = MappingProxyType(
    {
        **{f"window-{minutes}": _windows(minutes) for minutes in (3, 6, 9, 12, 15)},
        "general": _case(
            "ablation", "general model", "one model of experience, of people in general, for everybody",
            change=lambda scenario: _with("experience", scenario, rating_p=0.0), prepare=_with_general_model,
        ),
        "no-impact": _case(
            "ablation", "no B, C", "models of experience without behaviour and environment", prepare=_without_impacts
        ),
        "no-ela": _case(
            "ablation", "no ELA", "everybody is held to have been promised 4", prepare=_with_one_agreement
        ),
        "alike": _case(
            "ablation", "no BDQN", "groups pay alike for what they use: all levels are 0", prepare=_alike
        ),
        "no-judge": _case(
            "ablation", "no internal loop", "every safe proposal is enforced",
            prepare=partial(_tolerant, ("slot_judge", "window_judge"), _NEVER_REFUSE),
        ),
        "no-slicing": _case(
            "ablation", "no level two", "slices keep equal shares",
            prepare=partial(_tolerant, ("window_judge",), _ALWAYS_REFUSE),
        ),
        "frozen": _case(
            "control", "frozen twins", "twins stop learning after a minute",
            change=lambda scenario: _with("twin", scenario, control="frozen"),
        ),
        "shuffled": _case(
            "control", "shuffled twins", "each user's twin is fed another user's reports",
            change=lambda scenario: _with("twin", scenario, control="shuffled"),
        ),
        "kappa-0": _case(
            "control", "kappa = 0", "nobody minds behaviour and environment", change=_indifferent
        ),
        "kappa-0-no-impact": _case(
            "control", "kappa = 0, no B, C", "nobody minds them, and models leave them out",
            change=_indifferent, prepare=_without_impacts,
        ),
        "bent": _case(
            "control", "people outside the family", "experience bent away from what any model of a twin can say",
            change=lambda scenario: _with("experience", scenario, bend=1.0),
        ),
        **{
            f"{scheme}-mismatch-{scale:g}": _case(
                "mismatch", f"{SCHEMES[scheme].title}, mismatch x {scale:g}",
                "twin and judge that much further from the network", scheme, change=partial(_mismatched, scale),
            )
            for scheme in (PROPOSED, "no-agents") for scale in _MISMATCHES
        },
        **{
            f"{scheme}-{mhz:g}-mhz": _case(
                "load", f"{SCHEMES[scheme].title}, {mhz:g} MHz", "bandwidth of each cell", scheme,
                change=partial(_loaded, mhz),
            )
            for scheme in (PROPOSED, "hsla-l2", "no-agents", "pf") for mhz in _LOADS_MHZ
        },
    }
)  # fmt: skip
CASES: Mapping[str, Case] = MappingProxyType({**SCHEMES, **VARIANTS})
