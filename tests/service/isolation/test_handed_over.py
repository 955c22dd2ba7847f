"""A slice that is given from one tenant to another takes nothing of the first one's along."""

from tenant_worlds import LAST, SLICE, TENANT

from twinloop.validation import Admission

PROFILE = {
    "serviceProfileId": "festival-of-acme",
    "plmnInfoList": [{"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": 1, "sd": "000001"}}],
    "dLThptPerUE": {"guaThpt": 1500},
}


def test_how_a_slice_was_ordered_is_not_the_next_tenant_s(worlds):
    world, heir = worlds[0], worlds[0].others.tenant
    world.platform.acting.slices._judge = lambda *asked: Admission(True, 0, "", "", 0.0, 1.0)
    assert world.call("DELETE", f"/slices/{SLICE}", "operator").status_code == 200
    order = world.call("POST", "/slices", TENANT, json=PROFILE).json()
    assert world.call("POST", f"/decisions/{order['decision']}/approve", "operator").status_code == 200
    assert world.known(f"/slices/{SLICE}", TENANT)["profile"] == PROFILE
    assert world.call("DELETE", f"/grants/{SLICE}").status_code == 200
    assert world.call("PUT", f"/grants/{SLICE}", json={"tenant": heir}).status_code == 200
    world.show_slot(LAST + 1)
    assert world.known(f"/slices/{SLICE}")["profile"] == PROFILE, "who runs the network sees it all"
    for path in (f"/slices/{SLICE}", "/slices", "/orders", f"/twins/slice/{SLICE}"):
        told = world.get(path, heir)
        assert told.status_code == 200 and "festival" not in told.text and TENANT not in told.text, path
    world.refused(f"/orders/{order['id']}", 404, heir)
    world.refused(f"/slices/{SLICE}", 404, TENANT)
    past = world.known(f"/twins/slice/{SLICE}/history", heir, attribute="users", **{"from": "-1h"})
    lived = [at for at, value in zip(past["time_s"], past["value"], strict=True) if value is not None]
    assert all(at >= world.epoch_s + LAST for at in lived), "what the slice was is the first one's"
