"""The two loops of a twin as ClosedControlLoop (3GPP TS 28.567): who watches, analyses, decides and executes."""

from typing import Final, Literal

from pydantic import Field

from twinloop.service.analytics import Form
from twinloop.service.standards.rrm import SUBNETWORK

Mode = Literal["advise", "act", "halted"]

BEHAVIOUR: Final[dict[Mode, str]] = {
    "act": "DECISION_ACTIVATION",
    "advise": "NOTIFY_RCOMMENDATION",
    "halted": "DO_NOTHING",
}
"""What a loop does with a decision, by mode; the second is the standard's own spelling."""

LOOPS: Final = {
    "internal": {
        "MONITOR": "collection, twins",
        "ANALYSIS": "emulation, abstraction",
        "DECISION": "decision, validation",
        "EXECUTION": "enforcement",
    },
    "external": {
        "MONITOR": "collection",
        "ANALYSIS": "emulation against reports",
        "DECISION": "adaptive collection",
        "EXECUTION": "collection plans",
    },
}
"""Parts of the loop that assures slices, and of the loop that keeps twins true, by role."""


class CclComponent(Form):
    """A part of a loop, and its role."""

    identification: str = Field(
        validation_alias="cCLComponentIdentification", serialization_alias="cCLComponentIdentification"
    )
    role: str = Field(validation_alias="cCLComponentRole", serialization_alias="cCLComponentRole")


class ClosedControlLoop(Form):
    """A loop, what it is for, its parts, and what it does with a decision."""

    id: str
    object_class: str = "ClosedControlLoop"
    object_instance: str
    administrative_state: str
    operational_state: str
    kind: str = Field(default="SLICEASSURANCE", validation_alias="cCLType", serialization_alias="cCLType")
    components: list[CclComponent] = Field(validation_alias="cCLComponentList", serialization_alias="cCLComponentList")
    desired_behavior: str


def closed_control_loops(mode: Mode) -> tuple[ClosedControlLoop, ...]:
    """Both loops in a mode. The external loop collects whatever the mode; the kill switch locks the internal one."""
    loops: list[ClosedControlLoop] = []
    for name, parts in LOOPS.items():
        behaviour = BEHAVIOUR[mode] if name == "internal" else BEHAVIOUR["act"]
        state = "LOCKED" if behaviour == BEHAVIOUR["halted"] else "UNLOCKED"
        loops.append(
            ClosedControlLoop(
                id=name,
                object_instance=f"{SUBNETWORK},ClosedControlLoop={name}",
                administrative_state=state,
                operational_state=state,
                components=[CclComponent(identification=part, role=role) for role, part in parts.items()],
                desired_behavior=behaviour,
            )
        )
    return tuple(loops)
