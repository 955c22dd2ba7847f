"""`twinloop qoe` and `twinloop evaluate qoe` as a person meets them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HEADER = "user,score,stall_s,bitrate_kbps\n"


@pytest.fixture
def table(tmp_path):
    """Ann minds stalling, Bob the quality; Cid rated once, Dee never."""
    draw = np.random.default_rng(0)
    rows = []
    for user in ("ann", "bob"):
        for _ in range(25):
            stall, share = max(draw.exponential(3) - 1, 0), draw.uniform()
            mean = 5 - 0.4 * stall if user == "ann" else 1 + 4 * share
            score = np.clip(np.round(draw.normal(mean, 0.5)), 1, 5)
            rows.append(f"{user},{score},{stall:.2f},{500 * 6**share:.0f}")
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + "\n".join(rows) + "\ncid,4,0,1000\ndee,,0,1000\n")
    return path


def test_a_table_is_fitted_and_each_user_explained(twinloop, table) -> None:
    status, out, err = twinloop("qoe", "fit", table, "--out", "m.safetensors")
    assert status == 0, err
    assert "cid: one rating" in out and "dee: no rating" in out and "4 users" in out
    card = json.loads((table.parent / "m.json").read_text())
    assert card["users"] == ["ann", "bob", "cid", "dee"] and card["scale"] == "5"
    status, out, err = twinloop("qoe", "explain", "m.safetensors", "--user", "ann", "--out", "figures")
    assert status == 0, err
    stalling, quality = (next(line for line in out.splitlines() if line.startswith(name)) for name in ("stall", "qual"))
    assert "matters" in stalling and "not shown to matter" in quality
    assert "on 1-5 (P.1203: " in out and "on 0-100)" in out
    assert (table.parent / "figures" / "experience-of-ann.png").stat().st_size > 10_000
    status, out, _ = twinloop("qoe", "explain", "m.safetensors", "--user", "dee")
    assert status == 0 and "0 ratings" in out and "too few ratings" in out
    status, _, err = twinloop("qoe", "explain", "m.safetensors", "--user", "anne")
    assert status == 2 and "did you mean ann?" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (HEADER + "a,3,0,900\na,6,0,900\n", ("--scale", "5"), "line 3: score is 6; expected a score from 1 to 5"),
        (HEADER + "a,3,0,900\na,0.5,0,900\n", (), "line 3: score is 0.5; expected a score from 1 to 5"),
        (HEADER + "a,3,0,900\na,130,0,900\n", (), "line 3: score is 130; expected a score from 0 to 100"),
        (HEADER + "a,good,0,900\n", (), "line 2: score is 'good'"),
        (
            HEADER + "a,2,0,9\na,3,0,9\na,4,0,9\nb,80,0,9\n".replace(",9\n", ",900\n"),
            (),
            "those of a are all within 1-5",
        ),
        (HEADER + "a,3,2300,900\n", (), "stall_s is '2300'; expected a number from 0 to 60"),
        ("user,score,stall_s,stall_ms\na,3,2,2000\na,4,3,300\n", (), "line 3: stall_s and stall_ms contradict"),
        ("user,score,stal_s\na,3,2\n", (), "unknown column 'stal_s'; expected stall_s"),
        ("user,score,mood\na,3,2\n", (), "no column of a factor"),
        ("user,rating,stall_s\na,3,2\n", (), "no column 'score'"),
        (HEADER + "a,,0,900\n", (), "no score at all"),
        (HEADER + ",3,0,900\n", (), "line 2: no user"),
        (HEADER, (), "no row below the header"),
        (HEADER + "a,3,0,900\n", ("--scale", "7"), "expected 5 for scores of 1-5"),
        (HEADER + "a,3,0,900\n", ("--any-content",), "--any-content: it says nothing of a table of your own"),
        ("user,score,stall_s,jitter_s\na,3,0,20\n", (), "jitter_s is '20'; expected a number from 0 to 1"),
    ],
)
def test_bad_tables_are_told_in_one_line(twinloop, tmp_path, text, options, message) -> None:
    (tmp_path / "bad.csv").write_text(text)
    status, _, err = twinloop("qoe", "fit", "bad.csv", "--out", "m.safetensors", *options)
    assert status == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "waterloo"), "expected waterloo4 or csv"),
        (("--dataset", "waterloo4"), "no folder of data sets given"),
        (("--dataset", "waterloo4", "--data", ".", "--split", "abr"), "one of trace, content, device, rater"),
        (("--dataset", "waterloo4", "--data", "."), "waterloo4: no such folder"),
        (("--dataset", "csv"), "no file given"),
        (("--dataset", "csv", "--file", "few.csv"), "at most 1 ratings of a user"),
    ],
)
def test_wrong_options_of_the_evaluation(twinloop, tmp_path, arguments, message) -> None:
    (tmp_path / "few.csv").write_text(HEADER + "a,3,0,900\nb,4,1,900\n")
    status, _, err = twinloop("evaluate", "qoe", *arguments)
    assert status == 2 and message in err and err.count("\n") == 1


def test_scores_of_a_hundred_count_on_five(tmp_path) -> None:
    from twinloop.training import read_own_scores

    path = tmp_path / "wide.csv"
    path.write_text("user,score,stall_ms,speed_kmh\na,100,1500,2\na,0,0,40\na,50,0,21\n")
    own = read_own_scores(path)
    ratings = own.intake.ratings
    assert own.scale == "100"
    np.testing.assert_allclose(np.asarray(ratings.score)[0], [5, 1, 3])
    np.testing.assert_allclose(np.asarray(ratings.conditions.stall_s)[0], [1.5, 0, 0])
    np.testing.assert_allclose(np.asarray(ratings.conditions.environment)[0], [2, 1, 1.5], atol=1e-3)


def test_a_constant_factor_is_said(tmp_path) -> None:
    from twinloop.training import read_own_scores

    path = tmp_path / "flat.csv"
    path.write_text("user,score,stall_s,quality\na,3,0,.5\na,4,1,.5\na,2,3,.5\na,1,9,.5\n")
    assert any("quality" in note for note in read_own_scores(path).notes), read_own_scores(path).notes


def test_bitrates_beyond_the_catalogue_widen_the_range(tmp_path) -> None:
    from twinloop.training import read_own_scores

    path = tmp_path / "fast.csv"
    path.write_text("user,score,bitrate_mbps\na,3,4\na,4,8\na,5,16\n")
    own = read_own_scores(path)
    expected = np.log(np.array([4, 8, 16]) / 0.5) / np.log(16 / 0.5)
    np.testing.assert_allclose(np.asarray(own.intake.ratings.conditions.quality)[0], expected, rtol=1e-5)
    assert "quality is 0 at 0.5 and 1 at 16 Mbit/s, the ends of this table" in own.notes
    assert not any("quality never changes" in note for note in own.notes)
    path.write_text("user,score,bitrate_kbps\na,3,500\na,4,3000\n")
    own = read_own_scores(path)
    np.testing.assert_allclose(np.asarray(own.intake.ratings.conditions.quality)[0], [0, 1], atol=1e-6)
    assert not any("Mbit/s" in note for note in own.notes)


def test_further_factors_are_tested_though_experience_is_no_function_of_them(tmp_path) -> None:
    from twinloop.training import explain, fit_and_save_opinion

    draw = np.random.default_rng(3)
    rows = []
    for _ in range(40):
        startup, loss = draw.uniform(0, 8), draw.uniform(0, 0.1)
        score = np.clip(draw.normal(5 - 0.5 * startup, 0.4), 1, 5)
        rows.append(f"ann,{score:.2f},{draw.uniform(0, 4):.2f},{startup:.2f},{loss:.3f},phone")
    path = tmp_path / "wide.csv"
    path.write_text("user,score,stall_s,startup_s,loss_ratio,device\n" + "\n".join(rows) + "\nbob,,0,0,0,tv\n")
    made = fit_and_save_opinion(path, tmp_path / "m.safetensors", scale="5", seed=0, command="fit", contents="known")
    assert "column device holds no numbers and is not used" in made.notes
    explained = explain(tmp_path / "m.safetensors", "ann")
    found = {one.factor: one for one in explained.matters}
    assert explained.matters[0].factor == "startup (s)" and found["startup (s)"].adjusted < 0.05
    assert found["loss_ratio"].varies and found["loss_ratio"].adjusted > 0.05
    assert [one.factor for one in explained.effects] == ["stalling (s/min)"]
    assert any("no curve for startup (s), loss_ratio" in note for note in explained.notes)
    assert not any(one.varies for one in explain(tmp_path / "m.safetensors", "bob").matters)


def test_rows_of_a_long_table_are_told_apart_by_user(tmp_path) -> None:
    from twinloop.training import read_own_scores

    rows = [f"u{row % 3000},{20 + row % 70},{row % 50},{(row % 9) / 9:.2f}" for row in range(30_000)]
    path = tmp_path / "long.csv"
    path.write_text("user,score,stall_s,watch_ratio\n" + "\n".join(rows) + "\n")
    own = read_own_scores(path)
    assert own.behaviour is not None and len(own.intake.users) == 3000
    assert float(own.behaviour.rated.watch_ratio[5, 1]) == pytest.approx((3005 % 9) / 9, abs=0.01)


def test_satisfied_users_are_foretold_better_by_their_own_model_than_by_their_mean(tmp_path) -> None:
    """Scores around an E near 5 can only fall short of it: who foretells E itself loses to the mean."""
    from twinloop.qoe import Conditions, draw_models, draw_scores
    from twinloop.studies.evaluate.experience.own import judge_own

    users, minutes = 12, 40
    keys = jax.random.split(jax.random.key(0), 4)
    stall_s = jnp.where(
        jax.random.uniform(keys[0], (users, minutes)) < 0.7,
        0.0,
        3.0 * jax.random.exponential(keys[1], (users, minutes)),
    )
    quality = jax.random.uniform(keys[2], (users, minutes), minval=0.85)
    ones = jnp.ones((users, minutes))
    models = draw_models(keys[3], users, moved=False)
    experience = jax.vmap(models.experience, in_axes=1, out_axes=1)(Conditions(stall_s, quality, ones, ones))
    scores = np.asarray(draw_scores(keys[0], experience, 0.8 * ones))
    cells = zip(scores.flat, np.asarray(stall_s).flat, np.asarray(quality).flat, strict=True)
    rows = [f"u{row // minutes},{score:.3f},{stall:.3f},{q:.4f}" for row, (score, stall, q) in enumerate(cells)]
    (tmp_path / "happy.csv").write_text("user,score,stall_s,quality\n" + "\n".join(rows) + "\n")
    judged = judge_own(tmp_path / "happy.csv", "5", 0, lambda _: None)
    own, mean, general = (
        judged.estimate("RMSE", name).value for name in ("user's own model", "user's mean score", "general model")
    )
    assert own < mean and own < general


def test_figures_of_a_wide_table_are_whole_in_a_pipe(capsys):
    from twinloop.cli.evaluate import show
    from twinloop.studies import Estimate, Judgement, Row

    names = [f"share of those who were found again by fit {number}" for number in range(6)]
    values = {name: Estimate(0.5 + number / 10, 0.405, 1.595) for number, name in enumerate(names)}
    show(Judgement("Wide", ("fit",), (Row(("a fit",), "proposed", values),), (), {}, (), {}), None, None)
    said = capsys.readouterr().out
    assert all(f"{0.5 + number / 10:.3f} [0.405, 1.595]" in said and name in said for number, name in enumerate(names))
