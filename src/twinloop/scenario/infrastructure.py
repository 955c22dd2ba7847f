"""The base of all parts of a scenario file, and the parts of its infrastructure: cells, servers and the air between."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from twinloop.units import seconds_from_text


def _duration(value: object) -> object:
    return seconds_from_text(value) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_duration), Field(gt=0, le=2**24)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]


class Part(BaseModel):
    """Base of all parts: unknown fields are refused, values are frozen, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Link(Part):
    """Backhaul from a cell to its server."""

    delay_s: NotNegative = 0.002
    capacity_bps: Positive = 10e9


class Cell(Part):
    """One cell. `macro`, `small` and `satellite` stand still, `mobile` flies its closed `path_m`."""

    name: str
    kind: Literal["macro", "small", "mobile", "satellite"] = "macro"
    model: Literal["uma", "umi", "rma", "free_space", "close_in"] = "uma"
    position_m: Point | None = None
    path_m: list[Point] | None = None
    speed_mps: NotNegative = 0.0
    height_m: Positive = 25.0
    power_dbm: float = 43.0
    gain_db: float = 0.0
    frequency_hz: Annotated[float, Field(ge=0.4e9, le=100e9)] = 3.5e9
    bandwidth_hz: Positive = 10e6
    exponent: Annotated[float, Field(ge=1.0, le=6.0)] = 2.9
    delay_s: NotNegative = 0.001
    static_w: NotNegative = 100.0
    amplifier_efficiency: Annotated[float, Field(gt=0, le=1)] = 0.3
    server: str = "edge"
    link: Link = Link()

    @model_validator(mode="after")
    def _placed(self) -> "Cell":
        if self.kind == "mobile" and (self.path_m is None or len(self.path_m) < 2 or self.speed_mps == 0):
            raise ValueError(f"mobile cell {self.name!r} needs path_m with at least two points and speed_mps above 0")
        if self.kind != "mobile" and self.position_m is None:
            raise ValueError(f"cell {self.name!r} needs position_m")
        return self


class Server(Part):
    """An edge server or the cloud: processor, cache for versions below the top one, energy coefficient of F^2 per
    cycle.
    """

    name: str
    cycles_per_s: Positive = 10e9
    cache_bytes: NotNegative = 0.5e9
    kappa: NotNegative = 1e-28


class RadioPart(Part):
    """Physics of the air interface; see docs/channel.md."""

    noise_figure_db: float = 9.0
    se_factor: Annotated[float, Field(gt=0, le=1)] = 0.575
    se_max: Positive = 8.3
    rician_k: NotNegative = 0.0
    hysteresis_db: NotNegative = 3.0
    time_to_trigger_s: NotNegative = 1.0
    handover_s: Annotated[float, Field(ge=0, le=1)] = 0.05
    shadowing: bool = True
    shadow_grid_m: Positive = 10.0
    interference: bool = True
    user_height_m: Annotated[float, Field(ge=1.5, le=10)] = 1.5


class Network(Part):
    """Cells, servers and the air between cells and users."""

    cells: Annotated[list[Cell], Field(min_length=1)]
    servers: Annotated[list[Server], Field(min_length=1)]
    radio: RadioPart = RadioPart()

    @model_validator(mode="after")
    def _connected(self) -> "Network":
        names = [server.name for server in self.servers]
        for cell in self.cells:
            if cell.server not in names:
                raise ValueError(f"cell {cell.name!r} names server {cell.server!r}; there are {', '.join(names)}")
        for kind, entries in (("cell", [c.name for c in self.cells]), ("server", names)):
            if len(set(entries)) < len(entries):
                raise ValueError(f"two {kind}s have one name: {', '.join(entries)}")
        return self
