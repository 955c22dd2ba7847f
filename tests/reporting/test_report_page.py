"""The page of a run: complete, self-contained, and honest about what a run does not hold."""

import json
import re
import shutil
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from synthetic_run import Shape, write_run

from twinloop.errors import OutputError
from twinloop.reporting import open_run, write_report

CHAPTERS = (
    *(
        "map",
        "users",
        "qoe",
        "ela",
        "slices",
        "twins",
        "collection",
        "upkeep",
        "value",
        "decisions",
        "infrastructure",
        "viewing",
    ),
    "again",
)


class Links(HTMLParser):
    """Every address that a browser would follow or load, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")
        ]


def links(page) -> Links:
    reader = Links()
    reader.feed(page.text)
    return reader


@pytest.mark.parametrize("name", ["campus", "partial", "lonely", "compared"])
def test_a_page_loads_nothing_and_runs_nothing(name, request):
    found = links(request.getfixturevalue(name))
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert not found.tags & {"script", "link rel=stylesheet", "iframe", "object", "embed"}


@pytest.mark.parametrize("name", ["campus", "partial", "lonely", "compared"])
def test_a_page_follows_the_theme_and_fits_print_and_phone(name, request):
    text = request.getfixturevalue(name).text
    assert "prefers-color-scheme: dark" in text and "@media print" in text and 'name="viewport"' in text
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert drawings and all("var(--ink)" in drawing and "#1d2733" not in drawing for drawing in drawings)


def test_names_inside_drawings_are_unique_and_resolved(campus):
    names = re.findall(r'\bid="([^"]+)"', campus.text)
    assert len(names) == len(set(names))
    referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', campus.text))
    assert {a or b for a, b in referred} <= set(names)


def test_every_chapter_is_there(campus):
    assert re.findall(r'<section id="(\w+)">', campus.text) == list(CHAPTERS)


def test_headline_numbers_are_those_of_the_summary(campus):
    summary = json.loads((campus.directory / "summary.json").read_text())
    for expected in (
        f"{100 * summary['satisfaction']:.1f}\N{NO-BREAK SPACE}% of the rate they needed",
        f"{summary['mean_rate_bps'] / 1e6:.2f}\N{NO-BREAK SPACE}Mbit/s",
        f"of {summary['decisions']['proposed']} proposed",
        "60 people watched videos in the scenario campus",
        "Demand was 1.08 times what the network has",
        "With the future known, at most 94.0\N{NO-BREAK SPACE}% was possible.",
    ):
        assert " ".join(expected.split()) in campus.words, expected


def test_every_figure_is_saved_beside_the_page(campus):
    drawn = set(re.findall(r'id="figure-(\w+)"', campus.text))
    saved = {path.stem: path.stat().st_size for path in (campus.directory / "figures").glob("*.png")}
    assert set(saved) == drawn and len(drawn) >= 18
    assert min(saved.values()) > 5_000


def test_the_worst_user_is_on_top_of_the_table(campus):
    users, satisfaction = (
        pq.read_table(campus.directory / "users.parquet")[name].to_numpy() for name in ("user", "satisfaction")
    )
    means = {user: satisfaction[users == user].mean() for user in set(users.tolist())}
    worst = min(means, key=means.get)
    first_row = re.search(r"Worst served users.*?<tbody>\s*<tr><td>(\d+)</td>", campus.text, flags=re.DOTALL)
    assert first_row is not None and int(first_row[1]) == worst


def test_how_to_run_it_again(campus):
    assert "twinloop run campus --duration 5min --seed 7 --out 'runs/campus 7'" in campus.words
    assert "jax 0.10.0" in campus.words
    assert "position_m: [150, 200]" in campus.words


def test_the_least_served_slice_and_what_it_lacked(campus):
    table = pq.read_table(campus.directory / "slices.parquet")
    member = table["slice"].to_numpy()
    columns = ("satisfaction", "demand_bandwidth_hz", "reserved_bandwidth_hz")
    means = {row: [table[name].to_numpy()[member == row].mean() for name in columns] for row in range(3)}
    worst = min(means, key=lambda row: means[row][0])
    name = ("short video", "lecture multicast", "best effort")[worst]
    satisfaction, demand_hz, reserved_hz = means[worst]
    assert f"{name} least ({100 * satisfaction:.1f} %)" in campus.words
    assert f"{name} asked for {demand_hz / reserved_hz:.3f} times the bandwidth" in campus.words


def test_decisions_and_their_reasons(campus):
    for words in (
        "every proposal broke the isolation of a slice",
        "rolled back",
        "left the standing decision in place",
    ):
        assert words in campus.words


def test_a_finished_run_is_not_called_interrupted(campus):
    assert "interrupted" not in campus.words


def test_an_interrupted_run_says_so_and_shows_what_there_is(partial):
    assert "interrupted after 90 slots (1:30)" in partial.words and "--resume" in partial.words
    assert "servers.parquet" in partial.words and "this run holds no servers.parquet" in partial.words
    assert "decisions.parquet cannot be read" in partial.words
    assert (partial.directory / "figures" / "map_rate.png").exists()


def test_one_user_who_never_swipes_and_only_refusals(lonely):
    assert "The only user got" in lonely.words and "1 person watched" in lonely.words
    assert "Nobody swiped in this run." in lonely.words
    assert re.search(r"61 decisions: 61 left the standing decision in place", lonely.words)
    assert "retention" not in lonely.words.lower()


def test_a_planned_end_that_was_not_reached(tmp_path):
    run = write_run(tmp_path / "run", Shape(users=2, slots=20))
    summary = json.loads((run / "summary.json").read_text()) | {"planned_slots": 40}
    (run / "summary.json").write_text(json.dumps(summary))
    assert open_run(run).interrupted
    (run / "summary.json").write_text(json.dumps(summary | {"slots": 40}))
    assert not open_run(run).interrupted


def test_parts_stand_in_for_a_trace_that_was_never_joined(tmp_path):
    run = write_run(tmp_path / "run", Shape(users=3, slots=20))
    whole = pq.read_table(run / "cells.parquet")
    (run / "parts" / "cells").mkdir(parents=True)
    for number, start in enumerate((0, 16)):
        pq.write_table(
            whole.slice(start, 16 if not number else None), run / "parts" / "cells" / f"{number:06d}.parquet"
        )
    (run / "cells.parquet").unlink()
    assert open_run(run).columns("cells", "load")[0].tolist() == whole["load"].to_pylist()


def test_the_same_run_gives_the_same_page_and_no_old_picture(tmp_path):
    run = write_run(tmp_path / "run", Shape(users=2, slots=12, retention=False))
    for table in ("cells", "servers", "slices", "twins", "collection"):
        (run / f"{table}.parquet").unlink()
    first = write_report(run).read_text(encoding="utf-8")
    assert write_report(run).read_text(encoding="utf-8") == first
    (run / "decisions.parquet").unlink()
    assert (run / "figures" / "decisions.png").exists()
    write_report(run)
    assert not (run / "figures" / "decisions.png").exists()
    assert not list(run.glob("*.part"))


def test_names_from_files_are_shown_as_text(tmp_path, campus):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(campus.directory / "command.json", run)
    (run / "summary.json").write_text(json.dumps({"scenario": "<script>alert(1)</script>", "slots": 0, "users": 0}))
    text = write_report(run).read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: shutil.rmtree(run), "is not a directory"),
        (lambda run: [path.unlink() for path in run.iterdir()], "is not a run directory"),
        (lambda run: (run / "summary.json").write_text("{"), "is not JSON"),
        (lambda run: (run / "summary.json").write_text("[1]"), "holds no JSON object"),
        (lambda run: (run / "figures").write_text("in the way"), "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_line(tmp_path, spoil, words):
    run = write_run(tmp_path / "run", Shape(users=1, slots=5, retention=False))
    spoil(run)
    with pytest.raises(OutputError, match=words) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)
