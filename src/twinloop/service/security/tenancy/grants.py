"""Which tenant owns a slice, and what of its users' twins the slice may see (paper 003, virtualization layer 6)."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from twinloop.entities import USER_ATTRIBUTES
from twinloop.service.security.errors import InvalidInput
from twinloop.service.security.ports import RecordsPort

COLLECTION = "grants"
DEFAULT_GRANT = frozenset({"rate_bps", "delay_s", "buffer_s", "quality", "rebuffer_s"})
"""What every slice sees of its users: the service they get. Not where they are, what they watch or who they are."""

_NAMES = tuple(attribute.name for attribute in USER_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Grant:
    """A slice of a tenant since `since_s` (epoch seconds), and what the tenant sees of the slice's users.

    `attributes` of users; with `identity` users keep their names, otherwise they have pseudonyms.
    """

    slice: str
    tenant: str
    since_s: float
    attributes: frozenset[str] = DEFAULT_GRANT
    identity: bool = False


class Grants:
    """Grants by slice, in memory and in `records`. A slice without one is nobody's: no tenant sees it."""

    def __init__(self, records: RecordsPort, now: Callable[[], float]) -> None:
        self._records = records
        self._now = now
        self._lock = threading.Lock()
        self._table = {
            record.key: msgspec.json.decode(record.body, type=Grant) for record in self._records.list(COLLECTION)
        }
        self.revision = 0
        """Counts changes: what was cut under another revision is cut anew."""

    def assign(
        self, name: str, tenant: str, *, attributes: Iterable[str] = DEFAULT_GRANT, identity: bool = False
    ) -> Grant:
        """Gives a slice to a tenant, from now on. Raises InvalidInput where it is somebody's, and for unknown names."""
        if not name or not tenant:
            raise InvalidInput(f"slice {name!r} for tenant {tenant!r}", "name both")
        with self._lock:
            held = self._table.get(name)
            if held is not None:
                raise InvalidInput(f"slice {name!r} belongs to {held.tenant!r}", "release it first")
            return self._put(Grant(name, tenant, self._now(), _known(attributes), identity))

    def allow(self, name: str, *, attributes: Iterable[str] | None = None, identity: bool | None = None) -> Grant:
        """Changes what a slice's tenant sees; None leaves as is. Raises KeyError without a grant, InvalidInput."""
        with self._lock:
            held = self._table[name]
            chosen = held.attributes if attributes is None else _known(attributes)
            return self._put(replace(held, attributes=chosen, identity=held.identity if identity is None else identity))

    def release(self, name: str) -> None:
        """Takes a slice from its tenant, who sees nothing of it any more. A slice of nobody stays so."""
        with self._lock:
            if self._table.pop(name, None) is not None:
                self.revision += 1
                self._records.delete(COLLECTION, name)

    def get(self, name: str) -> Grant | None:
        """The grant of a slice."""
        return self._table.get(name)

    def of(self, tenant: str) -> tuple[Grant, ...]:
        """Grants of a tenant, by name of the slice. The empty name owns nothing."""
        with self._lock:
            held = [grant for grant in self._table.values() if tenant and grant.tenant == tenant]
        return tuple(sorted(held, key=lambda grant: grant.slice))

    def all(self) -> tuple[Grant, ...]:
        """Every grant, by name of the slice."""
        with self._lock:
            return tuple(sorted(self._table.values(), key=lambda grant: grant.slice))

    def _put(self, grant: Grant) -> Grant:
        body = msgspec.json.encode(grant).decode()
        self._records.put(COLLECTION, grant.slice, body, tenant=grant.tenant)
        self._table[grant.slice] = grant
        self.revision += 1
        return grant


def _known(attributes: Iterable[str]) -> frozenset[str]:
    """Attributes of users. Raises InvalidInput for any other name."""
    chosen = frozenset(attributes)
    unknown = sorted(chosen - set(_NAMES))
    if unknown:
        raise InvalidInput(f"users have no attribute {', '.join(unknown)}", f"choose from {', '.join(_NAMES)}")
    return chosen
