import json

import numpy as np
import pytest

from twinloop.errors import OutputError, ScenarioError
from twinloop.studies import study_da_qoe
from twinloop.studies.da_qoe import living
from twinloop.studies.da_qoe.clairvoyance import clairvoyant_ratio
from twinloop.studies.da_qoe.living import Place, first_minutes, load_lived
from twinloop.studies.da_qoe.setting import CAPACITY, present
from twinloop.studies.da_qoe.variants import CASES, VARIANTS


def test_any_number_of_users_is_spread_over_the_classes_of_agreement():
    for users in range(3, CAPACITY + 1):
        there = present(users)
        assert there.sum() == users
        by_class = there.reshape(3, -1).sum(axis=1)
        assert by_class.max() - by_class.min() <= 1


@pytest.mark.parametrize("wrong", [{"users": (2,)}, {"users": (25,)}, {"users": ()}, {"seeds": 1}, {"minutes": 5}])
def test_a_study_that_makes_no_sense_is_refused(tmp_path, wrong):
    with pytest.raises(ScenarioError):
        study_da_qoe(tmp_path, **({"users": (16,), "seeds": 2, "minutes": 6} | wrong))


def test_every_variant_differs_from_a_scheme_by_figures_alone_or_says_so():
    for name, case in VARIANTS.items():
        assert case.base in CASES
        assert case.kin == CASES[case.base].kin, name


def test_batches_of_a_kind_are_of_one_size_and_hold_everything():
    asked = [Place("proposed", 24, seed, 60) for seed in range(25)] + [Place("pf", 24, seed, 60) for seed in range(3)]
    asked += [Place("frozen", 24, seed, 24) for seed in range(17)]
    batches = living.batches_of(asked)
    assert {place for batch in batches for place in batch} == set(asked)
    for batch in batches:
        assert len({(CASES[place.case].kin, place.minutes) for place in batch}) == 1
    sizes = {case: {len(batch) for batch in batches if batch[0].case == case} for case in ("proposed", "frozen", "pf")}
    assert sizes["proposed"] == sizes["frozen"] and len(sizes["proposed"]) == 1
    assert sizes["pf"] == {3}, "a world is repeated only to share a program"
    assert sum(map(len, batches)) <= 1.25 * len(asked)


def test_a_worker_keeps_to_what_it_has_compiled_and_leaves_others_theirs():
    asked = [Place(name, 24, seed, 60) for name in ("proposed", "pf", "no-agents") for seed in range(12)]
    left = living.batches_of(asked)
    kin = {name: CASES[name].kin for name in ("proposed", "pf", "no-agents")}
    assert living.next_batch(left, [kin["pf"], None], 0)[0].case == "pf"
    assert living.next_batch(left, [kin["proposed"], kin["pf"]], 1)[0].case == "pf"
    assert living.next_batch(left, [kin["proposed"], None], 1)[0].case != "proposed"
    last = [batch for batch in left if batch[0].case == "proposed"]
    assert living.next_batch(last, [kin["proposed"], kin["pf"]], 1)[0].case == "proposed"


@pytest.mark.slow
def test_agents_live_and_a_study_goes_on_where_it_stopped(tmp_path, programs):
    asked = {"users": (6,), "seeds": 2, "minutes": 6, "schemes": ("proposed",), "variants": ("frozen", "window-3")}
    told = []
    judgement = study_da_qoe(tmp_path, **asked, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (48, 48)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {run["case"] for run in results["runs"]} == {"proposed", "frozen", "window-3"}
    for run in results["runs"]:
        assert 0 <= run["ela_ratio"] <= run.get("ela_ratio_bound", 1.0) + 1e-3 <= 1.01
        assert ("ela_ratio_bound" in run) == (run["case"] == "proposed")
        assert run["ela_share_feasible"] >= run["ela_share"]
        assert 1 <= run["qoe_median"] <= 5
    lived = load_lived(tmp_path / "runs" / "proposed-6-1-6min.npz")
    assert lived.present.sum() == 6
    assert np.all(lived.experience[2:, ~lived.present] == 0)
    assert np.all(lived.experience <= lived.ceiling + 1e-4)
    known = lived.believed[3:, lived.present]
    assert np.abs(known - lived.experience[3:, lived.present]).mean() < 0.6
    assert lived.decided[1] == 1 and np.isfinite(lived.score[3])
    half = first_minutes(lived, 4)
    assert half.experience.shape[0] == 4 and half.agreed.shape == lived.agreed.shape
    assert 0 < clairvoyant_ratio(lived, 3, 3) <= 1.001
    page = (tmp_path / "report.html").read_text()
    assert "What holds" in page and "Windows" in page and "Negative controls" in page
    again = study_da_qoe(tmp_path, **asked, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (48, 48)
    assert again.to_json() == judgement.to_json()
    with pytest.raises(OutputError, match="another study"):
        study_da_qoe(tmp_path, **(asked | {"minutes": 9}))
