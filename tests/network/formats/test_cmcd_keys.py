"""CMCD in its three ways of travelling becomes the same thing; examples as in CTA-5004, section 3 and 4."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.errors import FormatError
from twinloop.network.formats import Cmcd, cmcd_of_headers, cmcd_of_json, cmcd_of_query, parse_cmcd

SID = "6e2fb550-c457-11e9-bb97-0800200c9a66"
TEXT = f'bl=21300,br=3200,bs,cid="faec5fc2",d=4004,mtp=25400,ot=v,pr=1.08,sf=h,sid="{SID}",su,tb=6000,com.example-x=1'
CMCD = Cmcd(
    encoded_kbps=3200,
    buffer_ms=21300,
    starved=True,
    content="faec5fc2",
    duration_ms=4004,
    throughput_kbps=25400,
    object_type="v",
    playback_rate=1.08,
    session=SID,
    startup=True,
)


def test_a_list_of_keys_is_read():
    assert parse_cmcd(TEXT) == CMCD
    assert parse_cmcd("") == Cmcd()
    assert parse_cmcd("su=false, bs") == Cmcd(starved=True)


def test_a_query_is_read_and_other_arguments_are_passed_over():
    assert cmcd_of_query(f"a=1&CMCD={quote(TEXT)}&b=2") == CMCD
    assert cmcd_of_query("a=1&cmcd=bl%3D1") is None
    assert cmcd_of_query("") is None


def test_headers_are_read_together_whatever_their_case():
    headers = {
        "CMCD-Object": "br=3200,d=4004,ot=v,tb=6000",
        "cmcd-request": "bl=21300,mtp=25400,su",
        "Cmcd-Session": f'cid="faec5fc2",sf=h,sid="{SID}",pr=1.08',
        "CMCD-Status": "bs",
        "Host": "example.org",
    }
    assert cmcd_of_headers(headers) == CMCD
    assert cmcd_of_headers({"Host": "example.org", "CMCD-Status": " "}) is None


def test_json_is_read():
    assert cmcd_of_json(b'{"bl":21300,"br":3200,"bs":true,"sid":"x","v":1}') == Cmcd(
        buffer_ms=21300, encoded_kbps=3200, starved=True, session="x"
    )


def test_quotes_hold_commas_and_escapes():
    assert parse_cmcd(r'cid="a,b \"c\" \\",bl=1').content == 'a,b "c" \\'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bl=12,br", "$.br"),
        ("bl=12,=3", "character 6"),
        ('sid="open', "character 0"),
        ("bl=-1", ">= 0"),
        ("bl=fast", "$.bl"),
        ("bl=1.5", "$.bl"),
        ("pr=nan", "$.pr"),
        ("pr=1000", "<= 100"),
        ("sid", "$.sid"),
        ("bs=maybe", "$.bs"),
        ('sid="' + "x" * 129 + '"', "128"),
        ("x" * 8_193, "8,193"),
        ("bl=" + "9" * 40, "$.bl"),
    ],
)
def test_what_is_broken_is_told(text, told):
    with pytest.raises(FormatError) as caught:
        parse_cmcd(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"bl":"x"}', b'{"bl":1', b"\xff", b"[" * 5_000, b" " * 9_000])
def test_broken_json_is_told(body):
    with pytest.raises(FormatError, match="CMCD"):
        cmcd_of_json(body)


def test_a_query_that_is_not_utf8_is_told():
    with pytest.raises(FormatError, match="UTF-8"):
        cmcd_of_query("CMCD=sid%3D%22%FF%22")


@given(st.one_of(st.text(), st.text('blrsid=,"\\ 123.-', max_size=30), st.text('%2C="blsid1&CMCD', max_size=30)))
def test_nothing_but_format_errors(text):
    for read in (
        parse_cmcd,
        cmcd_of_query,
        lambda t: cmcd_of_query("CMCD=" + t),
        lambda t: cmcd_of_headers({"CMCD-Status": t}),
    ):
        try:
            read(text)
        except FormatError as error:
            assert "\n" not in str(error)


@given(
    sid=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    bl=st.integers(0, 2**53),
    bs=st.booleans(),
)
def test_what_a_player_writes_is_what_is_read(sid, bl, bs):
    escaped = sid.replace("\\", "\\\\").replace('"', '\\"')
    text = f'bl={bl},{"bs," if bs else ""}sid="{escaped}"'
    assert cmcd_of_query("CMCD=" + quote(text, safe="")) == Cmcd(buffer_ms=bl, starved=bs, session=sid)
