"""The simulated network, pure JAX: people move, links change, videos play, flows are served. `init` and `step`."""

from twinloop.simulator.air.radio import Radio, RadioState, sinr_and_rate, spectral_efficiency
from twinloop.simulator.air.shadowing import Maps, link_gains
from twinloop.simulator.catalogue import (
    DEFAULT_TYPES,
    VERSION_BPS,
    Catalogue,
    Viewers,
    build_catalogue,
    default_catalogue,
    leave_probability,
)
from twinloop.simulator.edge import Edge, Overhead
from twinloop.simulator.mobility import KinematicState, Mobility, init_kinematics, move
from twinloop.simulator.multicast import MulticastState
from twinloop.simulator.opinions import OpinionState, Raters, conditions_of, init_opinions, true_experience
from twinloop.simulator.playback import PlaybackState, Player, target_version
from twinloop.simulator.step import Environment, Outcome, Params, RadioTrace, State, init, step
from twinloop.simulator.topology import Topology, cell_positions

__all__ = [
    "DEFAULT_TYPES",
    "VERSION_BPS",
    "Catalogue",
    "Edge",
    "Environment",
    "KinematicState",
    "Maps",
    "Mobility",
    "MulticastState",
    "OpinionState",
    "Outcome",
    "Overhead",
    "Params",
    "PlaybackState",
    "Player",
    "Radio",
    "RadioState",
    "RadioTrace",
    "Raters",
    "State",
    "Topology",
    "Viewers",
    "build_catalogue",
    "cell_positions",
    "conditions_of",
    "default_catalogue",
    "init",
    "init_kinematics",
    "init_opinions",
    "leave_probability",
    "link_gains",
    "move",
    "sinr_and_rate",
    "spectral_efficiency",
    "step",
    "target_version",
    "true_experience",
]
