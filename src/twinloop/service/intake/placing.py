"""Rows of entities that have no place here: found again in the batch that they came in, so that each can be told."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from twinloop.network.formats import Batch, Refusal
from twinloop.scenario import Scenario

Entity = tuple[str, str, str | None, str | None]
"""Kind (`user`, ...), id, slice and group of a row."""

_MOST_TEXTS = 2_000
_TEXT_CHARACTERS = 2_000
_encode = msgspec.json.Encoder().encode


class Owners:
    """Whose cells and servers are: `owner` by (`cells` or `servers`, name). Users are nobody's, they roam."""

    def __init__(self, owner: Mapping[tuple[str, str], str]) -> None:
        self._owner = owner
        self._sites = frozenset(owner.values())

    def why_not(self, kind: str, name: str, site: str) -> str:
        """Why `site` may not report a cell or server, "" where it may: its own, one of no site, or it is no site."""
        owner = self._owner.get((kind, name), site)
        if owner == site or site not in self._sites:
            return ""
        return (
            f"{kind[:-1]} {name!r} belongs to site {owner}, and this was sent for site {site}; "
            f"have {owner} report it, with a token or topic of its own"
        )


def owners_of(scenario: Scenario, sites: Mapping[str, Sequence[str]]) -> Owners:
    """The owners of a scenario's cells and servers; `sites` are servers by site, and cells go with their server."""
    of_server = {server: site for site, servers in sites.items() for server in servers}
    owners = {("servers", server): site for server, site in of_server.items()}
    owners |= {
        ("cells", cell.name): of_server[cell.server] for cell in scenario.network.cells if cell.server in of_server
    }
    return Owners(owners)


def refusals_of(batch: Batch, why: Mapping[Entity, str], refused: Collection[int]) -> list[Refusal]:
    """Refusals of all rows of the entities in `why`, but for those that are `refused` for something else already."""
    found: list[Refusal] = []
    for at, (entity, row) in enumerate(_entities(batch)):
        reason = why.get(entity)
        place = at if batch.places is None else batch.places[at]
        if reason is None or place in refused:
            continue
        text = _text(batch, row) if len(found) < _MOST_TEXTS else ""
        found.append(Refusal(place, entity[0], entity[1], reason, text))
    return found


def _entities(batch: Batch) -> Iterator[tuple[Entity, tuple[int, int]]]:
    """Every row's entity, with the number of its block (-1: of `rows`) and its place there."""
    for index, row in enumerate(batch.rows):
        yield (row.kind, row.id, row.slice, row.group), (-1, index)
    for number, block in enumerate(batch.columns):
        for index, name in enumerate(block.ids):
            in_slice = None if block.slices is None else block.slices[index]
            group = None if block.groups is None else block.groups[index]
            yield (block.kind, name, in_slice, group), (number, index)


def _text(batch: Batch, row: tuple[int, int]) -> str:
    """A row as JSON, cut to 2,000 characters."""
    number, index = row
    if number < 0:
        told: object = batch.rows[index]
    else:
        block = batch.columns[number]
        told = {"kind": block.kind, "id": block.ids[index]}
        told |= {"values": dict(zip(block.attributes, block.values[index], strict=False))}
        told |= {} if block.slices is None else {"slice": block.slices[index]}
        told |= {} if block.groups is None else {"group": block.groups[index]}
    return _encode(told).decode("utf-8", "replace")[:_TEXT_CHARACTERS]
