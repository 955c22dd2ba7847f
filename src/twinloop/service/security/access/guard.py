"""Who asks: the one way from a request to an identity, for routes of FastAPI and for raw ASGI applications."""

import secrets
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twinloop.service.security.access.limits import Limits
from twinloop.service.security.access.oidc import Oidc
from twinloop.service.security.access.permissions import Identity
from twinloop.service.security.access.tokens import Tokens
from twinloop.service.security.errors import AuthError, Forbidden

TICKET_S = 30.0
MOST_TICKETS = 10_000
LONGEST_CREDENTIAL = 10_000
IN_ADDRESS = frozenset({"/cmcd"})
"""Where a token may stand in the address: it is read by whoever sees the page, and serves for nothing else."""

_HINT = "send the header Authorization: Bearer <token>"


class Tickets:
    """Passes for one connection, used within half a minute: for pages that open streams and cannot send a header."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._open: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def issue(self, identity: Identity) -> str:
        """A new ticket. The oldest is forgotten where there are too many."""
        ticket = secrets.token_urlsafe(32)
        self._open[ticket] = (identity, self._now() + TICKET_S)
        if len(self._open) > MOST_TICKETS:
            self._open.popitem(last=False)
        return ticket

    def redeem(self, ticket: str) -> Identity:
        """Who got the ticket, once. Raises AuthError."""
        identity, until_s = self._open.pop(ticket, (None, 0.0))
        if identity is None or not 0 <= until_s - self._now() <= TICKET_S:
            raise AuthError("the ticket is unknown, used or too old", "invalid_token", "ask for a new one")
        return identity


class Guard:
    """Finds out who asks and counts how often.

    A credential comes in the header `Authorization: Bearer`; as `?ticket=`; or, for reporters alone and on `/cmcd`, as
    `?access_token=` (players that report CMCD cannot send headers; what leaks with an address can then only report).
    """

    def __init__(self, tokens: Tokens, limits: Limits, now: Callable[[], float], *, oidc: Oidc | None = None) -> None:
        self._tokens = tokens
        self._limits = limits
        self._oidc = oidc
        self._tickets = Tickets(now)

    async def identify(self, scope: Mapping[str, Any]) -> Identity:
        """Who sends the request of an ASGI `scope`. Raises AuthError, Forbidden, TooManyRequests."""
        address = address_of(scope)
        try:
            kind, credential = _credential(scope["headers"], scope.get("query_string", b""))
        except AuthError:
            self._limits.admit_address(address)
            raise
        try:
            if kind == "query" and scope["path"] not in IN_ADDRESS:
                raise AuthError("no token may stand in this address", "invalid_request", _HINT)
            identity = await self._verified(kind, credential, address)
        except (AuthError, Forbidden):
            self._limits.failed(address)
            raise
        self._limits.admit(identity)
        return identity

    def admit(self, scope: Mapping[str, Any], cost: float = 1.0) -> None:
        """Counts a request of a public route by its address. Raises TooManyRequests."""
        self._limits.admit_address(address_of(scope), cost)

    def charge(self, identity: Identity, cost: float) -> None:
        """Counts a request as `cost` more requests, for what is expensive. Raises TooManyRequests."""
        self._limits.admit(identity, cost)

    def ticket(self, identity: Identity) -> str:
        """A pass for one connection of `identity`, to be sent as `?ticket=` within half a minute."""
        return self._tickets.issue(identity)

    def confirm(self, identity: Identity) -> None:
        """Asks again, in a connection that stays open. Raises AuthError where the credential ended meanwhile."""
        provided = identity.subject.startswith("oidc:")
        live = self._oidc and self._oidc.is_live(identity) if provided else self.identity_of(identity.subject)
        if not live:
            raise AuthError("the token ended", "invalid_token", "sign in again")

    def identity_of(self, subject: str) -> Identity | None:
        """Who has a subject, for work that goes on without a request; None once the credential ended.

        Somebody of the identity provider is known by the last token that was shown to this server, until that expires.
        """
        if subject.startswith("oidc:"):
            return None if self._oidc is None else self._oidc.identity_of(subject)
        return self._tokens.identity_of(subject.removeprefix("tl_"))

    async def _verified(self, kind: str, credential: str, address: str) -> Identity:
        if kind == "ticket":
            identity = self._tickets.redeem(credential)
            self.confirm(identity)
            return identity
        if self._oidc is None or credential.startswith("tl_"):
            identity = self._tokens.verify(credential)
        else:
            identity = self._oidc.remembered(credential)
            if identity is None:
                self._limits.require_calm(address)
                identity = await self._oidc.verify(credential)
        if kind == "query" and identity.role != "reporter":
            raise AuthError("only a reporter's token may stand in an address", "invalid_request", _HINT)
        return identity


def address_of(scope: Mapping[str, Any]) -> str:
    """Address of the peer, empty where it has none. Headers of proxies are the web server's to judge."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _credential(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> tuple[str, str]:
    """How the one credential came (`header`, `query` or `ticket`) and what it is. Raises AuthError."""
    found = [("header", value) for name, value in headers if name.lower() == b"authorization"]
    asked = _asked(query) if b"ticket=" in query or b"access_token=" in query else []
    if not found and not asked:
        raise AuthError("the request names nobody", hint=_HINT)
    if len(found) + len(asked) > 1:
        raise AuthError("the request has more than one credential", "invalid_request", "send one")
    if asked:
        return asked[0]
    scheme, _, credential = found[0][1].partition(b" ")
    credential = credential.strip(b" ")
    if scheme.lower() != b"bearer" or not 0 < len(credential) <= LONGEST_CREDENTIAL or b" " in credential:
        raise AuthError("the header Authorization holds no bearer token", "invalid_request", _HINT)
    return "header", credential.decode("latin-1")


def _asked(query: bytes) -> list[tuple[str, str]]:
    """Credentials among the arguments of an address."""
    kinds = {"ticket": "ticket", "access_token": "query"}
    try:
        arguments = urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise AuthError("the address has too many arguments", "invalid_request", _HINT) from None
    return [(kinds[name], value) for name, value in arguments if name in kinds]
