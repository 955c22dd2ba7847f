"""Signing in with an identity provider: JSON Web Tokens (RFC 7519) of one issuer, for us, mapped to a role.

Only signatures by public keys are verified, with the algorithms that the settings name; the token's own idea of its key
(`jku`, `x5u`, `jwk`) is ignored, critical extensions are refused. A token lives until it expires: nothing revokes it.
"""

import hashlib
import urllib.parse
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import jwt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from twinloop.service.security.access.jwks import Algorithm, KeySet
from twinloop.service.security.access.permissions import PERMISSIONS, ROLES, Identity, Role
from twinloop.service.security.errors import AuthError, Forbidden

LONGEST_TOKEN = 8192
MOST_CACHED = 10_000
_TYPES = {None, "jwt", "at+jwt", "application/at+jwt"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class OidcSettings(BaseModel):
    """An identity provider. `jwks` is a file or an https address (http on loopback only).

    Claims are named by dotted path (`realm_access.roles`); `roles` maps values of `role_claim` to roles, and of several
    the one with the most power counts. `longest_s` is the longest life of a token that is accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[tuple[str, ...], Field(min_length=1)]
    jwks: Annotated[str, Field(min_length=1)]
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    role_claim: str = "roles"
    roles: Mapping[str, Role]
    tenant_claim: str = "tenant"
    sources_claim: str = "sources"
    name_claim: str = "preferred_username"
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 30.0
    longest_s: Annotated[float, Field(gt=0)] = 86_400.0
    refresh_s: Annotated[float, Field(gt=0)] = 3600.0
    fewest_s: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _sound(self) -> "OidcSettings":
        url = urllib.parse.urlsplit(self.jwks)
        if "://" in self.jwks and url.scheme != "https" and (url.scheme != "http" or url.hostname not in _LOOPBACK):
            raise ValueError(f"jwks {self.jwks!r} must be a file or an https address")
        if not all(self.audience):
            raise ValueError("audience must not hold an empty name")
        return self


class Oidc:
    """Verifies tokens of the provider. What was verified is remembered until it expires or the keys change."""

    def __init__(self, settings: OidcSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._keys = KeySet(
            settings.jwks,
            frozenset(settings.algorithms),
            now,
            refresh_s=settings.refresh_s,
            fewest_s=settings.fewest_s,
        )
        self._known: OrderedDict[str, Identity] = OrderedDict()
        self._last: OrderedDict[str, Identity] = OrderedDict()
        self._generation = 0

    def remembered(self, token: str) -> Identity | None:
        """Whose token this is, where it was verified before and still holds."""
        self._forget_old_keys()
        identity = self._known.get(_digest(token))
        return identity if identity is not None and self.is_live(identity) else None

    def identity_of(self, subject: str) -> Identity | None:
        """Who has this subject by the last token that was verified, None where that expired or there was none."""
        self._forget_old_keys()
        identity = self._last.get(subject)
        return identity if identity is not None and self.is_live(identity) else None

    def is_live(self, identity: Identity) -> bool:
        """True until the token behind an identity expires, leeway included."""
        return identity.expires_s is not None and self._now() < identity.expires_s + self._settings.leeway_s

    async def verify(self, token: str) -> Identity:
        """Whose token this is. Raises AuthError, and Forbidden for somebody who has no role here."""
        await self._keys.renew()
        known = self.remembered(token)
        if known is not None:
            return known
        if len(token) > LONGEST_TOKEN:
            raise _refused("is too long")
        kid, algorithm = self._header(token)
        key = self._keys.find(kid, algorithm)
        if key is None and await self._keys.renew(missing=True):
            key = self._keys.find(kid, algorithm)
        if key is None:
            raise _refused("is signed with a key that the provider does not publish")
        identity = self._identity(self._claims(token, key, algorithm))
        self._forget_old_keys()
        for table, key in ((self._known, _digest(token)), (self._last, identity.subject)):
            table[key] = identity
            table.move_to_end(key)
            if len(table) > MOST_CACHED:
                table.popitem(last=False)
        return identity

    def _forget_old_keys(self) -> None:
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._known.clear()
            self._last.clear()

    def _header(self, token: str) -> tuple[str | None, str]:
        """Name of the key, and the algorithm, as the token claims them."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused("is no JSON Web Token") from None
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if algorithm not in self._settings.algorithms:
            raise _refused("has an algorithm that is not allowed")
        if "crit" in header or not isinstance(kid, str | None):
            raise _refused("has a header that is not understood")
        if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
            raise _refused("is of another kind")
        return kid, str(algorithm)

    def _claims(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        """What a token says, its signature, issuer, audience and times verified. The clock is ours, not PyJWT's."""
        options: Any = {
            "require": ["exp", "iat", "iss", "aud", "sub"],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        settings = self._settings
        try:
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[algorithm],
                options=options,
                audience=list(settings.audience),
                issuer=settings.issuer,
            )
        except jwt.InvalidAudienceError:
            raise _refused("is for somebody else") from None
        except jwt.InvalidIssuerError:
            raise _refused("is of another issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _refused("does not verify") from None
        expires_s, issued_s = _time(claims, "exp"), _time(claims, "iat")
        now_s, leeway_s = self._now(), settings.leeway_s
        if now_s >= expires_s + leeway_s:
            raise _refused("expired")
        if issued_s > now_s + leeway_s or _time(claims, "nbf", issued_s) > now_s + leeway_s:
            raise _refused("is not valid yet")
        if expires_s - issued_s > settings.longest_s:
            raise _refused("lives longer than is allowed")
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject = claims["sub"]
        if not 0 < len(subject) <= 255:
            raise _refused("has no usable subject")
        settings = self._settings
        held: set[Role] = {
            settings.roles[value] for value in _names(_claim(claims, settings.role_claim)) if value in settings.roles
        }
        role: Role | None = next((role for role in ROLES if role in held), None)
        if role is None:
            raise Forbidden("the provider gives you no role here", f"have a value of {settings.role_claim} mapped")
        tenants = _names(_claim(claims, settings.tenant_claim)) if role == "tenant" else ("",)
        if len(tenants) != 1 or (role == "tenant" and not tenants[0]):
            raise Forbidden("the provider does not say for which one tenant you ask", f"set {settings.tenant_claim}")
        sources = _names(_claim(claims, settings.sources_claim)) if role == "reporter" else ()
        if role == "reporter" and not sources:
            raise Forbidden("the provider does not say for which sources you report", f"set {settings.sources_claim}")
        name = _claim(claims, settings.name_claim)
        return Identity(
            subject=f"oidc:{subject}",
            name=name[:64] if isinstance(name, str) and name else subject[:64],
            role=role,
            permissions=PERMISSIONS[role],
            tenant=tenants[0],
            sources=frozenset(sources),
            expires_s=_time(claims, "exp"),
        )


def _refused(why: str) -> AuthError:
    return AuthError(f"the token {why}", "invalid_token", "sign in again")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _time(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A time of a token, epoch seconds; a number that is none (true, NaN, text) is refused."""
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise _refused(f"has no time {name}")
    return float(value)


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """The claim of that very name, or else at that dotted path; None where there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = cast(Mapping[str, object], found).get(part) if isinstance(found, dict) else None
    return found


def _names(value: object) -> tuple[str, ...]:
    """Names of a claim that is a text or a list of texts; anything else names nothing."""
    if isinstance(value, str):
        return (value,)
    return tuple(name for name in cast(list[object], value) if isinstance(name, str)) if isinstance(value, list) else ()
