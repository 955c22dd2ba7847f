"""Files of reports: tables, documents, captures."""

from twinloop.network.formats.files.flows import PRIVATE_NETWORKS, RTP_CLOCKS_HZ
from twinloop.network.formats.files.mapping import ColumnMap, MappedValue, read_mapping
from twinloop.network.formats.files.reading import SUFFIXES, read_file

__all__ = ["PRIVATE_NETWORKS", "RTP_CLOCKS_HZ", "SUFFIXES", "ColumnMap", "MappedValue", "read_file", "read_mapping"]
