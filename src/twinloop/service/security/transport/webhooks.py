"""Calling addresses that somebody else gave: only where the operator would, and only where it was checked."""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field

from twinloop.service.security.errors import SecuritySettingsError, TargetRefused
from twinloop.service.security.transport.addresses import AllowList, host_of

LONGEST_ADDRESS = 2048
LARGEST_ANSWER = 65_536
LONGEST_CALL_S = 15.0
"""From its name to the end of its answer: a target that drips holds up nobody for longer."""

_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host, as text. Raises OSError where there are none."""


class WebhookSettings(BaseModel):
    """Where webhooks may go besides public addresses (`allow`), and whether only by https.

    `ca` is a file of further authorities, in PEM, whose certificates are trusted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] = ()
    https_only: bool = True
    ca: Path | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """A checked target: its host by name, and the one address to connect to."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a target answered."""

    status: int
    body: bytes


async def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a host by the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class WebhookTargets:
    """Checks targets and calls them.

    Refused: other schemes than https (and http, if allowed), names and passwords in the address, hosts in odd forms,
    ports below 1024 but 80 and 443, hosts of which any address is not public and not allowed, redirects, proxies. The
    connection goes to the address that was checked, so a name that changes in between leads nowhere else; certificates
    are checked against the name.
    """

    def __init__(self, settings: WebhookSettings, resolver: Resolve = resolve) -> None:
        self._settings = settings
        self._allowed = AllowList(settings.allow)
        self._resolve = resolver
        if settings.ca is not None:
            _trust(settings.ca)

    async def check(self, url: str) -> Target:
        """Where a call would go. Raises TargetRefused; asked when a target is registered, and again at every call."""
        parsed = self._parsed(url)
        port = _PORTS[parsed.scheme] if parsed.port is None else parsed.port
        if port not in _PORTS.values() and not 1024 <= port <= 65_535:
            raise TargetRefused(f"port {port} is not allowed", "use 80, 443 or one above 1023")
        host = host_of(parsed.raw_host.decode("ascii"))
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise TargetRefused(f"{host} cannot be resolved", "check its name")
        addresses = [self._allowed.require(host, address) for address in found]
        return Target(host, addresses[0], port)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Posts to a target, over a connection of its own to the address that is checked now.

        Raises TargetRefused before anything is sent, and for answers that lead elsewhere, are packed or too large;
        httpx.HTTPError where nobody answers, TimeoutError where it takes longer than 15 s.
        """
        async with asyncio.timeout(LONGEST_CALL_S):
            return await self._send(url, body, headers or {})

    async def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        target, parsed = await self.check(url), httpx.URL(url)
        plain = {"User-Agent": "twinloop", "Content-Type": "application/json", "Accept-Encoding": "identity"}
        sent = httpx.Headers({**plain, **headers})
        sent["Host"] = parsed.netloc.decode("ascii")
        async with (
            httpx.AsyncClient(
                verify=_trust(self._settings.ca), timeout=self._settings.timeout_s, trust_env=False
            ) as client,
            client.stream(
                "POST",
                parsed.copy_with(host=target.address),
                content=body,
                headers=sent,
                extensions={"sni_hostname": target.host},
                follow_redirects=False,
            ) as answer,
        ):
            if answer.is_redirect:
                said = f"{target.host} answered {answer.status_code}, a redirect"
                raise TargetRefused(said, "give the address it leads to")
            return Reply(answer.status_code, await _read(answer, target.host))

    def _parsed(self, url: str) -> httpx.URL:
        """An address whose form is in order. Raises TargetRefused."""
        if len(url) > LONGEST_ADDRESS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise TargetRefused("the address is longer than 2048 characters or holds odd ones")
        if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
            raise TargetRefused("the address holds a user name or password", "leave them out")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetRefused("the address cannot be read", "give one such as https://example.net/path") from None
        if parsed.scheme != "https" and (parsed.scheme != "http" or self._settings.https_only):
            scheme = parsed.scheme[:20]
            raise TargetRefused(f"the scheme {scheme!r} is not allowed", "give an address that begins https://")
        return parsed


@lru_cache(maxsize=8)
def _trust(ca: Path | None) -> ssl.SSLContext:
    """What certificates are checked with. Raises SecuritySettingsError for a file that holds none."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (ssl.SSLError, OSError) as error:
            raise SecuritySettingsError(f"webhooks.ca {ca} holds no certificates; expected PEM ({error})") from None
    return context


async def _read(answer: httpx.Response, host: str) -> bytes:
    """The body of an answer. Raises TargetRefused for one that is too large, or packed: it may unpack to anything."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise TargetRefused(f"{host} answered in an encoding that was not asked for", "have it answer plainly")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise TargetRefused(f"{host} answered with more than {LARGEST_ANSWER} bytes")
    return bytes(body)
