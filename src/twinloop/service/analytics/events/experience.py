"""SERVICE_EXPERIENCE: the opinion that users would have of what they get, from picture quality and stalling."""

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class _Service:
    """S of users, a normal quantity each, and the share of the window in which it was known."""

    mean: Floats
    std: Floats
    coverage: Floats


def opinion(service: Floats) -> Floats:
    """E = 1 + 4 clip(S, 0, 1)."""
    return WORST + (BEST - WORST) * np.clip(service, 0.0, 1.0)


def service_experience(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each user that is named, else one for each slice.

    S = Q - 0.1 R with Q the mean `quality` of the picture and R the seconds of stalling a minute, E = 1 + 4 clip(S, 0,
    1) in [1, 5]: the rule of users who mind both (paper 000, IV), under neither behaviour nor environment.
    R is the growth of `rebuffer_s`; now, where a counter says nothing, a minute where the buffer is empty. Confidence:
    E lies within `precision.mos`.

    Left out: what single users mind (their own models stay in the loop), and opinions given.
    """
    rows = even_sample(question.users, scene.settings.most_twins)
    service = _service(scene, rows)
    mean, variance = bent_moments(service.mean, service.std, opinion)
    opinions = ByRow(mean, np.sqrt(variance), service.coverage)
    if question.named:
        return _of_users(scene, identities, rows, service, opinions)
    return _of_slices(scene, question, identities, rows, opinions)


def _service(scene: Scene, rows: Rows) -> _Service:
    quality = over_time(samples(scene, "user", rows, "quality"))
    stalled, stalled_std, seen = _stalling(scene, rows)
    return _Service(
        mean=quality.value - LOSS_PER_STALLED_S * stalled,
        std=np.hypot(quality.std, LOSS_PER_STALLED_S * stalled_std),
        coverage=np.minimum(quality.coverage, seen),
    )


def _stalling(scene: Scene, rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Seconds of stalling a minute, the deviation of that, and the share of the window that was seen."""
    if scene.window.tense == "now":
        buffer_s = current(scene, "user", rows, "buffer_s")
        stalled = np.where(np.isnan(buffer_s), np.nan, np.where(buffer_s <= 0, _MINUTE_S, 0.0))
        return stalled, np.zeros(len(rows)), np.isfinite(buffer_s).astype(np.float64)
    counted = samples(scene, "user", rows, "rebuffer_s")
    known = np.isfinite(counted.mean)
    last = len(known) - 1 - np.argmax(known[::-1], axis=0)
    first = np.argmax(known, axis=0)
    place = np.arange(len(rows))
    begun, begun_s = counted.mean[first, place], counted.time_s[first]
    if scene.predicted and len(known) == 1:
        begun = current(scene, "user", rows, "rebuffer_s")
        begun_s = np.full(len(rows), scene.picture.time_s(float(scene.picture.slot)))
    span_s = counted.time_s[last] - begun_s
    a_minute = np.divide(_MINUTE_S, span_s, out=np.full(len(rows), np.nan), where=span_s > 0)
    stalled = np.maximum(counted.mean[last, place] - begun, 0.0) * a_minute
    return stalled, np.nan_to_num(counted.std[last, place] * a_minute), known.mean(axis=0)


def _of_users(scene: Scene, identities: Identities, rows: Rows, service: _Service, opinions: ByRow) -> list[Finding]:
    picture, off = scene.picture, scene.settings.precision.mos
    cell = current(scene, "user", rows, "serving_cell")
    found: list[Finding] = []
    for place in np.flatnonzero(opinions.known):
        row = int(rows[place])
        mos = round(float(opinions.value[place]), 2)
        low, high = ((bound - WORST) / (BEST - WORST) for bound in (mos - off, mos + off))
        low, high = (-np.inf if low <= 0 else low), (np.inf if high >= 1 else high)
        sure = probability_between(float(service.mean[place]), float(service.std[place]), low, high)
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
