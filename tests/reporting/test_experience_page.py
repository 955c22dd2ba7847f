"""The chapters on experience and agreements: right figures, right reasons, and none where nobody was followed."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic_run import Shape, write_compare, write_run

from twinloop import reporting
from twinloop.errors import OutputError
from twinloop.reporting import open_comparison, open_run
from twinloop.reporting.chapters.compared_experience import experience_section, felt, followed
from twinloop.reporting.chapters.experience import ela_section, judged
from twinloop.reporting.page import writable
from twinloop.reporting.wording import NO_NUMBER

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def rows(run_dir) -> dict[str, np.ndarray]:
    table = pq.read_table(run_dir / "experience.parquet")
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


@pytest.fixture(scope="module")
def cells(rows) -> dict[str, np.ndarray]:
    """Means of the only full stretch of three minutes, by user."""
    return {
        name: rows[name].reshape(5, 60)[:3].astype(float).mean(axis=0)
        for name in ("experience", "agreed", "at_best", "no_stalls", "stall_s", "satisfaction")
    }


def table_rows(page, title: str) -> list[list[str]]:
    text = page.text[page.text.index(f"<h3>{title}") :]
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("<tr>")[1:]]


def test_leads_say_how_it_was_and_what_was_kept(campus, rows, cells):
    median = np.median(rows["experience"])
    assert f"Half of all 300 minutes felt like {median:.2f} or better" in campus.words
    assert f"Twins err by {np.abs(rows['believed'] - rows['experience']).mean():.2f} on average" in campus.words
    kept = cells["experience"] >= cells["agreed"]
    assert f"In {100 * kept.mean():.1f} % of 60 stretches of 3 minutes" in campus.words
    assert f"{kept.sum()} of 60 users got their agreement" not in campus.words or kept.sum() > 0
    assert f"Half of all minutes felt like {median:.2f} of 5 or better" in campus.words


def test_headlines_are_those_of_experience_where_it_was_followed(campus, lonely):
    assert (
        f"Agreements kept {100 * json.loads((campus.directory / 'summary.json').read_text())['ela']['share']:.1f} %"
        in (campus.words)
    )
    assert "Agreements kept" not in lonely.words.split("Run it again")[1].split("What the numbers mean")[0]


def test_classes_are_those_of_the_summary(campus):
    ela = json.loads((campus.directory / "summary.json").read_text())["ela"]
    found = {row[0]: row for row in table_rows(campus, "Agreements by class")}
    assert set(found) == {"short video", "lecture multicast", "best effort", "all"}
    assert found["all"][1] == "60" and found["all"][6] == str(ela["alarms"])
    assert found["best effort"][3] == f"{ela['by_slice']['best_effort']['ratio']:.3f}"


def test_alarms_say_who_for_how_long_and_why(campus, cells):
    found = table_rows(campus, "Alarms")
    ratio = cells["experience"] / cells["agreed"]
    assert [int(row[0]) for row in found] == np.argsort(ratio, kind="stable")[: len(found)].tolist()
    assert len(found) == min(12, (ratio < 1).sum())
    for row in found:
        user, lost = int(row[0]), cells["no_stalls"] - cells["experience"]
        assert row[3] == "3 min" and row[5] == f"{cells['experience'][user]:.2f}"
        assert ("stalls of" in row[4]) == (lost[user] >= 0.1)
        if lost[user] >= 0.1:
            assert f"{MINUS}{lost[user]:.1f}" in row[4]
        assert ("out of reach of any service" in row[4]) == (cells["at_best"][user] < cells["agreed"][user])
        assert ("of the needed rate at" in row[4]) == (cells["at_best"][user] >= cells["agreed"][user])


def test_the_structure_of_models_is_held_against_the_truth(campus, rows):
    found = {row[0]: row for row in table_rows(campus, "Believed and true")}
    assert set(found) == {"minds stalls", "minds the picture", "minds both"}
    held = rows["believed_rule"] == "quality"
    assert found["minds the picture"][1:3] == ["21", "105"]
    assert found["minds the picture"][3].startswith(f"{100 * (rows['rule'] == 'quality')[held].mean():.1f}")
    assert found["minds both"][3].startswith("100")


def test_figures_show_what_the_table_holds(run_dir, rows, cells):
    median = next(
        line
        for line in reporting.plot_experience_history(run_dir).axes[0].get_lines()
        if line.get_label() == "median, true"
    )
    np.testing.assert_allclose(median.get_ydata(), np.median(rows["experience"].reshape(5, 60), axis=1))
    np.testing.assert_allclose(median.get_xdata(), np.arange(5) + 0.5)
    ratio = cells["experience"] / cells["agreed"]
    dots = [
        line for line in reporting.plot_agreement_users(run_dir).axes[0].get_lines() if "mean" in str(line.get_label())
    ]
    shown = np.concatenate([np.stack([line.get_xdata(), line.get_ydata()], axis=1) for line in dots])
    np.testing.assert_allclose(shown[np.argsort(shown[:, 0]), 1], np.sort(ratio), rtol=1e-5)


def test_without_experience_there_are_no_chapters_of_it(lonely):
    assert 'id="qoe"' not in lonely.text and 'id="ela"' not in lonely.text
    assert not list((lonely.directory / "figures").glob("ela_*"))


def test_a_run_too_short_for_agreements_is_not_judged_by_them(tmp_path):
    run = write_run(tmp_path / "run", Shape(users=3, slots=180))
    assert judged(open_run(run))
    pq.write_table(pq.read_table(run / "experience.parquet").slice(0, 6), run / "experience.parquet")
    assert not judged(open_run(run))
    with pytest.raises(OutputError, match="agreements are judged over 3 minutes"):
        reporting.plot_agreement_history(run)


def test_users_who_were_away_leave_gaps(tmp_path):
    run = write_run(tmp_path / "run", Shape(users=4, slots=360))
    whole = pq.read_table(run / "experience.parquet")
    away = (whole["user"].to_numpy() == 2) & (whole["slot"].to_numpy() < 300)
    away |= (whole["user"].to_numpy() == 1) & (whole["slot"].to_numpy() < 180)
    pq.write_table(whole.filter(~away), run / "experience.parquet")
    section = ela_section(open_run(run), writable(run))
    assert "of 6 stretches of 3 minutes" in section.lead
    assert all(view.drawing is not None for view in section.views)
    assert not [cell for table in section.tables for row in table.rows for cell in row if "nan" in cell]


def test_a_comparison_says_who_kept_agreements(felt_compared):
    content = json.loads((felt_compared.directory / "compare.json").read_text())
    kept = np.mean(content["policies"]["convex+utility"]["ela_share"])
    assert f"convex + utility kept the most agreements, in {100 * kept:.1f} % of users" in felt_compared.words
    assert "Twins made wrong on purpose: agreements kept" in felt_compared.words
    found = table_rows(felt_compared, "Experience and agreements, means")
    assert [row[0] for row in found] == [name.replace("+", " + ").replace("_", " ") for name in
                                         (*content["policies"], *content["controls"])]  # fmt: skip
    assert (felt_compared.directory / "figures" / "ela_ratios.png").stat().st_size > 5_000
    figure = reporting.plot_ratios(felt_compared.directory)
    figure.draw_without_rendering()
    assert figure.get_tightbbox().x1 < figure.get_size_inches()[0] + 0.02
    ratios = open_comparison(felt_compared.directory).ratios
    np.testing.assert_allclose(ratios["frozen"], content["ela_ratio_percentiles"]["frozen"])


def test_a_comparison_without_experience_has_no_such_chapter(compared):
    assert 'id="felt"' not in compared.text and "By experience" not in compared.words


def test_a_comparison_too_short_for_agreements_says_so(tmp_path):
    path = write_compare(tmp_path, experience=True) / "compare.json"
    content = json.loads(path.read_text())
    del content["ela_ratio_percentiles"]
    for figures in (content["policies"] | content["controls"]).values():
        del figures["ela_share"], figures["ela_ratio"]
    path.write_text(json.dumps(content))
    comparison = open_comparison(tmp_path)
    section = experience_section(comparison, writable(tmp_path))
    assert section.views[0].sentence.startswith("agreements are judged over 3 minutes")
    assert felt(comparison) == [] and followed(comparison)
    assert NO_NUMBER in section.tables[0].rows[0] and "nan" not in str(section.tables[0].rows)
