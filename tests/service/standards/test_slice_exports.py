"""Decisions as radio policies, promises as A1 policies, profiles as slices and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standards_world import SLICES, make_picture, valid

from twinloop.service.analytics import AnalyticsSettings, Identities, written
from twinloop.service.standards import (
    TEMPLATES,
    TITLES,
    QoeObjectives,
    RrmPolicyRatio,
    qoe_policy,
    rrm_policy_ratios,
    service_profile,
    shares_of_ratios,
    sla_policies,
    slice_spec,
)
from twinloop.slicing import SliceSpec

US = Identities(AnalyticsSettings())


def policies(reserved_hz: list[list[float]]) -> list[dict]:
    """A decision as policies."""
    return [written(policy) for policy in rrm_policy_ratios(np.asarray(reserved_hz, np.float32), make_picture(), US)]


def test_a_decision_becomes_policies_of_whole_per_cents():
    found = policies([[10e6, 5e6, 0], [1e6, 2.5e6, 0]])
    assert len(found) == 4
    assert found[0] == {
        "id": "video",
        "objectClass": "RRMPolicyRatio",
        "objectInstance": "SubNetwork=1,NRCellDU=north%2C%20old,RRMPolicyRatio=video",
        "attributes": {
            "resourceType": "PRB",
            "rRMPolicyMemberList": [{"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": 1, "sd": "0000a1"}}],
            "rRMPolicyMaxRatio": 100,
            "rRMPolicyMinRatio": 50,
            "rRMPolicyDedicatedRatio": 50,
        },
    }
    assert [policy["attributes"]["rRMPolicyDedicatedRatio"] for policy in found] == [50, 25, 10, 25]
    for policy in found:
        member = policy["attributes"]["rRMPolicyMemberList"][0]
        valid(SLICES, "TS28541_NrNrm__Snssai", member["snssai"])
        valid(SLICES, "TS28623_ComDefs__PlmnId", member["plmnId"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0.05, 1))
def test_policies_of_a_cell_never_promise_more_than_it_has(weights, filled):
    total = max(sum(weights), 1e-9)
    names = tuple(f"slice {row}" for row in range(len(weights) + 1))
    picture = make_picture(names, (1.0,) * len(names))
    share = np.asarray([*(weight / total * filled for weight in weights), 0.0])
    reserved = np.stack([share * 20e6, share * 10e6]).astype(np.float32)
    for cell in np.split(np.asarray(rrm_policy_ratios(reserved, picture, US)), 2):
        percents = [policy.attributes.dedicated_ratio for policy in cell]
        assert sum(percents) <= 100
        assert sum(percents) >= 100 * share.sum() - 1.01
        assert np.abs(np.asarray(percents) - 100 * share[:-1]).max() <= 1.01


def test_policies_out_of_order_or_range_are_refused():
    good = policies([[10e6, 5e6, 0], [1e6, 2.5e6, 0]])[0]
    for change in ({"rRMPolicyMinRatio": 10}, {"rRMPolicyDedicatedRatio": 101}, {"rRMPolicyMaxRatio": 30}):
        with pytest.raises(ValueError, match=r"rRMPolicy|less than or equal"):
            RrmPolicyRatio.model_validate({**good, "attributes": {**good["attributes"], **change}})


def test_policies_are_read_back_as_shares():
    picture = make_picture()
    reserved = np.asarray([[10e6, 5e6, 0], [1e6, 2.5e6, 0]], np.float32)
    shares = shares_of_ratios(rrm_policy_ratios(reserved, picture, US), picture, US)
    assert shares == {"north, old": {"video": 0.5, "sensors": 0.25}, "south": {"video": 0.1, "sensors": 0.25}}
    stray = rrm_policy_ratios(reserved, picture, US)[0].model_copy(update={"object_instance": "SubNetwork=9,X=y"})
    with pytest.raises(ValueError, match="no cell"):
        shares_of_ratios([stray], picture, US)


def test_promises_become_a1_policies_of_slices_with_users():
    (policy,) = sla_policies(make_picture(), US)
    assert policy.policy_id == "video-sla"
    assert policy.body == {
        "scope": {"sliceId": {"sst": 1, "sd": "0000a1", "plmnId": {"mcc": "001", "mnc": "01"}}},
        "sliceSlaObjectives": {"guaDlThptPerSlice": 40_000},
    }


def test_experience_becomes_an_a1_policy():
    wanted = QoeObjectives(qoe_score=4.0, initial_buffering=1.5, re_buff_freq=0.2, stall_ratio=0.01)
    body = qoe_policy(make_picture(), US, "sensors", wanted).body
    assert body["qoeObjectives"] == {"qoeScore": 4.0, "initialBuffering": 1.5, "reBuffFreq": 0.2, "stallRatio": 0.01}
    assert body["scope"] == {"sliceId": {"sst": 2, "plmnId": {"mcc": "001", "mnc": "01"}}}
    with pytest.raises(ValueError, match="qoeScore"):
        QoeObjectives.model_validate({"qoeScore": 6})
    with pytest.raises(KeyError):
        qoe_policy(make_picture(), US, "nobody", wanted)


@pytest.mark.parametrize(("template", "sst"), [("embb", 1), ("urllc", 2), ("miot", 3)])
def test_templates_are_valid_profiles_and_slices(template, sst):
    profile = TEMPLATES[template]
    valid(SLICES, "ServiceProfile", profile)
    assert profile["sst"] == sst
    assert set(profile) - {"serviceProfileId", "sst"} <= set(TITLES)
    spec = SliceSpec("mine", sst, "0000a1", "video", target_bps=4e6, floor_share=0.25, weight=2.0)
    ordered = service_profile(spec, US, 8e8, template)
    valid(SLICES, "ServiceProfile", ordered.told())
    assert ordered.told()["dLLatency"] == profile["dLLatency"]
    assert ordered.dLThptPerUE.guaThpt == 4000
    assert slice_spec(ordered, 8e8, service="video", weight=2.0) == spec


def test_a_profile_without_a_floor_or_a_rate():
    bare = service_profile(SliceSpec("mine", 1, "", "video", target_bps=1e6), US, 8e8)
    valid(SLICES, "ServiceProfile", bare.told())
    assert slice_spec(bare, 8e8, service="video").floor_share == 0.0
    silent = bare.model_copy(update={"dLThptPerUE": type(bare.dLThptPerUE)()})
    with pytest.raises(ValueError, match=r"dLThptPerUE\.guaThpt"):
        slice_spec(silent, 8e8, service="video")
