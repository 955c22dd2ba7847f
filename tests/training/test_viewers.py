import json
from pathlib import Path

import numpy as np
import pytest

from twinloop.datasets import ViewingLog
from twinloop.emulation import Imitated, Machine
from twinloop.errors import DataError, ModelError
from twinloop.learning import Adversarial
from twinloop.training import (
    Effort,
    fit_machine,
    load_viewers,
    log_likelihood,
    nats,
    split_people,
    train_and_save_viewers,
    train_viewers,
    tuned_machine,
    views_of,
)

SHORT = Effort(
    clone_steps=40,
    gail=Adversarial(steps=20, people=8),
    gail_alone=Adversarial(steps=20, people=8, likelihood=0.0),
)


def log_of(people: int = 60, views: int = 12, seed: int = 0) -> ViewingLog:
    """People of whom half leave four times as fast as the others, and everybody twice as fast what they hate."""
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(people), views)
    liked = draw.random(len(user)) < 0.7
    rate = 0.05 * np.where(user % 2 == 0, 4.0, 1.0) * np.where(liked, 1.0, 2.0)
    return ViewingLog(
        user_id=user,
        video_id=np.arange(len(user)),
        play_s=np.round(draw.exponential(1 / rate), 3),
        duration_s=np.round(draw.uniform(6, 40, len(user)), 3),
        liked=liked,
        images_dropped=0,
    )


@pytest.fixture(scope="module")
def crowd():
    return split_people(log_of(), Path("log.tsv"))


def test_nobody_is_on_two_sides_and_everybody_on_one(crowd) -> None:
    parts = (crowd.train, crowd.tuning, crowd.unseen)
    assert sum(len(part.exists) for part in parts) == 60
    watched = [{tuple(row) for row in np.asarray(part.watched_s).tolist()} for part in parts]
    assert len(set.union(*watched)) == 60
    again = split_people(log_of(), Path("log.tsv"))
    np.testing.assert_array_equal(crowd.unseen.watched_s, again.unseen.watched_s)


def test_views_keep_their_order_and_padding_does_not_exist() -> None:
    log = log_of(3, 4)
    short = ViewingLog(
        log.user_id[:-2], log.video_id[:-2], log.play_s[:-2], log.duration_s[:-2], log.liked[:-2], images_dropped=0
    )
    views = views_of(short, np.array([0, 2]))
    np.testing.assert_allclose(views.watched_s[1, :2], short.play_s[8:10], rtol=1e-6)
    np.testing.assert_array_equal(views.exists, [[1, 1, 1, 1], [1, 1, 0, 0]])
    assert np.all(np.asarray(log_likelihood(fit_machine(views, 5.0), views))[1, 2:] == 0)


def test_counted_rates_are_those_that_made_the_views() -> None:
    log = log_of(400, 20)
    views = views_of(log, np.arange(400))
    machine = fit_machine(views, 1.0, lengths=False, outcomes=False)
    first_second = np.asarray(machine.rate)[0, :, 0, 0, 0]
    mean = {True: 0.05 * 2.5, False: 0.1 * 2.5}
    assert first_second[2] == pytest.approx(mean[True], rel=0.15)
    assert first_second[1] == pytest.approx(mean[False], rel=0.15)
    assert first_second[1] > first_second[0] > first_second[2]


def test_a_heavy_prior_makes_classes_alike_and_tuning_avoids_it(crowd) -> None:
    light, heavy = (fit_machine(crowd.train, prior, lengths=False, outcomes=False) for prior in (2.0, 1e6))
    assert np.ptp(np.asarray(heavy.rate), axis=1).max() < 1e-3 < np.ptp(np.asarray(light.rate), axis=1).max()
    tuned = tuned_machine(crowd, lengths=False, outcomes=False)
    assert nats(tuned, crowd.tuning) <= min(nats(light, crowd.tuning), nats(heavy, crowd.tuning))


def test_knowing_people_beats_the_pooled_hazard_on_unseen_ones(crowd) -> None:
    pooled = tuned_machine(crowd, lengths=False, likings=False, outcomes=False)
    clone = train_viewers(crowd, "clone", effort=Effort(clone_steps=300))
    assert isinstance(clone, Imitated)
    assert nats(clone, crowd.unseen) < nats(pooled, crowd.unseen) - 0.05


def test_methods_build_on_each_other_and_are_the_same_again(crowd) -> None:
    clone = train_viewers(crowd, "clone", effort=SHORT)
    gail = train_viewers(crowd, "gail", effort=SHORT, base=clone)
    assert not np.array_equal(gail.policy.net.out, clone.policy.net.out)
    np.testing.assert_array_equal(gail.machine.rate, clone.machine.rate)
    again = train_viewers(crowd, "gail", effort=SHORT, base=clone)
    np.testing.assert_array_equal(gail.policy.net.out, again.policy.net.out)
    assert isinstance(train_viewers(crowd, "machine"), Machine)


def written(folder: Path, log: ViewingLog) -> Path:
    """The log as a data folder."""
    target = folder / "kuairand_explicit"
    target.mkdir(parents=True)
    columns = (log.user_id, log.video_id, log.play_s * 1e3, log.duration_s * 1e3, log.liked)
    lines = ["\t".join(f"{value:.0f}" for value in row) for row in zip(*columns, strict=True)]
    head = "user_id\tvideo_id\tplay_time_ms\tduration_ms\tlabel"
    (target / "users.tsv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def test_saved_viewers_come_back_with_their_card(tmp_path: Path, crowd) -> None:
    data, out = written(tmp_path / "data", log_of()), tmp_path / "viewers.safetensors"
    told: list[str] = []
    metrics = train_and_save_viewers(data, out, "gail", effort=SHORT, command="train", progress=told.append)
    loaded = load_viewers(out)
    assert nats(loaded, crowd.tuning) == pytest.approx(metrics["nats_a_view_tuning"], abs=1e-3)
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["people"] == {
        "train": len(crowd.train.exists),
        "tuning": len(crowd.tuning.exists),
        "unseen": len(crowd.unseen.exists),
    }
    assert card["assumed_not_fitted"]["stall_leave_per_s"] == pytest.approx(0.058)
    assert told and card["command"] == "train"
    machine = tmp_path / "machine.safetensors"
    train_and_save_viewers(data, machine, "machine")
    assert isinstance(load_viewers(machine), Machine)


def test_other_models_and_too_few_people_are_errors_of_one_line(tmp_path: Path) -> None:
    out = tmp_path / "other.safetensors"
    out.with_suffix(".json").write_text('{"kind": "emulator"}')
    with pytest.raises(ModelError, match=r"kind 'emulator'.*twinloop train viewers"):
        load_viewers(out)
    with pytest.raises(ModelError, match="cannot be read"):
        load_viewers(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match=r"people in one part of the split; expected at least 10"):
        split_people(log_of(12), Path("log.tsv"))
