"""From a YAML file to a validated scenario to a loop that is ready to run."""

from twinloop.scenario.assembly import build_loop
from twinloop.scenario.events import apply_events, event_slots, with_slices
from twinloop.scenario.load import copy, dump, fields_of, load, parse, schema, shipped, source_text
from twinloop.scenario.models import Drift, Policy, Scenario, Upkeep
from twinloop.scenario.people import hazard_class_names

__all__ = [
    "Drift",
    "Policy",
    "Scenario",
    "Upkeep",
    "apply_events",
    "build_loop",
    "copy",
    "dump",
    "event_slots",
    "fields_of",
    "hazard_class_names",
    "load",
    "parse",
    "schema",
    "shipped",
    "source_text",
    "with_slices",
]
