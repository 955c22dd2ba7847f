"""The public keys of an identity provider: a JSON Web Key Set (RFC 7517) of a file or address, kept and renewed."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from twinloop.service.security.errors import SecuritySettingsError

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that a public key verifies. `none` and the HS family are not among them and cannot be configured."""

LARGEST_BYTES = 262_144
SMALLEST_RSA_BITS = 2048
FETCH_S = 5.0

_BY_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """A public key, and the algorithms that may be verified with it."""

    kid: str | None
    algorithms: frozenset[str]
    public: Any


class KeySet:
    """Keys of `source`, a file or an https address.

    They are fetched again every `refresh_s`, and for an unknown key at most every `fewest_s`, whoever asks. When the
    source fails the old keys go on for `stale_s`, then none is known.
    """

    def __init__(
        self,
        source: str,
        algorithms: frozenset[str],
        now: Callable[[], float],
        *,
        refresh_s: float = 3600.0,
        fewest_s: float = 30.0,
        stale_s: float = 86_400.0,
    ) -> None:
        self._source = source
        self._algorithms = algorithms
        self._now = now
        self._refresh_s = refresh_s
        self._fewest_s = fewest_s
        self._stale_s = stale_s
        self._keys: tuple[_Key, ...] = ()
        self._fetched_s = float("-inf")
        self._tried_s = float("-inf")
        self._lock = asyncio.Lock()
        self.generation = 0
        """Counts changes of the keys: what was verified under another generation is verified anew."""

    def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The key named `kid` for `algorithm`. A token that names none is given the only key that fits."""
        if self._now() - self._fetched_s > self._stale_s:
            return None
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        named = [key for key in fitting if key.kid == kid] if kid is not None else fitting
        return named[0].public if len(named) == 1 else None

    async def renew(self, *, missing: bool = False) -> bool:
        """Fetches the keys where they are old, or where one is `missing`; says whether it did.

        The waiting callers share one fetch. A fetch that fails is logged and leaves the keys as they are.
        """
        if not self._is_due(missing) and not (missing and self._lock.locked()):
            return False
        async with self._lock:
            if not self._is_due(missing):
                return True
            self._tried_s = self._now()
            try:
                keys = read_keys(await _fetch(self._source), self._algorithms, self._source)
            except (SecuritySettingsError, httpx.HTTPError, OSError) as error:
                _log.warning("the key set %s was not read: %s", self._source, error)
                return False
            self._fetched_s = self._tried_s
            if [key.public for key in keys] != [key.public for key in self._keys]:
                self.generation += 1
            self._keys = keys
            return True

    def _is_due(self, missing: bool) -> bool:
        now_s = self._now()
        if 0 <= now_s - self._tried_s < self._fewest_s:
            return False
        return missing or not 0 <= now_s - self._fetched_s < self._refresh_s


def read_keys(body: bytes, allowed: frozenset[str], source: str) -> tuple[_Key, ...]:
    """Public keys for signatures in a key set; secret ones, too short ones and those for other uses are left out.

    Raises SecuritySettingsError where the text is no key set.
    """
    try:
        document = json.loads(body)
        listed = cast(list[Any], document["keys"])
        entries = [cast(Mapping[str, Any], entry) for entry in listed if isinstance(entry, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SecuritySettingsError(f"{source} holds no JSON Web Key Set; expected an object with `keys`") from None
    return tuple(key for entry in entries if (key := _read_key(entry, allowed)) is not None)


def _read_key(entry: Mapping[str, Any], allowed: frozenset[str]) -> _Key | None:
    """One key, None where it cannot verify any of the allowed signatures."""
    kty, kid, use, operations = entry.get("kty"), entry.get("kid"), entry.get("use"), entry.get("key_ops")
    if not isinstance(kty, str) or kty not in _PUBLIC or use not in (None, "sig") or not isinstance(kid, str | None):
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    algorithms = _algorithms_of(entry) & allowed
    if not algorithms:
        return None
    try:
        named = {name: entry[name] for name in _PUBLIC[kty]}
        public = jwt.PyJWK(named, algorithm=min(algorithms)).key
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size < SMALLEST_RSA_BITS:
        return None
    return _Key(kid, algorithms, public)


def _algorithms_of(entry: Mapping[str, Any]) -> frozenset[str]:
    """Algorithms that a key is for: the one that it names, if it fits its type, or all of its type."""
    if entry["kty"] == "RSA":
        possible = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
    else:
        possible = frozenset({_BY_CURVE.get(str(entry.get("crv")), "")})
    return possible if entry.get("alg") is None else possible & {str(entry["alg"])}


async def _fetch(source: str) -> bytes:
    """The text of a key set. Raises SecuritySettingsError, httpx.HTTPError, OSError."""
    if "://" not in source:
        return await asyncio.to_thread(_read_file, Path(source))
    body = bytearray()
    async with (
        httpx.AsyncClient(timeout=FETCH_S, follow_redirects=False) as client,
        client.stream("GET", source, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status_code != 200:
            raise SecuritySettingsError(f"{source} answered {answer.status_code}; expected 200")
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > LARGEST_BYTES:
                raise SecuritySettingsError(f"{source} is larger than {LARGEST_BYTES} bytes")
    return bytes(body)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_BYTES)
