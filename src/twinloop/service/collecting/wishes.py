"""What an operator wants of an attribute at a site, whatever the loop would ask: it is laid over every plan.

The collector's own request stays as it is, and so does what it learns: it goes on from what is reported.
"""

import threading
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute, column
from twinloop.network import Asked, Plan
from twinloop.service.records import Records

COLLECTION = "collection_wishes"
TABLES: Mapping[str, tuple[Attribute, ...]] = MappingProxyType(
    {"user": USER_ATTRIBUTES, "cell": CELL_ATTRIBUTES, "server": SERVER_ATTRIBUTES}
)
"""Attributes of what is collected, by the noun of rows."""

_Key = tuple[str, str, str]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How one attribute of one kind is to be reported at one site. None leaves it to the loop.

    With `period_s` it is sent every so often, whether it changed or not; not `enabled`, it is not sent at all. `by` is
    who wants it, since `since_s` (epoch seconds).
    """

    site: str
    kind: str
    attribute: str
    period_s: float | None = None
    bits: int | None = None
    enabled: bool = True
    by: str = ""
    since_s: float = 0.0


class Wishes:
    """All wishes; they outlive the server."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        kept = [msgspec.json.decode(record.body, type=Wish) for record in records.list(COLLECTION)]
        self._wishes: dict[_Key, Wish] = {(wish.site, wish.kind, wish.attribute): wish for wish in kept}

    def put(self, wish: Wish) -> None:
        """Takes the place of what was wanted before; returns once it is durable."""
        self._records.put(
            COLLECTION, _name_of(wish.site, wish.kind, wish.attribute), msgspec.json.encode(wish).decode()
        )
        with self._lock:
            self._wishes[wish.site, wish.kind, wish.attribute] = wish

    def drop(self, site: str, kind: str, attribute: str) -> bool:
        """Leaves the attribute to the loop again; False where nothing was wanted."""
        with self._lock:
            known = self._wishes.pop((site, kind, attribute), None) is not None
        if known:
            self._records.delete(COLLECTION, _name_of(site, kind, attribute))
        return known

    def of(self, site: str) -> list[Wish]:
        """What is wanted of a site."""
        with self._lock:
            return [wish for wish in self._wishes.values() if wish.site == site]

    def applied(self, plan: Plan) -> Plan:
        """The plan with what is wanted of its site."""
        wishes = self.of(plan.site)
        if not wishes:
            return plan
        parts = [
            msgspec.structs.replace(
                part, attributes=_wanted(part.attributes, [wish for wish in wishes if wish.kind == part.kind])
            )
            for part in plan.parts
        ]
        return msgspec.structs.replace(plan, parts=parts)


def _wanted(attributes: Mapping[str, Asked], wishes: list[Wish]) -> dict[str, Asked]:
    changed = dict(attributes)
    for wish in wishes:
        if not wish.enabled:
            changed.pop(wish.attribute, None)
            continue
        asked = changed.get(wish.attribute) or _by_table(wish)
        if wish.period_s is not None:
            asked = msgspec.structs.replace(asked, period_s=wish.period_s, delta=-1.0)
        if wish.bits is not None:
            asked = msgspec.structs.replace(asked, bits=wish.bits)
        changed[wish.attribute] = asked
    return changed


def _by_table(wish: Wish) -> Asked:
    """What the attribute table asks for; for what the loop does not ask at all."""
    table = TABLES[wish.kind]
    attribute = table[column(table, wish.attribute)]
    return Asked(attribute.period_s, attribute.bits, -1.0 if attribute.method == "periodic" else 0.0)


def _name_of(site: str, kind: str, attribute: str) -> str:
    return f"{site} {kind} {attribute}"
