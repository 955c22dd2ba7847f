"""Orders of slices: judged, consented to, applied on the loop's thread, and standing after a restart."""

import threading

import pytest
from service.acting.conftest import Loop, Sleepers, make_picture

from twinloop.service.acting import Authority, DecisionError, Decisions, Limits, NoSliceError, Orderer, Slices
from twinloop.service.acting.slices import book
from twinloop.service.acting.slices.profiles import Asked, Promises
from twinloop.service.security import Grants
from twinloop.slicing import SliceSpec, end_slice, table_from_specs
from twinloop.validation import Admission

ADMITTED = Admission(True, 0, "", "", 0.0, 1.0)
REFUSED = Admission(False, 1, "standard", "bandwidth", 0.2, 0.5)
OPERATOR, ACME, BOLT = Orderer("olga"), Orderer("ann", "acme"), Orderer("bob", "bolt")


class Quiet:
    """A switch with nothing behind it."""

    def halt(self) -> None:
        pass

    def release(self) -> None:
        pass


class Shop:
    """Slices over real records and a loop that is only a table; `multicast` is free at the start."""

    def __init__(self, scenario, records, clock, mode="advise", limits=None) -> None:
        self.scenario, self.records, self.clock = scenario, records, clock
        specs = [SliceSpec(**entry.model_dump()) for entry in scenario.slices]
        self.ground = Loop(table=end_slice(table_from_specs(specs, len(specs)), 2))
        self.answer, self.asked = ADMITTED, []
        self.meanwhile = lambda: None
        self.authority = Authority(records, clock, (mode, limits or Limits()), Quiet())
        self.grants = Grants(records, clock)
        self.decisions = Decisions(records, clock, self.ground, self.authority, Sleepers())
        self.decisions.remember()
        who = (self.grants, self.authority, self.decisions)
        self.slices = Slices(scenario, records, clock, self.ground, self.judge, *who)
        self.slices.remember()
        self.ground.table = self.slices.restored(self.ground.table)

    def judge(self, loop, state, table, order):
        self.asked.append((order[0], float(order[1].target_bps[order[0]]), float(order[1].floor_share[order[0]])))
        self.meanwhile()
        return self.answer

    def order(self, change, who=OPERATOR, *, check=False, tenant="", name=None, sst=None, sd=None, **promises):
        wanted = Asked(name=name, sst=sst, sd=sd, promises=Promises(**promises), tenant=tenant)
        order, answered = self.slices.submit(change, wanted, who, check=check)
        answered.result(timeout=30.0)
        return order

    def row(self, name, tenant=""):
        return next((one for one in self.slices.seen(self.picture(), tenant) if one["name"] == name), None)

    def picture(self):
        picture = make_picture()
        picture.slice_active[:] = self.ground.table.active
        picture.target_bps[:] = self.ground.table.target_bps
        picture.floor_share[:] = self.ground.table.floor_share
        return picture


@pytest.fixture
def shop(three_sites, records, clock):
    made = []

    def make(**changes) -> Shop:
        made.append(Shop(three_sites, records, clock, **changes))
        return made[-1]

    yield make
    for one in made:
        one.slices.close()


def test_an_admitted_order_of_an_operator_stands_at_once(shop):
    here = shop()
    order = here.order("create", name="multicast", target_bps=2e6, floor_share=0.2)
    assert (order.state, order.part, order.decision) == ("applied", 1.0, None)
    assert here.asked == [(2, 2e6, pytest.approx(0.2))]
    assert bool(here.ground.table.active[2]) and float(here.ground.table.target_bps[2]) == 2e6
    assert here.row("multicast")["state"] == "standing" and here.row("multicast")["since_s"] == here.clock.now_s


def test_a_refused_order_changes_nothing_and_says_what_would_fit(shop):
    here = shop()
    here.answer = REFUSED
    order = here.order("create", name="multicast", target_bps=2e6, floor_share=0.2)
    assert (order.state, order.breaks, order.lacks, order.part) == ("refused", "standard", "bandwidth", 0.5)
    assert (order.offer_bps, order.offer_floor_share) == (pytest.approx(1e6), pytest.approx(0.1))
    assert "standard: 0.2 below what was agreed" in order.reason and here.ground.changes == 0


def test_checks_are_not_kept(shop):
    here = shop()
    ordered = here.order("adjust", name="premium", target_bps=4e6)
    here.order("adjust", check=True, name="premium", target_bps=5e6)
    here.records.log("server", "wait", "for", "writes", "{}")
    assert [one.key for one in here.records.list("slice_orders")] == [ordered.id]


def test_a_check_answers_and_changes_nothing(shop):
    here = shop()
    assert here.order("create", name="multicast", check=True).state == "feasible"
    here.answer = REFUSED
    assert here.order("adjust", name="premium", target_bps=9e6, check=True).state == "infeasible"
    assert here.ground.changes == 0


def test_less_is_not_judged_and_ending_frees_the_row(shop):
    here = shop()
    assert here.order("adjust", name="premium", target_bps=1e6).state == "applied"
    assert here.asked == [] and float(here.ground.table.target_bps[0]) == 1e6
    assert here.order("end", name="premium").state == "applied"
    assert not bool(here.ground.table.active[0]) and here.row("premium")["state"] == "free"
    assert here.order("create", name="premium").state == "applied"
    assert float(here.ground.table.target_bps[0]) == 3e6, "created anew with what the scenario says"


def test_orders_that_name_nothing_that_can_be_changed_are_refused_with_what_there_is(shop):
    here = shop()
    with pytest.raises(NoSliceError, match=r"no slice 'gold' to create; free rows: multicast \(1-000003\)"):
        here.order("create", name="gold")
    with pytest.raises(NoSliceError, match="no slice 'premium' to create"):
        here.order("create", name="premium")
    with pytest.raises(NoSliceError, match="no slice 'multicast' to end"):
        here.order("end", name="multicast")
    with pytest.raises(NoSliceError, match="no slice with S-NSSAI 7-any to create"):
        here.order("create", sst=7)
    with pytest.raises(NoSliceError, match="fits slices premium, standard; give the name, or the sd"):
        here.order("end", sst=1)
    with pytest.raises(DecisionError, match="S-NSSAI 1-0000ff is not that of slice multicast, 1-000003"):
        here.order("create", name="multicast", sst=1, sd="0000FF")
    with pytest.raises(DecisionError, match="nothing is to be changed"):
        here.order("adjust", name="premium")
    assert here.order("create", sst=1, sd="000003").slice == "multicast"
    with pytest.raises(DecisionError, match="no row of the scenario is free; end a slice"):
        here.order("create", name="gold")


def test_an_s_nssai_stands_once(three_sites, records, clock):
    twins = [entry.model_copy(update={"sd": "000001"}) for entry in three_sites.slices]
    here = Shop(three_sites.model_copy(update={"slices": twins}), records, clock)
    order = here.order("create", name="multicast")
    assert order.state == "refused" and order.reason.startswith("S-NSSAI 1-000001 is that of another slice")
    here.slices.close()


def test_in_mode_advise_a_tenant_waits_for_consent_and_owns_what_it_gets(shop):
    here = shop()
    order = here.order("create", ACME, name="multicast")
    assert (order.state, here.ground.changes) == ("waiting", 0)
    decision = here.decisions.waiting[0]
    assert (decision.kind, decision.order) == ("slice", order.id)
    assert here.decisions.approve(decision.id, "olga", "welcome").state == "applied"
    assert (order.state, here.ground.changes, len(here.asked)) == ("applied", 1, 2), "judged again when it was approved"
    assert here.grants.get("multicast").tenant == "acme"
    assert [one["name"] for one in here.slices.seen(here.picture(), "acme")] == ["multicast"]
    assert here.order("end", ACME, name="multicast").state == "applied"
    assert here.grants.get("multicast") is None


def test_consent_that_comes_too_late_is_no_consent(shop):
    here = shop()
    first, second = (here.order("create", who, name="multicast") for who in (ACME, BOLT))
    assert here.decisions.approve(first.decision, "olga").state == "applied"
    done = here.decisions.approve(second.decision, "olga")
    assert (done.state, second.state) == ("refused", "refused") and "stands already" in second.reason
    assert here.grants.get("multicast").tenant == "acme"
    third = here.order("adjust", ACME, name="multicast", target_bps=3e6)
    here.answer = REFUSED
    assert here.decisions.approve(third.decision, "olga").state == "refused", "the twins have come to think otherwise"
    fourth = here.order("adjust", ACME, name="multicast", floor_share=0.01)
    assert fourth.state == "waiting"
    assert here.decisions.reject(fourth.decision, "olga", "no").state == "rejected" and fourth.state == "rejected"


@pytest.mark.parametrize("change", ["adjust", "create"])
def test_consent_to_an_order_of_a_slice_that_another_has_by_now_is_no_consent(shop, change):
    here = shop()
    if change == "adjust":
        here.order("create", name="multicast", tenant="acme")
    waits = here.order(change, ACME, name="multicast", target_bps=2e6, floor_share=0.2)
    assert waits.state == "waiting"
    if change == "adjust":
        here.order("end", name="multicast")
        here.order("create", name="multicast", tenant="bolt")
    else:
        here.grants.assign("multicast", "bolt")
    before = here.ground.table
    here.decisions.approve(waits.decision, "olga")
    assert (waits.state, here.ground.table is before) == ("refused", True)
    assert "is not whose it was" in waits.reason


def test_an_order_judged_beside_another_is_not_applied_to_what_that_one_changed(shop):
    here = shop()

    def meanwhile() -> None:
        here.meanwhile = lambda: None
        here.ground.table = end_slice(here.ground.table, 0)

    here.meanwhile = meanwhile
    order = here.order("create", name="multicast")
    assert (order.state, order.reason) == ("refused", "other slices changed while it was judged; order again")


def test_in_mode_act_an_admitted_order_of_a_tenant_stands_unless_a_blackout_holds(shop):
    here = shop(mode="act")
    assert here.order("create", ACME, name="multicast").state == "applied"
    night = Limits.model_validate({"blackout": [{"from": "00:00", "to": "23:59"}]})
    here.authority.set_limits(night)
    assert here.order("adjust", ACME, name="multicast", target_bps=4e6).state == "waiting"


def test_tenants_see_and_change_only_their_own(shop):
    here = shop(mode="act")
    here.order("create", ACME, name="multicast")
    assert here.slices.seen(here.picture(), "bolt") == []
    for name in ("multicast", "premium", "gold"):
        with pytest.raises(NoSliceError, match=f"there is no slice '{name}' to adjust; slices: none"):
            here.order("adjust", BOLT, name=name, target_bps=1e6)
    with pytest.raises(NoSliceError, match=r"slices: multicast \(1-000003\)$"):
        here.order("end", ACME, name="premium")
    with pytest.raises(DecisionError, match="weight"):
        here.order("adjust", ACME, name="multicast", weight=100.0)
    here.answer = REFUSED
    order = here.order("adjust", ACME, name="multicast", target_bps=9e6)
    assert "standard" not in str(order.told("acme")) and order.told("acme")["breaks"] == "another slice"
    assert here.slices.orders_of("bolt") == [] and order in here.slices.orders_of("acme")
    here.grants.assign("premium", "bolt")
    here.order("end", name="premium")
    here.grants.assign("premium", "bolt")
    with pytest.raises(DecisionError, match="no row of the scenario is free"):
        here.order("create", ACME, name="premium")


def test_a_restart_stands_on_the_same_slices_and_orders_that_waited_wait(shop):
    here = shop()
    here.order("create", name="multicast", target_bps=2e6, floor_share=0.7, tenant="acme")
    here.order("adjust", name="premium", target_bps=4e6, weight=2.0)
    here.order("end", name="standard")
    waits = here.order("adjust", ACME, name="multicast", target_bps=5e6)
    here.records.log("server", "wait", "for", "writes", "{}")
    again = shop()
    for column in ("active", "target_bps", "floor_share", "weight"):
        assert getattr(again.ground.table, column).tolist() == getattr(here.ground.table, column).tolist()
    assert again.slices.standing == {"multicast", "premium"}
    assert again.slices.orders[waits.id].state == "waiting"
    assert again.decisions.approve(waits.decision, "olga").state == "applied"
    assert float(again.ground.table.target_bps[2]) == 5e6
    assert again.row("multicast")["tenant"] == "acme"


def test_halted_no_slice_changes_but_checks_are_answered(shop):
    here = shop()
    here.authority.halt()
    with pytest.raises(DecisionError, match="kill switch"):
        here.order("create", name="multicast")
    assert here.order("create", name="multicast", check=True).state == "feasible"
    here.authority.release()
    here.meanwhile = here.authority.halt
    order = here.order("create", name="multicast")
    assert (order.state, order.reason, here.ground.changes) == ("refused", "the kill switch is on", 0)


def test_an_order_that_cannot_be_judged_fails_in_one_sentence(shop, caplog):
    here = shop()

    def broken() -> None:
        raise ZeroDivisionError("inside")

    here.meanwhile = broken
    order = here.order("create", name="multicast")
    assert (order.state, order.reason) == ("failed", "it could not be judged: ZeroDivisionError")


def test_only_so_many_orders_are_judged_and_wait(shop):
    here = shop()
    go = threading.Event()
    here.meanwhile = lambda: go.wait(30.0)
    taken = [here.slices.submit("create", Asked(name="multicast"), OPERATOR, check=True) for _ in range(8)]
    with pytest.raises(Exception, match="as many orders are being judged as can be; try again in 10 s"):
        here.slices.submit("create", Asked(name="multicast"), OPERATOR, check=True)
    go.set()
    for _, answered in taken:
        answered.result(timeout=30.0)
    for _ in range(8):
        here.order("create", ACME, name="multicast")
    with pytest.raises(DecisionError, match="8 of your orders wait for consent"):
        here.order("create", ACME, name="multicast")


def test_one_tenant_s_checks_forget_nobody_else_s_orders(shop, monkeypatch):
    monkeypatch.setattr(book, "MOST_ORDERS", 2)
    one = shop()
    one.grants.assign("premium", "acme")
    one.grants.assign("standard", "bolt")
    mine = one.order("adjust", ACME, name="premium", target_bps=3e6)
    other = one.order("adjust", BOLT, name="standard", target_bps=3e6)
    checks = [one.order("adjust", ACME, check=True, name="premium", target_bps=3e6).id for _ in range(4)]
    assert [order.id for order in one.slices.orders_of("bolt")] == [other.id]
    assert [order.id for order in one.slices.orders_of("acme")] == [checks[3], checks[2], mine.id]


def test_a_tenant_is_not_told_how_far_the_floors_of_others_go(shop):
    one = shop(mode="act")
    one.scenario = one.scenario.model_copy(
        update={"policy": one.scenario.policy.model_copy(update={"admission": False})}
    )
    one.slices._scenario = one.scenario
    one.grants.assign("premium", "acme")
    asked = {"name": "premium", "floor_share": 0.99}
    told = one.order("adjust", ACME, **asked), one.order("adjust", OPERATOR, **asked)
    assert [order.state for order in told] == ["refused", "refused"]
    assert told[0].reason == "it does not fit beside what other slices are promised"
    assert "floors promise" in told[1].reason
