import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloop.service.security import AuthError, Forbidden, InvalidInput, Permission, Tokens


@pytest.fixture
def tokens(memory, clock):
    return Tokens(memory, clock)


def test_a_secret_identifies_its_maker_and_is_kept_nowhere(tokens, memory):
    token, secret = tokens.create("viewer", "wall screen")
    assert re.fullmatch(r"tl_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", secret)
    identity = tokens.verify(secret)
    assert (identity.subject, identity.name, identity.role) == (f"tl_{token.id}", "wall screen", "viewer")
    random = secret.split("_", 2)[2]
    assert random not in memory.everything() + repr(tokens.all()) + repr(identity) + repr(token)


def test_two_secrets_differ(tokens):
    assert len({tokens.create("viewer", "same")[1] for _ in range(50)}) == 50


def test_a_restart_keeps_tokens_and_revocations(tokens, memory, clock):
    (_, kept), (gone, revoked) = tokens.create("viewer", "a"), tokens.create("viewer", "b")
    tokens.revoke(gone.id)
    again = Tokens(memory, clock)
    assert again.all() == tokens.all()
    assert again.verify(kept).name == "a"
    with pytest.raises(AuthError, match="revoked"):
        again.verify(revoked)


def test_every_altered_secret_is_refused_in_the_same_words(tokens):
    token, secret = tokens.create("admin", "root")
    said = set()
    altered = [
        secret[:-1],
        secret + "A",
        secret.swapcase(),
        secret.replace(token.id, "0" * 12),
        f"tl_{token.id}_{'A' * 43}",
        f" {secret}",
        f"{secret}\n",
        secret.removeprefix("tl_"),
        f"tl_{token.id}_",
        "",
        "tl_",
        "ä" * 59,
        "x" * 1_000_000,
    ]
    for attempt in altered:
        with pytest.raises(AuthError) as refused:
            tokens.verify(attempt)
        said.add(str(refused.value))
    assert len(said) == 1
    assert tokens.verify(secret)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    guess=st.text("tl_0a9fAZ-é\n\0", max_size=80)
    | st.text("0123456789abcdef", min_size=12).map(lambda i: f"tl_{i[:12]}_" + "A" * 43)
)
def test_no_guess_is_accepted_and_none_breaks(tokens, guess):
    with pytest.raises(AuthError):
        tokens.verify(guess)


def test_the_hash_in_the_storage_is_no_credential(tokens, memory):
    token, _ = tokens.create("admin", "root")
    digest = re.search(r'"digest":"([0-9a-f]{64})"', memory.get("tokens", token.id).body)[1]
    for attempt in (digest, f"tl_{token.id}_{digest[:43]}"):
        with pytest.raises(AuthError):
            tokens.verify(attempt)


def test_a_token_ends_at_the_second_that_it_names(tokens, clock):
    _, secret = tokens.create("viewer", "guest", expires_s=clock() + 60)
    clock.pass_s(59.9)
    assert tokens.verify(secret).expires_s == clock() + 60 - 59.9
    clock.pass_s(0.1)
    with pytest.raises(AuthError, match="expired"):
        tokens.verify(secret)


def test_a_revoked_token_is_refused_even_when_the_storage_fails(tokens, memory):
    token, secret = tokens.create("viewer", "lost laptop")
    memory.full = True
    with pytest.raises(OSError, match="space"):
        tokens.revoke(token.id)
    with pytest.raises(AuthError, match="revoked"):
        tokens.verify(secret)
    assert tokens.identity_of(token.id) is None


def test_a_token_that_was_not_kept_is_none(tokens, memory):
    memory.full = True
    with pytest.raises(OSError, match="space"):
        tokens.create("viewer", "a")
    assert tokens.all() == ()


def test_last_use_is_coarse_and_costs_no_writing(tokens, memory, clock):
    token, secret = tokens.create("viewer", "a")
    written = memory.writes
    tokens.verify(secret)
    first = clock()
    clock.pass_s(30)
    tokens.verify(secret)
    assert tokens.all()[0].last_used_s == first
    clock.pass_s(31)
    tokens.verify(secret)
    assert memory.writes == written
    tokens.flush()
    tokens.flush()
    assert memory.writes == written + 1
    assert Tokens(memory, clock).all()[0].last_used_s == clock()
    assert token.last_used_s is None


def test_the_first_run_makes_one_admin_token_ever(tokens, memory, clock):
    token, secret = tokens.first_run()
    assert tokens.verify(secret).permissions == frozenset(Permission)
    assert tokens.first_run() is None
    tokens.create("admin", "second")
    tokens.revoke(token.id)
    assert Tokens(memory, clock).first_run() is None


def test_a_first_token_that_cannot_be_told_is_not_made(tokens):
    def full(secret):
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        tokens.first_run(full)
    told = []
    assert tokens.first_run(told.append)[1] == told[0]


def test_the_last_admin_token_cannot_be_revoked(tokens):
    token, _ = tokens.create("admin", "only")
    tokens.create("admin", "narrow", scopes=["metrics"])
    with pytest.raises(InvalidInput, match="last admin"):
        tokens.revoke(token.id)
    other, _ = tokens.create("admin", "another")
    assert tokens.revoke(token.id).revoked_s is not None
    assert tokens.revoke(token.id).revoked_s is not None
    assert tokens.identity_of(other.id).role == "admin"


def test_the_admin_token_that_lasts_longest_cannot_be_revoked(tokens, clock):
    lasting, _ = tokens.create("admin", "lasting")
    brief, _ = tokens.create("admin", "brief", expires_s=clock.now_s + 1.0)
    with pytest.raises(InvalidInput, match="last admin"):
        tokens.revoke(lasting.id)
    assert tokens.revoke(brief.id).revoked_s is not None


def test_unknown_tokens_cannot_be_revoked(tokens):
    with pytest.raises(KeyError):
        tokens.revoke("nothing")


def test_scopes_narrow_and_never_widen(tokens):
    _, secret = tokens.create("operator", "ci", scopes=["metrics", Permission.METRICS])
    assert tokens.verify(secret).permissions == {Permission.METRICS}
    with pytest.raises(InvalidInput, match="manage_tokens"):
        tokens.create("operator", "ci", scopes=["manage_tokens"])


def test_nobody_hands_out_what_they_lack(tokens):
    _, secret = tokens.create("admin", "clerk", scopes=["manage_tokens"])
    clerk = tokens.verify(secret)
    for role in ("admin", "operator", "viewer"):
        with pytest.raises(Forbidden):
            tokens.create(role, "more", by=clerk)
    assert tokens.create("admin", "same", scopes=["manage_tokens"], by=clerk)
    _, whole = tokens.create("admin", "root")
    assert tokens.create("tenant", "shop", tenant="acme", by=tokens.verify(whole))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "root"}, "role 'root'"),
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"role": "tenant"}, "tenant"),
        ({"tenant": "acme"}, "tenant"),
        ({"role": "tenant", "tenant": "a\0b"}, "tenant"),
        ({"sources": ["north"]}, "sources"),
        ({"role": "reporter", "sources": [""]}, "source"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"expires_s": 0.0}, "expires_s"),
        ({"expires_s": float("nan")}, "expires_s"),
        ({"expires_s": float("inf")}, "expires_s"),
    ],
)
def test_what_makes_no_token_is_told(tokens, changes, words):
    asked = {"role": "viewer", "name": "a"} | changes
    role = asked.pop("role")
    with pytest.raises((InvalidInput, TypeError) if role == "root" else InvalidInput) as refused:
        tokens.create(role, asked.pop("name"), **asked)
    assert words.split()[0] in str(refused.value)
    assert tokens.all() == ()


def test_a_document_that_cannot_be_read_is_no_token(memory, clock, caplog):
    tokens = Tokens(memory, clock)
    _, secret = tokens.create("viewer", "a")
    memory.put("tokens", "bad", "{")
    memory.put("tokens", "worse", '{"token":{"id":"worse","role":"god","name":"x","created_s":0},"digest":""}')
    again = Tokens(memory, clock)
    assert [token.name for token in again.all()] == ["a"]
    assert again.verify(secret)
    assert "cannot be read" in caplog.text


def test_dead_tokens_are_forgotten_in_time_and_admins_never(tokens, memory, clock):
    expiring, _ = tokens.create("viewer", "old", expires_s=clock() + 10)
    _, living = tokens.create("viewer", "living")
    first, _ = tokens.create("admin", "first")
    tokens.create("admin", "second")
    tokens.revoke(first.id)
    clock.pass_s(1000)
    assert tokens.prune(2000.0) == 0
    assert tokens.prune(900.0) == 1
    assert expiring.id not in {token.id for token in tokens.all()}
    assert memory.get("tokens", expiring.id) is None
    assert first.id in {token.id for token in tokens.all()}
    assert tokens.verify(living)
