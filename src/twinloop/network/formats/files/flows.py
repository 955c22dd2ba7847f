"""Packets of a capture to what their receivers got: rate, loss and jitter by user and second."""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from twinloop.network.formats.wire import Row
from twinloop.units import bits_from_bytes

PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""Where users are unless the caller knows better: private addresses (RFC 1918, RFC 6598, RFC 4193)."""

RTP_CLOCKS_HZ: Mapping[int, float] = MappingProxyType(
    dict.fromkeys((0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18), 8_000.0)
    | {6: 16_000.0, 10: 44_100.0, 11: 44_100.0, 16: 11_025.0, 17: 22_050.0}
    | dict.fromkeys((14, 25, 26, 28, 31, 32, 33, 34), 90_000.0)
)
"""Clock rates of the static payload types of RTP (RFC 3551, tables 4 and 5)."""

SECOND_S = 1.0
MOST_FLOWS = 65_536
FEWEST_SEGMENTS = 10
_RTP_RUN = 5
_RTP_DROPOUT = 3_000
_SEQUENCE_TCP = 2**32
_SEQUENCE_RTP = 2**16
_STAMP_RTP = 2**32

_Ports = tuple[bytes, bytes, tuple[int, int]]
_StreamKey = tuple[bytes, bytes, tuple[int, int], int, bytes]
KeyT = TypeVar("KeyT")
StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True)
class Packet:
    """What of a packet matters. `total_bytes` is the length of the IP packet as it was on the line.

    `segment` is (sequence number, bytes of payload, SYN) of TCP; `payload` the beginning of what UDP carries.
    """

    time_s: float
    source: bytes
    target: bytes
    total_bytes: int
    ports: tuple[int, int] = (0, 0)
    segment: tuple[int, int, bool] | None = None
    payload: bytes | None = None


@dataclass(slots=True)
class _Second:
    """What one user got within the second."""

    volume_bytes: int = 0
    expected: int = 0
    lost: int = 0
    jitter_s: dict[_StreamKey, float] = field(default_factory=dict[_StreamKey, float])


@dataclass(slots=True)
class _Stream:
    """A stream of RTP: last sequence number, packets in order so far, jitter, and the packet it was last taken from."""

    sequence: int
    run: int = 1
    jitter_s: float = 0.0
    arrived_s: float | None = None
    stamp: int = 0


@dataclass
class FlowMeter:
    """Follows packets in the order of a capture and gives a row for every user and second with packets to it.

    `users` are the networks of users, a user's id is its address. `rate_bps` is what came to it (IP headers included).
    `loss_ratio` is an estimate, from 10 segments a second on: TCP segments that repeat or come behind what was already
    seen (so reordering counts as loss; keep-alives do not), and gaps in the numbers of RTP. `jitter_s` is that of RTP
    (RFC 3550, 6.4.1) at the end of the second, the largest of the user's streams, where the clock of the payload type
    is known. Delay is absent: one point of capture does not show it. Seconds count from the first packet; the last,
    incomplete one is left out.
    """

    users: Sequence[str] = PRIVATE_NETWORKS
    rtp_clocks_hz: Mapping[int, float] = field(default_factory=lambda: RTP_CLOCKS_HZ)

    def __post_init__(self) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in self.users]
        self._names: OrderedDict[bytes, str | None] = OrderedDict()
        self._ends: OrderedDict[_Ports, int] = OrderedDict()
        self._streams: OrderedDict[_StreamKey, _Stream] = OrderedDict()
        self._seconds: dict[str, _Second] = {}
        self._start_s: float | None = None
        self._second = 0

    def take(self, packet: Packet) -> Iterator[Row]:
        """Counts a packet; gives the rows of the second that it shows to be over. A packet from before counts now."""
        if self._start_s is None:
            self._start_s = packet.time_s
        second = int((packet.time_s - self._start_s) // SECOND_S)
        if second > self._second:
            yield from self._rows()
            self._second = second
        name = self._user(packet.target)
        if name is not None:
            got = self._seconds.setdefault(name, _Second())
            got.volume_bytes += packet.total_bytes
            if packet.segment is not None:
                self._take_segment(packet, packet.segment, got)
            elif packet.payload is not None:
                self._take_datagram(packet, packet.payload, got)

    def _rows(self) -> Iterator[Row]:
        end_s = (self._start_s or 0.0) + (self._second + 1) * SECOND_S
        for name, got in self._seconds.items():
            values: dict[str, float | None] = {"rate_bps": bits_from_bytes(float(got.volume_bytes)) / SECOND_S}
            if got.expected >= FEWEST_SEGMENTS:
                values["loss_ratio"] = min(got.lost / got.expected, 1.0)
            if got.jitter_s:
                values["jitter_s"] = max(got.jitter_s.values())
            yield Row(kind="user", id=name, time_s=end_s, values=values)
        self._seconds = {}

    def _user(self, address: bytes) -> str | None:
        """Id of the user at an address, None where it is nobody's."""
        if address in self._names:
            return self._names[address]
        ip = ipaddress.ip_address(address)
        inside = any(ip.version == network.version and ip in network for network in self._networks)
        return _remember(self._names, address, str(ip) if inside else None)

    def _take_segment(self, packet: Packet, segment: tuple[int, int, bool], got: _Second) -> None:
        sequence, length, syn = segment
        key = (packet.source, packet.target, packet.ports)
        highest = self._ends.get(key)
        end = (sequence + length + syn) % _SEQUENCE_TCP
        if highest is None or syn:
            _remember(self._ends, key, end)
            got.expected += length > 0
            return
        ahead = _signed(end - highest, _SEQUENCE_TCP)
        if ahead > 0:
            _remember(self._ends, key, end)
        keep_alive = length <= 1 and _signed(sequence - highest, _SEQUENCE_TCP) == -1
        if length and not keep_alive:
            got.expected += 1
            got.lost += _signed(sequence - highest, _SEQUENCE_TCP) < 0

    def _take_datagram(self, packet: Packet, payload: bytes, got: _Second) -> None:
        kind = payload[1] & 0x7F if len(payload) >= 12 and payload[0] >> 6 == 2 else 64
        if 64 <= kind < 96:
            return
        key = (packet.source, packet.target, packet.ports, kind, payload[8:12])
        sequence = int.from_bytes(payload[2:4], "big")
        stream = self._streams.get(key)
        if stream is None:
            _remember(self._streams, key, _Stream(sequence))
            return
        self._streams.move_to_end(key)
        step = _signed(sequence - stream.sequence, _SEQUENCE_RTP)
        if stream.run < _RTP_RUN or abs(step) > _RTP_DROPOUT:
            stream.run, stream.sequence, stream.arrived_s = stream.run + 1 if step == 1 else 1, sequence, None
            return
        if step > 0:
            stream.sequence = sequence
        got.expected += max(step, 0)
        got.lost = max(got.lost + step - 1, 0) if step > 0 else max(got.lost - (step < 0), 0)
        if kind in self.rtp_clocks_hz:
            _take_jitter(packet.time_s, payload, stream, self.rtp_clocks_hz[kind])
            got.jitter_s[key] = stream.jitter_s


def _take_jitter(arrived_s: float, payload: bytes, stream: _Stream, clock_hz: float) -> None:
    """One more packet in the interarrival jitter of a stream: J += (|D| - J) / 16."""
    stamp = int.from_bytes(payload[4:8], "big")
    if stream.arrived_s is not None:
        sent_s = _signed(stamp - stream.stamp, _STAMP_RTP) / clock_hz
        stream.jitter_s += (abs(arrived_s - stream.arrived_s - sent_s) - stream.jitter_s) / 16.0
    stream.arrived_s, stream.stamp = arrived_s, stamp


def _signed(difference: int, modulus: int) -> int:
    """Difference of two wrapping numbers, the nearer way round."""
    return (difference + modulus // 2) % modulus - modulus // 2


def _remember(table: OrderedDict[KeyT, StateT], key: KeyT, state: StateT) -> StateT:
    table[key] = state
    table.move_to_end(key)
    if len(table) > MOST_FLOWS:
        table.popitem(last=False)
    return state
