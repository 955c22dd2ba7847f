"""Captures as what users got: figures of small captures worked out by hand."""

import io

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.errors import DataError
from twinloop.network.formats import Batch, check, read_file

SERVER, USER, OTHER = bytes([198, 51, 100, 1]), bytes([10, 0, 0, 7]), bytes([203, 0, 113, 9])
START_S = 1_700_000_000.0


def ethernet(ip):
    kind = dpkt.ethernet.ETH_TYPE_IP6 if isinstance(ip, dpkt.ip6.IP6) else dpkt.ethernet.ETH_TYPE_IP
    return bytes(dpkt.ethernet.Ethernet(src=b"\x02" * 6, dst=b"\x04" * 6, type=kind, data=ip))


def ipv4(data, protocol, source=SERVER, target=USER):
    ip = dpkt.ip.IP(src=source, dst=target, p=protocol, data=data)
    ip.len = len(ip)
    return ip


def tcp(sequence, length, flags=dpkt.tcp.TH_ACK, source=SERVER, target=USER, port=50_000):
    segment = dpkt.tcp.TCP(sport=443, dport=port, seq=sequence % 2**32, flags=flags, data=b"x" * length)
    return ethernet(ipv4(segment, dpkt.ip.IP_PROTO_TCP, source, target))


def rtp(sequence, stamp, kind=0, length=160, source=b"\0\0\0\x05"):
    head = bytes([0x80, kind]) + (sequence % 2**16).to_bytes(2, "big") + (stamp % 2**32).to_bytes(4, "big") + source
    datagram = dpkt.udp.UDP(sport=4_000, dport=4_002, data=head + b"v" * length)
    datagram.ulen = len(datagram)
    return ethernet(ipv4(datagram, dpkt.ip.IP_PROTO_UDP))


def capture(tmp_path, frames, writer=dpkt.pcap.Writer, name="a.pcap", **options):
    path = tmp_path / name
    with path.open("wb") as file:
        writing = writer(file, **options)
        for time_s, frame in frames:
            writing.writepkt(frame, ts=START_S + time_s)
    return path


def rows(path, **options):
    return [row for batch in read_file(path, **options) for row in batch.rows]


def stop(time_s=1.5):
    """A later packet, from a user: it shows that the seconds before are over."""
    return time_s, tcp(1, 0, source=USER, target=SERVER)


def test_rates_count_what_came_to_each_user_in_each_second(tmp_path):
    frames = [
        (0.0, tcp(1_000, 960)),
        (0.5, tcp(1_960, 460)),
        (0.6, tcp(9_000, 60, target=bytes([10, 0, 0, 8]))),
        (0.7, tcp(1, 960, source=USER, target=SERVER)),
        (0.8, tcp(1, 960, target=OTHER)),
        (2.25, tcp(2_420, 85)),
        stop(3.5),
    ]
    found = rows(capture(tmp_path, frames))
    # 960 + 40 and 460 + 40 bytes of IP; 60 + 40; 85 + 40. The second without packets is absent, as is the last one.
    assert [(row.id, row.time_s, row.values) for row in found] == [
        ("10.0.0.7", START_S + 1, {"rate_bps": 12_000.0}),
        ("10.0.0.8", START_S + 1, {"rate_bps": 800.0}),
        ("10.0.0.7", START_S + 3, {"rate_bps": 1_000.0}),
    ]
    assert not check(Batch("a", 0, found), START_S).refused


@pytest.mark.parametrize("start", [1_000, 2**32 - 350])
def test_loss_counts_segments_that_come_behind_what_was_seen(tmp_path, start):
    sent = [0, 100, 200, 300, 400, 200, 500, 600, 700, 800]
    frames = [(number / 100, tcp(start + offset, 100)) for number, offset in enumerate(sent)]
    keep_alive = (0.5, tcp(start + 899, 1))
    syn = (0.0, tcp(start - 1, 0, dpkt.tcp.TH_SYN))
    (row,) = rows(capture(tmp_path, [syn, *frames, keep_alive, stop()]))
    assert row.values["loss_ratio"] == 0.1


def test_a_few_segments_tell_nothing_of_loss(tmp_path):
    frames = [(number / 100, tcp(1_000, 100)) for number in range(9)]
    (row,) = rows(capture(tmp_path, [*frames, stop()]))
    assert set(row.values) == {"rate_bps"}


def test_the_length_on_the_line_counts_where_a_capture_cuts_packets(tmp_path):
    frames = [(number / 100, tcp(1_000 + 900 * number, 900)[:60]) for number in range(10)]
    (row,) = rows(capture(tmp_path, [*frames, stop()]))
    assert row.values == {"rate_bps": 8 * 940 * 10.0, "loss_ratio": 0.0}


def test_rtp_tells_loss_and_jitter(tmp_path):
    # Payload type 0 has a clock of 8 kHz: 160 units are 20 ms. Number 9 is lost, number 12 comes 16 ms late.
    frames = [
        (0.02 * n + (0.016 if n == 12 else 0), rtp(65_530 + n, 2**32 - 500 + 160 * n)) for n in range(20) if n != 9
    ]
    (row,) = rows(capture(tmp_path, [*frames, stop()]))
    # Five in order make a stream (0 to 4); of 5 to 19 one is lost.
    assert row.values["loss_ratio"] == pytest.approx(1 / 15)
    # RFC 3550, 6.4.1: J += (|D| - J) / 16, with |D| 16 ms at 12 and at 13, and 0 for 14 to 19
    jitter_s = 0.016 / 16
    jitter_s += (0.016 - jitter_s) / 16
    assert row.values["jitter_s"] == pytest.approx(jitter_s * (15 / 16) ** 6, rel=1e-3)


def test_the_clock_of_a_dynamic_type_is_the_callers_to_give(tmp_path):
    frames = [(0.02 * n, rtp(n, 1_800 * n, kind=96)) for n in range(20)]
    path = capture(tmp_path, [*frames, stop()])
    assert "jitter_s" not in rows(path)[0].values
    assert rows(path, rtp_clocks_hz={96: 90_000.0})[0].values["jitter_s"] == pytest.approx(0.0, abs=1e-6)


def test_other_datagrams_are_no_rtp(tmp_path):
    random = [(0.01 * n, rtp(n * 7_919, n)) for n in range(50)]
    control = [(0.01 * n + 0.005, rtp(n, n, kind=72)) for n in range(50)]
    (row,) = rows(capture(tmp_path, sorted([*random, *control, stop()])))
    assert set(row.values) == {"rate_bps"}


def test_users_are_where_the_caller_says(tmp_path):
    frames = [(0.0, tcp(1, 960, target=OTHER)), stop()]
    path = capture(tmp_path, frames)
    assert [row.id for row in rows(path, users=["203.0.113.0/24"])] == ["203.0.113.9"]
    with pytest.raises(DataError, match=r"no row; expected .* 10\.0\.0\.0/8"):
        rows(path)
    with pytest.raises(DataError, match=r"203\.0\.113\.0/99"):
        rows(path, users=["203.0.113.0/99"])


def test_six_is_a_version_too(tmp_path):
    address = bytes.fromhex("fd00000000000000000000000000000a")
    segment = dpkt.tcp.TCP(sport=443, dport=5, seq=1, data=b"x" * 940)
    ip = dpkt.ip6.IP6(src=bytes(16), dst=address, nxt=6, data=segment)
    ip.plen = len(segment)
    (row,) = rows(capture(tmp_path, [(0.0, ethernet(ip)), stop()]))
    assert (row.id, row.values) == ("fd00::a", {"rate_bps": 8_000.0})


def test_captures_of_other_kinds_are_read(tmp_path):
    frames = [(0.0, tcp(1, 960)), stop()]
    assert rows(capture(tmp_path, frames, dpkt.pcapng.Writer, "a.pcapng"))[0].values == {"rate_bps": 8_000.0}
    assert rows(capture(tmp_path, frames, name="n.cap", nano=True))[0].time_s == START_S + 1
    bare = [(time_s, frame[14:]) for time_s, frame in frames]
    assert rows(capture(tmp_path, bare, linktype=dpkt.pcap.DLT_RAW))[0].values == {"rate_bps": 8_000.0}
    cooked = [(time_s, bytes(12) + b"\x00\x00\x08\x00" + frame[14:]) for time_s, frame in frames]
    assert rows(capture(tmp_path, cooked, linktype=dpkt.pcap.DLT_LINUX_SLL))[0].id == "10.0.0.7"
    with pytest.raises(DataError, match="link type 105"):
        rows(capture(tmp_path, frames, linktype=dpkt.pcap.DLT_IEEE802_11))


def test_rows_come_in_batches(tmp_path):
    frames = [(float(second), tcp(second * 100, 100)) for second in range(6)]
    batches = list(read_file(capture(tmp_path, frames), rows_a_batch=2))
    assert [(batch.sequence, list(batch.places)) for batch in batches] == [(0, [0, 1]), (1, [2, 3]), (2, [4])]


@pytest.mark.parametrize("data", [b"", b"nonsense and more of it, of some length", b"\xd4\xc3\xb2\xa1" + bytes(10)])
def test_what_is_no_capture_is_told(tmp_path, data):
    path = tmp_path / "a.pcap"
    path.write_bytes(data)
    with pytest.raises(DataError, match="this is no capture"):
        rows(path)


def test_a_capture_that_ends_within_a_packet_is_told_after_its_rows(tmp_path):
    path = capture(tmp_path, [(float(second), tcp(second * 100, 100)) for second in range(4)])
    path.write_bytes(path.read_bytes() + b"\x00" * 7)
    reading = read_file(path, rows_a_batch=1)
    assert next(reading).rows[0].id == "10.0.0.7"
    with pytest.raises(DataError, match="after 4 packets the file is damaged or ends"):
        list(reading)


def test_a_length_that_no_block_has_is_not_read(tmp_path):
    path = capture(tmp_path, [(0.0, tcp(1, 9)), stop()])
    data = bytearray(path.read_bytes())
    data[32:36] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="a block of 2147483648 bytes"):
        rows(path)


def sample(writer):
    file = io.BytesIO()
    writing = writer(file)
    for time_s, frame in [(0.0, tcp(1, 30)), (0.5, rtp(1, 1)), stop()]:
        writing.writepkt(frame, ts=START_S + time_s)
    return file.getvalue()


SAMPLES = {".pcap": sample(dpkt.pcap.Writer), ".pcapng": sample(dpkt.pcapng.Writer)}


@settings(max_examples=80)
@given(st.data(), st.sampled_from(sorted(SAMPLES)))
def test_nothing_but_data_errors(tmp_path_factory, data, suffix):
    body = bytearray(SAMPLES[suffix])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    path.write_bytes(body)
    try:
        found = rows(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        check(Batch("a", 0, found), START_S)
