"""What all forms of the standards share, and their common data types (3GPP TS 29.571, TS 29.122, TS 29.554)."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from twinloop.service.analytics.wire import BIT_RATE


class Form(BaseModel):
    """A JSON object with the standard's names in camelCase; what we do not know in it is passed over."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )


def _text(value: object) -> object:
    if isinstance(value, str | datetime):
        return value
    raise ValueError("a date and time is text, for example 2030-01-31T12:00:00Z")


Item = TypeVar("Item")
Some = Annotated[list[Item], Field(min_length=1)]
DateTime = Annotated[AwareDatetime, BeforeValidator(_text)]
Supi = Annotated[str, Field(min_length=1)]
BitRate = Annotated[str, Field(pattern=BIT_RATE)]
Ratio = Annotated[int, Field(ge=1, le=100)]
Count = Annotated[int, Field(ge=0)]
Delay = Annotated[int, Field(ge=1)]
Loss = Annotated[int, Field(ge=0, le=1000)]
Level = Annotated[int, Field(ge=0, le=100)]


class PlmnId(Form):
    """A network: country and operator."""

    mcc: Annotated[str, Field(pattern=r"^[0-9]{3}$")]
    mnc: Annotated[str, Field(pattern=r"^[0-9]{2,3}$")]


class Snssai(Form):
    """A slice: type and, where there is one, differentiator."""

    sst: Annotated[int, Field(ge=0, le=255)]
    sd: Annotated[str, Field(pattern=r"^[A-Fa-f0-9]{6}$")] | None = None


class Tai(Form):
    """A tracking area."""

    plmn_id: PlmnId
    tac: Annotated[str, Field(pattern=r"^([A-Fa-f0-9]{4}|[A-Fa-f0-9]{6})$")]


class Ncgi(Form):
    """A cell: its network and the nine hexadecimal digits of its NR cell identity."""

    plmn_id: PlmnId
    nr_cell_id: Annotated[str, Field(pattern=r"^[A-Fa-f0-9]{9}$")]


class NetworkAreaInfo(Form):
    """An area as a list of cells or tracking areas. Nodes and cells of other kinds of network are passed over."""

    ncgis: Some[Ncgi] | None = None
    tais: Some[Tai] | None = None


class NrLocation(Form):
    """Where somebody is, to the cell."""

    tai: Tai
    ncgi: Ncgi


class UserLocation(Form):
    """Where somebody is, to the cell of a 5G network."""

    nr_location: NrLocation


class TimeWindow(Form):
    """From when to when."""

    start_time: DateTime
    stop_time: DateTime


class ThresholdLevel(Form):
    """A level to be crossed, or reached; only what the twins know. Here the average delay is spelled `avgPacketDelay`,
    in `PerfData` `avePacketDelay`.
    """

    cong_level: int | None = None
    avg_traffic_rate: BitRate | None = None
    max_traffic_rate: BitRate | None = None
    avg_packet_delay: Delay | None = None
    max_packet_delay: Delay | None = None
    avg_packet_loss_rate: Loss | None = None
    svc_exp_level: float | None = None


def written(form: Form) -> dict[str, Any]:
    """The form as JSON values under the standard's names, without what is absent."""
    return form.model_dump(mode="json", by_alias=True, exclude_none=True)
