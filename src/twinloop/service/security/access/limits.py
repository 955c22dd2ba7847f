"""How often anybody may ask: token buckets by identity, by address of the unknown, and for failed sign-ins."""

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twinloop.service.security.access.permissions import Identity, Role
from twinloop.service.security.errors import TooManyRequests

Positive = Annotated[float, Field(gt=0)]


class Rate(BaseModel):
    """A bucket of `burst` requests that fills at `per_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_s: Positive
    burst: Annotated[float, Field(ge=1)]


ROLE_RATES: Mapping[Role, Rate] = {
    "admin": Rate(per_s=200, burst=400),
    "operator": Rate(per_s=200, burst=400),
    "viewer": Rate(per_s=100, burst=200),
    "reporter": Rate(per_s=20_000, burst=40_000),
    "tenant": Rate(per_s=50, burst=100),
}


class LimitSettings(BaseModel):
    """Rates of identities by role, of addresses that show no credential, and of failed sign-ins by address.

    `most` buckets of each kind are kept; the ones that were idle for longest are forgotten first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: Mapping[Role, Rate] = ROLE_RATES
    unknown: Rate = Rate(per_s=10, burst=50)
    failures: Rate = Rate(per_s=0.2, burst=10)
    most: Annotated[int, Field(ge=1)] = 20_000

    @field_validator("roles")
    @classmethod
    def _whole(cls, given: Mapping[Role, Rate]) -> Mapping[Role, Rate]:
        """Roles that are not named keep their rates."""
        return {**ROLE_RATES, **given}


class Buckets:
    """Token buckets by key, in bounded memory. A clock that goes back fills nothing and stops nothing."""

    def __init__(self, rate: Rate, now: Callable[[], float], most: int) -> None:
        self._per_s = rate.per_s
        self._burst = rate.burst
        self._now = now
        self._most = most
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def wait_s(self, key: str, cost: float = 1.0) -> float:
        """Takes `cost` from the bucket and gives 0, or takes nothing and gives the seconds until there is enough.

        A cost above the burst is given once the bucket is full, and leaves it in debt.
        """
        now_s = self._now()
        with self._lock:
            left = self._left(key, now_s)
            lacking = min(cost, self._burst) - left
            if lacking <= 0:
                left -= cost
            self._held[key] = (left, now_s)
            self._held.move_to_end(key)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return max(lacking, 0.0) / self._per_s

    def is_empty(self, key: str) -> float:
        """Seconds until one request would be admitted, 0 where it would be now; takes nothing."""
        with self._lock:
            return max(1.0 - self._left(key, self._now()), 0.0) / self._per_s

    def _left(self, key: str, now_s: float) -> float:
        left, since_s = self._held.get(key, (self._burst, now_s))
        return min(self._burst, left + max(now_s - since_s, 0.0) * self._per_s)


class Limits:
    """The three kinds of buckets of a server. All raise TooManyRequests."""

    def __init__(self, settings: LimitSettings, now: Callable[[], float]) -> None:
        self._roles = {role: Buckets(rate, now, settings.most) for role, rate in settings.roles.items()}
        self._unknown = Buckets(settings.unknown, now, settings.most)
        self._failures = Buckets(settings.failures, now, settings.most)

    def admit(self, identity: Identity, cost: float = 1.0) -> None:
        """Counts a request of somebody known. A role without a rate is not limited."""
        buckets = self._roles.get(identity.role)
        if buckets is not None:
            _refuse(buckets.wait_s(identity.subject, cost), f"{identity.name} asks too often")

    def admit_address(self, address: str, cost: float = 1.0) -> None:
        """Counts a request that shows no credential."""
        _refuse(self._unknown.wait_s(network_of(address), cost), "this address asks too often")

    def failed(self, address: str) -> None:
        """Counts a sign-in that failed."""
        _refuse(self._failures.wait_s(network_of(address)), "too many failed sign-ins from this address")

    def require_calm(self, address: str) -> None:
        """Refuses where too many sign-ins have failed; counts nothing."""
        _refuse(self._failures.is_empty(network_of(address)), "too many failed sign-ins from this address")


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, the /64 network of an IPv6 one, anything else as it is."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def _refuse(wait_s: float, why: str) -> None:
    if wait_s > 0:
        raise TooManyRequests(why, wait_s)
