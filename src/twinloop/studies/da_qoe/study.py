"""`study da-qoe`: every scheme on the same worlds, scored by the true experience."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from twinloop import __version__
from twinloop.decision import LEARNED, shipped_checkpoint
from twinloop.errors import OutputError, ResourceError, ScenarioError
from twinloop.scenario import load
from twinloop.studies.da_qoe.judging import claims_of, difference, differences, figures_of, rows_of
from twinloop.studies.da_qoe.living import Place, first_minutes, live_all
from twinloop.studies.da_qoe.page import Told, write_page
from twinloop.studies.da_qoe.setting import CAPACITY, HORIZON, PROPOSED, SAMPLES, SCHEMES
from twinloop.studies.da_qoe.variants import CASES, MOST_MINUTES, USERS, VARIANTS
from twinloop.studies.evaluate import Estimate, Judgement
from twinloop.studies.evaluate.judgement import Claim, in_json

FIRST_SEED = 1
_MOST_GAP = 1e-3
_COMPARED = ("ela_ratio", "ela_share", "qoe_median")


def study_da_qoe(
    folder: Path,
    *,
    users: Sequence[int],
    seeds: int,
    minutes: int,
    schemes: Sequence[str] = tuple(SCHEMES),
    variants: Sequence[str] = tuple(VARIANTS),
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Lives all runs that `folder` lacks, writes `results.json` and `report.html` there, and judges.

    Variants are lived at 24 users, other windows in full, all else for 24 minutes at most, beside the schemes that they
    are held against; `workers` is the number of processes that live them. Raises ScenarioError for numbers that cannot
    be studied, and OutputError where the folder holds another study.
    """
    if not users or min(users) < 3 or max(users) > CAPACITY:
        raise ScenarioError(f"users {list(users)} must be 3 to {CAPACITY}, such as 16,18,20,22,24")
    if seeds < 2:
        raise ScenarioError(f"{seeds} seeds give no interval; take at least 2")
    if minutes < 6:
        raise ScenarioError(f"{minutes} minutes hold no judged period; take at least 6")
    _claim_folder(folder, minutes)
    begun = time.perf_counter()
    numbers = range(FIRST_SEED, FIRST_SEED + seeds)
    short = min(minutes, MOST_MINUTES)
    main = [Place(scheme, count, seed, minutes) for scheme in schemes for count in users for seed in numbers]
    bases = dict.fromkeys(CASES[name].base for name in variants)
    windows = [name for name in variants if CASES[name].part == "window"]
    whole = [Place(name, USERS, seed, minutes) for name in (*bases, *windows) for seed in numbers]
    others = [name for name in variants if name not in windows]
    beside = [Place(name, USERS, seed, short) for name in others for seed in numbers]
    with _writing(folder):
        lived = live_all([*dict.fromkeys([*main, *whole, *beside])], folder, progress, workers)
    begun_alike = {
        Place(name, USERS, seed, short): first_minutes(lived[Place(name, USERS, seed, minutes)], short)
        for name in bases
        for seed in numbers
    }
    figures = {
        place: figures_of(run, bounded=place.case in (schemes[0], PROPOSED))
        for place, run in (lived | begun_alike).items()
    }
    chief, full, extra = (
        {place: figures[place] for place in places} for places in (main, whole, [*beside, *begun_alike])
    )
    told = differences(chief, schemes, users, _COMPARED) if PROPOSED in schemes and len(schemes) > 1 else []
    claims = [*(claims_of(told, chief, schemes) if told else ()), *_variant_claims(extra), *_game_claims(figures)]
    wall_s = time.perf_counter() - begun
    judgement = Judgement(
        title=f"da-qoe: {minutes} min a run, {seeds} seeds",
        labels=("users", "scheme"),
        rows=tuple(rows_of(chief, schemes, users)),
        claims=tuple(claims),
        numbers={
            "slot_ms": float(np.mean([one["slot_ms"] for one in chief.values()])),
            "compile_s": float(np.sum([run.compile_s for run in lived.values()])),
        },
        method=_method(numbers, short),
        figures={},
    )
    results: dict[str, Any] = {
        "study": "da-qoe",
        "minutes": minutes,
        "variant_minutes": short,
        "runs": [{**place._asdict(), **one} for place, one in figures.items()],
        "differences": told,
        "judgement": json.loads(judgement.to_json()),
        "cases": {name: CASES[name].about for name in (*schemes, *variants)},
    }
    with _writing(folder):
        text = json.dumps(in_json(results), indent=1, allow_nan=False)
        (folder / "results.json").write_text(text + "\n", encoding="utf-8")
        chosen = {place: lived[place] for place in main}
        write_page(folder, Told(judgement, chosen, chief, extra, full, schemes, variants, users, wall_s))
    return judgement


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    """What may befall the folder or a worker, in one line: what was over is on file."""
    try:
        yield
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be written ({fault}); the same command goes on with what is there"
        ) from None
    except BrokenExecutor:
        raise ResourceError(
            "a process of the study was ended from outside, perhaps for lack of memory; runs that were over are kept, "
            "the same command goes on"
        ) from None


def _method(numbers: Sequence[int], short: int) -> tuple[str, ...]:
    slices_horizon = load("da-qoe").twin.judge.window_horizon
    return (
        "scored by the true experience E* of users, never by a model; ELA figures on a grid of 3 minutes, the first of "
        "which is left out",
        f"seeds {numbers[0]} to {numbers[-1]}, the same worlds for every scheme; intervals are over seeds, 95 %",
        f"every scheme passes the internal loop (H = {HORIZON} slots, {slices_horizon} for slices, K = {SAMPLES}), by "
        "experience where the scheme follows it, by satisfaction where it does not; twins and network differ; learners "
        "were trained in the twin's simulator on other seeds",
        "a claim holds where no paired interval against any scheme at any number of users includes 0",
        f"variants at {USERS} users for {short} minutes (other windows: whole runs), held against the same minutes of "
        "the scheme itself",
        "the bound: links as they turned out under the scheme named first, whole futures known, transcoding, swipes "
        "and players' ways left out; under another scheme's interference links may be better",
    )


def _variant_claims(figures: dict[Place, dict[str, Any]]) -> list[Claim]:
    """What must hold if the scheme works for the reasons given."""
    there = {place.case for place in figures}

    def gap(ours: str, theirs: str) -> Estimate:
        return difference(figures, ours, theirs, USERS, "ela_ratio")

    claims: list[Claim] = []
    for control in ("frozen", "shuffled"):
        if control in there:
            found = gap(PROPOSED, control)
            claims.append(Claim(f"the scheme loses with {CASES[control].title}", found, (found.low or 0) > 0))
    if {"no-impact", "kappa-0", "kappa-0-no-impact"} <= there:
        gain, left = gap(PROPOSED, "no-impact"), gap("kappa-0", "kappa-0-no-impact")
        gains, vanished = (gain.low or 0) > 0, (left.low or 0) <= 0 <= (left.high or 0)
        claims.append(Claim("models with B and C gain over models without", gain, gains))
        claims.append(Claim("that gain is there, and vanishes where nobody minds them", left, gains and vanished))
    return claims


def _game_claims(figures: dict[Place, dict[str, Any]]) -> list[Claim]:
    """Whether every game that was played, in every run, ended in an equilibrium."""
    gaps = [one["game_gap"] for one in figures.values() if np.isfinite(one["game_gap"])]
    if not gaps:
        return []
    most = float(max(gaps))
    return [
        Claim(f"the equilibrium gap is below {_MOST_GAP:g} in all runs (largest)", Estimate(most), most < _MOST_GAP)
    ]


def _claim_folder(folder: Path, minutes: int) -> None:
    """Marks the folder as this study's; runs of another length or setting are not mixed with these."""
    mark = folder / "study.json"
    wanted = {"study": "da-qoe", "minutes": minutes, "setting": _setting()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != wanted:
            raise OutputError(f"{folder} holds another study, length of runs or setting; give another --out")
        mark.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    except (OSError, ValueError) as fault:
        raise OutputError(f"{folder}: cannot be written ({fault}); give another --out") from None


def _setting() -> str:
    """What all runs of a folder have in common: the scenario, the agents that learned, and the version."""
    told = sha256((__version__ + load("da-qoe").model_dump_json()).encode())
    for name in LEARNED:
        told.update(shipped_checkpoint(name).read_bytes())
    return told.hexdigest()[:16]
