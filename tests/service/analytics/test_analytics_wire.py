"""Quantities and identities as the standards write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nwdaf_world import INFO, NOW_S, make_picture, valid

from twinloop.service.analytics import AnalyticsSettings, Identities, Snssai
from twinloop.service.analytics.models import NetworkAreaInfo, written
from twinloop.service.analytics.wire import bit_rate, bps_of, delay_ms, instant, loss_tenths, percent, ratio_percent


@pytest.mark.parametrize(
    ("rate_bps", "text"),
    [(12.5e6, "12.5 Mbps"), (0.0, "0 bps"), (-3.0, "0 bps"), (999.0, "999 bps"), (1e3, "1 Kbps"), (2.5e12, "2.5 Tbps")],
)
def test_bit_rates(rate_bps, text):
    assert bit_rate(rate_bps) == text


@given(st.floats(0, 1e15))
def test_a_bit_rate_is_valid_and_nearly_kept(rate_bps):
    text = bit_rate(rate_bps)
    valid(INFO, "TS29571_CommonData__BitRate", text)
    assert bps_of(text) == pytest.approx(rate_bps, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("text", ["12", "12 mbps", "1e3 bps", "12  Mbps", "-1 bps", ""])
def test_what_is_no_bit_rate_is_refused(text):
    with pytest.raises(ValueError, match=r"12\.5 Mbps"):
        bps_of(text)


def test_small_units():
    assert [delay_ms(0.0), delay_ms(0.0125), delay_ms(3.0)] == [1, 12, 3000]
    assert [loss_tenths(0.0123), loss_tenths(2.0), loss_tenths(-1.0)] == [12, 1000, 0]
    assert [percent(0.456), percent(1.7)] == [46, 100]
    assert [ratio_percent(0.001), ratio_percent(1.0)] == [1, 100]
    assert instant(NOW_S + 0.25).isoformat() == "2030-03-17T17:46:40.250000+00:00"


@given(st.text(min_size=1))
def test_users_are_found_again_by_their_subscriber(name):
    identities = Identities(AnalyticsSettings())
    supi = identities.supi(name)
    valid(INFO, "TS29571_CommonData__Supi", supi)
    assert identities.user(supi) == name


def test_a_subscriber_keeps_its_name_and_strangers_are_strangers():
    identities = Identities(AnalyticsSettings())
    assert identities.supi("imsi-001010000000003") == "imsi-001010000000003"
    assert identities.supi("bob b@home") == "nai-bob%20b%40home@twinloop.invalid"
    assert identities.user("nai-bob@elsewhere.invalid") == "nai-bob@elsewhere.invalid"


@pytest.mark.parametrize(
    ("bits", "gnb", "cell", "digits"),
    [(24, 1, 0, "000001000"), (24, 0xABCDEF, 0x123, "ABCDEF123"), (32, 1, 17, "000000021"), (22, 1, 3, "000004003")],
)
def test_cells_are_counted_from_the_gnb(bits, gnb, cell, digits):
    identities = Identities(AnalyticsSettings(gnb_id=gnb, gnb_bits=bits))
    written_cell = written(identities.ncgi(cell))
    assert written_cell["nrCellId"] == digits
    valid(INFO, "TS29571_CommonData__Ncgi", written_cell)


def test_a_gnb_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="gnb_id"):
        AnalyticsSettings(gnb_id=2**22, gnb_bits=22)


def test_areas_are_read_in_any_case_of_digits():
    picture, identities = make_picture(), Identities(AnalyticsSettings(gnb_id=0xABC))
    text = written(identities.ncgi(2))
    area = NetworkAreaInfo.model_validate({"ncgis": [{**text, "nrCellId": text["nrCellId"].lower()}]})
    assert list(identities.cells(picture, area)) == [2]
    elsewhere = {"ncgis": [{"plmnId": {"mcc": "002", "mnc": "01"}, "nrCellId": text["nrCellId"]}]}
    assert not len(identities.cells(picture, NetworkAreaInfo.model_validate(elsewhere)))


def test_a_slice_without_differentiator_has_none():
    picture, identities = make_picture(), Identities(AnalyticsSettings())
    assert written(identities.snssai(picture, 1)) == {"sst": 3}
    assert list(identities.slices(picture, [Snssai(sst=3)])) == [1]
    assert not len(identities.slices(picture, [Snssai(sst=3, sd="000001")]))
