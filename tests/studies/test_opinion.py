"""Models of opinion on drawn and on public sessions."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.studies.evaluate.experience.opinion import rater_claims
from twinloop.studies.evaluate.experience.raters import (
    OWN_RATINGS,
    PERSONAL_RATINGS,
    Panel,
    RaterErrors,
    panels_around_average,
    rater_errors,
    require_enough,
)
from twinloop.studies.evaluate.experience.waterloo import LEAST_STRUCTURED, load_rated, within_groups
from twinloop.training import (
    Sessions,
    correlation,
    fit_person,
    learn_traits,
    structured_models,
    trait_scale,
    traits,
)
from twinloop.training.experience.structured import first_guess


def drawn(count: int, seed: int) -> Sessions:
    draw = np.random.default_rng(seed)
    level = draw.uniform(0.9, 5.1, size=(count, 7))
    stall = np.where(draw.uniform(size=(count, 6)) < 0.25, draw.exponential(1.5, size=(count, 6)), 0.0)
    device = np.eye(3)[draw.integers(3, size=count)]
    as_float = lambda values: jnp.asarray(values, jnp.float32)  # noqa: E731
    return Sessions(
        as_float(level),
        as_float(level + draw.normal(0, 0.2, size=level.shape)),
        as_float(stall),
        as_float(draw.exponential(0.5, size=count)),
        as_float(device),
        as_float(draw.integers(2, size=count)),
    )


def true_model():
    guess = first_guess("levels", 7)
    late = jnp.asarray([1.0, 0.8, 1.2])
    fields = {name: getattr(guess, name) for name in guess.__dataclass_fields__}
    return type(guess)(**(fields | {"recency": late, "codec_slope": jnp.asarray(-0.5)}))


def test_the_structured_model_is_found_again_from_noisy_opinions() -> None:
    sessions, unseen, truth = drawn(400, 0), drawn(200, 1), true_model()
    mos = np.asarray(truth(sessions), np.float64) + np.random.default_rng(2).normal(0, 2, 400)
    (model,) = structured_models(sessions, mos, np.ones((1, 400), bool), "levels")
    assert correlation(np.asarray(model(unseen), np.float64), np.asarray(truth(unseen), np.float64)) > 0.98
    assert (np.asarray(model.recency) > 0.2).all()
    assert float(model.codec_slope) < -0.2
    np.testing.assert_array_equal(np.asarray(model.difficulty_shift), np.zeros(4))


def test_more_stalling_and_later_start_never_please() -> None:
    sessions, model = drawn(200, 3), true_model()
    before = np.asarray(model(sessions))
    longer = jax.tree.map(lambda leaf: leaf, sessions)
    longer = Sessions(
        longer.level, longer.rate, longer.stall_s + 0.5, longer.startup_s + 0.5, longer.device, longer.hevc
    )
    assert (np.asarray(model(longer)) < before).all()


def test_a_persons_traits_are_learned_from_few_ratings() -> None:
    sessions = drawn(200, 4)
    average = jnp.asarray(np.random.default_rng(0).uniform(40, 90, 200), jnp.float32)
    scale = trait_scale(sessions, average)
    factors = traits(scale, sessions, average)
    draw = np.random.default_rng(1)
    weight = np.zeros((25, factors.shape[1]))
    weight[:, 0], weight[:, 3] = draw.normal(0, 8, 25), draw.normal(0, 6, 25)
    departure = jnp.asarray(weight @ np.asarray(factors).T + draw.normal(0, 10, (25, 200)), jnp.float32)
    many = jnp.broadcast_to(factors[None], (24, *factors.shape))
    prior = learn_traits(scale, many, departure[:24])
    spread = np.sqrt(np.diag(np.asarray(prior.covariance)))
    assert 5 < spread[0] < 12 and 3.5 < spread[3] < 9 and spread[[2, 5, 8]].max() < 2.5
    assert 8 < float(jnp.sqrt(prior.noise)) < 12
    mean, covariance = fit_person(prior, factors[:60], departure[24, :60])
    off = np.abs(np.asarray(mean) - weight[24])
    assert off[0] < 4 and off[3] < 4
    assert (np.diag(np.asarray(covariance)) < np.diag(np.asarray(prior.covariance)) + 1e-4).all()
    none, wide = fit_person(prior, factors[:0], departure[24, :0])
    np.testing.assert_allclose(np.asarray(none), 0)
    np.testing.assert_allclose(np.asarray(wide), np.asarray(prior.covariance), atol=1e-4)


@pytest.mark.data
def test_levels_alone_explain_unseen_traces(data_dir) -> None:
    rated = load_rated(data_dir, "trace")
    models = structured_models(rated.sessions, rated.mos, rated.used, "levels")
    said = np.stack([np.asarray(model(rated.sessions)) for model in models])[rated.group, np.arange(len(rated.mos))]
    found = within_groups(rated, said.astype(np.float64))
    assert found["mean r"].value >= LEAST_STRUCTURED
    assert min(found[name].value for name in rated.names) > 0.7, "it fails on no trace"
    assert np.sqrt(np.mean((said - rated.mos) ** 2)) < 6.5 < rated.mos.std()


@pytest.mark.data
def test_ten_own_ratings_say_more_than_the_average(data_dir) -> None:
    rated = load_rated(data_dir, "rater")
    errors = rater_errors(
        rated.sessions, panels_around_average(rated.sessions, rated.scores, rated.mos, 0)[:1], 10, 0, lambda _: None
    )
    average, shift, personal = (errors.rmse(name).value for name in ("average", "shift", "personal"))
    assert personal < shift < average
    assert abs(average - 18.24) < 0.01
    others = panels_around_average(rated.sessions, rated.scores, None, 0)[0]
    own = others.score[3, 5]
    assert not np.isclose(others.average[0, 3, 5], rated.mos[others.rows[5]]) and own != others.average[0, 3, 5]


def errors_of(personal: float, share: float) -> RaterErrors:
    """A hundred raters: the error of the personal model, and the share of them for whom it is better."""
    better = np.arange(100) < 100 * share
    square = np.full(100, personal**2)
    return RaterErrors(np.where(better, square + 1, square - 1), square, square)


@pytest.mark.parametrize(
    ("error", "ten", "fifty", "hold"),
    [(15.2, 0.78, 0.93, [True, False, True]), (15.4, 0.8, 0.79, [False, True, False])],
)
def test_what_was_asked_with_ten_ratings_is_claimed_with_ten(error, ten, fifty, hold) -> None:
    personal = {OWN_RATINGS: errors_of(15.7, ten), PERSONAL_RATINGS: errors_of(14.8, fifty)}
    claims = rater_claims(errors_of(error, 1.0), personal)
    assert [claim.holds for claim in claims] == hold
    assert "with 10 own ratings" in claims[1].statement and "beyond what was asked" in claims[2].statement


@pytest.mark.parametrize(
    ("raters", "fold", "message"),
    [
        (5, [0, 0, 1, 1, 2, 2], None),
        (2, [0, 0, 1, 1, 2, 2], "phone: 2 raters; expected at least 3"),
        (5, [0, 0, 0, 1, 1, 1], "phone: no session of trace c"),
        (5, [0, 0, 0, 0, 1, 2], "phone: 2 sessions outside trace a; expected at least 3"),
    ],
)
def test_too_few_sessions_or_raters_are_told_before_anything_is_fitted(raters, fold, message) -> None:
    panel = Panel("phone", np.arange(6), np.array(fold), np.zeros((raters, 6)), np.zeros((3, raters, 6)))
    parts = ["trace a", "trace b", "trace c"]
    if message is None:
        require_enough(Path("waterloo4"), [panel], 3, parts)
        return
    with pytest.raises(DataError, match=message) as refused:
        require_enough(Path("waterloo4"), [panel], 3, parts)
    assert "\n" not in str(refused.value)


@pytest.mark.data
@pytest.mark.parametrize(
    ("kept", "message"), [(43, "phone: 3\\d sessions outside trace"), (None, "phone: no session of")]
)
def test_a_part_of_the_set_is_refused_in_one_line(twinloop, data_dir, tmp_path, kept, message) -> None:
    (tmp_path / "waterloo4").mkdir()
    (tmp_path / "waterloo4" / "streaming_logs").symlink_to(data_dir / "waterloo4" / "streaming_logs")
    header, *rows = (data_dir / "waterloo4" / "data.csv").read_text().splitlines()
    phone = [row for row in rows if ",phone," in row]
    left = phone[:kept] if kept else [row for row in phone if not row.endswith(",1")]
    others = [row for row in rows if ",phone," not in row]
    (tmp_path / "waterloo4" / "data.csv").write_text("\n".join([header, *others, *left]) + "\n")
    status, _, err = twinloop("evaluate", "qoe", "--dataset", "waterloo4", "--data", tmp_path, "--split", "rater")
    assert status == 2 and re.search(message, err) and err.count("\n") == 1
