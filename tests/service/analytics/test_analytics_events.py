"""What each event says of a network whose state, past and future are known; the standard's spellings among it."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from nwdaf_world import FUTURE, NOW_S, PAST, rfc3339

from twinloop.qoe import RULES, Conditions, UserModels

ANY = {"anyUe": True}
ANN = {"supis": ["nai-ann@twinloop.invalid"]}


def one(world, event, field, **parts) -> dict:
    """The only item of an answer."""
    response = world.get(event, **parts)
    assert response.status_code == 200, response.text
    (item,) = response.json()[field]
    return item


def rising(a_minute: float):
    """A counter that grows by so much a minute."""
    return lambda time_s: (time_s - NOW_S) / 60.0 * a_minute + 100.0


# SERVICE_EXPERIENCE


@pytest.mark.parametrize(("quality", "stalled_s"), [(0.9, 0.0), (0.8, 3.0), (0.3, 9.0), (1.0, 0.5)])
def test_opinion_follows_quality_and_stalling_as_users_who_mind_both(world, quality, stalled_s):
    world.report("user", "quality", [quality] * 7)
    world.past.told["user", "ann", "rebuffer_s"] = rising(stalled_s)
    item = one(world, "SERVICE_EXPERIENCE", "svcExps", tgt_ue=ANN, ana_req=PAST)
    ones = jnp.ones(1)
    model = UserModels(
        rule=jnp.asarray([RULES.index("both")]),
        impact=jnp.zeros(1, int),
        level=0 * ones,
        stall_weight=0.1 * ones,
        quality_weight=ones,
        kappa_b=0 * ones,
        kappa_c=0 * ones,
    )
    lived = Conditions(stall_s=stalled_s * ones, quality=quality * ones, behaviour=ones, environment=ones)
    assert item["svcExprc"]["mos"] == pytest.approx(float(model.experience(lived)[0]), abs=0.01)
    assert item["supis"] == ANN["supis"]
    assert item["ueLocs"][0]["loc"]["nrLocation"]["ncgi"]["nrCellId"] == "000001000"
    assert item["ratio"] == item["confidence"] == 100


def test_who_has_an_empty_buffer_now_is_stalled(world):
    item = one(world, "SERVICE_EXPERIENCE", "svcExps", tgt_ue={"supis": ["imsi-001010000000003"]})
    assert item["svcExprc"]["mos"] == 1.0


def test_a_slice_has_the_mean_opinion_of_its_users(world):
    found = world.get("SERVICE_EXPERIENCE", tgt_ue=ANY, ana_req=PAST).json()["svcExps"]
    means = [1 + 4 * np.mean(part) for part in ([0.9, 0.8, 0.7], [0.6, 0.5, 0.95])]
    assert [item["svcExprc"]["mos"] for item in found] == pytest.approx(means, abs=0.01)
    assert [item["ratio"] for item in found] == [100, 33]
    spread = 16 * np.var([0.9, 0.8, 0.7])
    assert found[0]["svcExprcVariance"] == pytest.approx(spread, abs=1e-3)


def test_a_buffer_that_is_foretold_to_run_empty_lowers_the_opinion(world):
    world.future.spread = 0.0
    before = one(world, "SERVICE_EXPERIENCE", "svcExps", tgt_ue=ANN, ana_req=FUTURE)
    assert before["svcExprc"]["mos"] == pytest.approx(1 + 4 * 0.9, abs=0.01)
    left = 4.0 - np.arange(120, dtype=np.float32) / 29.0
    foretell = world.future.foretell

    def draining(kind, attribute, horizon_s):
        told = foretell(kind, attribute, horizon_s)
        buffer_s = np.tile(left[: len(told.time_s), None], (1, 7))
        return replace(told, mean=buffer_s, std=np.zeros_like(buffer_s)) if attribute == "buffer_s" else told

    world.future.foretell = draining
    after = one(world, "SERVICE_EXPERIENCE", "svcExps", tgt_ue=ANN, ana_req=FUTURE)
    stalled_s = 60 * np.mean(left[:119] <= 0)
    assert after["svcExprc"]["mos"] == pytest.approx(1 + 4 * (0.9 - 0.1 * stalled_s), abs=0.01)


# UE_MOBILITY


def test_visits_of_a_person_follow_each_other(world):
    went = {"user": lambda time_s: np.where(time_s < NOW_S - 400, 0, np.where(time_s < NOW_S - 100, 2, 1))}
    world.past.told["user", "ann", "serving_cell"] = went["user"]
    found = world.get("UE_MOBILITY", tgt_ue=ANN, ana_req=PAST).json()["ueMobs"]
    cells = [item["locInfos"][0]["loc"]["nrLocation"]["ncgi"]["nrCellId"] for item in found]
    assert cells == ["000001000", "000001002", "000001001"]
    assert [item["duration"] for item in found] == [200, 300, 100]
    assert found[1]["ts"] == "2030-03-17T17:40:00Z"
    assert {(info["ratio"], info["confidence"]) for item in found for info in item["locInfos"]} == {(100, 100)}


def test_a_change_of_cell_within_a_step_of_history_is_no_third_cell(world):
    world.past.told["user", "ann", "serving_cell"] = lambda time_s: np.where(
        time_s < NOW_S - 301, 0.0, np.where(time_s < NOW_S - 299, 0.5, 1.0)
    )
    found = world.get("UE_MOBILITY", tgt_ue=ANN, ana_req=PAST).json()["ueMobs"]
    cells = [item["locInfos"][0]["loc"]["nrLocation"]["ncgi"]["nrCellId"] for item in found]
    assert cells == ["000001000", "000001001"]


def test_people_are_shared_out_over_cells(world):
    found = world.get("UE_MOBILITY", tgt_ue=ANY, ana_req=PAST).json()["ueMobs"]
    assert [[info["ratio"] for info in item["locInfos"]] for item in found] == [[33, 33, 33]]


def test_the_nearest_cell_is_foretold_and_the_serving_one_has_its_head_start(world):
    world.future.spread = 0.0
    east = world.picture.users.value[:, 0].copy()
    east[0] = 260.0
    world.future.told["user", "position_x_m"] = (east, np.zeros(7))
    moved = one(world, "UE_MOBILITY", "ueMobs", tgt_ue=ANN, ana_req=FUTURE)["locInfos"]
    assert [info["loc"]["nrLocation"]["ncgi"]["nrCellId"] for info in moved] == ["000001001"]
    assert moved[0]["confidence"] == 99
    held = list(world.picture.users.value[:, 5])
    world.report("user", "serving_cell", [1.0, *held[1:]])
    world.future.told["user", "position_x_m"] = (world.picture.users.value[:, 0], np.zeros(7))
    stays = one(world, "UE_MOBILITY", "ueMobs", tgt_ue=ANN, ana_req=FUTURE)["locInfos"]
    assert [info["loc"]["nrLocation"]["ncgi"]["nrCellId"] for info in stays] == ["000001001"]


# UE_COMMUNICATION and DN_PERFORMANCE


def test_volume_is_rate_times_time(world):
    world.past.told["user", "ann", "rate_bps"] = lambda time_s: np.where(time_s < NOW_S - 300, 8e6, 0.0)
    item = one(world, "UE_COMMUNICATION", "ueComms", tgt_ue=ANN, ana_req=PAST)
    assert item["trafChar"]["dlVol"] == 300_000_000
    assert "ulVol" not in item["trafChar"]
    assert item["commDur"] == 300
    assert item["ratio"] == 100


def test_who_gets_nothing_does_not_communicate(world):
    found = world.get("UE_COMMUNICATION", tgt_ue=ANY, ana_req=PAST).json()["ueComms"]
    assert [(item["commDur"], item["ratio"]) for item in found] == [(600, 100), (400, 67)]


def test_performance_is_written_as_the_standard_spells_it(world):
    item = one(world, "DN_PERFORMANCE", "dnPerfInfos", tgt_ue=ANN)
    assert item["dnPerf"][0]["perfData"] == {
        "avgTrafficRate": "2 Mbps",
        "maxTrafficRate": "2 Mbps",
        "avePacketDelay": 20,
        "maxPacketDelay": 20,
        "avgPacketLossRate": 1,
    }
    assert item["dnn"] == "internet"


def test_a_delay_below_a_millisecond_is_one(world):
    world.report("user", "delay_s", [1e-5] * 7)
    data = one(world, "DN_PERFORMANCE", "dnPerfInfos", tgt_ue=ANN)["dnPerf"][0]["perfData"]
    assert data["avePacketDelay"] == 1


def test_subsets_of_performance_can_be_asked_for(world):
    wanted = {"listOfAnaSubsets": ["AVG_PACKET_DELAY"]}
    item = one(world, "DN_PERFORMANCE", "dnPerfInfos", tgt_ue=ANN, event_filter=wanted)
    assert set(item["dnPerf"][0]["perfData"]) == {"avePacketDelay"}
    load = world.get("NSI_LOAD_LEVEL", event_filter={"listOfAnaSubsets": ["NUM_OF_UE_REG"]}).json()
    assert all("numOfUes" in item and "resUsage" not in item for item in load["nsiLoadLevelInfos"])


# slices


def test_load_is_what_is_needed_of_what_is_held(world):
    found = world.get("LOAD_LEVEL_INFORMATION").json()["sliceLoadLevelInfos"]
    assert [item["loadLevelInformation"] for item in found] == [50, 90]
    assert [item["snssais"] for item in found] == [[{"sst": 1, "sd": "0000a1"}], [{"sst": 3}]]
    item = world.get("NSI_LOAD_LEVEL").json()["nsiLoadLevelInfos"][0]
    assert item["resUsage"] == {"cpuUsage": 25}
    assert item["numOfUes"] == {"number": 3.0, "variance": 0.0}


def test_a_slice_that_needs_more_than_it_holds_is_full(world):
    world.report("slice", "demand_bandwidth_hz", [50e6, 0.0])
    world.report("slice", "reserved_bandwidth_hz", [10e6, 0.0])
    found = world.get("LOAD_LEVEL_INFORMATION").json()["sliceLoadLevelInfos"]
    assert [item["loadLevelInformation"] for item in found] == [100, 0]


# infrastructure


def test_cells_that_give_less_than_is_promised_are_told(world):
    item = one(
        world, "QOS_SUSTAINABILITY", "qosSustainInfos", event_filter={"qosRequ": {"5qi": 9, "gfbrDl": "4.2 Mbps"}}
    )
    assert item["areaInfo"]["ncgis"][0]["nrCellId"] == "000001001"
    assert item["ranUeThrouThd"] == "4.2 Mbps"
    both = world.get("QOS_SUSTAINABILITY", event_filter={"qosRequ": {"5qi": 9, "gfbrDl": "5 Mbps"}}).json()
    assert len(both["qosSustainInfos"]) == 2
    default = one(world, "QOS_SUSTAINABILITY", "qosSustainInfos")
    assert default["ranUeThrouThd"] == "4 Mbps"


def test_an_empty_cell_gives_a_newcomer_all(world):
    world.report("cell", "users", [2.0, 0.0, 2.0])
    response = world.get("QOS_SUSTAINABILITY", event_filter={"qosRequ": {"5qi": 9, "gfbrDl": "4 Mbps"}})
    assert response.status_code == 204


def test_measures_of_the_network(world):
    found = {item["nwPerfType"]: item for item in world.get("NETWORK_PERFORMANCE").json()["nwPerfs"]}
    assert found["NUM_OF_UE"]["absoluteNum"] == 6
    assert found["GNB_COMPUTING_USAGE"]["relativeRatio"] == 40
    assert found["GNB_ACTIVE_RATIO"]["relativeRatio"] == 100
    assert found["NUM_OF_UE"]["networkArea"] == {"tais": [{"plmnId": {"mcc": "001", "mnc": "01"}, "tac": "000001"}]}
    wanted = one(world, "NETWORK_PERFORMANCE", "nwPerfs", event_filter={"nwPerfTypes": ["NUM_OF_UE", "HO_SUCC_RATIO"]})
    assert wanted["nwPerfType"] == "NUM_OF_UE"


def test_a_share_of_nothing_is_written_as_one_per_cent(world):
    world.report("server", "utilisation", [0.0])
    wanted = {"nwPerfTypes": ["GNB_COMPUTING_USAGE"]}
    assert one(world, "NETWORK_PERFORMANCE", "nwPerfs", event_filter=wanted)["relativeRatio"] == 1


def test_cells_of_which_nothing_is_heard_are_not_active(world):
    slot = world.picture.cells.slot.copy()
    slot[2] = world.picture.slot - 1000
    world.show(cells=replace(world.picture.cells, slot=slot))
    wanted = {"nwPerfTypes": ["GNB_ACTIVE_RATIO", "NUM_OF_UE"]}
    found = {
        item["nwPerfType"]: item for item in world.get("NETWORK_PERFORMANCE", event_filter=wanted).json()["nwPerfs"]
    }
    assert found["GNB_ACTIVE_RATIO"]["relativeRatio"] == 67
    assert found["NUM_OF_UE"]["confidence"] == 66


def test_nobody_is_counted_in_cells_of_which_nothing_is_heard(world):
    world.report("cell", "users", [20.0, 8.0, 30.0])
    slot = world.picture.cells.slot.copy()
    slot[1:] = world.picture.slot - 1000
    world.show(cells=replace(world.picture.cells, slot=slot))
    found = one(world, "NETWORK_PERFORMANCE", "nwPerfs", event_filter={"nwPerfTypes": ["NUM_OF_UE"]})
    assert (found["absoluteNum"], found["confidence"]) == (20, 33)


def test_the_fullest_cells_come_first(world):
    found = world.get("USER_DATA_CONGESTION").json()["userDataCongInfos"]
    assert [item["congestionInfo"]["nsi"]["congLevel"] for item in found] == [80, 50, 20]
    assert found[0]["congestionInfo"]["nsi"]["avgTrafficRate"] == "4 Mbps"
    assert {item["congestionInfo"]["congType"] for item in found} == {"USER_PLANE"}


def test_half_of_a_window_known_is_half_sure(world):
    world.past.since_s = NOW_S - 300
    found = world.get("USER_DATA_CONGESTION", ana_req=PAST).json()["userDataCongInfos"]
    assert {item["congestionInfo"]["confidence"] for item in found} == {50}


def test_a_value_counts_as_known_for_as_long_as_it_is_current(world):
    gone_s = NOW_S - 200
    world.past.told["cell", "mid", "load"] = lambda time_s: np.where(time_s < gone_s, 0.7, np.nan)
    window = {"startTs": rfc3339(NOW_S - 300), "endTs": rfc3339(NOW_S)}
    found = world.get("USER_DATA_CONGESTION", ana_req=window).json()["userDataCongInfos"]
    assert found[0]["congestionInfo"]["nsi"]["congLevel"] == 70
    assert found[0]["congestionInfo"]["confidence"] == 43
