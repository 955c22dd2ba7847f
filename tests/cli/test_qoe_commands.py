"""`twinloop qoe` and `twinloop evaluate qoe` as a person meets them."""

import json

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
