"""Orders in the names of TS 28.541 and in our own, of three templates: eMBB, URLLC, MIoT."""

import pytest
from pydantic import TypeAdapter, ValidationError

from twinloop.service.acting import AnyOrder, ServiceProfile, ShortOrder, asked

ORDER = TypeAdapter(AnyOrder)
CAPACITY_BPS = 100e6


def profile(sst: int, sd: str = "000001", **given) -> dict:
    plmn = {"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": sst, "sd": sd}}
    return {"serviceProfileId": f"profile-{sst}", "plmnInfoList": [plmn]} | given


TEMPLATES = {
    "eMBB": profile(
        1,
        maxNumberofUEs=200,
        dLLatency=50,
        dLThptPerSlice={"guaThpt": 20_000, "maxThpt": 60_000},
        dLThptPerUE={"guaThpt": 3_000},
        uESpeed=10,
        coverageArea="campus",
    ),
    "URLLC": profile(2, dLLatency=5, uLLatency=5, availability=99.99, jitter=1, dLThptPerUE={"guaThpt": 500}),
    "MIoT": profile(3, maxNumberofUEs=5000, dLThptPerSlice={"guaThpt": 1_000}, energyEfficiency={"performance": 3}),
}


@pytest.mark.parametrize(
    ("name", "target_bps", "floor_share", "not_covered"),
    [
        ("eMBB", 3e6, 0.2, ("coverageArea", "dLLatency", "maxNumberofUEs", "uESpeed", "dLThptPerSlice.maxThpt")),
        ("URLLC", 5e5, None, ("availability", "dLLatency", "jitter", "uLLatency")),
        ("MIoT", None, 0.01, ("energyEfficiency", "maxNumberofUEs")),
    ],
)
def test_a_profile_becomes_what_can_be_promised_and_says_what_cannot(name, target_bps, floor_share, not_covered):
    order = ORDER.validate_python(TEMPLATES[name])
    assert isinstance(order, ServiceProfile)
    wanted = asked(order, CAPACITY_BPS)
    assert (wanted.promises.target_bps, wanted.promises.floor_share) == (target_bps, floor_share)
    assert (wanted.sst, wanted.sd, wanted.name) == ({"eMBB": 1, "URLLC": 2, "MIoT": 3}[name], "000001", None)
    assert wanted.not_covered == not_covered
    assert wanted.profile == TEMPLATES[name], "kept as it came"


def test_the_short_form():
    order = ORDER.validate_python({"name": "premium", "target_bps": 2e6, "tenant": "acme"})
    assert isinstance(order, ShortOrder)
    wanted = asked(order, CAPACITY_BPS)
    assert (wanted.name, wanted.promises.target_bps, wanted.tenant) == ("premium", 2e6, "acme")
    assert wanted.profile is None and wanted.not_covered == ()


def test_a_floor_is_never_more_than_everything():
    order = ORDER.validate_python(profile(1, dLThptPerSlice={"guaThpt": 1e9}))
    assert asked(order, CAPACITY_BPS).promises.floor_share == 1.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "name the slice, or give its S-NSSAI"),
        ({"name": "a", "target": 1}, "Extra inputs are not permitted"),
        ({"name": "a", "target_bps": float("inf")}, "finite"),
        ({"name": "a", "floor_share": 1.5}, "less than or equal to 1"),
        ({"sst": 1, "sd": "xyz"}, "pattern"),
        ({"sst": 256}, "less than or equal to 255"),
        ({"serviceProfileId": "p"}, "plmnInfoList"),
        ({"plmnInfoList": []}, "at least 1 item"),
        (profile(1, dLThptPerUE={"guaThpt": -1}), "greater than 0"),
        (profile(1, coverageArea="x" * 20_000), "at most 16384 characters"),
        ("text", "valid dictionary"),
    ],
)
def test_what_is_no_order_is_refused_by_field(wrong, said):
    with pytest.raises(ValidationError, match=said):
        ORDER.validate_python(wrong)
