"""What may move a person's experience: a table of factors."""

from typing import Final, Literal, NamedTuple


class Factor(NamedTuple):
    """A factor: its unit and range in a rated period, `direction` of experience as it grows (+1, -1; 0: no order)."""

    name: str
    unit: str
    low: float
    high: float
    direction: Literal[-1, 0, 1]


FACTORS: Final = (
    Factor("throughput", "bit/s", 0.0, 1e9, 1),
    Factor("rebuffer_time", "s", 0.0, 60.0, -1),
    Factor("rebuffer_count", "1", 0.0, 60.0, -1),
    Factor("startup", "s", 0.0, 60.0, -1),
    Factor("quality", "1", 0.0, 1.0, 1),
    Factor("quality_change", "1", 0.0, 60.0, -1),
    Factor("jitter", "s", 0.0, 1.0, -1),
    Factor("loss", "1", 0.0, 1.0, -1),
    Factor("behaviour", "1", 1.0, 2.0, -1),
    Factor("environment", "1", 1.0, 2.0, -1),
    Factor("device", "code", 0.0, 255.0, 0),
    Factor("content", "code", 0.0, 255.0, 0),
    Factor("hour", "h", 0.0, 24.0, 0),
)
"""Factors of experience in a rated period (paper 000, Table I, as far as a network sees them).

`behaviour` and `environment` are B and C of `behaviour_of` and `environment_of`. Left out: emotion, which no report
carries.
"""

FACTOR_NAMES: Final = tuple(factor.name for factor in FACTORS)
