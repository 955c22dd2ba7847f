"""Slicing decisions as a real radio network takes them: RRMPolicyRatio, whole per cents of a cell (3GPP TS 28.541).

Ranges and order, rRMPolicyDedicatedRatio <= rRMPolicyMinRatio <= rRMPolicyMaxRatio, all 0 to 100: TS 28.541, 4.4.1.
The dedicated ratios of a cell sum to at most 100.
"""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from twinloop.service.analytics import Form, Identities, PlmnId, Snssai
from twinloop.service.live import Picture
from twinloop.units import ratio_from_percent

SUBNETWORK = "SubNetwork=1"

Percent = Annotated[int, Field(ge=0, le=100)]


class RrmPolicyMember(Form):
    """A slice in a network."""

    plmn_id: PlmnId
    snssai: Snssai


class RrmPolicyAttributes(Form):
    """What a policy says: of the physical resource blocks the member has `dedicated_ratio` to itself, is sure of
    `min_ratio` when it needs it, and gets at most `max_ratio`.
    """

    resource_type: str = "PRB"
    members: Annotated[list[RrmPolicyMember], Field(min_length=1)] = Field(
        validation_alias="rRMPolicyMemberList", serialization_alias="rRMPolicyMemberList"
    )
    max_ratio: Percent = Field(
        default=100, validation_alias="rRMPolicyMaxRatio", serialization_alias="rRMPolicyMaxRatio"
    )
    min_ratio: Percent = Field(default=0, validation_alias="rRMPolicyMinRatio", serialization_alias="rRMPolicyMinRatio")
    dedicated_ratio: Percent = Field(
        default=0, validation_alias="rRMPolicyDedicatedRatio", serialization_alias="rRMPolicyDedicatedRatio"
    )

    @model_validator(mode="after")
    def _in_order(self) -> "RrmPolicyAttributes":
        if not self.dedicated_ratio <= self.min_ratio <= self.max_ratio:
            raise ValueError("rRMPolicyDedicatedRatio <= rRMPolicyMinRatio <= rRMPolicyMaxRatio does not hold")
        return self


class RrmPolicyRatio(Form):
    """A policy of one slice in one cell, which `object_instance` names."""

    id: str
    object_class: str = "RRMPolicyRatio"
    object_instance: str
    attributes: RrmPolicyAttributes


def cell_name(cell: str) -> str:
    """Distinguished name of a cell; what such a name cannot hold is written as %XX."""
    return f"{SUBNETWORK},NRCellDU={quote(cell, safe='')}"


def rrm_policy_ratios(
    reserved_bandwidth_hz: NDArray[np.float32], picture: Picture, identities: Identities
) -> tuple[RrmPolicyRatio, ...]:
    """A decision [cells, slices] as one policy for each active slice in each cell.

    Dedicated and minimum are the slice's share of the cell in whole per cent, rounded by largest remainders so that a
    cell's policies sum to the share that they take together, rounded down; the maximum is all of the cell.
    """
    slices = np.flatnonzero(picture.slice_active)
    policies: list[RrmPolicyRatio] = []
    for row, cell in enumerate(picture.cells.ids):
        share = reserved_bandwidth_hz[row, slices].astype(np.float64) / float(picture.cell_bandwidth_hz[row])
        for place, percent in zip(slices, _whole_percents(share), strict=True):
            name = picture.slices.ids[int(place)]
            member = RrmPolicyMember(plmn_id=identities.plmn, snssai=identities.snssai(picture, int(place)))
            policies.append(
                RrmPolicyRatio(
                    id=quote(name, safe=""),
                    object_instance=f"{cell_name(cell)},RRMPolicyRatio={quote(name, safe='')}",
                    attributes=RrmPolicyAttributes(members=[member], min_ratio=percent, dedicated_ratio=percent),
                )
            )
    return tuple(policies)


def shares_of_ratios(
    policies: Iterable[RrmPolicyRatio], picture: Picture, identities: Identities
) -> dict[str, dict[str, float]]:
    """The dedicated shares that policies give, by cell and slice.

    Raises ValueError for a cell or slice that there is not.
    """
    cells = {cell_name(cell): cell for cell in picture.cells.ids}
    shares: dict[str, dict[str, float]] = {}
    for policy in policies:
        place = ",".join(policy.object_instance.split(",")[:2])
        if place not in cells:
            raise ValueError(f"objectInstance: there is no cell {place!r}; there are {', '.join(cells)}")
        for member in policy.attributes.members:
            rows = identities.slices(picture, [member.snssai])
            if not len(rows):
                raise ValueError(f"rRMPolicyMemberList: there is no slice with sst {member.snssai.sst}")
            share = ratio_from_percent(float(policy.attributes.dedicated_ratio))
            shares.setdefault(cells[place], {})[picture.slices.ids[int(rows[0])]] = share
    return shares


def _whole_percents(share: NDArray[np.float64]) -> list[int]:
    """Shares of one cell in whole per cent, by largest remainders."""
    exact = np.clip(share, 0.0, 1.0) / ratio_from_percent(1.0)
    down = np.floor(exact + 1e-6)
    left = int(min(np.floor(exact.sum() + 1e-6), 100.0) - down.sum())
    order = np.argsort(down - exact, kind="stable")
    down[order[: max(left, 0)]] += 1.0
    return [int(percent) for percent in down]
