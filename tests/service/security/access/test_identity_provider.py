"""Tokens of an identity provider, whose keys are made here and served on loopback."""

import asyncio
import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from twinloop.service.security import (
    PERMISSIONS,
    AuthError,
    Forbidden,
    Guard,
    Limits,
    LimitSettings,
    Oidc,
    OidcSettings,
    Rate,
    SecuritySettingsError,
    Tokens,
    TooManyRequests,
)
from twinloop.service.security.access.jwks import read_keys

ALGORITHMS = ("RS256", "ES256", "EdDSA")
ISSUER, AUDIENCE = "https://id.example.net", "twinloop"


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def weak_key():
    return rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def ed_key():
    return ed25519.Ed25519PrivateKey.generate()


def jwk(key, kid: str | None = None, **more) -> dict[str, object]:
    kinds = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm = next(found for kind, found in kinds.items() if isinstance(key, kind))
    return json.loads(algorithm.to_jwk(key.public_key())) | ({"kid": kid} if kid else {}) | more


class Provider:
    """An identity provider on loopback. `keys` is what it serves, `asked` how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, object]] = []
        self.status, self.asked, self.padding = 200, 0, 0
        provider = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked += 1
                body = json.dumps({"keys": provider.keys}).encode() + b" " * provider.padding
                self.send_response(provider.status)
                if provider.status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if len(body) < 300_000:
                    self.wfile.write(body)
                else:
                    self.close_connection = True
                    self.wfile.write(body[:300_000])

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def running():
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(running, rsa_key, ec_key, ed_key):
    running.keys = [jwk(rsa_key, "r", use="sig"), jwk(ec_key, "e", alg="ES256"), jwk(ed_key, "d")]
    running.status, running.asked, running.padding = 200, 0, 0
    return running


@pytest.fixture
def oidc(provider, clock):
    return Oidc(settings(provider.url), clock)


def settings(jwks: str, **more) -> OidcSettings:
    roles = {"admins": "admin", "ops": "operator", "watch": "viewer", "agents": "reporter", "customers": "tenant"}
    given = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": jwks, "algorithms": ALGORITHMS, "roles": roles}
    return OidcSettings.model_validate(given | more)


def claims(clock, **changes) -> dict[str, object]:
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "iat": clock(), "exp": clock() + 300, "roles": ["watch"]}
    return {name: value for name, value in (base | changes).items() if value is not ...}


def signed(key, clock, *, kid="r", algorithm="RS256", headers=None, **changes) -> str:
    header = ({"kid": kid} if kid else {}) | (headers or {})
    return jwt.encode(claims(clock, **changes), key, algorithm, headers=header)


def verify(oidc: Oidc, token: str):
    return asyncio.run(oidc.verify(token))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_every_allowed_signature_are_known(oidc, clock, rsa_key, ec_key, ed_key, algorithm):
    key, kid = {"RS256": (rsa_key, "r"), "ES256": (ec_key, "e"), "EdDSA": (ed_key, "d")}[algorithm]
    token = signed(key, clock, kid=kid, algorithm=algorithm, preferred_username="Ada")
    identity = verify(oidc, token)
    assert (identity.subject, identity.name, identity.role) == ("oidc:u1", "Ada", "viewer")
    assert identity.permissions == PERMISSIONS["viewer"]
    assert identity.expires_s == clock() + 300


def unsigned(clock, header: dict[str, object], signature: bytes = b"", **changes) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims(clock, **changes)).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def forged(clock, rsa_key) -> str:
    """Signed by HMAC with the public key as the secret, which a careless library verifies."""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = rsa_key.public_key().public_bytes(*form)
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    head, body, _ = unsigned(clock, {"alg": "HS256", "typ": "JWT", "kid": "r"}).split(".")
    signature = signer.sign(f"{head}.{body}".encode(), secret)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_unsigned_and_forged_tokens_are_refused(oidc, clock, rsa_key, ec_key, ed_key):
    good = signed(rsa_key, clock)
    head, body, signature = good.split(".")
    other = signed(rsa_key, clock, roles=["admins"]).split(".")[1]
    stranger = rsa.generate_private_key(65537, 2048)
    attacks = {
        "none": unsigned(clock, {"alg": "none"}),
        "None": unsigned(clock, {"alg": "None", "kid": "r"}),
        "hs256": forged(clock, rsa_key),
        "no signature": f"{head}.{body}.",
        "another body": f"{head}.{other}.{signature}",
        "another key": signed(stranger, clock),
        "its own key": signed(stranger, clock, headers={"jwk": jwk(stranger), "jku": "https://evil.example"}),
        "unknown kid": signed(rsa_key, clock, kid="../../etc/passwd"),
        "kid of another type": signed(ec_key, clock, kid="r", algorithm="ES256"),
        "not allowed": signed(rsa_key, clock, algorithm="RS512"),
        "critical": unsigned(clock, {"alg": "RS256", "kid": "r", "crit": ["exp"]}, b"x" * 256),
        "another use": signed(rsa_key, clock, headers={"typ": "logout+jwt"}),
        "empty": "..",
        "garbage": "a.b.c",
        "nested": "eyJ" + "[" * 5000,
        "long": good + "A" * 9000,
    }
    for name, token in attacks.items():
        with pytest.raises(AuthError):
            assert verify(oidc, token) is None, name
    assert verify(oidc, good).role == "viewer"


def test_headers_are_judged_before_any_key_is_sought(oidc, provider, clock, rsa_key):
    critical = signed(rsa_key, clock, kid="new", headers={"crit": ["b64"], "b64": True})
    for token, words in ((forged(clock, rsa_key), "not allowed"), (critical, "no JSON Web Token")):
        with pytest.raises(AuthError, match=words):
            verify(oidc, token)
    clock.pass_s(31)
    assert verify(oidc, signed(rsa_key, clock))
    assert provider.asked == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://id.example.net/"},
        {"iss": "https://evil.example"},
        {"iss": ...},
        {"aud": "somebody"},
        {"aud": []},
        {"aud": ...},
        {"sub": ...},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"exp": ...},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": None},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 1e300},
        {"exp": 10**400},
        {"iat": ...},
        {"nbf": "now"},
    ],
    ids=lambda given: str(given)[:40],
)
def test_claims_that_do_not_hold_are_refused(oidc, clock, rsa_key, changes):
    with pytest.raises(AuthError):
        verify(oidc, signed(rsa_key, clock, **changes))


def test_times_are_judged_by_our_clock_with_leeway(oidc, clock, rsa_key):
    now_s = clock()
    lapsed = signed(rsa_key, clock, iat=now_s - 300, exp=now_s - 29)
    assert verify(oidc, lapsed)
    clock.pass_s(2)
    with pytest.raises(AuthError, match="expired"):
        verify(oidc, lapsed)
    for early in ({"iat": clock() + 31}, {"nbf": clock() + 31}):
        with pytest.raises(AuthError, match="not valid yet"):
            verify(oidc, signed(rsa_key, clock, **early))
    assert verify(oidc, signed(rsa_key, clock, nbf=clock() + 29))
    with pytest.raises(AuthError, match="longer"):
        verify(oidc, signed(rsa_key, clock, exp=clock() + 86_401))


def test_roles_come_from_claims_and_the_strongest_counts(oidc, clock, rsa_key):
    assert verify(oidc, signed(rsa_key, clock, roles=["watch", "ops", "unknown"])).role == "operator"
    assert verify(oidc, signed(rsa_key, clock, roles="admins")).role == "admin"
    for nothing in (..., None, [], ["admin"], {"admins": True}, 7, [["admins"]], "admins ops"):
        with pytest.raises(Forbidden, match="no role"):
            verify(oidc, signed(rsa_key, clock, roles=nothing))


def test_claims_may_be_nested_or_be_named_with_dots(provider, clock, rsa_key):
    nested = Oidc(settings(provider.url, role_claim="realm.roles"), clock)
    assert verify(nested, signed(rsa_key, clock, realm={"roles": ["ops"]})).role == "operator"
    named = Oidc(settings(provider.url, role_claim="https://example.net/roles"), clock)
    assert verify(named, signed(rsa_key, clock, **{"https://example.net/roles": ["ops"]})).role == "operator"


def test_tenants_and_reporters_are_bound(oidc, clock, rsa_key):
    tenant = verify(oidc, signed(rsa_key, clock, roles=["customers"], tenant="acme"))
    assert (tenant.role, tenant.tenant) == ("tenant", "acme")
    for who in (..., "", [], ["acme", "other"], {"a": 1}):
        with pytest.raises(Forbidden, match="tenant"):
            verify(oidc, signed(rsa_key, clock, roles=["customers"], tenant=who))
    agent = verify(oidc, signed(rsa_key, clock, roles=["agents"], sources=["north"]))
    assert agent.sources == {"north"}
    with pytest.raises(Forbidden, match="sources"):
        verify(oidc, signed(rsa_key, clock, roles=["agents"]))
    assert verify(oidc, signed(rsa_key, clock, tenant="acme")).tenant == ""


def test_keys_are_fetched_once_and_tokens_remembered(oidc, provider, clock, rsa_key):
    token = signed(rsa_key, clock)
    assert oidc.remembered(token) is None
    for _ in range(5):
        assert verify(oidc, token)
        verify(oidc, signed(rsa_key, clock, sub="another"))
    assert provider.asked == 1
    assert oidc.remembered(token).subject == "oidc:u1"
    clock.pass_s(331)
    assert oidc.remembered(token) is None


def test_a_new_key_is_found_and_unknown_ones_do_not_flood_the_provider(oidc, provider, clock, rsa_key, ec_key):
    provider.keys = [jwk(rsa_key, "r")]
    token = signed(ec_key, clock, kid="e2", algorithm="ES256")
    for _ in range(20):
        with pytest.raises(AuthError, match="publish"):
            verify(oidc, token)
    assert provider.asked == 1
    provider.keys.append(jwk(ec_key, "e2"))
    clock.pass_s(31)
    assert verify(oidc, token)
    assert provider.asked == 2


def test_a_withdrawn_key_ends_the_tokens_that_it_signed(oidc, provider, clock, rsa_key, ec_key):
    token = signed(ec_key, clock, kid="e", algorithm="ES256", exp=clock() + 80_000)
    assert verify(oidc, token)
    provider.keys = [jwk(rsa_key, "r")]
    clock.pass_s(3601)
    with pytest.raises(AuthError, match="publish"):
        verify(oidc, token)
    assert oidc.remembered(token) is None


def test_a_failing_provider_is_survived_for_a_day(oidc, provider, clock, rsa_key, caplog):
    assert verify(oidc, signed(rsa_key, clock))
    provider.status = 500
    clock.pass_s(80_000)
    assert verify(oidc, signed(rsa_key, clock))
    assert "was not read" in caplog.text
    clock.pass_s(7000)
    with pytest.raises(AuthError):
        verify(oidc, signed(rsa_key, clock))
    provider.status = 200
    clock.pass_s(31)
    assert verify(oidc, signed(rsa_key, clock))


@pytest.mark.parametrize("fault", ["redirect", "large", "empty", "html"])
def test_a_key_set_that_is_none_lets_nobody_in(oidc, provider, clock, rsa_key, fault):
    provider.status = 302 if fault == "redirect" else 200
    provider.padding = 299_000 if fault == "large" else 0
    provider.keys = [] if fault == "empty" else "<html>" if fault == "html" else provider.keys
    with pytest.raises(AuthError):
        verify(oidc, signed(rsa_key, clock))


def test_many_at_once_share_one_fetch(oidc, provider, clock, rsa_key):
    async def together():
        return await asyncio.gather(*(oidc.verify(signed(rsa_key, clock, sub=f"u{n}")) for n in range(10)))

    assert len(asyncio.run(together())) == 10
    assert provider.asked == 1


def test_keys_may_lie_in_a_file_that_changes(tmp_path, clock, rsa_key, ec_key):
    path = tmp_path / "keys.json"
    oidc = Oidc(settings(str(path)), clock)
    with pytest.raises(AuthError):
        verify(oidc, signed(rsa_key, clock))
    path.write_text(json.dumps({"keys": [jwk(rsa_key)]}), encoding="utf-8")
    clock.pass_s(31)
    assert verify(oidc, signed(rsa_key, clock, kid=None))


def test_a_token_without_a_key_name_must_leave_no_choice(provider, clock, rsa_key, ec_key):
    another = ec.generate_private_key(ec.SECP256R1())
    provider.keys = [jwk(ec_key, "a"), jwk(another, "b"), jwk(rsa_key, "r")]
    oidc = Oidc(settings(provider.url), clock)
    assert verify(oidc, signed(rsa_key, clock, kid=None))
    with pytest.raises(AuthError):
        verify(oidc, signed(ec_key, clock, kid=None, algorithm="ES256"))


def test_keys_for_anything_else_are_left_out(rsa_key, weak_key, ec_key):
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"}
    odd = [
        secret,
        jwk(weak_key, "weak"),
        jwk(rsa_key, "enc", use="enc"),
        jwk(rsa_key, "ops", key_ops=["encrypt"]),
        jwk(rsa_key, "hs", alg="HS256"),
        jwk(rsa_key, "none", alg="none"),
        jwk(ec_key, "crossed", alg="RS256"),
        jwk(ec_key, "off", x="AAAA"),
        {"kty": "RSA", "kid": "empty"},
        {"kty": ["RSA"]},
        jwk(rsa_key) | {"kid": 7},
        jwk(rsa_key, "ops7", key_ops=7),
        "text",
        None,
    ]
    body = json.dumps({"keys": [*odd, jwk(rsa_key, "good", alg="RS256")]}).encode()
    kept = read_keys(body, frozenset(ALGORITHMS), "here")
    assert [(key.kid, key.algorithms) for key in kept] == [("good", {"RS256"})]
    for text in (b"", b"[]", b"{}", b'{"keys":7}', b"\xff", b"[" * 100_000):
        with pytest.raises(SecuritySettingsError):
            read_keys(text, frozenset(ALGORITHMS), "here")


def test_a_private_key_that_is_published_by_mistake_is_used_as_public(rsa_key):
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key)) | {"kid": "oops", "key_ops": ["sign", "verify"]}
    kept = read_keys(json.dumps({"keys": [private]}).encode(), frozenset(ALGORITHMS), "here")
    assert isinstance(kept[0].public, rsa.RSAPublicKey)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"audience": []},
        {"audience": [""]},
        {"jwks": "http://id.example.net/keys"},
        {"jwks": "ftp://id.example.net/keys"},
        {"roles": {"admins": "root"}},
        {"leeway_s": 301},
        {"secret": "x"},
    ],
    ids=lambda given: str(given)[:40],
)
def test_settings_that_would_be_unsafe_are_refused(changes):
    with pytest.raises(ValidationError):
        settings(**{"jwks": "https://id.example.net/keys"} | changes)


def test_the_guard_takes_both_kinds_of_tokens(oidc, memory, clock, rsa_key):
    tokens = Tokens(memory, clock)
    guard = Guard(tokens, Limits(LimitSettings(failures=Rate(per_s=0.01, burst=2)), clock), clock, oidc=oidc)
    known = signed(rsa_key, clock)

    def ask(credential: str):
        headers = [(b"authorization", f"Bearer {credential}".encode())]
        return asyncio.run(guard.identify({"headers": headers, "client": ("192.0.2.1", 1)}))

    assert ask(known).subject == "oidc:u1"
    guard.confirm(ask(known))
    assert ask(tokens.create("viewer", "screen")[1]).name == "screen"
    for _ in range(2):
        with pytest.raises((AuthError, Forbidden)):
            ask(signed(rsa_key, clock, aud="somebody"))
    with pytest.raises(TooManyRequests):
        ask(signed(rsa_key, clock, sub="u2"))
    held = ask(known)
    assert guard.identity_of("oidc:u1") == held
    clock.pass_s(331)
    assert guard.identity_of("oidc:u1") is None and guard.identity_of("oidc:u2") is None
    with pytest.raises(AuthError, match="ended"):
        guard.confirm(held)
