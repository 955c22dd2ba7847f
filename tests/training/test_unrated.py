"""Users without scores in a table of one's own: behaviour stands for scores where that is shown to help."""

import json

import numpy as np
import pytest

from twinloop.qoe import Conditions, Engagement
from twinloop.training import explain, fit_and_save_opinion, read_own_scores
from twinloop.training.experience.unrated import fit_by_scores, with_estimates

HEADER = "user,score,stall_s,quality,watch_ratio,early_swipe_share\n"
RATERS, SILENT, MINUTES = 12, 4, 15


def table(path, seed, telling):
    """Half of the users mind stalls, half the picture; how long they watch tells what they felt, or nothing."""
    draw = np.random.default_rng(seed)
    rows, truth = [], np.zeros((RATERS + SILENT, MINUTES))
    for user in range(RATERS + SILENT):
        for minute in range(MINUTES):
            stall, quality = max(draw.exponential(4.0) - 1.0, 0.0), draw.random()
            felt = 1 + 4 * max(1 - 0.12 * stall, 0.0) if user % 2 else 1 + 4 * quality
            score = np.clip(draw.normal(felt, 0.7), 1, 5)
            watched = np.clip((felt - 1) / 4 + 0.1 * draw.normal(), 0, 1) if telling else draw.random()
            early = np.clip(1 - watched + 0.1 * draw.normal(), 0, 1)
            said = f"{score:.2f}" if user < RATERS else ""
            rows.append(f"u{user:02},{said},{stall:.2f},{quality:.3f},{watched:.3f},{early:.3f}")
            truth[user, minute] = felt
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return truth


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unrated")
    truth = table(folder / "telling.csv", 0, telling=True)
    made = fit_and_save_opinion(
        folder / "telling.csv", folder / "m.safetensors", scale="5", seed=0, command="fit", contents="known"
    )
    return folder, truth, made


def test_behaviour_that_tells_is_used_and_brings_silent_users_nearer_their_own_model(told):
    folder, truth, made = told
    (line,) = [note for note in made.notes if "from behaviour" in note]
    assert "u12, u13, u14 and 1 more: no score; opinions estimated from behaviour" in line
    assert json.loads((folder / "m.json").read_text())["notes"] == list(made.notes)
    own = read_own_scores(folder / "telling.csv", "5")
    assert own.behaviour is not None
    ratings, _ = with_estimates(own.intake.ratings, own.behaviour, own.intake.users)
    fitted = fit_by_scores(own.intake.ratings, ratings)
    assert float(ratings.weight[RATERS:].max()) < 1.0 and float(ratings.weight[RATERS:].sum()) > 1.0
    silent = slice(RATERS, RATERS + SILENT)
    conditions = own.behaviour.conditions
    experience = np.stack(
        [np.asarray(fitted.blend.experience(Conditions(*(getattr(conditions, n)[:, m] for n in vars(conditions)))))
         for m in range(MINUTES)], axis=1,
    )  # fmt: skip
    blind = np.asarray(own.intake.ratings.score)[:RATERS].mean()
    assert np.abs(experience - truth)[silent].mean() < 0.6 * np.abs(blind - truth)[silent].mean()
    assert np.asarray(fitted.models.rule)[silent].tolist() == [1, 0, 1, 0]


def test_explaining_a_silent_user_says_what_stands_for_scores(told):
    explained = explain(told[0] / "m.safetensors", "u12")
    assert f"0 ratings, {MINUTES} opinions estimated from behaviour" in explained.notes[0]
    assert not any(one.varies for one in explained.matters), "an estimate made of stalls says nothing of stalls"


def test_behaviour_that_tells_nothing_is_not_used(tmp_path):
    table(tmp_path / "idle.csv", 1, telling=False)
    own = read_own_scores(tmp_path / "idle.csv", "5")
    assert own.behaviour is not None
    kept, line = with_estimates(own.intake.ratings, own.behaviour, own.intake.users)
    assert kept is own.intake.ratings and "not used: scores of 12 others are foretold" in line


def test_few_raters_and_wrong_columns_are_told(twinloop, tmp_path):
    rows = "".join(f"a,{score},1,.5,.5,.2\n" for score in (2, 3, 4, 5))
    (tmp_path / "few.csv").write_text(HEADER + rows + "b,,1,.5,.9,.1\n")
    own = read_own_scores(tmp_path / "few.csv", "5")
    assert own.behaviour is not None and isinstance(own.behaviour.rated, Engagement)
    _, line = with_estimates(own.intake.ratings, own.behaviour, own.intake.users)
    assert line.startswith("b: no score, behaviour only; not used: fewer than 8 users")
    (tmp_path / "bad.csv").write_text(HEADER + rows + "b,,1,.5,90,.1\n")
    status, _, err = twinloop("qoe", "fit", "bad.csv", "--out", "m.safetensors")
    assert status == 2 and "line 6: watch_ratio is '90'; expected a number from 0 to 1" in err and err.count("\n") == 1
