"""What an operator sets of the analytics: identities, limits, and how precise a statement is meant to be."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Precision(BaseModel):
    """How far the truth may lie from a predicted value that is called right; `confidence` is the probability of that.

    `mos` [opinion score]; `level_percent` [per cent] of loads and usages; `relative` [1], a share of the value, of
    rates, delays and volumes; numbers of people may be off by `relative`, too, and by `people` where that is more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mos: Annotated[float, Field(gt=0)] = 0.5
    level_percent: Annotated[float, Field(gt=0)] = 10.0
    relative: Annotated[float, Field(gt=0)] = 0.2
    people: Annotated[float, Field(gt=0)] = 1.0


class NotifySettings(BaseModel):
    """How subscribers are served.

    Every `check_s` it is looked who is to be told. Nobody is told more often than every `shortest_period_s`; who names
    neither period nor threshold is told every `default_period_s`. A notification is tried `attempts` times, after
    `backoff_s`, twice that, and so on, `most_deliveries` of them at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check_s: Annotated[float, Field(gt=0)] = 1.0
    shortest_period_s: Annotated[float, Field(gt=0)] = 1.0
    default_period_s: Annotated[float, Field(gt=0)] = 60.0
    attempts: Annotated[int, Field(ge=1)] = 4
    backoff_s: Annotated[float, Field(ge=0)] = 1.0
    most_deliveries: Annotated[int, Field(ge=1)] = 16
    most_subscriptions: Annotated[int, Field(ge=1)] = 1000
    most_of_one_owner: Annotated[int, Field(ge=1)] = 100
    most_events: Annotated[int, Field(ge=1)] = 16


class AnalyticsSettings(BaseModel):
    """Settings of the standard interfaces.

    The network is `mcc` `mnc`, with one tracking area `tac`. The cell in row n of the twins has the NR cell identity
    `gnb_id` * 2^(36 - `gnb_bits`) + n. A user "ann" is the subscriber `nai-ann@realm`. Links to what was created begin
    with `api_root`, or as they were asked for where it is empty.

    A value is current for `fresh_s`. Predictions reach `horizon_s`, which must not be further than what is foretold; a
    window with one end given has `window_s`; statistics reach back `longest_window_s`. A window is read in `steps`
    steps (where people are: in `label_steps`), of at most `most_twins` twins, and answered in at most `most_items`
    items. Somebody who gets less than `active_bps` does not communicate.

    TS 29.520 answers statistics without data with status 500 and cause UNAVAILABLE_DATA. A service that is well should
    not say 500, so the same cause comes with 404, which its file allows, too, unless `unavailable_status` is 500.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mcc: Annotated[str, Field(pattern=r"^[0-9]{3}$")] = "001"
    mnc: Annotated[str, Field(pattern=r"^[0-9]{2,3}$")] = "01"
    tac: Annotated[str, Field(pattern=r"^([A-Fa-f0-9]{4}|[A-Fa-f0-9]{6})$")] = "000001"
    gnb_id: Annotated[int, Field(ge=0)] = 1
    gnb_bits: Annotated[int, Field(ge=22, le=32)] = 24
    realm: Annotated[str, Field(min_length=1, pattern=r"^[^@]+$")] = "twinloop.invalid"
    dnn: Annotated[str, Field(min_length=1)] = "internet"
    app_id: str | None = None
    api_root: str = ""
    fresh_s: Annotated[float, Field(gt=0)] = 30.0
    horizon_s: Annotated[float, Field(gt=0)] = 300.0
    window_s: Annotated[float, Field(gt=0)] = 300.0
    longest_window_s: Annotated[float, Field(gt=0)] = 31 * 86_400.0
    steps: Annotated[int, Field(ge=2)] = 30
    label_steps: Annotated[int, Field(ge=2)] = 300
    most_twins: Annotated[int, Field(ge=1)] = 100
    most_items: Annotated[int, Field(ge=1)] = 100
    active_bps: Annotated[float, Field(ge=0)] = 1e3
    unavailable_status: Literal[404, 500] = 404
    precision: Precision = Precision()
    notify: NotifySettings = NotifySettings()

    @model_validator(mode="after")
    def _gnb_fits(self) -> "AnalyticsSettings":
        if self.gnb_id >= 2**self.gnb_bits:
            raise ValueError(f"gnb_id {self.gnb_id} does not fit into gnb_bits {self.gnb_bits}")
        return self
