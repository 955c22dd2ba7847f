"""Reports as they arrive: one schema, one validation path, and the formats that lead into it."""

from twinloop.network.formats.checking import Accepted, Rows, check
from twinloop.network.formats.cmcd import (
    Cmcd,
    CmcdFollower,
    CmcdLog,
    LogEntry,
    cmcd_of_headers,
    cmcd_of_json,
    cmcd_of_query,
    follow,
    parse_cmcd,
    parse_log_line,
)
from twinloop.network.formats.decoding import MEDIA_TYPES, decode, encode
from twinloop.network.formats.files import (
    PRIVATE_NETWORKS,
    RTP_CLOCKS_HZ,
    SUFFIXES,
    ColumnMap,
    MappedValue,
    read_file,
    read_mapping,
)
from twinloop.network.formats.names import KINDS, MEASUREMENTS, NOT_KEPT, PRB_WIDTH_HZ, TABLES, Measurement
from twinloop.network.formats.packing import pack, unpack
from twinloop.network.formats.wire import MAX_BODY_BYTES, MAX_ROWS, Batch, Columns, Receipt, Refusal, Row

__all__ = [
    "KINDS",
    "MAX_BODY_BYTES",
    "MAX_ROWS",
    "MEASUREMENTS",
    "MEDIA_TYPES",
    "NOT_KEPT",
    "PRB_WIDTH_HZ",
    "PRIVATE_NETWORKS",
    "RTP_CLOCKS_HZ",
    "SUFFIXES",
    "TABLES",
    "Accepted",
    "Batch",
    "Cmcd",
    "CmcdFollower",
    "CmcdLog",
    "ColumnMap",
    "Columns",
    "LogEntry",
    "MappedValue",
    "Measurement",
    "Receipt",
    "Refusal",
    "Row",
    "Rows",
    "check",
    "cmcd_of_headers",
    "cmcd_of_json",
    "cmcd_of_query",
    "decode",
    "encode",
    "follow",
    "pack",
    "parse_cmcd",
    "parse_log_line",
    "read_file",
    "read_mapping",
    "unpack",
]
