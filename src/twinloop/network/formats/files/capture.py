"""Captures (pcap, pcapng) through dpkt: the packets of a file, and rows of what users got in each second."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import dpkt

from twinloop.errors import DataError
from twinloop.network.formats.decoding import ReadRows
from twinloop.network.formats.files.flows import FlowMeter, Packet
from twinloop.network.formats.wire import Row

_LARGEST_BLOCK_BYTES = 2**20
_PAYLOAD_BYTES = 12
_IP6_HEADER_BYTES = 40


def _link(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    return lambda frame: decode(frame).data


def _bare_ip(frame: bytes) -> Any:
    return dpkt.ip6.IP6(frame) if frame and frame[0] >> 4 == 6 else dpkt.ip.IP(frame)


_LINKS: dict[int, Callable[[bytes], Any]] = {
    dpkt.pcap.DLT_EN10MB: _link(dpkt.ethernet.Ethernet),
    dpkt.pcap.DLT_NULL: _link(dpkt.loopback.Loopback),
    dpkt.pcap.DLT_LOOP: _link(dpkt.loopback.Loopback),
    dpkt.pcap.DLT_LINUX_SLL: _link(dpkt.sll.SLL),
    276: _link(dpkt.sll2.SLL2),
    12: _bare_ip,
    dpkt.pcap.DLT_RAW: _bare_ip,
    228: _bare_ip,
    229: _bare_ip,
}
"""Link types whose frames are understood: Ethernet, loopback, Linux cooked (both), bare IP."""


class _Bounded:
    """A file that gives no more than 1 MiB at once: what a damaged length asks for is not read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """At most `size` bytes. Raises ValueError for a size that no block has."""
        if not 0 <= size <= _LARGEST_BLOCK_BYTES:
            raise ValueError(f"a block of {size} bytes")
        return self._file.read(size)

    def seek(self, place: int) -> None:
        """Goes to a place in the file."""
        self._file.seek(place)


def read_capture(path: Path, meter: FlowMeter, rows_a_batch: int) -> Iterator[ReadRows]:
    """Rows of users by second, see `FlowMeter`, `rows_a_batch` at a time.

    Frames without IP are passed over, and so are those that cannot be decoded. Left out: what runs inside of tunnels
    (GTP-U, IPsec), traffic from users, and fragments but the first. Raises DataError where the file is no capture, has
    another link type, ends within a packet, or gives no row at all.
    """
    rows: list[Row] = []
    told = 0
    for packet in _packets(path):
        for row in meter.take(packet):
            rows.append(row)
            if len(rows) == rows_a_batch:
                yield _read(rows, told)
                told, rows = told + len(rows), []
    if not rows and not told:
        expected = f"at least a full second of packets to users, who are in {', '.join(meter.users)}"
        raise DataError(path, "the capture gives no row", expected)
    if rows:
        yield _read(rows, told)


def _read(rows: Sequence[Row], told: int) -> ReadRows:
    return ReadRows(rows, range(told, told + len(rows)))


def _packets(path: Path) -> Iterator[Packet]:
    for time_s, frame, decode in _frames(path):
        packet = _packet(time_s, frame, decode)
        if packet is not None:
            yield packet


def _frames(path: Path) -> Iterator[tuple[float, bytes, Callable[[bytes], Any]]]:
    """Times and frames of a capture, with what decodes them."""
    number = 0
    with path.open("rb") as file:
        try:
            reader: Any = dpkt.pcap.UniversalReader(_Bounded(file))
            decode = _LINKS.get(reader.datalink())
            if decode is None:
                expected = "Ethernet, loopback, Linux cooked or bare IP"
                raise DataError(path, f"link type {reader.datalink()} is not understood", expected)
            for time_s, frame in reader:
                number += 1
                yield float(time_s), frame, decode
        except DataError:
            raise
        except Exception as error:  # dpkt lets whatever hostile bytes provoke go through
            problem = f"after {number} packets the file is damaged or ends" if number else "this is no capture"
            raise DataError(path, f"{problem} ({error or type(error).__name__})", "pcap or pcapng") from None


def _packet(time_s: float, frame: bytes, decode: Callable[[bytes], Any]) -> Packet | None:
    """What matters of a frame; None where it carries no IP or cannot be decoded."""
    try:
        ip = decode(frame)
        network = type(ip).__name__
        if network not in ("IP", "IP6"):
            return None
        transport: Any = ip.data
        total = ip.len or len(ip) if network == "IP" else ip.plen + _IP6_HEADER_BYTES
        ports, segment, payload = (0, 0), None, None
        if type(transport).__name__ == "TCP":
            length = len(transport.data) + max(total - len(ip), 0)
            ports = (transport.sport, transport.dport)
            segment = (transport.seq, length, bool(transport.flags & dpkt.tcp.TH_SYN))
        elif type(transport).__name__ == "UDP":
            ports, payload = (transport.sport, transport.dport), bytes(transport.data)[:_PAYLOAD_BYTES]
        return Packet(time_s, ip.src, ip.dst, total, ports, segment, payload)
    except Exception:  # dpkt lets whatever hostile bytes provoke go through; such a frame is passed over
        return None
