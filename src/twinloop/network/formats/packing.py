"""Accepted rows as the bytes of a stored event: a version, a checksum, then msgpack around raw arrays."""

import zlib

import msgspec
import numpy as np

from twinloop.errors import FormatError
from twinloop.network.formats.checking import Rows
from twinloop.network.formats.names import KINDS, TABLES

VERSION = 1
_HEAD_BYTES = 5
_TABLES = {plural: tuple(a.name for a in TABLES[kind]) for kind, plural in KINDS.items()}


class _Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Rows of one kind. `names` are the attributes that any row has a value of, `value` float32 by row, little-endian.

    Names are stored, not columns, so that what is stored outlives a change of the table.
    """

    kind: str
    ids: list[str]
    names: list[str]
    time_s: bytes
    value: bytes
    slices: list[str | None] | None
    groups: list[str | None] | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Part]).decode


def pack(rows: tuple[Rows, ...]) -> bytes:
    """Bytes of accepted rows: version (1 byte), CRC-32 of the rest (4 bytes), the rest."""
    body = _encode([_part(part) for part in rows])
    return bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "big") + body


def unpack(payload: bytes) -> tuple[Rows, ...]:
    """The rows that `pack` was given, exactly. An attribute that the table no longer has is left out.

    Raises FormatError for a payload that is damaged or of another version.
    """
    if not payload or payload[0] != VERSION:
        told = f"version {payload[0]}" if payload else "empty"
        raise FormatError(f"the stored rows are {told}; this program reads version {VERSION}")
    body = payload[_HEAD_BYTES:]
    if zlib.crc32(body).to_bytes(4, "big") != payload[1:_HEAD_BYTES]:
        raise FormatError(f"the stored rows are damaged: the checksum of their {len(body)} bytes differs")
    try:
        return tuple(_rows(part) for part in _decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise FormatError(f"the stored rows are damaged: {error}") from None


def _part(rows: Rows) -> _Part:
    told = np.flatnonzero(~np.isnan(rows.value).all(axis=0))
    names = _TABLES[rows.kind]
    return _Part(
        kind=rows.kind,
        ids=rows.ids,
        names=[names[column] for column in told],
        time_s=rows.time_s.astype("<f8").tobytes(),
        value=rows.value[:, told].astype("<f4").tobytes(),
        slices=_or_none(rows.slices),
        groups=_or_none(rows.groups),
    )


def _or_none(names: list[str | None]) -> list[str | None] | None:
    return names if any(name is not None for name in names) else None


def _rows(part: _Part) -> Rows:
    if part.kind not in _TABLES:
        raise ValueError(f"rows of {part.kind!r}")
    names, count = _TABLES[part.kind], len(part.ids)
    stored = np.frombuffer(part.value, "<f4").reshape(count, len(part.names))
    value = np.full((count, len(names)), np.nan, np.float32)
    for index, name in enumerate(part.names):
        if name in names:
            value[:, names.index(name)] = stored[:, index]
    slices: list[str | None] = part.slices or [None] * count
    groups: list[str | None] = part.groups or [None] * count
    time_s = np.frombuffer(part.time_s, "<f8").astype(np.float64)
    if not len(time_s) == len(slices) == len(groups) == count:
        raise ValueError("parts of different lengths")
    return Rows(part.kind, part.ids, time_s, value, slices, groups)
