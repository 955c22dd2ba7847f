"""LOAD_LEVEL_INFORMATION (SLICE_LOAD_LEVEL in subscriptions) and NSI_LOAD_LEVEL: what slices need of what they hold."""

import numpy as np

from twinloop.service.analytics.events.estimates import Estimate, by_row, level_confidence, over_time, ratio
from twinloop.service.analytics.events.finding import Finding, Question
from twinloop.service.analytics.events.samples import Rows, Samples, Scene, current, samples
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import (
    NsiLoadLevelInfo,
    NumberAverage,
    ResourceUsage,
    SliceLoadLevelInformation,
    TimeWindow,
)
from twinloop.service.analytics.wire import instant, percent


def slice_load(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """One item for each slice: the bandwidth that its users' promised rates take over the bandwidth that it holds.

    In per cent, at most 100: a slice that needs more than it holds is full.
    """
    found: list[Finding] = []
    for row, load in _loads(scene, question.slices, "bandwidth_hz"):
        level = percent(load.value)
        item = SliceLoadLevelInformation(load_level_information=level, snssais=[identities.snssai(scene.picture, row)])
        found.append(Finding(scene.picture.slices.ids[row], item, {"load": float(level)}))
    return found


def nsi_load(scene: Scene, question: Question, identities: Identities) -> list[Finding]:
    """The same for each slice as an instance, with its share of computing in use and its number of users.

    Confidence: the load is within `precision.level_percent` of what is stated; a full slice stays right however much
    more it needs. Left out: PDU sessions (the twins know users), memory and storage, areas.
    """
    computing = dict(_loads(scene, question.slices, "cycles_per_s"))
    people = samples(scene, "slice", question.slices, "users")
    found: list[Finding] = []
    for row, load in _loads(scene, question.slices, "bandwidth_hz"):
        level = percent(load.value)
        cycles = computing.get(row)
        number = people.mean[:, int(np.flatnonzero(question.slices == row)[0])]
        number = number[np.isfinite(number)]
        counted = question.wants("NUM_OF_UE_REG") and len(number)
        over = None if question.load_percent is None else level >= question.load_percent
        item = NsiLoadLevelInfo(
            load_level_information=level,
            snssai=identities.snssai(scene.picture, row),
            nsi_id=scene.picture.slices.ids[row],
            res_usage=(
                ResourceUsage(cpu_usage=percent(cycles.value))
                if cycles is not None and question.wants("RES_USAGE")
                else None
            ),
            num_of_ues=(
                NumberAverage(number=round(float(number.mean()), 2), variance=round(float(number.var()), 4))
                if counted
                else None
            ),
            exceed_load_level_thr_ind=over if question.wants("EXCEED_LOAD_LEVEL_THR_IND") else None,
            time_period=TimeWindow(start_time=instant(scene.window.from_s), stop_time=instant(scene.window.to_s)),
            confidence=level_confidence(scene, load, level),
        )
        found.append(Finding(scene.picture.slices.ids[row], item, {"load": float(level)}))
    return found


def _holding(scene: Scene, rows: Rows, attribute: str) -> Samples:
    if not scene.predicted:
        return samples(scene, "slice", rows, attribute)
    held = current(scene, "slice", rows, attribute)[None, :]
    return Samples(np.asarray([scene.window.from_s]), held, np.zeros_like(held), scene.window.length_s)


def _loads(scene: Scene, rows: Rows, resource: str) -> list[tuple[int, Estimate]]:
    """Each slice with what it needs over what it holds; slices of which nothing is known are left out.

    Predictions are made under the standing decision, so what a slice holds stays what it is.
    """
    need = over_time(samples(scene, "slice", rows, f"demand_{resource}"))
    hold = over_time(_holding(scene, rows, f"reserved_{resource}"))
    found: list[tuple[int, Estimate]] = []
    for place, row in enumerate(rows):
        needed, held = by_row(need, place), by_row(hold, place)
        if not needed.known or not held.known:
            continue
        load = ratio(needed, held)
        if not load.known:
            load = Estimate(0.0 if needed.value <= 0 else 1.0, 0.0, min(needed.coverage, held.coverage))
        found.append((int(row), load))
    return found
