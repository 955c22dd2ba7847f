"""Names of the standards: each stands for one attribute, in the unit of its clause; figures worked out by hand."""

import re
from pathlib import Path

import pytest
from report_samples import NOW_S

from twinloop.entities import column
from twinloop.network.formats import MEASUREMENTS, NOT_KEPT, TABLES, Batch, Row, check

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats.md"


def value(kind, name, number, attribute, **options):
    row = Row(kind=kind, id="x", values={name: number}, period_s=options.pop("period_s", None))
    accepted = check(Batch("west", 1, [row]), NOW_S, **options)
    assert not accepted.refused, accepted.refused
    return accepted.rows[0].value[0, column(TABLES[kind], attribute)]


@pytest.mark.parametrize(
    ("kind", "name", "number", "attribute", "expected"),
    [
        ("user", "DRB.UEThpDl", 2_500.0, "rate_bps", 2.5e6),
        ("user", "DRB.RlcSduDelayDl", 158.0, "delay_s", 0.0158),
        ("user", "DRB.PacketLossRateDl", 1_250.0, "loss_ratio", 0.00125),
        ("user", "DRB.PacketLossRateUu", 1_000_000.0, "loss_ratio", 1.0),
        ("user", "RSRP", -87.5, "rsrp_dbm", -87.5),
        ("user", "L1M.SS-RSRP", -156.0, "rsrp_dbm", -156.0),
        ("user", "L1M.SS-SINR", 12.5, "sinr_db", 12.5),
        ("cell", "RRU.PrbTotDl", 63.0, "load", 0.63),
        ("cell", "RRU.PrbTotDl", 100.0, "load", 1.0),
        ("cell", "RRU.PrbUsedDl", 171.0, "used_bandwidth_hz", 61.56e6),
        ("cell", "RRC.ConnMean", 12.25, "users", 12.25),
        ("cell", "PEE.AvgPower", 358.625, "power_w", 358.625),
    ],
)
def test_measurements_come_in_the_unit_of_their_clause(kind, name, number, attribute, expected):
    assert value(kind, name, number, attribute) == pytest.approx(expected, rel=1e-6)


def test_a_volume_is_divided_by_its_period():
    got = value("cell", "DRB.PdcpSduVolumeDL", 1_840.0, "throughput_bps", period_s=10.0)
    assert got == pytest.approx(184e6)
    for period_s in (None, 0.0, -1.0, float("nan"), float("inf")):
        row = Row(kind="cell", id="x", values={"DRB.PdcpSduVolumeDL": 1.0}, period_s=period_s)
        (refused,) = check(Batch("west", 1, [row]), NOW_S).refused
        assert refused.reason.startswith("DRB.PdcpSduVolumeDL is a volume; give period_s")
    absent = Row(kind="cell", id="x", values={"DRB.PdcpSduVolumeDL": None, "load": 0.5})
    assert not check(Batch("west", 1, [absent]), NOW_S).refused


def test_the_width_of_a_resource_block_is_the_callers():
    assert value("cell", "RRU.PrbUsedDl", 100.0, "used_bandwidth_hz", prb_width_hz=180e3) == pytest.approx(18e6)


def test_every_name_of_the_tables_is_understood():
    known = {(m.kind, m.name): m.attribute for m in MEASUREMENTS}
    for kind, table in TABLES.items():
        for attribute in table:
            if attribute.kpm and not attribute.kpm.startswith("CMCD "):
                assert known[kind, attribute.kpm] == attribute.name


def test_names_that_twins_keep_nothing_of_are_read_past_and_counted():
    values = dict.fromkeys(NOT_KEPT, 7.0) | {"rate_bps": 1e6, "CQI": None}
    made = [Row(kind="user", id="x", values=values), Row(kind="cell", id="c", values={"RRC.ConnMax": 3.0, "load": 0.5})]
    accepted = check(Batch("west", 1, made), NOW_S)
    assert not accepted.refused
    assert accepted.ignored == {name: 1 + (name == "RRC.ConnMax") for name in NOT_KEPT if name != "CQI"}


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("user", "RRU.PrbTotDl", "RRU.PrbTotDl is of a cell, not of a user"),
        ("cell", "DRB.UEThpDl", "DRB.UEThpDl is of a user, not of a cell"),
        ("server", "load", "load is of a cell, not of a server"),
        ("user", "rsrp", "did you mean RSRP or rsrp_dbm?"),
        ("user", "DRB.UEThpDL", "did you mean DRB.UEThpDl"),
        ("user", "buffer_ms", "did you mean buffer_s"),
        ("cell", "DRB.PdcpSduVolumeDl", "did you mean DRB.PdcpSduVolumeDL"),
        ("user", "q" * 100, "'" + "q" * 64),
    ],
)
def test_an_unknown_name_is_told_what_is_near(kind, name, told):
    row = Row(kind=kind, id="x", values={name: 1.0})
    (refused,) = check(Batch("west", 1, [row]), NOW_S).refused
    assert told in refused.reason


def test_the_document_lists_the_same_names():
    text = DOCUMENT.read_text(encoding="utf-8")
    cells = re.findall(r"^\| `([^`]+)` \| (\w+) \| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert cells == [(m.name, m.kind, m.attribute, m.unit, m.clause) for m in MEASUREMENTS]
    paragraph = next(part for part in text.split("\n- ") if part.startswith("`CQI`"))
    assert tuple(re.findall(r"`([A-Z][\w.]+)`", paragraph.split("known,")[0])) == NOT_KEPT
