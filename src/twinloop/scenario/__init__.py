"""From a YAML file to a validated scenario to a loop that is ready to run."""

from twinloop.scenario.load import copy, dump, load, parse, schema, shipped, source_text
from twinloop.scenario.models import Scenario

__all__ = ["Scenario", "copy", "dump", "load", "parse", "schema", "shipped", "source_text"]
