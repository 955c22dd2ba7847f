"""Generators give series like those they were fitted to: classes apart, marginals, memory; files come back the same."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import DataError, ModelError
from twinloop.training import GENERATORS, Windows, fit_gan, held_out_files, load_source, load_windows, save_source
from twinloop.training.generation.fits import fit_autoregression, fit_bootstrap, fit_margins, scored
from twinloop.training.generation.windows import later_part

STEPS = 32
SIMPLE = ("autoregression", "block_bootstrap")


def recorded(files: int = 8, rows: int = 160) -> Windows:
    """Two classes of files whose log rate remembers (.9 a step); the second class is ten times as fast."""
    draw = np.random.default_rng(0)
    values, label, owner = [], [], []
    for number in range(files):
        now, series = draw.normal(), []
        for _ in range(rows):
            now = 0.9 * now + np.sqrt(1 - 0.81) * draw.normal()
            series.append(10.0 ** (6.0 + number % 2 + 0.3 * now))
        starts = range(0, rows - STEPS + 1, 8)
        values += [np.array(series[start : start + STEPS])[:, None] for start in starts]
        label += [number % 2] * len(starts)
        owner += [number] * len(starts)
    names = tuple(f"file-{number}" for number in range(files))
    return Windows(np.stack(values), np.array(label), np.array(owner), ("slow", "fast"), names, ("rate_bps",))


@pytest.fixture(scope="module")
def windows():
    return recorded()


@pytest.fixture(scope="module")
def sources(windows):
    return {name: GENERATORS[name](windows, 0) for name in SIMPLE} | {"gan": fit_gan(windows, 0, steps=1)}


def drawn(source, windows, seed=1):
    return np.asarray(source.draw(jax.random.key(seed), jnp.asarray(windows.label, jnp.int32)))


def memory(values, label):
    score = np.log10(values[..., 0])
    score = score - np.array([score[label == kind].mean() for kind in (0, 1)])[label][:, None]
    return (score[:, 1:] * score[:, :-1]).mean() / (score**2).mean()


@pytest.mark.parametrize("name", SIMPLE)
def test_simple_generators_keep_classes_marginals_and_memory(windows, sources, name):
    made = drawn(sources[name], windows)
    for kind in (0, 1):
        real, fake = (np.log10(values[windows.label == kind]) for values in (windows.value, made))
        np.testing.assert_allclose(np.quantile(fake, [0.1, 0.5, 0.9]), np.quantile(real, [0.1, 0.5, 0.9]), atol=0.12)
    assert memory(made, windows.label) == pytest.approx(memory(windows.value, windows.label), abs=0.06)


def test_the_bootstrap_gives_recorded_pieces_and_the_autoregression_does_not(windows, sources):
    known = {round(float(value), 3) for value in np.float32(windows.value).ravel()}
    pieces, new = (drawn(sources[name], windows) for name in ("block_bootstrap", "autoregression"))
    assert all(round(float(value), 3) in known for value in pieces[:20].ravel())
    assert np.mean([round(float(value), 3) in known for value in new[:20].ravel()]) < 0.9
    whole = {tuple(one) for one in np.float32(windows.value)[..., 0].round(3).tolist()}
    assert not all(tuple(one) in whole for one in pieces[..., 0].round(3).tolist())


def test_every_generator_draws_by_class_and_by_key(windows, sources):
    for source in sources.values():
        made = drawn(source, windows)
        assert made.shape == windows.value.shape and np.isfinite(made).all()
        assert made.min() >= windows.value.min() * 0.999 and made.max() <= windows.value.max() * 1.001
        assert np.median(made[windows.label == 1]) > 3 * np.median(made[windows.label == 0])
        assert np.array_equal(made, drawn(source, windows)) and not np.array_equal(made, drawn(source, windows, 2))


def test_scores_are_normal_and_lead_back_to_the_values(windows):
    margins = fit_margins(windows)
    score = np.asarray(scored(windows, margins))
    assert abs(score.mean()) < 0.05 and score.std() == pytest.approx(1.0, abs=0.05)
    label = jnp.asarray(windows.label, jnp.int32)
    again = np.asarray(jax.vmap(margins.values)(jnp.asarray(score), label))
    np.testing.assert_allclose(np.log10(again), np.log10(windows.value), atol=0.03)


def test_what_is_held_stays_held(windows):
    """Whole decibels repeat; a constant series has one score, wherever in its step of the distribution it lies."""
    whole = np.round(np.random.default_rng(0).normal(size=(200, STEPS, 1)) * 2.0)
    whole[:20] = whole[:20, :1]
    held = replace(windows, value=whole, label=np.zeros(200, np.int64), file=np.zeros(200, np.int64))
    score = np.asarray(scored(held, fit_margins(held), seed=3))
    assert np.ptp(score[:20], axis=1).max() == 0.0
    assert len(np.unique(score[:20, 0].round(4))) > len(np.unique(whole[:20, 0]))


def test_an_order_and_a_block_are_chosen_by_what_comes_later(windows):
    smooth = fit_autoregression(windows, 0)
    assert smooth.weight.shape[1] in (1, 2)
    jumpy = replace(windows, value=10.0 ** np.random.default_rng(0).normal(6.0, 0.3, windows.value.shape))
    white = fit_autoregression(jumpy, 0)
    assert np.abs(np.asarray(white.weight)).max() < 0.2 < np.asarray(smooth.weight)[:, 0].min()
    assert int(fit_bootstrap(windows, 0).block) in (8, 16, 32)


def test_the_later_part_is_the_end_of_every_file(windows):
    late = later_part(windows)
    for number in range(len(windows.files)):
        mine = late[windows.file == number]
        assert mine.sum() == int(0.25 * len(mine)) and not np.any(np.diff(mine.astype(int)) < 0)


def test_a_third_of_the_files_of_each_class_is_kept():
    names = tuple(f"n{number}" for number in range(12))
    kind = np.array([0] * 9 + [1, 1] + [2])
    kept = held_out_files(names, kind)
    assert [int(kept[kind == number].sum()) for number in range(3)] == [3, 1, 0]
    assert np.array_equal(kept[::-1], held_out_files(names[::-1], kind[::-1]))


@pytest.mark.parametrize("name", ["gan", *SIMPLE])
def test_a_saved_generator_draws_the_same(windows, sources, name, tmp_path):
    path = tmp_path / "model.safetensors"
    card = save_source(path, sources[name], windows, {"dataset": "ours"})
    assert card["fitted_on"] == list(windows.files) and json.loads(path.with_suffix(".json").read_text()) == card
    again, read = load_source(path, windows)
    assert read["method"] == name
    np.testing.assert_array_equal(drawn(again, windows), drawn(sources[name], windows))


def test_a_generator_of_other_data_is_refused(windows, sources, tmp_path):
    path = tmp_path / "model.safetensors"
    save_source(path, sources["autoregression"], windows, {})
    with pytest.raises(ModelError, match=r"classes .*expected \['a', 'b'\]"):
        load_source(path, replace(windows, classes=("a", "b")))
    card = json.loads(path.with_suffix(".json").read_text())
    for change, told in (({"kind": "emulator"}, "kind"), ({"method": "magic"}, "magic"), ({"sizes": {}}, "sizes")):
        path.with_suffix(".json").write_text(json.dumps(card | change))
        with pytest.raises(ModelError, match=told):
            load_source(path, windows)


def test_links_too_short_for_a_window_are_an_error_of_one_line(tmp_path):
    folder = tmp_path / "norway_hsdpa"
    folder.mkdir()
    (folder / "norway_bus_1").write_text("".join(f"{row} 1.5\n" for row in range(20)))
    with pytest.raises(DataError, match=r"20 steps.*at least 64"):
        load_windows(tmp_path, "norway_hsdpa")


def test_a_gap_ends_a_window(tmp_path):
    folder = tmp_path / "norway_hsdpa"
    folder.mkdir()
    time = [row + (30 if row >= 70 else 0) for row in range(140)]
    (folder / "norway_bus_1").write_text("".join(f"{at} {1.0 if at < 90 else 9.0}\n" for at in time))
    found = load_windows(tmp_path, "norway_hsdpa")
    assert found.count == 2 and {float(value) for value in np.unique(found.value)} == {1e6, 9e6}


@pytest.mark.data
def test_recorded_links_become_windows_by_class(data_dir):
    irish, norway = (load_windows(data_dir, name) for name in ("irish5g", "norway_hsdpa"))
    assert irish.classes == ("driving", "static") and irish.value.shape[1:] == (64, 3)
    assert norway.classes == ("bus", "car", "ferry", "metro", "train", "tram") and norway.value.shape[2] == 1
    for windows in (irish, norway):
        assert np.isfinite(windows.value).all() and (windows.value[..., 0] >= 0).all()
