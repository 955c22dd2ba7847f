"""Calling addresses that somebody else gave: only where the operator would, and only where it was checked."""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
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
        self._trust = _trust(settings.ca)

    async def check(self, url: str) -> Target:
        """Where a call would go. Raises TargetRefused; asked when a target is registered, and again at every call."""
        if len(url) > LONGEST_ADDRESS or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise TargetRefused("the address is longer than 2048 characters or holds odd ones")
        if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
            raise TargetRefused("the address holds a user name or password", "leave them out")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetRefused("the address cannot be read", "give one such as https://example.net/path") from None
        return await self._checked(parsed)

    def client(self) -> httpx.AsyncClient:
        """A client that calls nothing that is not checked. To be closed by who asked for it."""
        return httpx.AsyncClient(
            transport=_Pinned(self._checked, self._trust),
            timeout=self._settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "twinloop"},
        )

    async def _checked(self, url: httpx.URL) -> Target:
        if url.scheme != "https" and (url.scheme != "http" or self._settings.https_only):
            raise TargetRefused(
                f"the scheme {url.scheme[:20]!r} is not allowed", "give an address that begins https://"
            )
        if url.userinfo:
            raise TargetRefused("the address holds a user name or password", "leave them out")
        port = _PORTS[url.scheme] if url.port is None else url.port
        if port not in _PORTS.values() and not 1024 <= port <= 65_535:
            raise TargetRefused(f"port {port} is not allowed", "use 80, 443 or one above 1023")
        host = host_of(url.raw_host.decode("ascii"))
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise TargetRefused(f"{host} cannot be resolved", "check its name")
        addresses = [self._allowed.require(host, address) for address in found]
        return Target(host, addresses[0], port)


class _Pinned(httpx.AsyncBaseTransport):
    """Sends each request to the checked address of its host, over a connection of its own.

    Connections are not kept: they go by address, and two hosts behind one address must not share one.
    """

    def __init__(self, check: Callable[[httpx.URL], Awaitable[Target]], trust: ssl.SSLContext) -> None:
        self._check = check
        self._inner = httpx.AsyncHTTPTransport(
            verify=trust, trust_env=False, limits=httpx.Limits(max_connections=32, max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request. Raises TargetRefused before anything is sent, and for an answer that leads elsewhere."""
        target = await self._check(request.url)
        headers = request.headers.copy()
        headers["Host"] = request.url.netloc.decode("ascii")
        pinned = httpx.Request(
            request.method,
            request.url.copy_with(host=target.address),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.host},
        )
        answer = await self._inner.handle_async_request(pinned)
        if answer.is_redirect:
            await answer.aclose()
            raise TargetRefused(
                f"{target.host} answered {answer.status_code}, a redirect", "give the address it leads to"
            )
        body = await _read(answer, target.host)
        return httpx.Response(answer.status_code, headers=_kept(answer), content=body, request=request)

    async def aclose(self) -> None:
        """Ends what is open."""
        await self._inner.aclose()


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


def _kept(answer: httpx.Response) -> list[tuple[str, str]]:
    """Headers that still hold of an answer that was read and decoded."""
    gone = {"content-encoding", "content-length", "transfer-encoding"}
    return [(name, value) for name, value in answer.headers.items() if name.lower() not in gone]


async def _read(answer: httpx.Response, host: str) -> bytes:
    """The body of an answer. Raises TargetRefused for one that is too large."""
    body = bytearray()
    try:
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise TargetRefused(f"{host} answered with more than {LARGEST_ANSWER} bytes")
    finally:
        await answer.aclose()
    return bytes(body)
