"""Confidence is honest: of predictions that are called 80 % sure, 80 % come true, on processes whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from nwdaf_world import NOW_S, World, many, rfc3339

from twinloop.service.analytics import AnalyticsSettings, Wish
from twinloop.service.analytics.models import EventFilter, Requirement, TargetUe
from twinloop.service.analytics.wire import bps_of

WINDOW = {"startTs": rfc3339(NOW_S), "endTs": rfc3339(NOW_S + 10)}
COPIES = 250


@pytest.fixture
def calm() -> World:
    """Many small networks side by side in one picture, so that one answer holds many statements."""
    most = 10 * COPIES
    world = World(AnalyticsSettings(horizon_s=10.0, most_items=most, most_twins=most))
    world.picture = many(world.picture, COPIES)
    world.past.picture = world.future.picture = world.picture
    world.foretell_slices()
    return world


def ask(world: World, event: str, **filters: object) -> list:
    """Items of a prediction, past the routes."""
    wish = Wish(event, EventFilter.model_validate(filters), TargetUe(any_ue=True), Requirement.model_validate(WINDOW))
    return [finding.item for finding in world.analytics.ask(wish, world.identity).told]


def held_up(sure: list[int], came_true: list[bool]) -> None:
    """Fails where statements come true less or more often than said, overall or in any third of how sure they were.

    Three standard deviations of the binomial, and half a per cent for rounding.
    """
    said, true = np.asarray(sure) / 100.0, np.asarray(came_true, float)
    assert said.std() > 0.02, "a constant confidence shows nothing"
    for part in [np.arange(len(said)), *np.array_split(np.argsort(said, kind="stable"), 3)]:
        off = abs(float(true[part].mean() - said[part].mean()))
        allowed = 3.0 * float(np.sqrt(np.sum(said[part] * (1 - said[part])))) / len(part) + 0.005
        assert off <= allowed, f"said {said[part].mean():.3f}, came true {true[part].mean():.3f}, allowed {allowed:.3f}"


def draw(rng: np.random.Generator, world: World, noun: str, attribute: str, mean, std) -> np.ndarray:
    """Has a forecast told, and gives the truth that its error, which lasts, leads to."""
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    world.future.told[noun, attribute] = (mean, std)
    return mean + std * rng.standard_normal(mean.shape)


def cell_of(ncgi) -> int:
    """Row of a cell."""
    return int(ncgi.nr_cell_id, 16) % 4096


def test_congestion(calm):
    rng, cells = np.random.default_rng(1), 3 * COPIES
    truth = draw(rng, calm, "cell", "load", rng.uniform(0, 1, cells), rng.uniform(0.02, 0.3, cells))
    items = ask(calm, "USER_DATA_CONGESTION")
    percent = [100 * np.clip(truth[cell_of(item.network_area.ncgis[0])], 0, 1) for item in items]
    held_up(
        [item.congestion_info.confidence for item in items],
        [abs(true - item.congestion_info.nsi.cong_level) <= 10 for true, item in zip(percent, items, strict=True)],
    )


def test_load_of_slices(calm):
    rng, slices = np.random.default_rng(2), 2 * COPIES
    need = rng.uniform(1e6, 14e6, slices), rng.uniform(2e5, 3e6, slices)
    truth = draw(rng, calm, "slice", "demand_bandwidth_hz", *need)
    percent = np.clip(100 * truth / np.tile([12e6, 10e6], COPIES), 0, 100)
    items = ask(calm, "NSI_LOAD_LEVEL")
    held_up(
        [item.confidence for item in items],
        [abs(true - item.load_level_information) <= 10 for true, item in zip(percent, items, strict=True)],
    )


def test_throughput_below_a_threshold(calm):
    rng, cells = np.random.default_rng(3), 3 * COPIES
    calm.future.told["cell", "users"] = (np.full(cells, 4.0), np.zeros(cells))
    carried = rng.uniform(1e6, 40e6, cells), rng.uniform(1e6, 2e7, cells)
    truth = draw(rng, calm, "cell", "throughput_bps", *carried)
    items = ask(calm, "QOS_SUSTAINABILITY", qosRequ={"5qi": 9, "gfbrDl": "5 Mbps"})
    held_up(
        [item.confidence for item in items],
        [truth[cell_of(item.area_info.ncgis[0])] / 4.0 < 5e6 for item in items],
    )


def still(calm: World) -> None:
    """Has nobody stall."""
    calm.future.told["user", "buffer_s"] = (np.full(6 * COPIES, 9.0), np.zeros(6 * COPIES))


@pytest.mark.parametrize("stalls", [False, True])
def test_opinions_of_people(calm, stalls):
    rng, users = np.random.default_rng(4), 6 * COPIES
    still(calm)
    buffer_s = np.full(users, 9.0)
    if stalls:
        buffer_s = draw(rng, calm, "user", "buffer_s", rng.uniform(0, 6, users), rng.uniform(0.5, 6, users))
    names = [calm.analytics.identities.supi(name) for name in calm.picture.users.ids]
    wish = Wish("SERVICE_EXPERIENCE", EventFilter(), TargetUe(supis=names), Requirement.model_validate(WINDOW))
    truth = draw(rng, calm, "user", "quality", rng.uniform(0, 1, users), rng.uniform(0.02, 0.3, users))
    lived = np.where(buffer_s <= 0, truth - 0.1 * 60, truth)
    opinion = dict(zip(names, 1 + 4 * np.clip(lived, 0, 1), strict=True))
    found = calm.analytics.ask(wish, calm.identity).told
    held_up(
        [finding.item.confidence for finding in found],
        [abs(opinion[finding.key] - finding.item.svc_exprc.mos) <= 0.5 for finding in found],
    )


@pytest.mark.parametrize("event", ["DN_PERFORMANCE", "UE_COMMUNICATION", "SERVICE_EXPERIENCE"])
def test_means_over_people(calm, event):
    rng, users = np.random.default_rng(5), 6 * COPIES
    still(calm)
    spread = np.repeat(rng.uniform(0.05, 1.0, 2 * COPIES), 3)
    rate = draw(rng, calm, "user", "rate_bps", rng.uniform(2e6, 8e6, users), 3e6 * spread)
    quality = draw(rng, calm, "user", "quality", rng.uniform(0.3, 0.7, users), 0.4 * spread)
    sure, true = [], []
    for row, item in enumerate(ask(calm, event)):
        mine = slice(3 * row, 3 * row + 3)
        sure.append(item.confidence)
        if event == "SERVICE_EXPERIENCE":
            true.append(abs(np.mean(1 + 4 * np.clip(quality[mine], 0, 1)) - item.svc_exprc.mos) <= 0.5)
            continue
        if event == "DN_PERFORMANCE":
            stated = bps_of(item.dn_perf[0].perf_data.avg_traffic_rate)
        else:
            stated = item.traf_char.dl_vol * 8 / 10
        true.append(abs(rate[mine].mean() - stated) <= 0.2 * stated)
    held_up(sure, true)


def test_numbers_of_people_and_computing():
    world = World(AnalyticsSettings(horizon_s=10.0))
    rng, sure, true = np.random.default_rng(6), [], []
    for _ in range(COPIES):
        people = draw(rng, world, "cell", "users", rng.uniform(5, 40, 3), rng.uniform(0.5, 12, 3))
        usage = draw(rng, world, "server", "utilisation", rng.uniform(0.1, 0.9, 1), rng.uniform(0.02, 0.3, 1))
        found = {item.nw_perf_type: item for item in ask(world, "NETWORK_PERFORMANCE")}
        number, computing = found["NUM_OF_UE"], found["GNB_COMPUTING_USAGE"]
        sure += [number.confidence, computing.confidence]
        off = abs(people.sum() - number.absolute_num)
        true += [
            off <= max(0.2 * number.absolute_num, 1),
            abs(100 * np.clip(usage[0], 0, 1) - computing.relative_ratio) <= 10,
        ]
    held_up(sure, true)


def test_whereabouts():
    world = World(AnalyticsSettings(horizon_s=10.0, steps=2))
    rng, sure, true = np.random.default_rng(7), [], []
    centre, ann = world.picture.cell_position_m, TargetUe(supis=["nai-ann@twinloop.invalid"])
    wish = Wish("UE_MOBILITY", EventFilter(), ann, Requirement.model_validate(WINDOW))
    for _ in range(COPIES):
        std = np.full(7, rng.uniform(20, 500))
        across = draw(rng, world, "user", "position_x_m", np.full(7, rng.uniform(0, 1000)), std)
        along = draw(rng, world, "user", "position_y_m", np.zeros(7), std)
        (finding,) = world.analytics.ask(wish, world.identity).told
        (info,) = finding.item.loc_infos
        sure.append(info.confidence)
        nearest = np.argmin(np.hypot(centre[:, 0] - across[0], centre[:, 1] - along[0]))
        true.append(nearest == cell_of(info.loc.nr_location.ncgi))
    held_up(sure, true)


def test_errors_that_pass_make_it_modest(calm):
    """Forecast errors that do not last average out: then more comes true than is said, never less."""
    rng, cells = np.random.default_rng(8), 3 * COPIES
    mean, std = rng.uniform(0.2, 0.7, cells).astype(np.float32), np.full(cells, 0.15, np.float32)
    calm.future.told["cell", "load"] = (mean, std)
    truth = (mean + std * rng.standard_normal((10, cells))).mean(axis=0)
    items = ask(calm, "USER_DATA_CONGESTION")
    said = np.mean([item.congestion_info.confidence for item in items]) / 100
    levels = [(truth[cell_of(item.network_area.ncgis[0])], item.congestion_info.nsi.cong_level) for item in items]
    assert np.mean([abs(100 * true - level) <= 10 for true, level in levels]) > said + 0.2


def test_nothing_foretold_is_certain_and_what_was_seen_is(calm):
    calm.future.told["cell", "load"] = (np.full(3 * COPIES, 0.5), np.zeros(3 * COPIES))
    assert {item.congestion_info.confidence for item in ask(calm, "USER_DATA_CONGESTION")} == {99}
    seen = calm.analytics.ask(Wish("USER_DATA_CONGESTION", EventFilter(), None, Requirement()), calm.identity).told
    assert {finding.item.congestion_info.confidence for finding in seen} == {100}


def test_people_of_whom_nothing_is_known_lower_it():
    calm = World(AnalyticsSettings(horizon_s=10.0))
    everything = ask(calm, "DN_PERFORMANCE")[0].confidence
    users = calm.picture.users
    slot = users.slot.copy()
    slot[0] = -1
    calm.show(users=replace(users, slot=slot))
    assert ask(calm, "DN_PERFORMANCE")[0].confidence <= everything * 2 / 3 + 1
