import json

import numpy as np
import pytest

from twinloop.errors import OutputError, ScenarioError
from twinloop.studies import study_da_qoe
from twinloop.studies.da_qoe.setting import CAPACITY, present


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


@pytest.mark.slow
def test_agents_live_and_a_study_goes_on_where_it_stopped(tmp_path, programs):
    asked = {"users": (6,), "seeds": 2, "minutes": 6, "schemes": ("proposed",)}
    told = []
    judgement = study_da_qoe(tmp_path, **asked, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["runs"]) == 2
    for run in results["runs"]:
        assert 0 <= run["ela_ratio"] <= 1
        assert 1 <= run["qoe_median"] <= 5
    with np.load(tmp_path / "runs" / "proposed-6-1.npz") as held:
        assert held["present"].sum() == 6
        assert np.all(held["experience"][2:, ~held["present"]] == 0)
        known = held["believed"][3:, held["present"]]
        assert np.abs(known - held["experience"][3:, held["present"]]).mean() < 0.6
    again = study_da_qoe(tmp_path, **asked, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert again.to_json() == judgement.to_json()
    with pytest.raises(OutputError, match="another study"):
        study_da_qoe(tmp_path, **(asked | {"minutes": 9}))
