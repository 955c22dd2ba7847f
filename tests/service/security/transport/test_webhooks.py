import asyncio
import gzip
import ipaddress
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.service.security import Reply, SecuritySettingsError, TargetRefused, WebhookSettings, WebhookTargets
from twinloop.service.security.transport import webhooks
from twinloop.service.security.transport.addresses import host_of, is_public, plain

PUBLIC = "93.184.216.34"


class Names:
    """A resolver that answers from a list, one answer after the other, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def targets(*answers: list[str], **more) -> WebhookTargets:
    return WebhookTargets(WebhookSettings(**more), Names(*(answers or ([PUBLIC],))))


def check(url: str, *answers: list[str], **more):
    return asyncio.run(targets(*answers, **more).check(url))


def test_a_public_address_is_pinned():
    target = check("https://Hooks.Example.NET.:8443/path?x=1")
    assert (target.host, target.address, target.port) == ("hooks.example.net", PUBLIC, 8443)
    assert check(f"https://{PUBLIC}/").address == PUBLIC
    assert check("https://[2606:2800:220:1::1]/").address == "2606:2800:220:1::1"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "not an address",
        "",
    ],
)
def test_a_name_that_leads_inside_is_refused(address):
    for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
        with pytest.raises(TargetRefused) as refused:
            check("https://hooks.example.net/", answer)
        assert refused.value.status == 422
        assert address == "" or address not in str(refused.value)
    if ":" in address and "%" not in address:
        with pytest.raises(TargetRefused):
            check(f"https://[{address}]/")
    elif "." in address:
        with pytest.raises(TargetRefused):
            check(f"https://{address}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.net/",
        "ftp://hooks.example.net/",
        "file:///etc/passwd",
        "gopher://hooks.example.net:70/_x",
        "HTTPS:hooks.example.net",
        "//hooks.example.net/",
        "hooks.example.net",
        "",
        "https://",
        "https:///path",
        "https://user@hooks.example.net/",
        "https://user:secret@hooks.example.net/",
        "https://@hooks.example.net/",
        "https://hooks.example.net@127.0.0.1/",
        "https://127.0.0.1\\@hooks.example.net/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://1.2.3.4.5/",
        "https://0/",
        "https://a.0x/",
        "https://localhost.1/",
        "https://127\u30020\u30020\u30021/",
        "https://\u2460\u2461\u2466.0.0.1/",
        "https://hooks.example.net\t/",
        "https://hooks.example.net\r\nHost: evil/",
        "https://hooks .example.net/",
        "https://hooks%2eexample.net/",
        "https://hooks.example.net%00.evil.example/",
        "https://-hooks.example.net/",
        "https://hooks..example.net/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
        "https://hooks.example.net:0/",
        "https://hooks.example.net:22/",
        "https://hooks.example.net:6/",
        "https://hooks.example.net:65536/",
        "https://hooks.example.net:-1/",
        "https://hooks.example.net:x/",
        "https://hooks.example.net/" + "a" * 2048,
    ],
)
def test_odd_addresses_are_refused(url):
    with pytest.raises(TargetRefused):
        check(url)


@settings(max_examples=50, deadline=None)
@given(
    url=st.text("htps:/@.[]%0127ax\\é#?", max_size=40)
    | st.text("a.:0127xf[]%-_@", max_size=20).map("https://{}/".format)
)
def test_whatever_is_given_is_checked_or_refused(url):
    try:
        target = check(url)
    except TargetRefused:
        return
    assert is_public(ipaddress.ip_address(target.address))
    assert host_of(target.host) == target.host


@settings(max_examples=50, deadline=None)
@given(number=st.integers(0, 2**32 - 1))
def test_wrapping_an_address_changes_nothing(number):
    four = ipaddress.IPv4Address(number)
    six = ipaddress.IPv6Address((0xFFFF << 32) + number)
    assert plain(six) == four
    if not is_public(four):
        with pytest.raises(TargetRefused):
            check("https://hooks.example.net/", [str(six)])


def test_what_cannot_be_resolved_is_told():
    async def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(TargetRefused, match="cannot be resolved"):
        asyncio.run(WebhookTargets(WebhookSettings(), nobody).check("https://hooks.example.net/"))
    with pytest.raises(TargetRefused, match="cannot be resolved"):
        check("https://hooks.example.net/", [])


def test_what_the_operator_lists_may_be_called():
    assert check("https://inner.example.net/", ["10.1.2.3"], allow=("10.1.0.0/16",)).address == "10.1.2.3"
    assert check("https://inner.example.net/", ["10.1.2.3"], allow=("inner.example.net",)).address == "10.1.2.3"
    assert check("https://a.b.corp.example/", ["fd00::1"], allow=("*.corp.example",)).address == "fd00::1"
    assert check("https://10.1.2.3/", allow=("10.1.2.3",)).address == "10.1.2.3"
    assert check("http://hooks.example.net/", https_only=False).port == 80
    with pytest.raises(TargetRefused):
        check("https://inner.example.net/", ["10.2.0.1"], allow=("10.1.0.0/16",))
    for host in ("corp.example", "evilcorp.example", "corp.example.evil.example"):
        with pytest.raises(TargetRefused):
            check(f"https://{host}/", ["10.0.0.1"], allow=("*.corp.example",))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "224.0.0.1"])
def test_a_listed_name_does_not_lead_to_metadata(address):
    with pytest.raises(TargetRefused):
        check("https://inner.example.net/", [address], allow=("inner.example.net",))


@pytest.mark.parametrize("entry", ["", "*", "*.*", "http://x", "10.0.0.0/33", "a b", "1.2.3", "x/8"])
def test_an_entry_that_allows_nothing_is_told(entry):
    with pytest.raises(SecuritySettingsError, match="webhook target"):
        targets(allow=(entry,))


class Server:
    """Answers on loopback and keeps what was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer = (204, {}, b"")
        server = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked.append((self.headers["Host"], self.path, body))
                status, headers, text = server.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Answer)
        self.http.handle_error = lambda *arguments: None
        if tls is not None:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def tls_server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("hooks.example.net"))
    server = Server(context)
    yield server
    server.close()


def post(found: WebhookTargets, url: str) -> Reply:
    return asyncio.run(found.send(url, b'{"slot":3}', {"X-Twinloop": "1"}))


LOCAL = {"allow": ("127.0.0.1",), "https_only": False}


def test_a_call_goes_to_the_checked_address_under_its_name(server):
    server.answer = (200, {}, b"thanks")
    answer = post(targets(["127.0.0.1"], **LOCAL), f"http://hooks.example.net:{server.port}/a?b=c")
    assert (answer.status, answer.body) == (200, b"thanks")
    assert server.asked == [(f"hooks.example.net:{server.port}", "/a?b=c", b'{"slot":3}')]


def test_a_name_that_changes_between_check_and_call_leads_nowhere(server):
    found = targets([PUBLIC], ["127.0.0.1"], https_only=False)
    url = f"http://hooks.example.net:{server.port}/"
    assert asyncio.run(found.check(url)).address == PUBLIC
    with pytest.raises(TargetRefused):
        post(found, url)
    assert not server.asked


def test_a_name_is_resolved_once_for_a_call(server):
    names = Names(["127.0.0.1"], ["203.0.113.1"])
    found = WebhookTargets(WebhookSettings(**LOCAL), names)
    assert post(found, f"http://hooks.example.net:{server.port}/").status == 204
    assert names.asked == ["hooks.example.net"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(server, status):
    server.answer = (status, {"Location": "http://169.254.169.254/latest"}, b"")
    with pytest.raises(TargetRefused, match="redirect"):
        post(targets(["127.0.0.1"], **LOCAL), f"http://hooks.example.net:{server.port}/")
    assert len(server.asked) == 1


def test_an_answer_is_read_up_to_a_size(server):
    server.answer = (200, {}, b"x" * 65_537)
    with pytest.raises(TargetRefused, match="more than 65536 bytes"):
        post(targets(["127.0.0.1"], **LOCAL), f"http://hooks.example.net:{server.port}/")


def test_a_packed_answer_is_not_unpacked(server):
    once = gzip.compress(b"0" * 10_000_000)
    server.answer = (200, {"Content-Encoding": "gzip, gzip"}, gzip.compress(once))
    with pytest.raises(TargetRefused, match="encoding that was not asked for"):
        post(targets(["127.0.0.1"], **LOCAL), f"http://hooks.example.net:{server.port}/")


def test_a_target_that_drips_is_left(monkeypatch):
    monkeypatch.setattr(webhooks, "LONGEST_CALL_S", 0.5)
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        try:
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1_000), 0.05)
        except OSError:
            pass
        finally:
            writer.close()
            left.set()

    async def called() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as slow:
            port = slow.sockets[0].getsockname()[1]
            try:
                await targets(["127.0.0.1"], **LOCAL).send(f"http://hooks.example.net:{port}/", b"{}")
            finally:
                await left.wait()

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(called(), 20.0))


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(targets(["127.0.0.1"], **LOCAL), f"http://hooks.example.net:{server.port}/").status == 204


def test_certificates_are_checked_against_the_name(tls_server, authority):
    found = targets(["127.0.0.1"], allow=("127.0.0.1",), ca=authority.file)
    assert post(found, f"https://hooks.example.net:{tls_server.port}/").status == 204
    for host in ("other.example.net", "127.0.0.1"):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            post(found, f"https://{host}:{tls_server.port}/")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        post(targets(["127.0.0.1"], allow=("127.0.0.1",)), f"https://hooks.example.net:{tls_server.port}/")
    assert len(tls_server.asked) == 1


def test_a_file_of_authorities_that_is_none_is_told(tmp_path, authority):
    for path in (tmp_path / "absent.pem", authority.write("none.pem", b"none")):
        with pytest.raises(SecuritySettingsError, match=r"webhooks\.ca"):
            targets(ca=path)
