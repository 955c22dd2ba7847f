"""Emulators that twins train in their own simulator, from the record of a world to a run that uses them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import AGE, CELL_CHANGE, LastValue, learned, news, user_covariates
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import DataError, ModelError
from twinloop.learning import save_emulator
from twinloop.scenario import build_loop, dump
from twinloop.training import (
    EmulatorSettings,
    TwinRecord,
    train_and_save_twins,
    train_twin_emulators,
    twin_sequences,
)
from twinloop.training.forecasting.samples import samples_of
from twinloop.training.forecasting.train import forecast_candidates
from twinloop.training.forecasting.twin_records import BASELINES, COVARIATES, believed_world
from twinloop.twins import Current

TINY = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=20, batch=8)
WATCH, SERVING, JITTER = (column(USER_ATTRIBUTES, name) for name in ("watch_s", "serving_cell", "jitter_s"))
USERS, SLOTS, SETTLED = 8, 90, 40


def heard(seed: int = 0) -> tuple[TwinRecord, list[Current]]:
    """People who watch, a second a second, and start over; two reports of three arrive. Jitter never changes."""
    draw = np.random.default_rng(seed)
    shape = (USERS, len(USER_ATTRIBUTES))
    truth = np.zeros((SLOTS, *shape), np.float32)
    truth[0, :, WATCH] = draw.uniform(0, 20, USERS)
    for slot in range(1, SLOTS):
        on = truth[slot - 1, :, WATCH] + 1
        truth[slot, :, WATCH] = np.where(draw.random(USERS) < 0.05, 0.0, on)
    value, measured, error = np.zeros(shape, np.float32), np.full(shape, -1, np.int32), np.full(shape, -1.0, np.float32)
    known, rows = [], {name: [] for name in ("value", "came", "anew", "covariates")}
    before_slot, cell = jnp.asarray(measured), jnp.full(USERS, -1.0)
    for slot in range(SLOTS):
        fresh = np.broadcast_to((draw.random(USERS) < 0.67)[:, None], shape)
        error = np.where(fresh & (measured >= 0), 0.1, error).astype(np.float32)
        value, measured = np.where(fresh, truth[slot], value), np.where(fresh, np.int32(slot), measured)
        now = Current(
            jnp.ones(USERS, bool),
            jnp.asarray(value),
            jnp.asarray(measured),
            jnp.ones(USERS, jnp.int32),
            jnp.asarray(error),
        )
        anew, further = news(before_slot, now)
        rows["value"].append(value)
        rows["came"].append(anew | further)
        rows["anew"].append(anew)
        rows["covariates"].append(user_covariates(COVARIATES, now, cell, jnp.int32(slot)))
        known.append(now)
        before_slot, cell = now.slot, now.value[:, SERVING]
    last = np.stack([np.asarray(now.value) for now in known])
    foretold = np.repeat(last[:, None], len(BASELINES), axis=1)
    tables = {name: np.stack([np.asarray(row) for row in each]) for name, each in rows.items()}
    tables |= {"truth": truth, "foretold": foretold, "spread": np.ones_like(foretold)}
    return TwinRecord(seed, 1.0, tables), known


@pytest.fixture(scope="module")
def trained():
    return train_twin_emulators([heard()[0]], ("watch_s", "jitter_s"), seed=0, settings=TINY)


def saved(trained, path: Path, **changed: object) -> Path:
    about = {"attributes": ["watch_s"], "scales": list(trained.scales), "covariates": list(COVARIATES), "step_s": 1.0}
    save_emulator(path, trained.emulator, about | changed)
    return path


def test_what_is_learned_beats_the_last_value_and_what_never_changes_is_left_out(trained) -> None:
    assert trained.attributes == ("watch_s",) and trained.left_out == {"jitter_s": "it does not change"}
    scores = trained.metrics["watch_s"]
    assert scores["trained"]["mae"] < 0.8 * scores["last_value"]["mae"]
    assert 0.7 < scores["trained"]["coverage_90"] <= 1.0


def test_held_out_users_have_no_part_in_training(trained) -> None:
    record, _ = heard()
    order = np.random.default_rng([0, USERS]).permutation(USERS)
    truth, value = record.slots["truth"].copy(), record.slots["value"].copy()
    truth[:, order[0]], value[:, order[0]] = 60 - truth[:, order[0]], 60 - value[:, order[0]]
    other = TwinRecord(record.seed, record.slot_s, {**record.slots, "truth": truth, "value": value})
    again = train_twin_emulators([other], ("watch_s",), seed=0, settings=TINY)
    assert eqx.tree_equal(again.emulator.networks, trained.emulator.networks)
    assert again.metrics["watch_s"]["trained"]["mae"] > 1.5 * trained.metrics["watch_s"]["trained"]["mae"]


def test_a_run_forecasts_what_training_forecast(trained, tmp_path: Path) -> None:
    record, known = heard(1)
    samples = samples_of(twin_sequences([record], "watch_s"), (1,))
    one = jax.tree.map(lambda leaf: leaf[0], trained.emulator)
    said = one.combined(forecast_candidates(one, samples, np.arange(USERS)))
    emulator = learned(saved(trained, tmp_path / "m.safetensors"), LastValue(), 1.0)
    advance = eqx.filter_jit(lambda state, now, slot: emulator.advance("users", state, now, slot))
    state = emulator.start("users", known[0])
    for slot, now in enumerate(known):
        state, forecast = advance(state, now, jnp.int32(slot))
        if slot < SETTLED:
            continue
        wanted = trained.scales[0] * np.asarray(said.median)[:, slot, 0]
        np.testing.assert_allclose(forecast.emulated[:, WATCH], np.clip(wanted, 0, 600), rtol=1e-4, atol=1e-3)


def test_a_card_with_other_covariates_than_the_weights_have_is_refused(trained, tmp_path: Path) -> None:
    path = saved(trained, tmp_path / "m.safetensors", covariates=list(COVARIATES[1:]))
    wanted = f"m.json: {len(COVARIATES) - 1} covariates; expected {len(COVARIATES)}, as many as the networks"
    with pytest.raises(ModelError, match=wanted):
        learned(path, LastValue(), 1.0)


def test_emulators_of_twins_that_did_not_converge_are_not_saved(trained, tiny, tmp_path: Path, monkeypatch) -> None:
    broken = replace(trained, metrics={"watch_s": {"trained": {"rmse": float("nan")}}})
    place = "twinloop.training.forecasting.twin_emulators"
    monkeypatch.setattr(f"{place}.record_twins", lambda *_, **__: heard()[0])
    monkeypatch.setattr(f"{place}.train_twin_emulators", lambda *_, **__: broken)
    with pytest.raises(DataError, match="did not converge"):
        train_and_save_twins(
            tiny, tmp_path / "m.safetensors", attributes=None, duration_s=120.0, seed=0, command="twinloop"
        )
    assert not list(tmp_path.iterdir())


def test_the_simulated_network_is_the_twins_and_not_the_networks(tiny) -> None:
    loop, state = build_loop(tiny)
    inside, _ = believed_world(loop, state, 5)
    ours, true, believed = inside.network.params, loop.network.params, loop.abstractor.params
    for of in ("topology", "viewers", "edge", "mobility"):
        assert eqx.tree_equal(getattr(ours, of), getattr(believed, of))
    assert not eqx.tree_equal(ours.viewers, true.viewers) and not eqx.tree_equal(ours.topology, true.topology)
    assert float(ours.radio.se_factor) == float(believed.radio.se_factor) != float(true.radio.se_factor)
    assert float(ours.radio.shadow_scale) == float(true.radio.shadow_scale) > 0


def test_from_a_scenario_to_a_run_that_uses_what_was_learned(twinloop, tiny, tiny_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("twinloop.cli.training.train.twin_settings_from", lambda models: TINY)
    (tmp_path / "tiny.yaml").write_text(dump(tiny), encoding="utf-8")
    asked = ("--scenario", "tiny.yaml", "--attributes", "watch_s,buffer_s", "--duration", "2min", "--seed", "7")
    status, out, _ = twinloop("train", "emulator", *asked, "--out", "m.safetensors")
    assert status == 0 and "2 attributes, scored on users that training had not seen" in out
    card = json.loads((tmp_path / "m.json").read_text())
    assert card["attributes"] == ["buffer_s", "watch_s"] and card["data"]["worlds"] == [7, 8]
    assert set(card["metrics_on_held_out_users"]["watch_s"]) == {"trained", *BASELINES}
    assert card["command"] == "twinloop train emulator " + " ".join((*asked, "--out", "m.safetensors"))
    status, _, err = twinloop("run", "tiny.yaml", "--emulator", "m.safetensors", "--out", "run")
    assert status == 0, err
    summary, without = json.loads((tmp_path / "run" / "summary.json").read_text()), tiny_run.summary
    assert summary["slots"] == without["slots"] == 120
    assert summary["true_fidelity"] != without["true_fidelity"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to train on; expected --dataset NAME or --scenario SCENARIO"),
        (("--scenario", "campus", "--dataset", "oboe"), "--dataset: it says nothing beside --scenario"),
        (("--scenario", "campus", "--horizons", "1,5"), "--horizons: it says nothing beside --scenario"),
        (("--dataset", "oboe", "--attributes", "sinr_db"), "--attributes: it says nothing beside --dataset"),
        (
            ("--scenario", "campus", "--attributes", "sinr"),
            "'sinr' is no level of user twins; expected some of",
        ),
        (("--scenario", "campus", "--duration", "1min"), "expected 2min to 2h"),
        (("--scenario", "campus", "--model", "cnn"), "expected one of gru, lstm, gru-mixture"),
        (("--scenario", "camps"), "camps"),
    ],
)
def test_wrong_options_are_told_before_anything_is_simulated(twinloop, tmp_path, arguments, message) -> None:
    status, _, err = twinloop("train", "emulator", "--out", "m.safetensors", *arguments)
    assert status == 2 and err.count("\n") == 1 and message in err
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"attributes": ["cpu_ratio"]}, "trained on 'cpu_ratio'; expected an attribute of user twins"),
        ({"step_s": 0.5}, "trained in steps of 0.5 s; expected steps of 1 s"),
        ({"attributes": ["watch_s", "buffer_s"]}, "attributes, scales and weights do not agree"),
        ({"scales": [0.0]}, "scales are .0.0.; expected a list of positive numbers"),
        ({"kind": "viewers"}, "a model of kind 'viewers'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(trained, tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        learned(saved(trained, tmp_path / "m.safetensors", **changed), LastValue(), 1.0)


def test_a_folder_holds_a_model_for_each_attribute(trained, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model in this folder"):
        learned(tmp_path, LastValue(), 1.0)
    saved(trained, tmp_path / "watch.safetensors")
    saved(trained, tmp_path / "buffer.safetensors", attributes=["buffer_s"])
    both = learned(tmp_path, LastValue(), 1.0)
    assert {*both.attributes, *both.base.attributes} == {WATCH, column(USER_ATTRIBUTES, "buffer_s")}
    for end in ("safetensors", "json"):
        shutil.copy(tmp_path / f"watch.{end}", tmp_path / f"watch2.{end}")
    with pytest.raises(ModelError, match=r"'watch_s' is trained here and in watch\.safetensors"):
        learned(tmp_path, LastValue(), 1.0)


def test_too_little_to_learn_from_is_told() -> None:
    record, _ = heard()
    with pytest.raises(DataError, match="none of them can be trained on"):
        train_twin_emulators([record], ("jitter_s",), seed=0, settings=TINY)
    few = TwinRecord(0, 1.0, {name: table[..., :3, :] for name, table in record.slots.items()})
    with pytest.raises(DataError, match="3 of them in the simulated worlds"):
        train_twin_emulators([few], ("watch_s",), seed=0, settings=TINY)


def test_names_of_covariates_are_known_to_twins() -> None:
    names = {attribute.name for attribute in USER_ATTRIBUTES}
    assert all(name == CELL_CHANGE or name.removesuffix(AGE) in names for name in COVARIATES)
