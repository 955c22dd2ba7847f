"""Scenario files: found by name or path, read, validated, listed, copied; every fault is one line that says what to
do.
"""

import difflib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from twinloop.errors import OutputError, ScenarioError
from twinloop.scenario.models import Scenario


def shipped() -> dict[str, str]:
    """Text of every scenario that twinloop brings, by name."""
    folder = resources.files("twinloop.scenario") / "shipped"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return {entry.name.removesuffix(".yaml"): entry.read_text() for entry in sorted(files, key=lambda e: e.name)}


def source_text(name_or_path: str) -> str:
    """Text of a shipped scenario, or of the YAML file at a path.

    Raises ScenarioError, suggesting near misses, when there is neither.
    """
    ours = shipped()
    if name_or_path in ours:
        return ours[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path} cannot be read as text: {error}") from error
    if path.suffix in {".yaml", ".yml"} or "/" in name_or_path:
        raise ScenarioError(f"no scenario file at {path}; start one with: twinloop scenario copy campus {path}")
    near = difflib.get_close_matches(name_or_path, ours, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ScenarioError(
        f"no scenario {name_or_path!r}; {hint}there are {', '.join(ours)}, or give the path of a YAML file"
    )


def load(name_or_path: str) -> Scenario:
    """The scenario of that name or path, validated. Raises ScenarioError."""
    return parse(source_text(name_or_path), name_or_path)


def parse(text: str, origin: str = "scenario") -> Scenario:
    """The scenario written in YAML `text`, validated; `origin` names it in errors. Raises ScenarioError."""
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ScenarioError(f"{origin}{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{origin}: not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ScenarioError(f"{origin}: a scenario is a mapping of fields; see: twinloop scenario show campus")
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise ScenarioError(_sentence(error, origin)) from error


def dump(scenario: Scenario) -> str:
    """The scenario as YAML, every field spelled out; `parse` reads it back to an equal one."""
    return yaml.safe_dump(json.loads(scenario.model_dump_json()), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors that complete and check."""
    return Scenario.model_json_schema()


def copy(name_or_path: str, target: Path) -> None:
    """Writes the scenario's text to `target`. Raises OutputError when that exists or cannot be written."""
    text = source_text(name_or_path)
    if target.exists():
        raise OutputError(f"{target} exists; choose another name or remove it")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error


def _sentence(error: ValidationError, origin: str) -> str:
    faults = error.errors(include_url=False)
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        problem = f"unknown field{_near_field(first)}"
    elif first["type"] == "missing":
        problem = "is required and missing"
    elif "input" in first and not isinstance(first["input"], dict | list):
        problem = f"{problem}, not {first['input']!r}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{origin}: {place + ': ' if place else ''}{problem}{more}"


def _near_field(fault: Any) -> str:
    wanted = str(fault["loc"][-1])
    known = sorted(_field_names(Scenario.model_json_schema()))
    near = difflib.get_close_matches(wanted, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; see: twinloop scenario schema"


def _field_names(node: Any) -> set[str]:
    if not isinstance(node, dict):
        return set()
    own = set(node.get("properties", {}))
    return own.union(*(_field_names(value) for value in node.values()))
