"""From a YAML file to a validated scenario to a loop that is ready to run."""

from twinloop.scenario.assembly import build_loop, build_world
from twinloop.scenario.events import (
    apply_events,
    changed,
    check_events,
    due_events,
    event_slots,
    happens,
    order_of,
    with_slices,
)
from twinloop.scenario.experience import agreements, build_raters, past_ratings
from twinloop.scenario.live import LANES, build_live, site_of, with_members
from twinloop.scenario.load import copy, dump, fields_of, load, parse, schema, shipped, source_text
from twinloop.scenario.models import SLOT_S, Drift, Event, Mismatch, Policy, Scenario, Upkeep
from twinloop.scenario.people import hazard_class_names

__all__ = [
    "LANES",
    "SLOT_S",
    "Drift",
    "Event",
    "Mismatch",
    "Policy",
    "Scenario",
    "Upkeep",
    "agreements",
    "apply_events",
    "build_live",
    "build_loop",
    "build_raters",
    "build_world",
    "changed",
    "check_events",
    "copy",
    "due_events",
    "dump",
    "event_slots",
    "fields_of",
    "happens",
    "hazard_class_names",
    "load",
    "order_of",
    "parse",
    "past_ratings",
    "schema",
    "shipped",
    "site_of",
    "source_text",
    "with_members",
    "with_slices",
]
