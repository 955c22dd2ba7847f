"""What a tenant asks for: a slice in our short form, or a ServiceProfile with the names of TS 28.541."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from twinloop.units import bps_from_kbps

LONGEST_PROFILE = 16_384
_Name = Annotated[str, Field(min_length=1, max_length=128)]
_Sst = Annotated[int, Field(ge=0, le=255)]
_Sd = Annotated[str, Field(pattern="^[0-9A-Fa-f]{6}$")]
_Bps = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
_Kbps = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
COVERED = frozenset({"serviceProfileId", "plmnInfoList", "dLThptPerUE", "dLThptPerSlice"})
"""What of a profile is promised; the rest is kept with the slice, and said not to be."""


class _Promised(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    target_bps: _Bps | None = None
    floor_share: _Share | None = None
    weight: _Weight | None = None


class Promises(_Promised):
    """What may be asked for or changed: the downlink rate of every user, the share of every cell and server that is the
    slice's own, and the worth of one satisfied user (operators alone).
    """


class ShortOrder(_Promised):
    """A slice by the name of its row in the scenario, or by its S-NSSAI. `tenant` says for whom (operators alone)."""

    name: _Name | None = None
    sst: _Sst | None = None
    sd: _Sd | None = None
    tenant: Annotated[str, Field(max_length=128)] = ""

    @model_validator(mode="after")
    def _named(self) -> "ShortOrder":
        if self.name is None and self.sst is None:
            raise ValueError("name the slice, or give its S-NSSAI as sst and sd")
        return self


class Snssai(BaseModel):
    """TS 28.541 S-NSSAI."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sst: _Sst
    sd: _Sd | None = None


class PlmnInfo(BaseModel):
    """TS 28.541 PLMNInfo; which network it is does not matter here."""

    model_config = ConfigDict(extra="allow", frozen=True)
    snssai: Snssai


class Throughput(BaseModel):
    """TS 28.541 XLThpt: kbit/s."""

    model_config = ConfigDict(extra="allow", frozen=True)
    guaThpt: _Kbps | None = None  # noqa: N815 - the standard's name
    maxThpt: _Kbps | None = None  # noqa: N815 - the standard's name


class ServiceProfile(BaseModel):
    """TS 28.541 ServiceProfile. What is promised of it: `dLThptPerUE.guaThpt` becomes the rate of every user,
    `dLThptPerSlice.guaThpt` the share of every cell that carries it at the efficiency that users have now. All else is
    kept, and listed as not covered.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    plmnInfoList: Annotated[tuple[PlmnInfo, ...], Field(min_length=1, max_length=1)]  # noqa: N815 - the standard's name
    serviceProfileId: Annotated[str, Field(max_length=128)] = ""  # noqa: N815 - the standard's name
    dLThptPerUE: Throughput = Throughput()  # noqa: N815 - the standard's name
    dLThptPerSlice: Throughput = Throughput()  # noqa: N815 - the standard's name

    @model_validator(mode="after")
    def _short_enough(self) -> "ServiceProfile":
        if len(json.dumps(self.told(), default=str)) > LONGEST_PROFILE:
            raise ValueError(f"a profile has at most {LONGEST_PROFILE} characters")
        return self

    def told(self) -> dict[str, Any]:
        """As it came."""
        return self.model_dump(mode="json", exclude_unset=True)


def _form(body: Any) -> Literal["short", "profile"]:
    if isinstance(body, ServiceProfile):
        return "profile"
    return "profile" if isinstance(body, dict) and {"plmnInfoList", "serviceProfileId"} & {*body} else "short"


AnyOrder = Annotated[
    Annotated[ShortOrder, Tag("short")] | Annotated[ServiceProfile, Tag("profile")], Discriminator(_form)
]
"""Either form; a body with `plmnInfoList` or `serviceProfileId` is a profile."""


class Asked(BaseModel):
    """What is asked of a slice, whichever form it came in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str | None = None
    sst: int | None = None
    sd: str | None = None
    promises: Promises = Promises()
    tenant: str = ""
    profile: dict[str, Any] | None = None
    not_covered: tuple[str, ...] = ()


def asked(order: ShortOrder | ServiceProfile, capacity_bps: float) -> Asked:
    """What an order asks for, where all cells together carry `capacity_bps`."""
    if isinstance(order, ShortOrder):
        promises = Promises(target_bps=order.target_bps, floor_share=order.floor_share, weight=order.weight)
        return Asked(name=order.name, sst=order.sst, sd=order.sd, promises=promises, tenant=order.tenant)
    snssai, told = order.plmnInfoList[0].snssai, order.told()
    each, whole = order.dLThptPerUE.guaThpt, order.dLThptPerSlice.guaThpt
    promises = Promises(
        target_bps=None if each is None else bps_from_kbps(each),
        floor_share=None if whole is None else min(bps_from_kbps(whole) / max(capacity_bps, 1.0), 1.0),
    )
    maxima = [f"{name}.maxThpt" for name in ("dLThptPerUE", "dLThptPerSlice") if "maxThpt" in told.get(name, {})]
    return Asked(
        sst=snssai.sst,
        sd=snssai.sd,
        promises=promises,
        profile=told,
        not_covered=(*sorted(set(told) - COVERED), *maxima),
    )
