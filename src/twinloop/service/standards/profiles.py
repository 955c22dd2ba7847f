"""ServiceProfile (3GPP TS 28.541) against our SliceSpec, and three slices to begin with, our own numbers in them."""

from typing import Any, Final

from twinloop.service.acting.slices import ServiceProfile, asked
from twinloop.service.analytics import Identities, Snssai, written
from twinloop.slicing import SliceSpec
from twinloop.units import bps_from_kbps

TITLES: Final = {
    "maxNumberofUEs": "Maximum number of UEs",
    "dLLatency": "Packet delay budget (downlink)",
    "uLLatency": "Packet delay budget (uplink)",
    "uEMobilityLevel": "Supported device velocity",
    "uESpeed": "Supported device velocity",
    "networkSliceSharingIndicator": "Isolation level",
    "availability": "Availability",
    "delayTolerance": "Delay tolerance",
    "dLDeterministicComm": "Deterministic communication",
    "dLThptPerSlice": "Downlink throughput per network slice",
    "dLThptPerUE": "Downlink throughput per UE",
    "uLThptPerSlice": "Uplink throughput per network slice",
    "uLThptPerUE": "Uplink throughput per UE",
    "dLMaxPktSize": "Maximum supported packet size",
    "maxNumberofPDUSessions": "Number of connections",
    "termDensity": "UE density",
    "dLReliability": "Reliability",
    "dLPktDelayVariation": "Packet delay variation",
    "coverageArea": "Area of service",
    "nBIoT": "NB-IoT support",
}
"""Title of an attribute in the generic slice template (GSMA NG.116), by its name in a profile."""

TEMPLATES: Final[dict[str, dict[str, Any]]] = {
    "embb": {
        "serviceProfileId": "embb",
        "sst": 1,
        "maxNumberofUEs": {"3GPPNoOfUEs": 500},
        "dLLatency": 50,
        "uLLatency": 50,
        "uEMobilityLevel": "FULL_MOBILITY",
        "uESpeed": 120,
        "networkSliceSharingIndicator": "SHARED",
        "availability": 99.9,
        "dLThptPerUE": {"guaThpt": 4000, "maxThpt": 50000},
        "dLThptPerSlice": {"guaThpt": 400000, "maxThpt": 2000000},
        "uLThptPerUE": {"guaThpt": 500, "maxThpt": 10000},
    },
    "urllc": {
        "serviceProfileId": "urllc",
        "sst": 2,
        "maxNumberofUEs": {"3GPPNoOfUEs": 40},
        "dLLatency": 5,
        "uLLatency": 5,
        "uEMobilityLevel": "RESTRICTED_MOBILITY",
        "networkSliceSharingIndicator": "NON_SHARED",
        "availability": 99.999,
        "dLReliability": 99.999,
        "dLPktDelayVariation": 1,
        "dLMaxPktSize": {"maxsize": 256},
        "dLThptPerUE": {"guaThpt": 1000, "maxThpt": 2000},
        "dLThptPerSlice": {"guaThpt": 40000, "maxThpt": 80000},
    },
    "miot": {
        "serviceProfileId": "miot",
        "sst": 3,
        "maxNumberofUEs": {"3GPPNoOfUEs": 20000},
        "dLLatency": 1000,
        "uLLatency": 1000,
        "uEMobilityLevel": "STATIONARY",
        "networkSliceSharingIndicator": "SHARED",
        "availability": 99,
        "termDensity": {"density": 10000},
        "dLThptPerUE": {"guaThpt": 20, "maxThpt": 100},
        "dLThptPerSlice": {"guaThpt": 20000, "maxThpt": 100000},
    },
}
"""Profiles by kind of slice: broadband (SST 1), low latency (2), things (3). Rates in kbit/s, latencies in ms."""


def service_profile(spec: SliceSpec, identities: Identities, capacity_bps: float, template: str = "") -> ServiceProfile:
    """A slice as a profile over a template's attributes, where cells together carry `capacity_bps`.

    The promised rate is dLThptPerUE.guaThpt, the floor what it carries, dLThptPerSlice.guaThpt. Raises KeyError for an
    unknown template.
    """
    profile = dict(TEMPLATES[template]) if template else {}
    snssai = Snssai(sst=spec.sst, sd=spec.sd or None)
    each, whole = spec.target_bps / bps_from_kbps(1.0), spec.floor_share * capacity_bps / bps_from_kbps(1.0)
    profile |= {
        "serviceProfileId": spec.name,
        "sst": spec.sst,
        "plmnInfoList": [{"plmnId": written(identities.plmn), "snssai": written(snssai)}],
        "dLThptPerUE": {**profile.get("dLThptPerUE", {}), "guaThpt": each},
        "dLThptPerSlice": {**profile.get("dLThptPerSlice", {}), "guaThpt": whole},
    }
    if whole <= 0:
        del profile["dLThptPerSlice"]["guaThpt"]
    return ServiceProfile.model_validate(profile)


def slice_spec(profile: ServiceProfile, capacity_bps: float, *, service: str, weight: float = 1.0) -> SliceSpec:
    """A profile as a slice for a `service`, where cells together carry `capacity_bps`; the reverse of
    `service_profile`.

    All but rates and S-NSSAI is left out: the twins promise nothing else. Raises ValueError where no rate is promised.
    """
    wanted = asked(profile, capacity_bps)
    if wanted.promises.target_bps is None or wanted.sst is None:
        raise ValueError("dLThptPerUE.guaThpt: a slice needs the rate that each user is promised, in kbit/s")
    return SliceSpec(
        name=profile.serviceProfileId,
        sst=wanted.sst,
        sd=wanted.sd or "",
        service=service,
        target_bps=wanted.promises.target_bps,
        floor_share=wanted.promises.floor_share or 0.0,
        weight=weight,
    )
