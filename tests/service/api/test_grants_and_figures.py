"""Whose slices are whose, by an admin; noisy figures of others, from a budget that is seen and ends."""

from twinloop.service.correlation import Correlated
from twinloop.storage import StorageFull


def test_a_slice_is_given_shown_changed_and_taken(new_stage):
    stage = new_stage()
    stage.secrets["acme"] = stage.token("tenant", tenant="acme")
    stage.live(3)
    assert stage.known("/twins/user", "acme")["twins"] == []
    given = stage.call("PUT", "/grants/premium", json={"tenant": "acme", "attributes": ["rate_bps"]})
    assert given.status_code == 200 and given.json()["attributes"] == ["rate_bps"]
    stage.live(4)
    (ann, _) = stage.known("/twins/user", "acme")["twins"]
    assert set(ann["reported"]) == {"rate_bps"} and ann["id"] not in ("ann", "cy")
    changed = stage.call("PATCH", "/grants/premium", json={"attributes": ["delay_s"], "identity": True})
    assert changed.json()["identity"] is True
    seen = stage.known("/twins/user", "acme")["twins"]
    assert {one["id"] for one in seen} == {"ann", "cy"} and set(seen[0]["reported"]) == {"delay_s"}
    assert [one["slice"] for one in stage.known("/grants")["grants"]] == ["premium"]
    assert stage.call("DELETE", "/grants/premium").status_code == 200
    assert stage.known("/twins/user", "acme")["twins"] == [] and stage.known("/grants")["grants"] == []
    done = [(line["action"], line["outcome"]) for line in stage.known("/audit")["log"]]
    acts = ("grant.release", "grant.change", "grant.assign")
    assert done[:6] == [(act, outcome) for act in acts for outcome in ("done", "asked")]


def test_what_cannot_be_recorded_is_not_done(new_stage, monkeypatch):
    stage = new_stage()

    def full(*told: object) -> None:
        raise StorageFull("the disk")

    tokens = {token.id for token in stage.tokens.all()}
    monkeypatch.setattr(stage.platform.records, "log", full)
    order = {"tenant": "acme", "attributes": ["rate_bps"]}
    assert stage.call("PUT", "/grants/premium", json=order).status_code == 507
    assert stage.call("POST", "/tokens", json={"role": "admin", "name": "x"}).status_code == 507
    assert stage.call("PUT", "/mode", json={"mode": "act"}).status_code == 507
    assert not stage.platform.grants.all() and {token.id for token in stage.tokens.all()} == tokens
    assert stage.platform.acting.authority.mode == "advise"
    assert stage.call("PUT", "/kill").status_code == 507
    assert stage.platform.acting.authority.mode == "halted"


def test_a_ticket_opens_one_connection(new_stage):
    stage = new_stage()
    made = stage.call("POST", "/tickets", "viewer")
    ticket = made.json()["ticket"]
    assert made.status_code == 201 and made.json()["lasts_s"] == 30
    asked = [stage.call("GET", f"/whoami?ticket={ticket}", None) for _ in range(2)]
    assert [answer.status_code for answer in asked] == [200, 401] and asked[0].json()["role"] == "viewer"


def test_a_grant_that_cannot_be_is_a_problem_with_a_hint(new_stage):
    stage = new_stage()
    order = {"tenant": "acme"}
    cases = [
        ("PUT", "/grants/nosuch", order, 404, "slices: "),
        ("PUT", "/grants/premium", {"tenant": ""}, 422, ""),
        ("PUT", "/grants/premium", order | {"attributes": ["shoe_size"]}, 422, "choose from"),
        ("PATCH", "/grants/premium", {"identity": True}, 404, "PUT gives it"),
        ("DELETE", "/grants/premium", None, 404, "see /grants"),
    ]
    for method, path, body, status, hint in cases:
        answer = stage.call(method, path, **({} if body is None else {"json": body}))
        assert answer.status_code == status and hint in answer.json().get("hint", ""), answer.text
    stage.tenant("acme", "premium")
    taken = stage.call("PUT", "/grants/premium", json={"tenant": "other"})
    assert taken.status_code == 422 and "release it first" in taken.json()["hint"]
    assert stage.call("GET", "/grants", "viewer").status_code == 403


def test_figures_of_others_cost_budget_until_there_is_none(new_stage):
    stage = new_stage()
    stage.tenant("acme", "premium")
    stage.live(3)
    before = stage.known("/aggregates/budget", "acme")
    assert before["left"] == before["epsilon_a_day"] == 2.0
    counted = stage.call("POST", "/aggregates/count", "acme", json={"epsilon": 1.5}).json()
    assert counted["low"] <= counted["value"] <= counted["high"] and counted["budget"]["left"] == 0.5
    mean = stage.call("POST", "/aggregates/mean", "acme", json={"attribute": "rate_bps", "epsilon": 0.25}).json()
    assert mean["unit"] == "bit/s" and mean["budget"]["left"] == 0.25
    spent = stage.call("POST", "/aggregates/count", "acme", json={"epsilon": 0.5})
    assert spent.status_code == 429 and int(spent.headers["Retry-After"]) > 0
    assert stage.known("/aggregates/budget", "acme")["left"] == 0.25
    cases = [("count", {"cell": "nosuch"}, 404), ("mean", {"attribute": "shoe_size"}, 404)]
    cases += [("mean", {"attribute": "version"}, 422), ("count", {"epsilon": 1e9}, 422), ("mean", {}, 422)]
    for path, body, status in cases:
        answer = stage.call("POST", f"/aggregates/{path}", "acme", json=body)
        assert answer.status_code == status, answer.text
    assert stage.call("POST", "/aggregates/count", "admin", json={}).status_code == 403


def test_a_problem_names_the_correlation_of_its_request(new_stage):
    stage = new_stage()
    stage.app = Correlated(stage.app)
    answer = stage.call("GET", "/twins/user", who=None, headers={"X-Correlation-Id": "asked-by-me"})
    assert answer.json()["correlation"] == answer.headers["x-correlation-id"] == "asked-by-me"
