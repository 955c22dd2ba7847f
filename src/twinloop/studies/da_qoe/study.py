"""`study da-qoe`: every scheme on the same worlds, scored by the true experience."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from twinloop.errors import OutputError, ScenarioError
from twinloop.reporting import plot_agreement_ratio, plot_experience_by_users
from twinloop.studies.da_qoe.judging import claims_of, differences, experienced, figures_of, ratios_of, rows_of
from twinloop.studies.da_qoe.living import Lived, Place, live_all
from twinloop.studies.da_qoe.setting import CAPACITY, HORIZON, PROPOSED, SAMPLES, SCHEMES
from twinloop.studies.evaluate import Judgement

FIRST_SEED = 1


def study_da_qoe(
    folder: Path,
    *,
    users: Sequence[int],
    seeds: int,
    minutes: int,
    schemes: Sequence[str] = tuple(SCHEMES),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Lives all runs that `folder` lacks, writes `results.json` there, and judges.

    Raises ScenarioError for numbers that cannot be studied, and OutputError where the folder holds another study.
    """
    if not users or min(users) < 3 or max(users) > CAPACITY:
        raise ScenarioError(f"users {list(users)} must be 3 to {CAPACITY}, such as 16,18,20,22,24")
    if seeds < 2:
        raise ScenarioError(f"{seeds} seeds give no interval; take at least 2")
    if minutes < 6:
        raise ScenarioError(f"{minutes} minutes hold no judged period; take at least 6")
    _claim_folder(folder, minutes)
    numbers = range(FIRST_SEED, FIRST_SEED + seeds)
    places = [Place(scheme, count, seed) for scheme in schemes for count in users for seed in numbers]
    lived = live_all(places, minutes, folder, progress)
    figures = {place: figures_of(run) for place, run in lived.items()}
    told = differences(figures, schemes, users, numbers) if PROPOSED in schemes and len(schemes) > 1 else []
    rows = rows_of(figures, schemes, users)
    results = {
        "study": "da-qoe",
        "minutes": minutes,
        "runs": [{**place._asdict(), **one} for place, one in figures.items()],
        "differences": told,
        "schemes": {name: SCHEMES[name].about for name in schemes},
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return Judgement(
        title=f"da-qoe: {minutes} min, {seeds} seeds",
        labels=("users", "scheme"),
        rows=tuple(rows),
        claims=tuple(claims_of(told)) if told else (),
        numbers={"slot_ms": float(np.mean([one["slot_ms"] for one in figures.values()]))},
        method=(
            "scored by the true experience E* of users, never by a model; ELA figures on a grid of 3 minutes",
            f"seeds {numbers[0]} to {numbers[-1]}, the same worlds for every scheme; intervals are over seeds, 95 %",
            f"every scheme passes the same internal loop (H = {HORIZON}, K = {SAMPLES}); twins and network differ",
            "a claim holds where no paired interval against any scheme at any number of users includes 0",
        ),
        figures={
            "da_qoe_ratio.png": lambda: plot_agreement_ratio(
                {SCHEMES[name].title: _ratios(lived, name) for name in schemes}, "Agreements kept, all numbers of users"
            ),
            "da_qoe_qoe.png": lambda: plot_experience_by_users(
                {SCHEMES[name].title: {count: _felt(lived, name, count) for count in users} for name in schemes},
                "What people experienced",
            ),
        },
    )


def _claim_folder(folder: Path, minutes: int) -> None:
    """Marks the folder as this study's; runs of another length are not mixed with these."""
    mark = folder / "study.json"
    wanted = {"study": "da-qoe", "minutes": minutes}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != wanted:
            raise OutputError(f"{folder} holds another study or length of runs; give another --out")
        mark.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    except (OSError, ValueError) as fault:
        raise OutputError(f"{folder}: cannot be written ({fault}); give another --out") from None


def _ratios(lived: Mapping[Place, Lived], scheme: str) -> Float[np.ndarray, "_"]:
    return np.concatenate([ratios_of(run) for place, run in lived.items() if place.scheme == scheme])


def _felt(lived: Mapping[Place, Lived], scheme: str, users: int) -> Float[np.ndarray, "_"]:
    mine = [run for place, run in lived.items() if (place.scheme, place.users) == (scheme, users)]
    return np.concatenate([experienced(run).reshape(-1) for run in mine])
