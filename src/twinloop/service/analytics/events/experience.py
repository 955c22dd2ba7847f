"""SERVICE_EXPERIENCE: the opinion that users would have of what they get, from picture quality and stalling."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from twinloop.qoe import BEST, WORST
from twinloop.service.analytics.events.estimates import (
    ByRow,
    bent_moments,
    by_row,
    mean_over,
    over_time,
    probability_between,
    sure_percent,
)
from twinloop.service.analytics.events.finding import Finding, Question
from twinloop.service.analytics.events.samples import Floats, Rows, Scene, current, even_sample, samples
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import LocationInfo, ServiceExperienceInfo, SvcExperience
from twinloop.service.analytics.wire import percent, ratio_percent

LOSS_PER_STALLED_S = 0.1
"""What a second of stalling in a minute takes from S (paper 000, IV; the rule `both` of `twinloop.qoe.RULES`)."""

_MINUTE_S = 60.0
_CASES = 64


@dataclass(frozen=True)
class _Service:
    """S of users in equally likely cases of how much they stall, [cases, users]: a normal quantity in each; and the
    share of the window in which it was known, [users].
    """

    mean: Floats
    std: Floats
    coverage: Floats

    def opinions(self) -> ByRow:
        """Mean and deviation of each user's opinion."""
        of_case, variance = bent_moments(self.mean, self.std, opinion)
        mean = of_case.mean(axis=0)
        spread = np.mean(variance + of_case**2, axis=0) - mean**2
        return ByRow(mean, np.sqrt(np.maximum(spread, 0.0)), self.coverage)

    def likely_between(self, user: int, low: float, high: float) -> float:
        """Probability that the S of a user lies in [low, high]."""
        cases = zip(self.mean[:, user], self.std[:, user], strict=True)
        return float(np.mean([probability_between(float(mean), float(std), low, high) for mean, std in cases]))


def opinion(service: Floats) -> Floats:
    """E = 1 + 4 clip(S, 0, 1)."""
    return WORST + (BEST - WORST) * np.clip(service, 0.0, 1.0)


def service_experience(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each user that is named, else one for each slice.

    S = Q - 0.1 R with Q the mean `quality` of the picture and R the seconds of stalling a minute, E = 1 + 4 clip(S, 0,
    1) in [1, 5]: the rule of users who mind both (paper 000, IV), under neither behaviour nor environment.
    R is the growth of `rebuffer_s`. Now and in the future, where a counter says nothing, it is the time in which the
    buffer is empty; a foretold `buffer_s` is a normal quantity whose error lasts. Confidence: E lies within
    `precision.mos`.

    Left out: what single users mind (their own models stay in the loop), and opinions given.
    """
    rows = even_sample(question.users, scene.settings.most_twins)
    service = _service(scene, rows)
    if question.named:
        return _of_users(scene, identities, rows, service)
    return _of_slices(scene, question, identities, rows, service.opinions())


def _service(scene: Scene, rows: Rows) -> _Service:
    quality = over_time(samples(scene, "user", rows, "quality"))
    stalled, seen = _counted_stalling(scene, rows) if scene.window.tense == "past" else _empty_buffers(scene, rows)
    return _Service(
        mean=quality.value - LOSS_PER_STALLED_S * stalled,
        std=np.broadcast_to(quality.std, stalled.shape),
        coverage=np.minimum(quality.coverage, seen),
    )


def _counted_stalling(scene: Scene, rows: Rows) -> tuple[Floats, Floats]:
    """Seconds of stalling a minute [1, users], and the share of the window that was seen."""
    counted = samples(scene, "user", rows, "rebuffer_s")
    known = np.isfinite(counted.mean)
    first, last = np.argmax(known, axis=0), len(known) - 1 - np.argmax(known[::-1], axis=0)
    place = np.arange(len(rows))
    grown = np.maximum(counted.mean[last, place] - counted.mean[first, place], 0.0)
    span_s = counted.time_s[last] - counted.time_s[first]
    a_minute = np.divide(_MINUTE_S, span_s, out=np.full(len(rows), np.nan), where=span_s > 0)
    return (grown * a_minute)[None, :], known.mean(axis=0)


def _empty_buffers(scene: Scene, rows: Rows) -> tuple[Floats, Floats]:
    """Seconds a minute with an empty buffer [cases, users], and the share of the window that is known."""
    held = samples(scene, "user", rows, "buffer_s")
    known = np.isfinite(held.mean)
    count = known.sum(axis=0)
    off = ndtri((np.arange(_CASES) + 0.5) / _CASES) if scene.predicted else np.zeros(1)
    empty = held.mean[None] + off[:, None, None] * held.std[None] <= 0.0
    share = np.where(count > 0, (empty & known).sum(axis=1) / np.maximum(count, 1), np.nan)
    return _MINUTE_S * share, count / len(known)


def _of_users(scene: Scene, identities: Identities, rows: Rows, service: _Service) -> list[Finding]:
    picture, off, opinions = scene.picture, scene.settings.precision.mos, service.opinions()
    cell = current(scene, "user", rows, "serving_cell")
    found: list[Finding] = []
    for place in np.flatnonzero(opinions.known):
        row = int(rows[place])
        mos = round(float(opinions.value[place]), 2)
        low, high = ((bound - WORST) / (BEST - WORST) for bound in (mos - off, mos + off))
        low, high = (-np.inf if low <= 0 else low), (np.inf if high >= 1 else high)
        sure = service.likely_between(int(place), low, high)
        supi, here = identities.supi(picture.users.ids[row]), cell[place]
        there = None if np.isnan(here) else [LocationInfo(loc=identities.location(int(here)), ratio=100)]
        item = ServiceExperienceInfo(
            svc_exprc=_scaled(mos),
            svc_exprc_variance=round(float(opinions.std[place] ** 2), 4),
            supis=[supi],
            snssai=identities.snssai(picture, int(picture.user_slice[row])) if picture.user_slice[row] >= 0 else None,
            app_id=scene.settings.app_id,
            dnn=scene.settings.dnn,
            srv_expc_type="VIDEO",
            ue_locs=there,
            ratio=100,
            confidence=sure_percent(scene, by_row(opinions, int(place)).coverage, sure),
        )
        found.append(Finding(supi, item, {"mos": mos}))
    return found


def _of_slices(scene: Scene, question: Question, identities: Identities, rows: Rows, opinions: ByRow) -> list[Finding]:
    picture, off = scene.picture, scene.settings.precision.mos
    found: list[Finding] = []
    for row in question.slices:
        mine = picture.user_slice[rows] == row
        part = ByRow(opinions.value[mine], opinions.std[mine], opinions.coverage[mine])
        one = mean_over(part)
        if not one.known:
            continue
        mos = round(one.value, 2)
        known = part.value[part.known]
        alike = float(np.mean(np.abs(known - mos) <= off))
        spread = float(known.var() + np.mean(part.std[part.known] ** 2))
        item = ServiceExperienceInfo(
            svc_exprc=_scaled(mos),
            svc_exprc_variance=round(spread, 4),
            snssai=identities.snssai(picture, int(row)),
            app_id=scene.settings.app_id,
            dnn=scene.settings.dnn,
            srv_expc_type="VIDEO",
            ratio=ratio_percent(alike) if percent(alike) else None,
            confidence=sure_percent(scene, one.coverage, probability_between(one.value, one.std, mos - off, mos + off)),
        )
        found.append(Finding(picture.slices.ids[int(row)], item, {"mos": mos}))
    return found


def _scaled(mos: float) -> SvcExperience:
    return SvcExperience(mos=mos, upper_range=BEST, lower_range=WORST)
