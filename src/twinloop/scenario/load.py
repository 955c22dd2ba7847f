"""Scenario files: found by name or path, read, validated, listed, copied; every fault is one line that says what to
do.
"""

import difflib
import json
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import BeforeValidatorFunctionSchema

from twinloop.errors import OutputError, ScenarioError
from twinloop.scenario.models import Scenario

_MOST_SHOWN = 60
_DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*([sS]|[sS][eE][cC]|[mM]([iI][nN])?|[hH])?\s*$"


class _FileSchema(GenerateJsonSchema):
    """Schema of what may be written: a duration is seconds or text such as 30min."""

    def function_before_schema(self, schema: BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """The only values that are read from text are durations."""
        text = {"type": "string", "pattern": _DURATION_PATTERN}
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, text]}


def shipped() -> dict[str, str]:
    """Text of every scenario that twinloop brings, by name."""
    folder = resources.files("twinloop.scenario") / "shipped"
    files = {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}


def source_text(name_or_path: str) -> str:
    """Text of a shipped scenario, or of the YAML file at a path.

    Raises ScenarioError, suggesting near misses, when there is neither.
    """
    ours = shipped()
    if name_or_path in ours:
        return ours[name_or_path]
    path = Path(name_or_path)
    try:
        if path.is_dir():
            raise ScenarioError(f"{path} is a directory; give the YAML file of a scenario")
        if path.is_file():
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path} is not a text file (byte {error.start} is not UTF-8); give a YAML file") from error
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{_short(name_or_path)} cannot be read ({_reason(error)}); give a YAML file") from error
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
        raise ScenarioError(f"{origin}{_place(error, text)}: not YAML: {_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{origin}: not YAML: {_reason(error)}") from error
    if fields is None:
        raise ScenarioError(f"{origin} is empty; start a scenario with: twinloop scenario copy campus FILE")
    if not isinstance(fields, dict):
        what = f"a scenario is a mapping of fields, not {_short(fields)}"
        raise ScenarioError(f"{origin}: {what}; see: twinloop scenario show campus")
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise ScenarioError(_sentence(error, origin)) from error


def fields_of(text: str) -> dict[str, Any]:
    """The fields in a scenario's YAML as they stand, unchecked; none where the text cannot be read."""
    try:
        fields = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def dump(scenario: Scenario) -> str:
    """The scenario as YAML, every field spelled out; `parse` reads it back to an equal one."""
    return yaml.safe_dump(json.loads(scenario.model_dump_json()), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """JSON Schema of scenario files, for editors that complete and check."""
    return Scenario.model_json_schema(schema_generator=_FileSchema)


def copy(name_or_path: str, target: Path) -> None:
    """Writes the scenario's text to `target`. Raises OutputError when that exists or cannot be written."""
    text = source_text(name_or_path)
    if target.exists():
        raise OutputError(f"{target} exists; choose another name or remove it")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error


def _place(error: yaml.YAMLError, text: str) -> str:
    """`, line 3, column 7` where the fault has a place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        return f", line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
    return ""


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem is not None:
        return error.problem
    return error.reason if isinstance(error, yaml.reader.ReaderError) else _reason(error)


def _reason(error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(why.split())


def _short(value: object) -> str:
    """`value` as a person wrote it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _sentence(error: ValidationError, origin: str) -> str:
    """The first fault as one line: the field, what is allowed, the value."""
    faults = error.errors(include_url=False)
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return " ".join(f"{origin}: {_dotted(first['loc'])}{_fault(first)}{more}".split())


def _dotted(location: tuple[int | str, ...]) -> str:
    """`network.cells[0].bandwidth_hz: `, empty for the scenario as a whole."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    return f"{text}: " if text else ""


def _fault(fault: Any) -> str:
    kind, value = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        return f"unknown field{_near_field(fault['loc'])}"
    if kind == "missing":
        return "is required and missing; see: twinloop scenario schema"
    if kind == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    allowed = fault["msg"].replace("Input should be", "must be", 1)
    return f"{allowed}, not {_short(value)}"


def _near_field(location: tuple[int | str, ...]) -> str:
    part = Scenario
    for step in location[:-1]:
        part = part if isinstance(step, int) else _part_within(part.model_fields[step].annotation) or part
    near = difflib.get_close_matches(str(location[-1]), part.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(part.model_fields)}"


def _part_within(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, alone or in a list, a dict or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _part_within(inner)) is not None), None)
