"""What twins look like on the wire: documented here, written by the modules beside."""

from typing import Any

from pydantic import BaseModel


class Measured(BaseModel):
    """What a network reported of an attribute, measured at `measured_s` (epoch seconds), `age_s` ago."""

    value: float
    unit: str
    measured_s: float
    age_s: float


class Reported(BaseModel):
    """What was last reported of an attribute: measured at `measured_s` (epoch seconds), `age_s` before the twin's own
    time. `fidelity` in [0, 1]: how well such values were emulated of late; null: never compared, or not kept.
    """

    value: float
    unit: str
    measured_s: float
    age_s: float
    fidelity: float | None


class Emulated(BaseModel):
    """What the twin expects of an attribute one slot ahead, with its standard deviation."""

    value: float
    std: float
    unit: str


class Twin(BaseModel):
    """One twin after `slot`, which began at `time_s`: what was reported, what is emulated, and what is desired of it.

    Desired of a slice: what it holds of each cell and server by the standing decision; of a cell or server: what
    slices hold of it; of a user: how it is to be reported. Parts that were not asked for are absent.
    """

    kind: str
    id: str
    slice: str | None = None
    active: bool
    revision: int
    slot: int
    time_s: float
    reported: dict[str, Reported] | None = None
    emulated: dict[str, Emulated] | None = None
    desired: dict[str, Any] | None = None


class TwinPage(BaseModel):
    """Twins in the order of their ids. `matching`: how many there are in all. `next` is `after` of the next page, null
    on the last.
    """

    kind: str
    slot: int
    time_s: float
    matching: int
    twins: list[Twin]
    next: str | None


class History(BaseModel):
    """Means over steps that begin at `time_s` (epoch seconds) and last `step_s`; null where nothing is known."""

    kind: str
    id: str
    attribute: str
    unit: str
    from_s: float
    to_s: float
    step_s: float
    time_s: list[float]
    value: list[float | None]


class Forecast(BaseModel):
    """What is expected of an attribute if nothing more is reported, slot by slot, with the interval that holds nine of
    ten truths; null where nothing is known, and no interval of labels and counts, which are expected to stay.
    """

    kind: str
    id: str
    attribute: str
    unit: str
    made_s: float
    slot: int
    time_s: list[float]
    mean: list[float | None]
    std: list[float | None]
    low90: list[float | None]
    high90: list[float | None]
