import contextlib
import datetime
import ssl

import pytest
from pydantic import ValidationError

from twinloop.service.security import SecuritySettingsError, TlsSettings, certificate_expires_s, tls_context

NOW_S = 1_800_000_000.0


def settings(certificate, key, **more) -> TlsSettings:
    return TlsSettings(certificate=certificate, key=key, **more)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """The version that two contexts agree on, without a network."""
    ins, outs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    one = server.wrap_bio(ins[0], outs[0], server_side=True)
    two = client.wrap_bio(ins[1], outs[1], server_hostname=host)
    for _ in range(6):
        for side, out, into in ((two, outs[1], ins[0]), (one, outs[0], ins[1])):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            into.write(out.read())
    one.do_handshake()
    return two.version()


def trusting(authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))


@pytest.mark.parametrize(("version", "spoken"), [("1.2", "TLSv1.2"), ("1.3", None)])
def test_what_is_older_than_the_setting_is_not_spoken(authority, version, spoken):
    context = tls_context(settings(*authority.issue("a.example.net"), minimum_version=version), lambda: NOW_S)
    client = trusting(authority)
    assert handshake(context, client, "a.example.net") == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    if spoken is None:
        with pytest.raises(ssl.SSLError):
            handshake(context, client, "a.example.net")
    else:
        assert handshake(context, client, "a.example.net") == spoken


def test_callers_must_show_a_certificate_where_an_authority_is_named(authority):
    server = tls_context(settings(*authority.issue("b.example.net"), client_ca=authority.file), lambda: NOW_S)
    client = trusting(authority)
    with pytest.raises(ssl.SSLError, match=r"PEER_DID_NOT_RETURN_A_CERTIFICATE|CERTIFICATE_REQUIRED"):
        handshake(server, client, "b.example.net")
    client.load_cert_chain(*authority.issue("agent"))
    assert handshake(server, client, "b.example.net") == "TLSv1.3"


def test_every_fault_of_the_files_is_told_before_the_start(authority, tmp_path):
    certificate, key = authority.issue("c.example.net")
    _, stranger = authority.issue("d.example.net")
    _, locked = authority.issue("e.example.net", password=b"x")
    rubbish = authority.write("rubbish.pem", b"rubbish")
    absent = tmp_path / "absent.pem"
    cases = [
        (settings(absent, key), "tls.certificate .*absent.pem cannot be read: No such file"),
        (settings(certificate, absent), "tls.key .*absent.pem cannot be read"),
        (settings(tmp_path, key), "cannot be read: Is a directory"),
        (settings(rubbish, key), "holds no certificate"),
        (settings(key, key), "holds no certificate"),
        (settings(certificate, rubbish), "holds no private key"),
        (settings(certificate, certificate), "holds no private key"),
        (settings(certificate, stranger), "is not the key of"),
        (settings(certificate, locked), "is encrypted"),
        (settings(certificate, key, client_ca=absent), "tls.client_ca"),
        (settings(certificate, key, client_ca=rubbish), "tls.client_ca .*holds no certificate"),
    ]
    for given, words in cases:
        with pytest.raises(SecuritySettingsError, match=words) as refused:
            tls_context(given, lambda: NOW_S)
        assert "\n" not in str(refused.value)


def test_a_certificate_out_of_its_time_is_told_with_the_day(authority):
    ends = datetime.datetime(2026, 3, 4, tzinfo=datetime.UTC)
    files = authority.issue("f.example.net", ends=ends)
    assert certificate_expires_s(settings(*files)) == ends.timestamp()
    assert tls_context(settings(*files), lambda: ends.timestamp())
    with pytest.raises(SecuritySettingsError, match="expired on 2026-03-04"):
        tls_context(settings(*files), lambda: ends.timestamp() + 1)
    with pytest.raises(SecuritySettingsError, match="begins on 2020-01-01"):
        tls_context(settings(*files), lambda: 0.0)


def test_old_versions_cannot_be_asked_for(authority):
    with pytest.raises(ValidationError):
        settings(*authority.issue("g.example.net"), minimum_version="1.1")
