import io
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.service.security import SecretFilter, scrub, scrubbed

OURS = "tl_0123456789ab_" + "Zx9-_" * 8 + "abc"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl"
PASSWORD = "hunter2-Tr0ub4dor"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIO\nhunter2-Tr0ub4dor\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {OURS}", OURS[16:]),
        (f"authorization=bearer%20{OURS}", OURS[16:]),
        (f"xx{OURS}yy and {JWT}", OURS[16:]),
        (f"id_token_{JWT}", "c2lnbmF0dXJl"),
        ("Bearer 0a1b2c3d4e5f", "0a1b2c3d4e5f"),
        ("Bearer\n\t0a1b2c3d4e5f", "0a1b2c3d4e5f"),
        ("Authorization: Basic YTpodW50ZXIy", "YTpodW50ZXIy"),
        ("proxy-authorization: Digest username=x, response=y", "username"),
        (f"GET /events?token={PASSWORD}&slice=red", PASSWORD),
        (f"GET /events?slice=red&access_token={PASSWORD}", PASSWORD),
        (f"/events?ticket%3D{PASSWORD}", PASSWORD),
        (f"/events?TOKEN={PASSWORD}", PASSWORD),
        (f"password: {PASSWORD}", PASSWORD),
        (f"password='two words {PASSWORD}'", PASSWORD),
        (f'{{"password": "a \\" quote {PASSWORD}"}}', PASSWORD),
        (f'{{\\"password\\": \\"{PASSWORD}\\"}}', PASSWORD),
        (f'{{\\"password\\": \\"a \\\\\\" quote {PASSWORD}\\"}}', PASSWORD),
        (f'{{"client_secret":"{PASSWORD}","x":1}}', PASSWORD),
        (f"{{'api_key': '{PASSWORD}'}}", PASSWORD),
        (f"{{b'authorization': b'Bearer {PASSWORD}'}}", PASSWORD),
        (f"[(b'host', b'x'), (b'cookie', b'session={PASSWORD}')]", PASSWORD),
        (f"Set-Cookie: session={PASSWORD}; Path=/", PASSWORD),
        (f"X-API-Key: {PASSWORD}", PASSWORD),
        (f"secret_key = {PASSWORD}", PASSWORD),
        (f"passwd={PASSWORD}", PASSWORD),
        (f"pwd={PASSWORD}", PASSWORD),
        (f"postgresql+psycopg://twin:{PASSWORD}@db/twins", PASSWORD),
        (f"mqtt://:{PASSWORD}@broker", PASSWORD),
        (f"postgresql://twin:p/{PASSWORD}@x@db/twins", PASSWORD),
        (f"https://hooks.example.net/x?sig={PASSWORD}", PASSWORD),
        (PEM, "MHcCAQEEIO"),
        (PEM.partition("-----END")[0], PASSWORD),
        (f"tokens[password]={PASSWORD}", PASSWORD),
        (f'unterminated password="{PASSWORD}', PASSWORD),
    ],
)
def test_a_secret_does_not_survive(text, secret):
    clean = scrub(text)
    assert secret not in clean
    assert "***" in clean
    assert scrub(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "slice red reserved 3.2e+06 Hz in cell north",
        "GET /twins/user/u-17/history?attribute=rate_bps&from=0&to=10 200",
        "postgresql://db:5432/twins",
        "user u@example.net asked",
        "basic functionality restored",
        "the compass points north",
    ],
)
def test_what_is_no_secret_stays(text):
    assert scrub(text) == text


def test_the_id_of_a_token_stays_to_be_found():
    assert scrub(f"used {OURS}") == "used tl_0123456789ab_***"


@settings(max_examples=80, deadline=None)
@given(
    before=st.text("tl_eyJ.:/@\"'\\ {[=&%3dé\u2028ber", max_size=30),
    after=st.text(alphabet=" \n\t,;&\"'}])<>", max_size=10),
    form=st.sampled_from(
        ["{}", "Bearer {}", "token={}", '"token":"{}"', "Authorization: Bearer {}", "?access_token={}"]
    ),
)
def test_our_tokens_never_survive_wherever_they_stand(before, after, form):
    assert OURS[16:] not in scrub(before + form.format(OURS) + after)


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text('tl_ab:="\\é', max_size=20)
        | st.just(OURS)
        | st.just(JWT),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("tokens_ab:=", max_size=10) | st.just(OURS), inner)
        ),
        max_leaves=20,
    )
)
def test_structures_are_cleaned_and_can_be_written(value):
    text = json.dumps(scrubbed(value), allow_nan=False)
    assert OURS[16:] not in text and "c2lnbmF0dXJl" not in text


def test_names_of_secrets_empty_what_is_under_them():
    given = {
        "password": PASSWORD,
        "nested": [{"client_secret": {"deep": PASSWORD}}, ("cookie", PASSWORD), [b"Authorization", PASSWORD.encode()]],
        "numbers": {"token": 12345, "port": 80, "token_count": None},
        "object": type("Odd", (), {"__str__": lambda self: f"password={PASSWORD}"})(),
        7: f"token={PASSWORD}",
    }
    clean = scrubbed(given)
    assert PASSWORD not in repr(clean) and "12345" not in repr(clean)
    assert clean["numbers"] == {"token": "***", "port": 80, "token_count": None}


def test_what_refers_to_itself_ends():
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert scrubbed(loop)


@pytest.mark.parametrize(
    "unit",
    [
        "token=",
        'token="',
        "://a:",
        "-eyJ",
        "eyJ.",
        "bearer ",
        "password\\",
        "tl_0123456789ab_",
        "a",
        "\\",
        "token \\'",
        "://",
    ],
)
def test_a_huge_text_is_cut_before_it_is_searched(unit):
    clean = scrub(unit * (1_000_000 // len(unit)))
    assert len(clean) < 40_000
    assert clean.endswith("characters)") or "***" in clean


class Output:
    """A handler with the filter, as servers have it; `text` is what was written."""

    def __init__(self, name: str = "twinloop.test.scrubbing", form: str = "%(message)s") -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.addFilter(SecretFilter())
        handler.setFormatter(logging.Formatter(form))
        self.logger = logging.Logger(name)
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


def test_messages_and_arguments_are_cleaned():
    out = Output()
    out.logger.info("login with %s", OURS)
    out.logger.info("password=%s for %d users", PASSWORD, 3)
    out.logger.info("headers %r", [(b"authorization", f"Bearer {OURS}".encode())])
    out.logger.info("%(token)s at %(count)d", {"token": JWT, "count": 3})
    out.logger.info(f"token={PASSWORD}")
    out.logger.info({"password": PASSWORD, "slot": 3})
    out.logger.info("rate %.1f", 2.25)
    for secret in (OURS[16:], PASSWORD, "c2lnbmF0dXJl"):
        assert secret not in out.text
    assert "for 3 users" in out.text and "rate 2.2" in out.text


def test_tracebacks_are_cleaned():
    out = Output()
    try:
        raise ValueError(f"cannot connect to postgresql://u:{PASSWORD}@db with Bearer {OURS}")
    except ValueError as error:
        try:
            raise RuntimeError("start failed") from error
        except RuntimeError:
            out.logger.exception("no storage", stack_info=True)
    assert PASSWORD not in out.text and OURS[16:] not in out.text
    assert "RuntimeError: start failed" in out.text and "ValueError" in out.text


def test_what_is_attached_is_cleaned():
    out = Output(form="%(message)s %(token)s %(request)s %(correlation)s")
    out.logger.info("x", extra={"token": PASSWORD, "request": {"headers": {"cookie": PASSWORD}}, "correlation": "c-17"})
    assert PASSWORD not in out.text
    assert "c-17" in out.text


def test_a_line_that_cannot_be_cleaned_is_withheld_and_ends_nothing():
    class Broken:
        def __str__(self):
            raise RuntimeError(PASSWORD)

        __repr__ = __str__

    out = Output()
    out.logger.info("odd %s", Broken())
    out.logger.info("too few %s %s", PASSWORD)
    out.logger.info("%d", f"token={PASSWORD}")
    assert out.text.count("a log line was withheld") == 3
    assert PASSWORD not in out.text


def test_access_logs_of_the_web_server_keep_the_shape_that_it_needs():
    out = Output("uvicorn.access")
    taken = []
    out.logger.handlers[0].emit = lambda record: taken.append(record.args)
    out.logger.info('%s - "%s %s HTTP/%s" %d', "192.0.2.1:5", "GET", f"/events?ticket={PASSWORD}", "1.1", 200)
    out.logger.info('%s - "%s %s HTTP/%s" %d', "192.0.2.1:5", "GET", "/events?x=token:", "1.1", 200)
    assert [len(arguments) for arguments in taken] == [5, 5]
    assert PASSWORD not in repr(taken)


def test_the_filter_on_a_handler_sees_what_children_log():
    out = Output()
    child = logging.Logger("child")
    child.parent, child.propagate = out.logger, True
    child.info("token=%s", PASSWORD)
    assert out.text and PASSWORD not in out.text
