"""Video services and what they need (paper 004, Table 1; short video versions from paper 000). Data, not behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """What one service needs of a network: downlink rate in bit/s, one-way latency in s, multicast or not."""

    name: str
    title: str
    rate_bps: float
    latency_s: float
    multicast: bool
    source: str


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service("short_video", "Short video, unicast", 3e6, 3.0, False, "paper 000, section IV"),
        Service("short_video_multicast", "Short video, multicast", 3e6, 3.0, True, "paper 004, case study"),
        Service("short_video_4k", "Intelligent short video, 4K", 45e6, 3.0, False, "paper 004, Table 1"),
        Service("vr_8k_strong", "Immersive VR, 8K, strong interaction", 100e6, 0.010, False, "paper 004, Table 1"),
        Service("vr_8k_weak", "Immersive VR, 8K, weak interaction", 80e6, 0.020, False, "paper 004, Table 1"),
        Service("vr_30k", "Immersive VR, 30K", 1000e6, 0.010, False, "paper 004, Table 1"),
        Service(
            "holographic_6dof", "Holographic video, 6 degrees of freedom", 100e6, 0.005, False, "paper 004, Table 1"
        ),
        Service(
            "holographic_3dof", "Holographic video, 3 degrees of freedom", 100e6, 0.020, False, "paper 004, Table 1"
        ),
        Service("hd_map", "High-definition map download", 25e6, 0.100, True, "paper 003, IV-D; rate and latency ours"),
        Service("augmented_reality", "Augmented reality", 25e6, 0.020, False, "paper 003, II-C; rate and latency ours"),
        Service("ai_inference", "Edge AI inference", 4e6, 0.050, False, "paper 003, IV-D; rate and latency ours"),
    )
}
