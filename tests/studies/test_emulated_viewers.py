from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.datasets import ViewingLog, shipped_figures
from twinloop.emulation import GIVENS, PLACES, Imitated, Video, no_history
from twinloop.errors import DataError, ModelError
from twinloop.learning import Adversarial, stopping_policy
from twinloop.studies import evaluate_people, side_by_side
from twinloop.studies.evaluate.behaviour.baselines import by_second, first_watch, shipped
from twinloop.studies.evaluate.behaviour.campus import COUNTING, FACTOR, PREDICTORS, TRUTH, campus_viewers
from twinloop.studies.evaluate.behaviour.people import AUC, FIRST, GAIL, GAIN, MACHINE, NATS, PEOPLE, POOLED
from twinloop.studies.evaluate.behaviour.telling import Seen, told_apart
from twinloop.training import Effort, fit_machine, log_likelihood, split_people, train_viewers, views_of

SHORT = Effort(
    clone_steps=60, gail=Adversarial(steps=10, people=8), gail_alone=Adversarial(steps=10, people=8, likelihood=0.0)
)


def log_of(people: int = 60, views: int = 20, seed: int = 0) -> ViewingLog:
    """People who leave fast or slowly, and faster what they hate."""
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(people), views)
    liked = draw.random(len(user)) < 0.5
    rate = np.where(user % 2 == 0, 0.2, 0.05) * np.where(liked, 1.0, 5.0)
    play, length = draw.exponential(1 / rate), draw.uniform(6, 40, len(user))
    return ViewingLog(user, user, np.round(play, 3), np.round(length, 3), liked, images_dropped=0)


def written(folder: Path, log: ViewingLog) -> Path:
    target = folder / "kuairand_explicit"
    target.mkdir(parents=True)
    columns = (log.user_id, log.video_id, log.play_s * 1e3, log.duration_s * 1e3, log.liked)
    lines = ["\t".join(f"{value:.0f}" for value in row) for row in zip(*columns, strict=True)]
    head = "user_id\tvideo_id\tplay_time_ms\tduration_ms\tlabel"
    (target / "users.tsv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def seen(seed: int, mean_s: float = 10.0, first: int = 0) -> Seen:
    draw = np.random.default_rng(seed)
    watched, length = draw.exponential(mean_s, (60, 30)), draw.uniform(6, 40, (60, 30))
    return Seen(watched, length, draw.choice([-1.0, 1.0], (60, 30)), np.full(60, 30), first + np.arange(60))


def test_the_same_kind_of_people_are_told_apart_by_a_coin_others_surely() -> None:
    people = seen(0)
    alike, apart = told_apart(people, [seen(1), seen(2)], 0), told_apart(people, [seen(1, mean_s=20.0)], 0)
    assert 0.4 < alike.value < 0.6 and alike.low < alike.value < alike.high
    assert apart.value > 0.85


def test_a_dependence_between_views_gives_simulated_viewers_away() -> None:
    people, other = seen(0), seen(1)
    moody = Seen(np.sort(other.watched_s, axis=1), other.length_s, other.liking, other.views, other.person)
    assert told_apart(people, [moody], 0).value > told_apart(people, [other], 0).value + 0.15


def test_first_watches_and_whole_views_agree_where_nobody_replays() -> None:
    log = log_of()
    capped = ViewingLog(
        log.user_id,
        log.video_id,
        np.minimum(log.play_s, 0.5 * log.duration_s),
        *(log.duration_s, log.liked),
        images_dropped=0,
    )
    views = views_of(capped, np.arange(60))
    model = fit_machine(views, 5.0)
    whole, first = log_likelihood(model, views), first_watch(model, views)
    np.testing.assert_allclose(whole, first, atol=2e-3)


def test_chances_of_first_watches_sum_to_one() -> None:
    length = 7.3
    ends = np.concatenate([np.arange(8), [20.0]])
    ends[7] = 7.1
    one = ViewingLog(np.arange(9), np.arange(9), ends, np.full(9, length), np.ones(9, bool), images_dropped=0)
    views = views_of(one, np.arange(9))
    for model in (by_second(views), shipped(shipped_figures().viewing)):
        assert float(jnp.sum(jnp.exp(first_watch(model, views)))) == pytest.approx(1, abs=1e-3)


def test_shipped_viewers_leave_as_the_figures_say() -> None:
    figures = shipped_figures().viewing
    model = shipped(figures)
    video = Video(jnp.array([15.0]), jnp.zeros(1, jnp.int32), jnp.ones(1))
    risk = np.asarray(model.intensity(no_history(1), video, jnp.array([[0.0, 15.0, 30.0]])))[0]
    kind = figures.type_given_length(np.array([15.0]))[0]
    draw = np.exp(figures.factor_spread * np.random.default_rng(0).normal(size=50_000) - figures.factor_spread**2 / 2)
    stay = sum(
        share * np.exp(-draw * t.cumulative_hazard[-1]).mean() for share, t in zip(kind, figures.types, strict=True)
    )
    assert np.exp(-risk[0]) == pytest.approx(stay, abs=3e-3)
    assert risk[1] == 0


@pytest.fixture(scope="module")
def campus():
    crowd = split_people(log_of(), Path("log.tsv"))
    model = Imitated(
        fit_machine(crowd.train, 10.0, outcomes=False), stopping_policy(jax.random.key(0), PLACES, GIVENS, 32)
    )
    return campus_viewers(model, 0)


def test_on_the_campus_the_truth_surprises_least_and_counting_learns(campus) -> None:
    for every in campus.nats.values():
        mean = every.mean(axis=(0, 1))
        assert mean[PREDICTORS.index(TRUTH)] <= mean.min() + 1e-6
        excess = (every - every[:, :, -1:]).mean(axis=0)[:, PREDICTORS.index(COUNTING)]
        assert excess[-20:].mean() < 0.6 * excess[:5].mean()


def test_a_users_factor_pays_where_users_differ_and_hardly_costs_where_they_do_not(campus) -> None:
    gain = {
        spread: (every[:, :, PREDICTORS.index(COUNTING)] - every[:, :, PREDICTORS.index(FACTOR)])[:, 20:].mean()
        for spread, every in campus.nats.items()
    }
    assert gain[0.84] > gain[0.42] > gain[0.0] and gain[0.84] > 0.02 and gain[0.0] > -0.01


@pytest.mark.slow
def test_people_are_judged_with_every_baseline_and_drawn(tmp_path: Path) -> None:
    told: list[str] = []
    data = written(tmp_path / "data", log_of())
    judged = evaluate_people(data, effort=SHORT, progress=told.append)
    names = [row.names[1] for row in judged.rows]
    assert names[-1] == "unseen people, other half" and {POOLED, MACHINE, GAIL} < set(names) and len(names) == 10
    assert judged.estimate(NATS, PEOPLE, MACHINE).value < judged.estimate(NATS, PEOPLE, POOLED).value
    assert judged.claims[0].holds and judged.claims[0].measured == judged.estimate(GAIN, PEOPLE, MACHINE)
    assert judged.estimate(GAIN, PEOPLE, POOLED).value == 0
    assert judged.estimate(AUC, PEOPLE, POOLED).value > judged.estimate(AUC, PEOPLE, MACHINE).value
    with pytest.raises(KeyError):
        judged.estimate(NATS, PEOPLE, "shipped types x factors")
    assert judged.estimate(FIRST, PEOPLE, "shipped types x factors").value > 0
    paths = judged.save(tmp_path / "figures")
    assert len(paths) == 4 and told
    both = side_by_side(judged, judged)
    assert len(both.rows) == 20 and both.numbers == judged.numbers


def test_wrong_models_and_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kuairand_explicit"):
        evaluate_people(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        evaluate_people(tmp_path, model=tmp_path / "none.safetensors")


@pytest.mark.data
def test_machine_and_network_are_more_likely_than_the_pooled_hazard_on_unseen_people(data_dir: Path) -> None:
    from twinloop.datasets import load_viewing_log

    crowd = split_people(load_viewing_log(data_dir).required()[0], data_dir)
    pooled = fit_machine(crowd.train, 10.0, lengths=False, likings=False, outcomes=False)
    machine = fit_machine(crowd.train, 10.0)
    clone = train_viewers(crowd, "clone", effort=Effort(clone_steps=200))
    total = [float(jnp.sum(log_likelihood(model, crowd.unseen))) for model in (pooled, machine, clone)]
    views = float(jnp.sum(crowd.unseen.exists))
    assert (total[1] - total[0]) / views > 0.1
    assert (total[2] - total[1]) / views > 0.01
