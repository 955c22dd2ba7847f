"""Decisions, slices, sites and limits as clients ask for them; answers that a program and a person can go on from."""

import threading

import jax.numpy as jnp
import pytest
from service.acting.conftest import Loop, make_verdict
from service.conftest import Clock
from service.twin_stage import Stage

from twinloop.entities import Action
from twinloop.network import Command
from twinloop.network.formats import Receipt
from twinloop.service.acting import WebhookOrder
from twinloop.service.acting.effect import Aftermath
from twinloop.service.acting.record import Decision
from twinloop.service.keeping import KeepingSettings
from twinloop.service.live_platform import Platform, Settings
from twinloop.slicing import SliceSpec, table_from_specs
from twinloop.storage import open_storage
from twinloop.validation import Admission

ADMITTED = Admission(True, 0, "", "", 0.0, 1.0)
REFUSED = Admission(False, 1, "standard", "bandwidth", 0.2, 0.5)
PROFILE = {
    "serviceProfileId": "festival",
    "plmnInfoList": [{"plmnId": {"mcc": "001", "mnc": "01"}, "snssai": {"sst": 1, "sd": "000003"}}],
    "dLThptPerUE": {"guaThpt": 1500},
    "dLLatency": 20,
}


class Desk(Stage):
    """A stage whose loop is only asked; `answer` is what its twins say to orders."""

    def __init__(self, platform, clock) -> None:
        super().__init__(platform, clock)
        self.answer, acting = ADMITTED, platform.acting
        specs = [SliceSpec(**entry.model_dump()) for entry in platform.scenario.slices]
        self.ground = Loop(table=acting.slices.restored(table_from_specs(specs, len(specs))))
        acting.slices._ground = acting.decisions._ground = self.ground
        acting.slices._judge = lambda *asked: self.answer
        acting.capacity_bps = lambda: 100e6
        acting.webhooks.start()
        self.live(10)
        for role in ("operator", "reporter"):
            self.secrets[role] = self.token(role)

    def decide(self) -> Decision:
        """A decision that waits, and can be adopted."""
        self.clock.now_s += 60.0
        platform = self.platform
        held = platform.picture.reserved_bandwidth_hz.copy()
        held[0, 0] += 1e6
        return platform.decisions.decided(platform.picture, made_for(held, platform))

    def ends(self, who: str, method: str, path: str, **parts):
        answer = self.call(method, path, who, **parts)
        return answer.status_code, answer.json()


def made_for(held, platform):
    """A verdict for these reservations."""
    verdict = make_verdict()
    flows = jnp.zeros(3)
    cycles = jnp.asarray(platform.picture.reserved_cycles_per_s)
    action = Action(jnp.ones(3, bool), jnp.asarray(held), cycles, cycles, flows, flows)
    approved = type(verdict.approved)(action, jnp.int32(0))
    return type(verdict)(approved, verdict.code, verdict.best, verdict.score, verdict.safety)


@pytest.fixture
def desk(small_site, tmp_path):
    clock = Clock()
    platform = Platform(
        small_site, open_storage(str(tmp_path / "d.db")), clock, Settings(keeping=KeepingSettings(snapshot_every_s=1e9))
    )
    made = Desk(platform, clock)
    yield made
    made.platform.acting.stop()
    made.close()


def test_a_slice_is_ended_ordered_adjusted_and_seen(desk):
    status, told = desk.ends("operator", "DELETE", "/slices/multicast")
    assert (status, told["state"], told["change"]) == (200, "applied", "end")
    answer = desk.call("POST", "/slices", "operator", json=PROFILE, params={"tenant": "acme"})
    assert answer.status_code == 201 and answer.headers["Location"] == f"/orders/{answer.json()['id']}"
    assert (answer.json()["promises"], answer.json()["not_covered"]) == ({"target_bps": 1.5e6}, ["dLLatency"])
    status, told = desk.ends("operator", "PATCH", "/slices/multicast", json={"target_bps": 1e6})
    assert (status, told["reason"]) == (200, "it asks for no more than before")
    status, told = desk.ends("viewer", "GET", "/slices/multicast")
    assert (told["target_bps"], told["tenant"], told["profile"]) == (1e6, "acme", PROFILE)
    assert set(told["reserved_share"]) == {"north", "south", "edge"}
    assert bool(desk.ground.table.active[2])
    listed = desk.call("GET", "/audit").json()["log"]
    assert [(one["action"], one["outcome"]) for one in listed if one["action"].startswith("slice.")] == [
        (f"slice.{change}", outcome) for change in ("adjust", "create", "end") for outcome in ("applied", "asked")
    ]


def test_an_order_that_is_not_taken_is_recorded_as_failed(desk):
    assert desk.ends("operator", "PATCH", "/slices/gold", json={"target_bps": 9e6})[0] == 404
    failed, asked = (one for one in desk.call("GET", "/audit").json()["log"] if one["action"] == "slice.adjust")
    assert (asked["outcome"], asked["target"], failed["outcome"]) == ("asked", "gold", "failed")
    assert "gold" in failed["detail"]


def test_one_tenant_s_orders_under_judgement_leave_room_for_others(desk):
    judged = threading.Event()

    def judge(*_: object) -> Admission:
        assert judged.wait(30.0)
        return ADMITTED

    desk.platform.acting.slices._judge = judge
    desk.ends("operator", "DELETE", "/slices/multicast", params={"wait_s": 0})
    for tenant in map(desk.tenant, ("acme", "bolt")):
        order = {"json": {"name": "multicast", "target_bps": 1e6}, "params": {"wait_s": 0}}
        asked = [desk.call("POST", "/slices/check", tenant, **order) for _ in range(5)]
        assert [one.status_code for one in asked] == [202, 202, 202, 202, 503]
        assert int(asked[-1].headers["Retry-After"]) > 0
    judged.set()


def test_a_refusal_is_a_problem_with_the_order_beside_it(desk):
    desk.answer = REFUSED
    answer = desk.call("PATCH", "/slices/premium", "operator", json={"target_bps": 9e6})
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert problem["hint"] == "50% of it would fit: target_bps 6000000, floor_share 0.15"
    assert problem["order"]["breaks"] == "standard" and "Traceback" not in answer.text
    status, told = desk.ends("operator", "POST", "/slices/check", json={"name": "premium", "target_bps": 9e6})
    assert (status, told["state"], told["change"]) == (200, "infeasible", "adjust")


def test_a_tenant_orders_and_an_operator_consents(desk):
    desk.ends("operator", "DELETE", "/slices/multicast")
    tenant, other = desk.tenant("acme"), desk.tenant("bolt")
    status, order = desk.ends(tenant, "POST", "/slices", json={"name": "multicast"})
    assert (status, order["state"]) == (202, "waiting")
    status, listed = desk.ends("viewer", "GET", "/decisions", params={"kind": "slice", "state": "waiting"})
    name = listed["decisions"][0]["id"]
    assert desk.ends(tenant, "POST", f"/decisions/{name}/approve")[0] == 403
    status, done = desk.ends("operator", "POST", f"/decisions/{name}/approve", json={"comment": "welcome"})
    assert (status, done["state"], done["comment"]) == (200, "applied", "welcome")
    assert desk.ends(tenant, "GET", f"/orders/{order['id']}")[1]["state"] == "applied"
    assert [one["name"] for one in desk.ends(tenant, "GET", "/slices")[1]["slices"]] == ["multicast"]
    assert desk.ends(other, "GET", "/slices")[1] == {"slices": []}
    assert desk.ends(other, "GET", "/orders")[1] == {"orders": []}
    for method, path in (("GET", "/slices/multicast"), ("DELETE", "/slices/multicast"), ("DELETE", "/slices/premium")):
        assert desk.ends(other, method, path)[0] == 404
    assert desk.ends(other, "GET", f"/orders/{order['id']}")[0] == 404
    assert desk.ends(other, "POST", "/slices", json={"name": "x", "tenant": "acme"})[0] == 403
    seen = [desk.ends(other, "POST", "/slices/check", json={"name": name})[1]["detail"] for name in ("premium", "none")]
    assert seen[0].replace("premium", "none") == seen[1], "what is somebody else's looks like what there is not"
    assert desk.ends("reporter", "GET", "/slices")[0] == 403


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "name the slice"),
        ({"name": "premium", "target": 1}, "Extra inputs"),
        ({"plmnInfoList": [{"snssai": {"sst": 1}}], "dLThptPerUE": {"guaThpt": "fast"}}, "valid number"),
        ([], "valid dictionary"),
    ],
)
def test_what_is_no_order_is_one_problem(desk, body, said):
    status, problem = desk.ends("operator", "POST", "/slices", json=body)
    assert status == 422 and said in problem["detail"]


def test_a_decision_is_read_approved_once_and_told_in_the_standards_words(desk):
    decision = desk.decide()
    status, ratios = desk.ends("viewer", "GET", f"/decisions/{decision.id}", params={"format": "rrm"})
    first = ratios["policies"][0]["attributes"]
    north = desk.platform.picture.cell_bandwidth_hz[0]
    assert first["rRMPolicyDedicatedRatio"] == pytest.approx(100 * 3e6 / north, abs=1.0)
    assert len(ratios["policies"]) == 6
    status, policies = desk.ends("viewer", "GET", f"/decisions/{decision.id}", params={"format": "a1"})
    assert status == 200 and policies["decision"] == decision.id
    status, done = desk.ends("operator", "POST", f"/decisions/{decision.id}/approve")
    assert (status, done["state"], done["by"]) == (200, "adopted", "a operator")
    status, problem = desk.ends("operator", "POST", f"/decisions/{decision.id}/reject")
    assert status == 409 and "it is adopted" in problem["detail"]
    assert desk.ends("operator", "POST", "/decisions/none/approve")[0] == 404
    assert desk.ends("viewer", "GET", "/decisions", params={"after": "none"})[0] == 422
    status, problem = desk.ends("operator", "POST", f"/decisions/{decision.id}/approve", json={"comment": "x" * 2001})
    assert status == 422 and "2000 characters" in problem["detail"]


def test_limits_and_mode_and_the_kill_switch(desk):
    wanted = {"largest_change": 0.1, "timezone": "Europe/Berlin", "blackout": [{"from": "22:00", "to": "06:00"}]}
    status, told = desk.ends("operator", "PUT", "/limits", json=wanted)
    assert (status, told["largest_change"], told["most_per_hour"]) == (200, 0.1, 60)
    assert told["blackout"][0]["from"] == "22:00" and len(told["blackout"][0]["days"]) == 7
    status, problem = desk.ends("operator", "PUT", "/limits", json={"floors": {"gold": 0.1}})
    assert status == 422 and "there are premium, standard, multicast" in problem["detail"]
    assert desk.ends("operator", "PUT", "/limits", json={"timezone": "Mars"})[0] == 422
    assert desk.ends("viewer", "PUT", "/limits", json={})[0] == 403
    assert desk.ends("operator", "PUT", "/mode", json={"mode": "act"})[1]["mode"] == "act"
    status, problem = desk.ends("operator", "PUT", "/kill", json={"on": False})
    assert status == 422 and problem["hint"] == "DELETE /kill releases it"
    assert desk.ends("operator", "GET", "/mode")[1]["mode"] == "act"
    assert desk.ends("operator", "PUT", "/kill")[1] == {"mode": "halted", "kept": True}
    status, problem = desk.ends("operator", "PUT", "/mode", json={"mode": "act"})
    assert status == 409 and "DELETE /kill" in problem["detail"]
    assert desk.ends("operator", "DELETE", "/slices/premium")[0] == 409
    decision = desk.decide()
    assert desk.ends("operator", "POST", f"/decisions/{decision.id}/approve")[0] == 409
    assert desk.ends("operator", "DELETE", "/kill")[1]["mode"] == "advise"


def test_sites_are_told_trusted_and_called(desk):
    site = desk.ends("viewer", "GET", "/sites")[1]["sites"][0]
    assert (site["site"], site["state"], site["webhook"]) == ("all", "away", None)
    hook = {"url": "https://127.0.0.1/", "secret": "long enough to sign"}
    status, problem = desk.ends("operator", "PUT", "/sites/all/webhook", json=hook)
    assert status == 422 and "public" in problem["detail"]
    assert desk.ends("operator", "PUT", "/sites/none/webhook", json=hook)[0] == 404
    status, problem = desk.ends("operator", "PUT", "/sites/all/webhook", json=hook | {"secret": "short"})
    assert status == 422 and "short" not in problem["detail"], "a secret is not repeated"
    desk.platform.acting.webhooks.register(
        "all", WebhookOrder(**hook | {"url": "https://8.8.8.8:8443/hooks/s3cret?k=1"})
    )
    shown = {who: desk.ends(who, "GET", "/sites")[1]["sites"][0]["webhook"]["url"] for who in ("viewer", "operator")}
    assert shown == {"viewer": "https://8.8.8.8:8443", "operator": "https://8.8.8.8:8443/hooks/s3cret?k=1"}
    desk.platform.dispatcher.distrust("all", "it lied")
    assert desk.ends("viewer", "GET", "/sites")[1]["sites"][0]["distrusted"] == "it lied"
    assert desk.ends("viewer", "PUT", "/sites/all/trust")[0] == 403
    assert desk.ends("operator", "PUT", "/sites/all/trust")[1]["distrusted"] == ""


def test_a_site_that_lies_twice_is_distrusted_and_the_mode_falls_back(desk):
    acting = desk.platform.acting
    acting.authority.set_mode("act")
    site = desk.platform.dispatcher.sites["all"]
    site.wanted = Command(1, "all", 0.0, [])
    site.fetched_revision, site.slices_revision = 1, 1
    desk.platform.dispatcher.take("all", [Receipt(revision=1, result="applied")])
    decision = desk.decide()
    seen = {"all": {"says": "not seen", "why": ["premium in north: takes more"], "slots": 30}}
    acting._trust([Aftermath(decision.id, effect=seen)])
    assert (site.distrusted, acting.authority.mode) == ("", "act"), "once may be chance"
    acting._trust([Aftermath(decision.id, effect=seen)])
    assert "do not count until a person trusts it again" in site.distrusted
    assert acting.authority.mode == "advise" and "site all is distrusted" in acting.authority.said
    assert not desk.platform.dispatcher.receipt()[0], "nobody is left whose receipts count"
    assert desk.call("GET", "/mode").json()["said"].startswith("site all is distrusted")
