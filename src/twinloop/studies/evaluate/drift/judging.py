"""The drift study as one judgement: every part run, and the claims on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from twinloop.datasets import ThroughputTrace, load_irish5g, load_norway, on_grid
from twinloop.studies.evaluate.drift.beside import DUTY, Beside, beside_rows, time_slots
from twinloop.studies.evaluate.drift.calendar_drift import Drifted, calendar_rows, judge_calendar, load_calendar
from twinloop.studies.evaluate.drift.detecting import ENTROPY, MOST_FALSE, OURS, Detected, judge_detectors
from twinloop.studies.evaluate.drift.drawing import (
    draw_calendar,
    draw_courses,
    draw_detectors,
    draw_sizes,
    draw_slots,
    draw_transfer,
)
from twinloop.studies.evaluate.drift.in_runs import InRuns, judge_runs, run_claims, run_rows
from twinloop.studies.evaluate.drift.operating import (
    Course,
    Fault,
    compare_strategies,
    course_rows,
    estimate,
    inject_faults,
    series_world,
    strategies,
    swipe_world,
)
from twinloop.studies.evaluate.drift.sizing import OURS as CHOSEN
from twinloop.studies.evaluate.drift.sizing import (
    Link,
    Sizing,
    judge_sizes,
    simulated_links,
    sizing_rows,
)
from twinloop.studies.evaluate.drift.transferring import (
    Newcomers,
    judge_transfer,
    paired_gain,
    simulated_users,
    transfer_rows,
)
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row, at_most

BACK = 1.10
EQUAL = 1.02
_PIECE_STEPS = 300
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How much is run: seeds of the worlds that drift, streams a drift, timed slots, simulated users and links, whole
    runs.
    """

    seeds: int = 3
    streams: int = 20
    timed_slots: int = 60
    users: int = 48
    links: int = 60
    runs: int = 6


def evaluate_drift(
    data: Path | None,
    seed: int = 0,
    *,
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Upkeep judged: detectors, updates with replay and their faults, slots beside training, transfer, adaptive
    inference; on simulated people, and with `data` on Irish 5G and Norway as well.

    Raises DataError where `data` is given and one of the two sets is absent or faulty as a whole.
    """
    much = effort or Effort()
    tell = progress or (lambda _: None)
    people = _recorded_people(data) if data is not None else {}
    links = _recorded_links(data) if data is not None else {}
    tell("detectors on drifts at known times")
    detected = judge_detectors(seed, much.streams)
    worlds: dict[str, dict[str, list[Course]]] = {}
    for name, made in (("swipes, types exchanged", swipe_world), ("series, other dynamics", series_world)):
        tell(f"upkeep while the world changes: {name}")
        worlds[name] = compare_strategies(made, [100 * seed + number for number in range(much.seeds)])
    tell("faults put in")
    faults = inject_faults(swipe_world(100 * seed + 50), seed)
    tell("whole runs of campus-drift")
    lived = judge_runs(seed, much.runs)
    tell("slots of the campus loop beside training")
    beside = time_slots(swipe_world(100 * seed + 51), seed, much.timed_slots)
    moved: list[Newcomers] = []
    for name, (series, known_s) in {"simulated": (simulated_users(seed, much.users), (30, 60, 120)), **people}.items():
        tell(f"transfer to new users: {name}")
        moved.append(judge_transfer(name, series, seed, known_s))
    sized: list[Sizing] = []
    for name, several in {"simulated": simulated_links(seed, much.links), **links}.items():
        tell(f"adaptive inference: {name}")
        sized.append(judge_sizes(name, several, seed))
    dated: list[Drifted] = []
    if data is not None:
        tell("the calendar of irish5g")
        dated = [judge_calendar(load_calendar(data, seed, relative=way), seed) for way in (True, False)]
    return _judged(detected, worlds, faults, lived, beside, moved, sized, dated, seed)


def _judged(
    detected: Detected,
    worlds: dict[str, dict[str, list[Course]]],
    faults: Sequence[Fault],
    lived: InRuns,
    beside: Beside,
    moved: Sequence[Newcomers],
    sized: Sequence[Sizing],
    dated: Sequence[Drifted],
    seed: int,
) -> Judgement:
    rows = [*detected.rows(seed)]
    for name, courses in worlds.items():
        rows += course_rows(name, courses)
    rows += [_fault_row(fault) for fault in faults]
    rows += run_rows(lived)
    rows += beside_rows(beside)
    for newcomers in moved:
        rows += transfer_rows(newcomers, seed)
    for sizing in sized:
        rows += sizing_rows(sizing, seed)
    figures = {
        "drift_upkeep.png": partial(draw_courses, worlds),
        "drift_detectors.png": partial(draw_detectors, detected),
        "drift_slots.png": partial(draw_slots, beside),
        "drift_transfer.png": partial(draw_transfer, moved),
        "drift_sizes.png": partial(draw_sizes, sized),
    }
    numbers = {f"false alarms of the {name}": _false_alarms(detected, name) for name in detected.tradeoff}
    for one in dated:
        rows += calendar_rows(one, seed)
        alarms = {f"calendar, {one.calendar.name}: alarms of {name}": len(found) for name, found in one.alarms.items()}
        numbers |= {name: float(count) for name, count in alarms.items()}
    if dated:
        figures["drift_calendar.png"] = partial(draw_calendar, dated)
    claims = (
        *_upkeep_claims(worlds, faults, beside),
        *run_claims(lived),
        *_detection_claims(detected),
        *_transfer_claims(moved, seed),
        *_inference_claims(sized),
    )
    return Judgement(
        "Upkeep of models under drift", ("part", "way"), tuple(rows), claims, numbers, _method(detected, sized), figures
    )


def _fault_row(fault: Fault) -> Row:
    values = {"slots served": Estimate(float(fault.served)), "error after it / frozen": Estimate(fault.error)}
    return Row((f"fault: {fault.name}", fault.answer), "proposed", values)


def _false_alarms(detected: Detected, detector: str) -> float:
    return float(np.mean([s.false_alarms for (_, _, name), s in detected.scores.items() if name == detector]))


def _upkeep_claims(
    worlds: dict[str, dict[str, list[Course]]], faults: Sequence[Fault], beside: Beside
) -> tuple[Claim, ...]:
    ours = next(iter(strategies()))
    claims: list[Claim] = []
    for name, courses in worlds.items():
        after = estimate([one.after / one.before for one in courses[ours]])
        frozen = estimate([one.after / one.before for one in courses["frozen"]])
        claims.append(at_most(f"{name}: the error is back within 10 % of its old level (over old)", after, BACK))
        claims.append(Claim(f"{name}: without upkeep it is not (over old)", frozen, frozen.value > BACK))
        pairs = zip(courses[ours], courses["update, no replay"], strict=True)
        kept = estimate([(a.on_return - b.on_return) / a.before for a, b in pairs])
        less = kept.value < 0 and (kept.high is None or kept.high < 0)
        claims.append(
            Claim(f"{name}: replay forgets less of the old world (difference of errors, over old)", kept, less)
        )
    unsettled = sum(not fault.settled for fault in faults)
    claims.append(at_most("bad updates that were neither refused nor rolled back", Estimate(float(unsettled)), 0.0))
    missed = beside.missed(f"beside training, duty {DUTY:g}")
    deadline = f"slots over the deadline of {1e3 * beside.deadline_s:g} ms beside training"
    claims.append(at_most(deadline, Estimate(float(missed)), 0.0))
    return tuple(claims)


def _detection_claims(detected: Detected) -> tuple[Claim, ...]:
    rival = min(detected.delay("ADWIN"), detected.delay("Page-Hinkley"))
    late = Estimate(detected.delay(OURS) - rival)
    blind = detected.scores["swipes", "types exchanged", ENTROPY].missed
    seen = detected.scores["swipes", "types exchanged", OURS].missed
    return (
        at_most("the cumulative error alarms at most 1 slot after the better of ADWIN and Page-Hinkley", late, 1.0),
        Claim(
            "entropy alone misses most drifts that leave the model wrong and sure (share), the error none",
            Estimate(blind),
            blind > 0.5 and seen == 0,
        ),
    )


def _transfer_claims(moved: Sequence[Newcomers], seed: int) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    for one in moved:
        for other in ("scratch", "pooled model"):
            gain = paired_gain(one, other, 1, seed)
            said = f"transfer, {one.name}: from the most similar twin the error after {one.known_s[1]} s is below"
            claims.append(
                Claim(f"{said} that from {other} (difference)", gain, gain.high is not None and gain.high < 0)
            )
    return tuple(claims)


def _inference_claims(sized: Sequence[Sizing]) -> tuple[Claim, ...]:
    claims: list[Claim] = []
    for one in sized:
        large = "always GRU-48"
        same = one.mean(CHOSEN) <= EQUAL * one.mean(large)
        share = one.multiply_adds[CHOSEN] / one.multiply_adds[large]
        said = f"inference, {one.name}: at an error within 2 % of always-large, half its energy or less (share)"
        claims.append(Claim(said, Estimate(share), same and share <= 0.5))
        quick = one.seconds[CHOSEN] / one.seconds[large]
        claims.append(Claim(f"inference, {one.name}: and less time (share)", Estimate(quick), same and quick < 1))
        mixed = one.mean(CHOSEN) - one.mean("random mix, same shares")
        said = f"inference, {one.name}: below the error of a random mix of the same shares (difference)"
        claims.append(Claim(said, Estimate(mixed), mixed < 0))
    return tuple(claims)


def _method(detected: Detected, sized: Sequence[Sizing]) -> tuple[str, ...]:
    return (
        f"detectors see errors in standard deviations of their first 100 slots; settings are chosen for each signal on "
        f"other streams, least delay at no more than {MOST_FALSE:g} false alarm in 1,000 slots; "
        + "; ".join(f"{signal}: {name} {label}" for (signal, name), label in detected.chosen.items() if name == OURS),
        "worlds change in slot 120 and are as before from slot 420 on; errors are means over 48 viewers (nats) or 24 "
        "series (shares of their variance); intervals are 95 % over seeds",
        "the measured types' hazards are spread by factors of 1/3 to 3 before they are exchanged, so that types matter",
        "a bad model is put into service past all trials, or the data it learns from are poisoned",
        "slots of the campus loop, one every 250 ms (its own slots are 1 s); training goes on all the time",
        "transfer: half of the users have models; the error is that after the longest known time, 95 % over users",
        "inference: 4.6 pJ a multiply-add in 32 bits (45 nm), memory left out, choosing included; the price of energy "
        "is chosen on other links, no worse there than the best fixed size; "
        + "; ".join(f"{one.name}: {one.picked}" for one in sized),
    )


def _recorded_people(data: Path) -> dict[str, tuple[list[Float64[np.ndarray, " steps"]], tuple[int, ...]]]:
    """Users of recorded links: every file one user, rates in Mbit/s on a grid of 1 s."""
    irish = [on_grid(trace).rate_bps / 1e6 for trace in load_irish5g(data, None).required()]
    norway = [rate_by_second(trace) / 1e6 for trace in load_norway(data).required()]
    return {"irish5g": (irish, (30, 60, 120)), "norway_hsdpa": (norway, (30, 60, 90))}


def rate_by_second(trace: ThroughputTrace) -> Float64[np.ndarray, " steps"]:
    """Mean rate of each second; a second without a row has that of the one before."""
    second = np.floor(trace.time_s - trace.time_s[0]).astype(np.int64)
    count = np.bincount(second)
    newest = np.maximum.accumulate(np.where(count > 0, np.arange(len(count)), 0))
    return (np.bincount(second, weights=trace.rate_bps) / np.maximum(count, 1))[newest]


def _recorded_links(data: Path) -> dict[str, list[Link]]:
    """Downloads of irish5g in pieces of 300 s with what the radio says: RSRP, SINR and speed, each near 0 .. 1."""
    pieces: list[Link] = []
    for trace in load_irish5g(data, "Download").required():
        grid = on_grid(trace)
        radio = np.stack(
            [(grid.rsrp_dbm + 95.0) / 12.0, (grid.sinr_db - 5.0) / 8.0, np.log1p(grid.speed_mps) - 1.5], axis=1
        )
        for start in range(0, grid.rows - _PIECE_STEPS, _PIECE_STEPS):
            part = slice(start, start + _PIECE_STEPS)
            if np.std(grid.rate_bps[part]) > 0:
                pieces.append(Link(grid.rate_bps[part] / 1e6, radio[part]))
    return {"irish5g": pieces}
