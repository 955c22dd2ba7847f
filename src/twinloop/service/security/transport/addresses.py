"""Which addresses the server may call on somebody's word: public ones, and those that its operator lists."""

import ipaddress
import re
from collections.abc import Sequence

from twinloop.service.security.errors import SecuritySettingsError, TargetRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's host, on a public address
        "192.0.0.0/24",  # protocol assignments, of which older Pythons call some global
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b::/96",  # NAT64, carries any IPv4 address
        "64:ff9b:1::/48",
        "2001::/23",  # Teredo, the same, and other protocols
        "2002::/16",  # 6to4, the same
        "::/96",  # IPv4-compatible, the same
        "100::/64",  # discarded
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "168.63.129.16/32",
    )
)
"""Where clouds answer their machines with credentials: a host that is listed by name does not reach them."""


class AllowList:
    """Hosts (`hooks.example.net`, `*.example.net`) and networks (`10.1.0.0/16`) to call though they are not public."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            network = _network(entry)
            if network is not None:
                self._networks.append(network)
            elif _HOST.fullmatch(entry.lower().removeprefix("*.")) and not ends_in_number(entry.lower()):
                self._hosts.add(entry.lower())
            else:
                raise SecuritySettingsError(
                    f"webhook target {entry!r} is neither a host nor a network such as 10.0.0.0/8"
                )

    def names(self, host: str) -> bool:
        """True for a host that is listed, itself or by its domain."""
        domains = host.split(".")
        return host in self._hosts or any(f"*.{'.'.join(domains[i:])}" in self._hosts for i in range(1, len(domains)))

    def holds(self, address: Address) -> bool:
        """True for an address within a listed network."""
        return any(address in network for network in self._networks)

    def require(self, host: str, text: str) -> str:
        """The address in `text`, canonical, to which `host` was resolved. Raises TargetRefused where it is not allowed.

        The refusal does not say what a name resolves to: who asks need not learn the names of our network.
        """
        try:
            address = plain(ipaddress.ip_address(text))
        except ValueError:
            raise TargetRefused(f"{host} resolves to no usable address") from None
        if self.holds(address) or is_public(address):
            return str(address)
        if self.names(host) and not address.is_multicast and not any(address in network for network in _METADATA):
            return str(address)
        raise TargetRefused(
            f"{host} is not a public address", "have the operator list it among the webhook targets that are allowed"
        )


def plain(address: Address) -> Address:
    """An IPv4 address for an IPv6 one that only wraps it."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def is_public(address: Address) -> bool:
    """True for one host on the public internet."""
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return False
    return address.is_global and not special and not any(address in network for network in _SPECIAL)


def host_of(raw: str) -> str:
    """A host as it may stand in an address: a name, or an IP address as everybody writes it. Raises TargetRefused.

    Decimal, octal, hexadecimal and short forms of IPv4 addresses are refused: resolvers disagree about them.
    """
    host = raw.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(host) or ends_in_number(host):
        raise TargetRefused(f"host {raw[:80]!r} is neither a name nor a plain IP address")
    return host


def ends_in_number(host: str) -> bool:
    """True where resolvers may take a name for an IPv4 address."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
