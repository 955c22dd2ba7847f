"""Bearer tokens: made once, shown once, kept as a hash, checked in memory.

A secret is `tl_<id>_<32 random bytes>`. It has 256 bits of entropy, so there is nothing to guess that a slow password
hash would protect; SHA-256 keeps whoever reads the database from using what stands there, and costs a microsecond.
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from twinloop.service.security.access.permissions import PERMISSIONS, ROLES, Identity, Permission, Role
from twinloop.service.security.errors import AuthError, Forbidden, InvalidInput
from twinloop.service.security.ports import RecordsPort

COLLECTION = "tokens"
MOST_TOKENS = 10_000
USED_WITHIN_S = 60.0

_SECRET = re.compile(r"tl_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_NOBODY = hashlib.sha256(b"").digest()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """What may be known of a token; times in epoch seconds. `last_used_s` is coarse: within a minute."""

    id: str
    role: Role
    name: str
    created_s: float
    tenant: str = ""
    sources: tuple[str, ...] = ()
    scopes: tuple[Permission, ...] = ()
    expires_s: float | None = None
    revoked_s: float | None = None
    last_used_s: float | None = None

    def is_live(self, now_s: float) -> bool:
        """True while it is neither revoked nor expired."""
        return self.revoked_s is None and (self.expires_s is None or now_s < self.expires_s)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A token as stored: with the SHA-256 of its secret, hexadecimal."""

    token: Token
    digest: str


class _Entry:
    """A token as checked: everything that a request needs, computed once."""

    __slots__ = ("digest", "identity", "last_used_s", "token")

    def __init__(self, token: Token, digest: bytes) -> None:
        self.token = token
        self.digest = digest
        self.last_used_s = token.last_used_s
        self.identity = Identity(
            subject=f"tl_{token.id}",
            name=token.name,
            role=token.role,
            permissions=PERMISSIONS[token.role] & frozenset(token.scopes or Permission),
            tenant=token.tenant,
            sources=frozenset(token.sources),
            expires_s=token.expires_s,
        )

    def shown(self) -> Token:
        """The token with its last use."""
        return replace(self.token, last_used_s=self.last_used_s)


class Tokens:
    """All tokens, in memory and in `records`. One server is their only writer; `reload` reads what another wrote."""

    def __init__(self, records: RecordsPort, now: Callable[[], float]) -> None:
        self._records = records
        self._now = now
        self._lock = threading.RLock()
        self._table: dict[str, _Entry] = {}
        self._used: set[str] = set()
        self.reload()

    def reload(self) -> None:
        """Reads the table anew. A document that cannot be read is no token."""
        table: dict[str, _Entry] = {}
        for record in self._records.list(COLLECTION):
            try:
                kept = msgspec.json.decode(record.body, type=_Kept)
                table[kept.token.id] = _Entry(kept.token, bytes.fromhex(kept.digest))
            except (msgspec.MsgspecError, ValueError):
                _log.error("token %s cannot be read and is refused", record.key)
        with self._lock:
            self._table = table
            self._used.clear()

    def create(
        self,
        role: Role,
        name: str,
        *,
        tenant: str = "",
        sources: Iterable[str] = (),
        scopes: Iterable[Permission | str] = (),
        expires_s: float | None = None,
        by: Identity | None = None,
        told: Callable[[str], None] = lambda secret: None,
    ) -> tuple[Token, str]:
        """A new token and its secret, which is nowhere else but with whom `told` tells before it is kept.

        `scopes` narrow the role's permissions, `sources` bind a reporter, `expires_s` is epoch seconds. `by` is who
        asks: nobody hands out what they do not have. Raises InvalidInput, Forbidden.
        """
        now_s = self._now()
        token = Token(
            id=secrets.token_hex(6),
            role=role,
            name=name,
            created_s=now_s,
            tenant=tenant,
            sources=tuple(sources),
            scopes=_permissions(scopes),
            expires_s=expires_s,
        )
        _check(token, now_s)
        secret = f"tl_{token.id}_{base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b'=').decode()}"
        entry = _Entry(token, _digest(secret))
        if by is not None and not entry.identity.permissions <= by.permissions:
            raise Forbidden("a token cannot have permissions that its maker lacks", "narrow it by scopes")
        with self._lock:
            if len(self._table) >= MOST_TOKENS or token.id in self._table:
                raise InvalidInput(f"there are {len(self._table)} tokens, the most that are kept", "prune old ones")
            told(secret)
            self._write(entry)
            self._table[token.id] = entry
        return token, secret

    def first_run(self, told: Callable[[str], None] = lambda secret: None) -> tuple[Token, str] | None:
        """An admin token where there is no token at all, not even a revoked one; otherwise None. None is made where
        its secret cannot be `told`.
        """
        with self._lock:
            return None if self._table else self.create("admin", "first run", told=told)

    def verify(self, secret: str) -> Identity:
        """Whose secret this is. Raises AuthError; only who knows the secret learns that it expired or was revoked."""
        match = _SECRET.fullmatch(secret)
        entry = self._table.get(match[1]) if match else None
        digest = _digest(secret) if match else b""
        if not hmac.compare_digest(digest, entry.digest if entry else _NOBODY) or entry is None:
            raise AuthError("the token is not known", "invalid_token", "check that it was copied whole")
        now_s = self._now()
        if not entry.token.is_live(now_s):
            why = "expired" if entry.token.revoked_s is None else "was revoked"
            raise AuthError(f"the token {why}", "invalid_token", "ask an admin for a new one")
        if entry.last_used_s is None or abs(now_s - entry.last_used_s) > USED_WITHIN_S:
            entry.last_used_s = now_s
            self._used.add(entry.token.id)
        return entry.identity

    def identity_of(self, token_id: str) -> Identity | None:
        """Whose token it is, None where it is unknown, revoked or expired."""
        entry = self._table.get(token_id)
        return entry.identity if entry is not None and entry.token.is_live(self._now()) else None

    def revoke(self, token_id: str) -> Token:
        """Ends a token at once. Raises KeyError for an unknown one, InvalidInput for the last admin token: one that no
        other outlasts.
        """
        with self._lock:
            entry = self._table[token_id]
            if entry.token.revoked_s is not None:
                return entry.shown()
            if self._is_last_admin(entry):
                raise InvalidInput("this is the last admin token", "create another one first")
            revoked = _Entry(replace(entry.shown(), revoked_s=self._now()), entry.digest)
            self._table[token_id] = revoked
            self._write(revoked)
            return revoked.shown()

    def _is_last_admin(self, entry: _Entry) -> bool:
        now_s = self._now()
        admins = [e for e in self._table.values() if e.token.role == "admin" and not e.token.scopes]
        return entry in admins and not any(
            e is not entry and e.token.is_live(now_s) and _ended_s(e.token) >= _ended_s(entry.token) for e in admins
        )

    def all(self) -> tuple[Token, ...]:
        """Every token, the oldest first."""
        with self._lock:
            return tuple(sorted((entry.shown() for entry in self._table.values()), key=lambda t: (t.created_s, t.id)))

    def flush(self) -> None:
        """Writes when tokens were last used. Called now and then, and at the end."""
        with self._lock:
            used, self._used = self._used, set()
            for token_id in used & self._table.keys():
                self._write(self._table[token_id])

    def prune(self, dead_for_s: float) -> int:
        """Forgets tokens that ended more than `dead_for_s` seconds ago, admins' aside; says how many."""
        before_s = self._now() - dead_for_s
        with self._lock:
            old = [
                token_id
                for token_id, entry in self._table.items()
                if entry.token.role != "admin" and _ended_s(entry.token) < before_s
            ]
            for token_id in old:
                self._records.delete(COLLECTION, token_id)
                del self._table[token_id]
        return len(old)

    def _write(self, entry: _Entry) -> None:
        token = entry.shown()
        body = msgspec.json.encode(_Kept(token, entry.digest.hex())).decode()
        state = "live" if token.revoked_s is None else "revoked"
        self._records.put(COLLECTION, token.id, body, state=state, tenant=token.tenant)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _ended_s(token: Token) -> float:
    """When a token ended or will end, epoch seconds."""
    ends = [end for end in (token.revoked_s, token.expires_s) if end is not None]
    return min(ends, default=float("inf"))


def _permissions(scopes: Iterable[Permission | str]) -> tuple[Permission, ...]:
    try:
        return tuple(sorted({Permission(scope) for scope in scopes}))
    except ValueError as error:
        raise InvalidInput(f"scopes: {error}", f"choose from {', '.join(Permission)}") from None


def _check(token: Token, now_s: float) -> None:
    """Raises InvalidInput for what makes no token."""
    if token.role not in ROLES:
        raise InvalidInput(f"role {token.role!r} is not known", f"choose from {', '.join(ROLES)}")
    if not _NAME.fullmatch(token.name):
        raise InvalidInput(f"name {token.name[:80]!r} is not 1 to 64 printable characters")
    if (token.role == "tenant") != bool(token.tenant):
        raise InvalidInput(f"role {token.role} with tenant {token.tenant!r}", "name a tenant for the role tenant alone")
    if token.tenant and not _NAME.fullmatch(token.tenant):
        raise InvalidInput(f"tenant {token.tenant[:80]!r} is not 1 to 64 printable characters")
    if token.sources and token.role != "reporter":
        raise InvalidInput(f"role {token.role} with sources", "bind sources for the role reporter alone")
    if not all(_NAME.fullmatch(source) for source in token.sources):
        raise InvalidInput("a source is not 1 to 64 printable characters")
    beyond = frozenset(token.scopes) - PERMISSIONS[token.role]
    if beyond:
        allowed = ", ".join(sorted(PERMISSIONS[token.role]))
        raise InvalidInput(f"scopes {', '.join(sorted(beyond))} are not the role's", f"choose from {allowed}")
    if token.expires_s is not None and not now_s < token.expires_s < float("inf"):
        raise InvalidInput(f"expires_s {token.expires_s} is not in the future", "give epoch seconds, or none")
