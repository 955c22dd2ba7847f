"""What people as a whole make of a session: the structured model, and monotone trees on what it leaves over."""

from dataclasses import dataclass, field, replace
from typing import Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from twinloop.learning import BoostedTrees, BoostingSettings, boost
from twinloop.training.experience.sessions import Sessions, monotone_signs, tree_features
from twinloop.training.experience.structured import Form, StructuredModel, fit_structured

_FULL = 100.0


@dataclass(frozen=True)
class PopulationSettings:
    """`form` of the structured model, and how trees are grown on its residuals."""

    form: Form = "sizes"
    boosting: BoostingSettings = field(default_factory=BoostingSettings)

    @property
    def sizes(self) -> bool:
        """True where chunk sizes are used, False where levels alone are."""
        return self.form != "levels"


CANDIDATES: Final = (
    PopulationSettings("sizes", BoostingSettings(rounds=150, leaves=4)),
    PopulationSettings("sizes", BoostingSettings(rounds=250, leaves=7)),
    PopulationSettings("slopes", BoostingSettings(rounds=150, leaves=4)),
    PopulationSettings("slopes", BoostingSettings(rounds=250, leaves=7)),
)
"""What nested cross-validation chooses from."""

CONTENT_BLIND: Final = PopulationSettings("levels", BoostingSettings(rounds=150, leaves=4))
"""For contents that were not rated: chunk sizes, which tell contents apart, are left out."""


class PopulationModel(eqx.Module):
    """MOS = clip(structured + trees, 0, 100); rising and falling in a session's factors as both parts do.

    `sizes` says whether trees see encoded rates, which tell the contents of a set apart.
    """

    structured: StructuredModel
    trees: BoostedTrees
    sizes: bool = eqx.field(static=True)

    def __call__(self, sessions: Sessions) -> Float[jax.Array, " sessions"]:
        """Expected MOS, 0 to 100."""
        _, features = tree_features(sessions, sizes=self.sizes)
        return jnp.clip(self.structured(sessions) + self.trees(features), 0.0, _FULL)


Mos = Float64[np.ndarray, " sessions"]


def fit_population(
    sessions: Sessions, mos: Mos, used: Bool[np.ndarray, "fits sessions"], settings: PopulationSettings, seed: int
) -> list[PopulationModel]:
    """One model for each row of `used`, fitted to the sessions that it marks."""
    structured = structured_models(sessions, mos, used, settings.form)
    return [
        PopulationModel(one, _trees_on(sessions, mos, one, rows, settings, seed), settings.sizes)
        for one, rows in zip(structured, used, strict=True)
    ]


def structured_models(
    sessions: Sessions, mos: Mos, used: Bool[np.ndarray, "fits sessions"], form: Form
) -> list[StructuredModel]:
    """The structured part alone, one for each row of `used`."""
    fits = fit_structured(sessions, jnp.asarray(mos, jnp.float32), jnp.asarray(used, jnp.float32), form)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], fits) for k in range(len(used))]


def choose_population(
    sessions: Sessions, mos: Mos, group: Int[np.ndarray, " sessions"], used: Bool[np.ndarray, " sessions"], seed: int
) -> PopulationSettings:
    """The candidate of highest mean correlation within groups left out one by one, among the sessions `used` alone."""
    groups = np.unique(group[used])
    if len(groups) < 2:
        return CANDIDATES[0]
    inner = np.stack([used & (group != one) for one in groups])
    forms: set[Form] = {settings.form for settings in CANDIDATES}
    fits = {form: structured_models(sessions, mos, inner, form) for form in forms}

    def within(settings: PopulationSettings) -> float:
        single = replace(settings, boosting=replace(settings.boosting, seeds=1))
        found: list[float] = []
        for model, rows, one in zip(fits[settings.form], inner, groups, strict=True):
            trees = _trees_on(sessions, mos, model, rows, single, seed)
            said = np.asarray(PopulationModel(model, trees, settings.sizes)(sessions), np.float64)
            out = used & (group == one)
            found.append(correlation(said[out], mos[out]))
        return float(np.mean(found))

    return max(CANDIDATES, key=within)


def correlation(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> float:
    """Pearson's correlation; 0 where one of both is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _trees_on(
    sessions: Sessions,
    mos: Mos,
    structured: StructuredModel,
    rows: Bool[np.ndarray, " sessions"],
    settings: PopulationSettings,
    seed: int,
) -> BoostedTrees:
    names, features = tree_features(sessions, sizes=settings.sizes)
    left_over = mos - np.asarray(structured(sessions), np.float64)
    inputs = np.asarray(features, np.float64)[rows]
    return boost(inputs, left_over[rows], monotone_signs(names), settings.boosting, seed)
