"""Every figure: titled, labelled, uncut, and a sentence where its columns are missing or empty."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from synthetic_run import Shape, write_run

from twinloop import reporting
from twinloop.errors import OutputError

TABLE = {
    "plot_agreement_cells": "experience",
    "plot_agreement_history": "experience",
    "plot_agreement_spread": "experience",
    "plot_agreement_users": "experience",
    "plot_belief": "experience",
    "plot_cell_load": "cells",
    "plot_cells": "cells",
    "plot_collection": "collection",
    "plot_coverage": "twins",
    "plot_decisions": "decisions",
    "plot_experience": "users",
    "plot_experience_history": "experience",
    "plot_forecasts": "forecasts",
    "plot_lacking": "experience",
    "plot_map": "users",
    "plot_objectives": "decisions",
    "plot_radio": "users",
    "plot_requests": "requests",
    "plot_retention": "retention",
    "plot_servers": "servers",
    "plot_slice_computing": "slices",
    "plot_slice_satisfaction": "slices",
    "plot_slices": "slices",
    "plot_swipes": "users",
    "plot_twin_history": "twins",
    "plot_twins": "twins",
    "plot_users": "users",
    "plot_value": "value",
    "plot_watching": "users",
}
OF_RUN = tuple(TABLE)
OF_COMPARISON = ("plot_differences", "plot_metric", "plot_seeds", "plot_tradeoff")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "small", Shape(users=4, slots=12))


def assert_well_made(figure) -> None:
    assert figure.get_suptitle()
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert any(axis.get_ylabel() or axis.get_yticklabels() for axis in shown)
    assert any(axis.get_xlabel() for axis in shown)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    used = figure.get_tightbbox()
    assert used.x0 > -0.02 and used.y0 > -0.02 and used.x1 < width + 0.02 and used.y1 < height + 0.02, used
    title = figure._suptitle.get_window_extent()
    assert title.x1 < figure.bbox.x1 and all(axis.get_window_extent().y1 < title.y0 + 1 for axis in shown)


@pytest.mark.parametrize("name", OF_RUN)
def test_a_figure_of_a_run_is_well_made(name, run_dir):
    assert_well_made(getattr(reporting, name)(run_dir))


@pytest.mark.parametrize("name", OF_COMPARISON)
def test_a_figure_of_a_comparison_is_well_made(name, compared):
    assert_well_made(getattr(reporting, name)(compared.directory))


@pytest.mark.parametrize("name", OF_RUN)
def test_a_figure_without_its_trace_is_a_sentence(name, tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(OutputError, match=f"holds no {TABLE[name]}.parquet"):
        getattr(reporting, name)(tmp_path)


@pytest.mark.parametrize("name", OF_RUN)
def test_a_figure_of_an_empty_trace_is_a_sentence(name, run_dir, tmp_path):
    table = TABLE[name]
    pq.write_table(pq.read_table(run_dir / f"{table}.parquet").slice(0, 0), tmp_path / f"{table}.parquet")
    with pytest.raises(OutputError, match="is empty"):
        getattr(reporting, name)(tmp_path)


def test_a_missing_column_and_one_without_numbers_are_named(small, tmp_path):
    whole = pq.read_table(small / "users.parquet")
    pq.write_table(whole.drop_columns(["rate_bps"]), tmp_path / "users.parquet")
    with pytest.raises(OutputError, match="has no column rate_bps"):
        reporting.plot_users(tmp_path)
    nothing = pa.array(np.full(len(whole), np.nan, np.float32))
    index = whole.schema.get_field_index("satisfaction")
    pq.write_table(whole.set_column(index, "satisfaction", nothing), tmp_path / "users.parquet")
    with pytest.raises(OutputError, match=r"column satisfaction of users\.parquet holds no number"):
        reporting.plot_map(tmp_path)


def test_gaps_in_a_column_do_not_stop_a_figure(small, tmp_path):
    whole = pq.read_table(small / "users.parquet")
    for name in ("satisfaction", "x_m", "sinr_db"):
        values = whole[name].to_numpy().copy()
        values[::3] = np.nan
        whole = whole.set_column(whole.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(whole, tmp_path / "users.parquet")
    for draw in (reporting.plot_map, reporting.plot_users, reporting.plot_experience, reporting.plot_radio):
        draw(tmp_path).draw_without_rendering()


def test_the_map_draws_walks_of_few_and_patches_of_many(run_dir, tmp_path):
    few = reporting.plot_map(run_dir, "rate_bps").axes[0]
    walks = next(part for part in few.collections if isinstance(part, LineCollection))
    assert len(walks.get_segments()) == 60 * 299
    many = reporting.plot_map(write_run(tmp_path, Shape(users=200, slots=20))).axes[0]
    assert any(isinstance(part, PolyCollection) for part in many.collections)
    assert not any(isinstance(part, LineCollection) for part in many.collections)


def test_walks_break_where_a_person_was_away(run_dir, tmp_path):
    whole = pq.read_table(run_dir / "users.parquet")
    slot, user = whole["slot"].to_numpy(), whole["user"].to_numpy()
    pq.write_table(whole.filter(pa.array((user == 0) & ((slot < 50) | (slot > 200)))), tmp_path / "users.parquet")
    walks = next(p for p in reporting.plot_map(tmp_path).axes[0].collections if isinstance(p, LineCollection))
    assert len(walks.get_segments()) == 49 + 98


def test_the_map_refuses_an_unknown_colour(run_dir):
    with pytest.raises(OutputError, match="satisfaction or rate_bps"):
        reporting.plot_map(run_dir, "height")


def test_slices_show_what_the_trace_holds(small):
    lines = {line.get_label(): line for line in reporting.plot_slices(small).axes[0].get_lines()}
    table = pq.read_table(small / "slices.parquet").to_pydict()
    first = [v for v, s in zip(table["reserved_bandwidth_hz"], table["slice"], strict=True) if s == 0]
    np.testing.assert_allclose(lines["reserved"].get_ydata() * 1e6, first, rtol=1e-6)


def test_long_runs_are_thinned(tmp_path):
    run = write_run(tmp_path, Shape(users=1, slots=1000, retention=False))
    for line in reporting.plot_cells(run).axes[0].get_lines():
        assert 150 < len(line.get_xdata()) <= 240


def test_drawing_leaves_matplotlib_as_it_was(small):
    before = dict(mpl.rcParams)
    reporting.plot_slices(small)
    assert dict(mpl.rcParams) == before


def test_the_door_is_light_and_pyplot_is_never_touched(small):
    program = (
        "import sys, twinloop.reporting as r\n"
        "heavy = {'matplotlib', 'jinja2', 'pyarrow', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"r.plot_slices({str(small)!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert not [name for name in r.__all__ if not hasattr(r, name)]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_door_knows_no_other_name():
    with pytest.raises(AttributeError, match="has no attribute 'plot_nothing'"):
        reporting.plot_nothing  # noqa: B018 - the look-up is what is tested
