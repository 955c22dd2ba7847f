"""Scenario files: shipped ones are sound, and every fault is one line: the field, the value, the way out."""

import json
import re

import pydantic
import pytest
import yaml

from twinloop import scenario
from twinloop.errors import OutputError, ScenarioError

SHIPPED = ("campus", "campus-drift", "campus-orders", "campus-real", "city", "da-qoe", "replay-5g", "three-sites")
CAMPUS = scenario.source_text("campus")


def refusal(call, *arguments: object) -> str:
    """The one line with which `call` refuses its arguments."""
    with pytest.raises(ScenarioError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def changed(old: str, new: str) -> str:
    """The campus with its first `old` replaced."""
    assert old in CAMPUS
    return CAMPUS.replace(old, new, 1)


def test_these_scenarios_are_shipped():
    assert tuple(scenario.shipped()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_survives_copy_and_dump(name, tmp_path):
    entry = scenario.load(name)
    assert entry.name == name
    assert entry.duration > 0
    own = tmp_path / "own.yaml"
    scenario.copy(name, own)
    assert own.read_text() == scenario.source_text(name)
    assert scenario.load(str(own)) == entry
    assert scenario.parse(scenario.dump(entry)) == entry


def test_shipped_scenarios_have_the_sizes_that_are_promised():
    sizes = {name: (len(e.network.cells), e.user_count) for name in SHIPPED for e in [scenario.load(name)]}
    assert sizes["campus"] == (2, 60)
    assert sizes["city"] == (19, 2000)
    assert [name for name in SHIPPED if scenario.load(name).needs_data] == ["campus-real", "replay-5g"]


def test_a_copy_never_replaces_a_file(tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("precious")
    with pytest.raises(OutputError, match="exists; choose another name"):
        scenario.copy("campus", target)
    assert target.read_text() == "precious"
    with pytest.raises(OutputError, match="cannot be written"):
        scenario.copy("campus", tmp_path / "no" / "folder.yaml")


def unfit(value: object, rule: dict, root: dict) -> str | None:
    """Where `value` breaks the JSON Schema `rule`, None where it fits: the keywords that our schema uses."""
    if "$ref" in rule:
        return unfit(value, root["$defs"][rule["$ref"].rpartition("/")[2]], root)
    if "anyOf" in rule:
        faults = [unfit(value, option, root) for option in rule["anyOf"]]
        return None if None in faults else faults[0]
    if "type" in rule and not is_of(value, rule["type"]):
        return f"{value!r} is no {rule['type']}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{value!r} is none of {rule['enum']}"
    if isinstance(value, dict):
        return unfit_fields(value, rule, root)
    if isinstance(value, list):
        rules = rule.get("prefixItems") or [rule.get("items", {})] * len(value)
        return next((fault for v, r in zip(value, rules, strict=True) if (fault := unfit(v, r, root))), None)
    bounds = {"minimum": lambda v, b: v >= b, "exclusiveMinimum": lambda v, b: v > b, "maximum": lambda v, b: v <= b}
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        return f"{value!r} does not match {rule['pattern']}"
    broken = [name for name, holds in bounds.items() if name in rule and not holds(value, rule[name])]
    return f"{value!r} breaks {broken[0]}" if broken else None


def is_of(value: object, kind: str) -> bool:
    """Whether a JSON value is of the type that a schema names."""
    if isinstance(value, bool):
        return kind == "boolean"
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "null": type(None)}
    return isinstance(value, kinds.get(kind, ()))


def unfit_fields(value: dict, rule: dict, root: dict) -> str | None:
    """The same for an object's fields."""
    known, others = rule.get("properties", {}), rule.get("additionalProperties", {})
    missing = [name for name in rule.get("required", ()) if name not in value]
    unknown = [name for name in value if name not in known and others is False]
    if missing or unknown:
        return f"misses {missing}, does not know {unknown}"
    pairs = ((inner, known.get(name, others)) for name, inner in value.items())
    return next((fault for inner, r in pairs if (fault := unfit(inner, r, root))), None)


SPOILED = (
    {"title": 3},
    {"sede": 1},
    {"seed": -1},
    {"duration": -1},
    {"duration": "soon"},
    {"slices": {}},
    {"policy": {"allocation": "best"}},
)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_exported_schema_accepts_shipped_files_and_refuses_spoiled_ones(name):
    exported = json.loads(json.dumps(scenario.schema()))
    fields = yaml.safe_load(scenario.source_text(name))
    assert unfit(fields, exported, exported) is None
    assert unfit(yaml.safe_load(scenario.dump(scenario.load(name))), exported, exported) is None
    for spoiled in SPOILED:
        assert unfit(fields | spoiled, exported, exported) is not None, spoiled


@pytest.mark.parametrize(("typed", "meant"), [("campuss", "campus"), ("citi", "city"), ("replay5g", "replay-5g")])
def test_an_unknown_scenario_suggests_the_near_one(typed, meant):
    assert f"did you mean {meant!r}?" in refusal(scenario.load, typed)


def test_an_unknown_scenario_without_a_near_one_lists_all():
    text = refusal(scenario.load, "zzz")
    assert all(name in text for name in SHIPPED) and "did you mean" not in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("bandwidth_hz: 10.0e+6", "bandwith_hz: 10.0e+6", ["cells[0].bandwith_hz", "did you mean 'bandwidth_hz'?"]),
        ("height_m: 25", "speed_kmh: 25", ["cells[0].speed_kmh", "unknown field", "'speed_mps'"]),
        ("duration: 30min", "zzz: 1", ["zzz: unknown field; there are name, title"]),
        ("groups: 3", "group: 3", ["users[2].group", "did you mean 'groups'?"]),
        ("bandwidth_hz: 10.0e+6", "bandwidth_hz: -5", ["network.cells[0].bandwidth_hz", "greater than 0", "not -5"]),
        ("count: 16", "count: 0", ["users[0].count", "greater than or equal to 1", "not 0"]),
        ("count: 16", "count: 1.5", ["users[0].count", "integer", "not 1.5"]),
        ("count: 16", "count: many", ["users[0].count", "integer", "not 'many'"]),
        ("count: 16", "count: 20_000_000", ["users[0].count", "10000000", "not 20000000"]),
        ("cache_bytes: 0.5e+9", "cache_bytes: .nan", ["servers[0].cache_bytes", "finite", "not nan"]),
        ("power_dbm: 40", "power_dbm: .inf", ["cells[0].power_dbm", "finite", "not inf"]),
        ("duration: 30min", "duration: 5 parsecs", ["duration", "'5 parsecs'", "30min"]),
        ("duration: 30min", "duration: -3", ["duration", "greater than 0", "not -3"]),
        ("window: 3min", "window: 100", ["window 100 s", "multiple of 60 s"]),
        ("kind: macro", "kind: nano", ["cells[0].kind", "'macro', 'small', 'mobile' or 'satellite'", "not 'nano'"]),
        ("name: north, ", "", ["cells[0].name", "required and missing", "twinloop scenario schema"]),
        ("server: edge", "server: cloud", ["network", "'north'", "'cloud'", "there are edge"]),
        ("name: south", "name: north", ["two cells have one name"]),
        ("slice: premium", "slice: gold", ["'gold'", "there are premium, standard, multicast"]),
        ("floor_share: 0.15", "floor_share: 0.8", ["floor_share", "more than 1", "lower them"]),
        ("speed_kmh: [2, 5]", "speed_kmh: [5, 2]", ["users[1]", "[lowest, highest]"]),
        ("mobility: levy", "mobility: path", ["mobility.paths_m is empty"]),
        ("name: campus", "name: ../up", ["name", "pattern", "not '../up'"]),
        ("title: A 5G", f"title: [{'x, ' * 999}]\n# ", ["title", "valid string", "..."]),
    ],
)
def test_a_fault_names_field_value_and_what_is_allowed(old, new, words):
    text = refusal(scenario.parse, changed(old, new), "mine.yaml")
    assert text.startswith("mine.yaml: ")
    assert [word for word in words if word not in text] == [], text
    assert len(text) < 300


def test_faults_beyond_the_first_are_counted():
    text = refusal(scenario.parse, changed("count: 16", "count: 0").replace("kind: small", "kind: tiny"), "mine.yaml")
    assert text.endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["is empty", "twinloop scenario copy campus"]),
        (b"# nothing but a remark\n", ["is empty"]),
        (b"name: [a\nb: c: d\n", ["line 2, column 2", "not YAML"]),
        (b"name: a\ntitle: \x01\n", ["line 2, column 8", "not YAML"]),
        (b"- a\n- b\n", ["mapping of fields", "['a', 'b']", "twinloop scenario show campus"]),
        (b"just words", ["mapping of fields", "'just words'"]),
        (b"\x89PNG\r\n\x1a\n\xff\xd8", ["not a text file", "byte 0", "YAML"]),
        (b"1: 2", ["name: is required"]),
        (b"[" * 5000, ["not YAML"]),
    ],
)
def test_a_file_that_holds_no_scenario_is_named(content, words, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    text = refusal(scenario.load, str(path))
    assert str(path) in text
    assert [word for word in words if word not in text] == [], text


def test_a_path_that_is_no_file_is_told(tmp_path):
    assert "is a directory; give the YAML file" in refusal(scenario.load, str(tmp_path))
    assert "twinloop scenario copy campus" in refusal(scenario.load, str(tmp_path / "own.yaml"))
    assert "cannot be read" in refusal(scenario.load, "x" * 5000 + ".yaml")
    assert len(refusal(scenario.load, "x" * 5000 + ".yaml")) < 200


def test_a_parsed_scenario_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        scenario.load("campus").seed = 2
