"""Players as reporters: CMCD (CTA-5004) of requests and of web servers' logs."""

from twinloop.network.formats.cmcd.follower import CmcdFollower
from twinloop.network.formats.cmcd.keys import Cmcd, cmcd_of_headers, cmcd_of_json, cmcd_of_query, parse_cmcd
from twinloop.network.formats.cmcd.logs import CmcdLog, LogEntry, parse_log_line
from twinloop.network.formats.cmcd.tail import follow

__all__ = [
    "Cmcd",
    "CmcdFollower",
    "CmcdLog",
    "LogEntry",
    "cmcd_of_headers",
    "cmcd_of_json",
    "cmcd_of_query",
    "follow",
    "parse_cmcd",
    "parse_log_line",
]
