"""The twin in the standards' words: slices, decisions and policies (TS 28.541, A1), management (TS 28.561, 28.567)."""

from twinloop.service.standards.a1 import (
    A1Policy,
    QoeObjectives,
    SliceSlaObjectives,
    qoe_policy,
    sla_policies,
)
from twinloop.service.standards.closed_loop import ClosedControlLoop, closed_control_loops
from twinloop.service.standards.ndt import CAPABILITIES, NdtJobs, NdtSettings, WhatIfPort
from twinloop.service.standards.ndt_forms import NdtFunction, NdtJob, NdtReport
from twinloop.service.standards.profiles import TEMPLATES, TITLES, service_profile, slice_spec
from twinloop.service.standards.routes import management_router
from twinloop.service.standards.rrm import RrmPolicyRatio, rrm_policy_ratios, shares_of_ratios

__all__ = [
    "CAPABILITIES",
    "TEMPLATES",
    "TITLES",
    "A1Policy",
    "ClosedControlLoop",
    "NdtFunction",
    "NdtJob",
    "NdtJobs",
    "NdtReport",
    "NdtSettings",
    "QoeObjectives",
    "RrmPolicyRatio",
    "SliceSlaObjectives",
    "WhatIfPort",
    "closed_control_loops",
    "management_router",
    "qoe_policy",
    "rrm_policy_ratios",
    "service_profile",
    "shares_of_ratios",
    "sla_policies",
    "slice_spec",
]
