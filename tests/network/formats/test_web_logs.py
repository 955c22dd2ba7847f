"""Lines of web servers' logs: those with CMCD become rows, the others are passed over, broken ones are counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.errors import FormatError
from twinloop.network.formats import Cmcd, CmcdFollower, CmcdLog, parse_log_line

QUERY = "CMCD=bl%3D21300%2Cbs%2Csid%3D%22abc%22"
CMCD = Cmcd(buffer_ms=21_300, starved=True, session="abc")
STAMP, TIME_S = "10/Oct/2025:13:55:36 -0700", 1_760_129_736.0


def line(request=f"GET /v/seg-1.m4s?a=1&{QUERY} HTTP/1.1", stamp=STAMP, user="-", tail=""):
    return f'192.0.2.7 - {user} [{stamp}] "{request}" 200 2326{tail}'


@pytest.mark.parametrize(
    "text",
    [
        line(),
        line(tail=' "https://example.org/player" "Mozilla/5.0 (X11; Linux \\"x\\")"'),
        line(tail=' "-" "-" "198.51.100.1" rt=0.004'),
        line(user="an account"),
        line(request="GET /v/seg-1.m4s?CMCD=bl=21300,bs,sid=\\x22abc\\x22 HTTP/2.0"),
        line(request='GET /v/seg-1.m4s?CMCD=bl=21300,bs,sid=\\"abc\\" HTTP/2.0'),
        line(request=f"/v/seg-1.m4s?{QUERY}#t=1"),
    ],
)
def test_common_and_combined_lines_are_read(text):
    entry = parse_log_line(text)
    assert (entry.time_s, entry.client, entry.cmcd) == (TIME_S, "192.0.2.7", CMCD)


def test_times_of_logs_are_epoch_seconds():
    for stamp, time_s in (
        ("01/Jan/1970:00:00:00 +0000", 0.0),
        ("29/Feb/2024:23:59:60 +0530", 1_709_231_399.0),
        ("10/Oct/2025:13:55:36 +0000", 1_760_104_536.0),
    ):
        assert parse_log_line(line(stamp=stamp)).time_s == time_s


@pytest.mark.parametrize(
    "fields",
    [
        {"msec": "1760129736.250", "remote_addr": "192.0.2.7", "request_uri": f"/v/1.m4s?{QUERY}"},
        {"msec": 1760129736.25, "remote_addr": "192.0.2.7", "request": f"GET /v/1.m4s?{QUERY} HTTP/1.1"},
        {"time_iso8601": "2025-10-10T13:55:36.250-07:00", "remote_addr": "192.0.2.7", "args": QUERY},
        {
            "ts": 1760129736.25,
            "client_ip": "192.0.2.7",
            "http_cmcd_request": "bl=21300",
            "http_cmcd_status": "bs",
            "http_cmcd_session": 'sid="abc"',
            "http_cmcd_object": "-",
        },
        {"timestamp": "2025-10-10 20:55:36.25", "client": "192.0.2.7", "CMCD-Request": 'bl=21300,bs,sid="abc"'},
    ],
)
def test_json_lines_are_read(fields):
    entry = parse_log_line(json.dumps(fields))
    assert (entry.time_s, entry.client, entry.cmcd) == (1_760_129_736.25, "192.0.2.7", CMCD)


def test_a_json_line_may_hold_the_time_of_a_common_log():
    assert parse_log_line(json.dumps({"time_local": STAMP, "args": QUERY})).time_s == TIME_S


def test_lines_without_cmcd_are_passed_over():
    assert parse_log_line(line(request="GET / HTTP/1.1")) is None
    assert parse_log_line(line(request="\\x16\\x03\\x01")) is None
    assert parse_log_line(line(request="")) is None
    assert parse_log_line('{"request": "GET / HTTP/1.1", "status": 200}') is None
    assert parse_log_line(line(request="GET /a?b=CMCD=1 HTTP/1.1")) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no line of a Common, Combined or JSON log"),
        ("nonsense", "'nonsense' is no line"),
        (line(stamp="2025-10-10"), "is no time of a log"),
        (line(stamp="32/Oct/2025:13:55:36 -0700"), "is no time of a log"),
        (line(stamp="10/Okt/2025:13:55:36 -0700"), "is no time of a log"),
        (line(stamp="10/Oct/2025:13:55:36 -9900"), "is no time of a log"),
        (line(request="GET /a?CMCD=bl%3Dx HTTP/1.1"), "$.bl"),
        ("{", "no JSON"),
        ('{"a": ' + "[" * 5_000, "no JSON"),
        ('{"args": "CMCD=bl%3D1"}', "the line has no time"),
        ('{"args": "CMCD=bl%3D1", "msec": "nan"}', "time is nan"),
        ('{"args": "CMCD=bl%3D1", "msec": -1}', "time is -1"),
        ('{"args": "CMCD=bl%3D1", "time": "soon"}', "'soon' is no time"),
        ("x" * 70_000, "70,000 characters"),
    ],
)
def test_bad_lines_are_told(text, told):
    with pytest.raises(FormatError) as caught:
        parse_log_line(text)
    assert told in str(caught.value)


def test_a_log_gives_rows_and_counts_the_rest():
    log = CmcdLog(CmcdFollower())
    audio = line(request="GET /a.m4s?CMCD=ot%3Da HTTP/1.1")
    made = list(log.rows([line(), line(request="GET / HTTP/1.1"), "broken", audio, line()]))
    assert [(row.id, row.time_s) for row in made] == [("abc", TIME_S), ("abc", TIME_S)]
    assert (log.lines, log.without, log.bad) == (5, 1, 1)
    assert "'broken'" in log.fault


@given(st.one_of(st.text(max_size=80), st.text('[]"\\ -GET?CMCD=/:0', max_size=60), st.dictionaries(
    st.sampled_from(["msec", "time", "args", "request", "http_cmcd_status", "remote_addr"]),
    st.one_of(st.none(), st.floats(), st.text(max_size=9), st.just(QUERY), st.lists(st.none())),
).map(json.dumps)))  # fmt: skip
def test_nothing_but_format_errors(text):
    try:
        parse_log_line(text)
        parse_log_line(line(request=text, stamp=text))
    except FormatError as error:
        assert "\n" not in str(error)
