"""What the twins decide as A1 policies for a near-real-time controller (O-RAN A1 type definitions).

PUT the `body` of a policy to `/A1-P/v2/policies/{policyId}`; its `/status` says whether it is enforced.
"""

from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from pydantic import Field

from twinloop.entities import column
from twinloop.service.analytics import Form, Identities, PlmnId, written
from twinloop.service.live import Picture
from twinloop.units import bps_from_kbps


class SliceId(Form):
    """A slice in a network."""

    sst: Annotated[int, Field(ge=0, le=255)]
    sd: str | None = None
    plmn_id: PlmnId


class Scope(Form):
    """Whom a policy is about: the users of a slice."""

    slice_id: SliceId


class SliceSlaObjectives(Form):
    """What a slice is to get [kbit/s], and for how many users."""

    gua_dl_thpt_per_slice: Annotated[int, Field(ge=0)] | None = None
    max_dl_thpt_per_slice: Annotated[int, Field(ge=0)] | None = None
    max_number_of_ues: Annotated[int, Field(ge=1)] | None = None


class QoeObjectives(Form):
    """What users are to experience: opinion score 1 to 5, start-up [s], stalls a minute, share of time stalled."""

    qoe_score: Annotated[float, Field(ge=1, le=5)] | None = None
    initial_buffering: Annotated[float, Field(ge=0)] | None = None
    re_buff_freq: Annotated[float, Field(ge=0)] | None = None
    stall_ratio: Annotated[float, Field(ge=0, le=1)] | None = None


class A1Policy(Form):
    """One policy: its name and what is sent."""

    policy_id: str
    scope: Scope
    slice_sla_objectives: SliceSlaObjectives | None = None
    qoe_objectives: QoeObjectives | None = None

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        return {name: part for name, part in written(self).items() if name != "policyId"}


def sla_policies(picture: Picture, identities: Identities) -> tuple[A1Policy, ...]:
    """One policy for each active slice with users: the rate that all of them together are promised.

    guaDlThptPerSlice = `target_bps` x users; slices of which it is not known how many they have are left out.
    """
    at = column(picture.slices.attributes, "users")
    policies: list[A1Policy] = []
    for row in np.flatnonzero(picture.slice_active & (picture.slices.slot[:, at] >= 0)):
        users = float(picture.slices.value[row, at])
        if users < 1:
            continue
        rate_kbps = round(float(picture.target_bps[row]) * users / bps_from_kbps(1.0))
        objectives = SliceSlaObjectives(gua_dl_thpt_per_slice=rate_kbps)
        name = quote(picture.slices.ids[int(row)], safe="")
        scope = _scope(picture, identities, int(row))
        policies.append(A1Policy(policy_id=f"{name}-sla", scope=scope, slice_sla_objectives=objectives))
    return tuple(policies)


def qoe_policy(picture: Picture, identities: Identities, name: str, objectives: QoeObjectives) -> A1Policy:
    """The experience that users of the slice `name` are to have. Raises KeyError where there is no such slice."""
    scope = _scope(picture, identities, picture.slices.row(name))
    return A1Policy(policy_id=f"{quote(name, safe='')}-qoe", scope=scope, qoe_objectives=objectives)


def _scope(picture: Picture, identities: Identities, row: int) -> Scope:
    snssai = identities.snssai(picture, row)
    return Scope(slice_id=SliceId(sst=snssai.sst, sd=snssai.sd, plmn_id=identities.plmn))
