"""LAW 3: only `validation` constructs `Approved`; only `enforcement` writes a network, and takes nothing else."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

APPROVED = "Approved"
HELD = {"approved", "standing"}
WRITERS = {"network", "enforcement"}
READERS = {"network", "collection", "loop"}
AGENTS = ("service", "agent")
"""The network's own side of a live loop: who lives a simulated network, or stands before a real one."""


def home(package, path: Path) -> str:
    """First part of a module's path below the package: its package or its own name."""
    return path.relative_to(package.source).with_suffix("").parts[0]


def last_name(node: ast.expr) -> str:
    """`c` of the expressions c and a.b.c; empty for anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def allowed(nodes: Iterable[ast.AST]) -> set[ast.AST]:
    """Nodes where naming `Approved` is harmless: annotations, and the class of an isinstance question."""
    roots: list[ast.AST | None] = []
    for node in nodes:
        if isinstance(node, ast.arg | ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            roots.append(node.returns)
        elif isinstance(node, ast.Call) and last_name(node.func) == "isinstance" and len(node.args) == 2:
            roots.append(node.args[1])
    return {inner for root in roots if root is not None for inner in ast.walk(root)}


def aliases(nodes: Iterable[ast.AST]) -> set[str]:
    """Names under which a module knows `Approved`."""
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom))
    return {APPROVED} | {a.asname for node in imports for a in node.names if a.name == APPROVED and a.asname}


def construction_faults(package) -> Iterator[str]:
    """Every use of `Approved` outside `validation` that could make one: call, value, base class, altered copy."""
    for path in package.modules():
        if home(package, path) == "validation":
            continue
        nodes = package.nodes(path)
        harmless, names = allowed(nodes), aliases(nodes)
        for node in nodes:
            if isinstance(node, ast.Name | ast.Attribute) and last_name(node) in names and node not in harmless:
                yield f"{package.place(path, node.lineno)}: {APPROVED} is used as a value; only validation makes one"
            if isinstance(node, ast.Call) and alters_approved(node):
                yield f"{package.place(path, node.lineno)}: alters what was approved"


def alters_approved(call: ast.Call) -> bool:
    """True for replace, tree_at and tree.map on something named `approved` or `standing`, or on a part of it."""
    verb, arguments = last_name(call.func), call.args
    if verb == "replace":
        return any(last_name(argument) in HELD for argument in arguments[:1])
    if verb in {"map", "tree_map"}:
        return any(last_name(argument) in HELD for argument in arguments[1:])
    if verb != "tree_at" or len(arguments) < 2:
        return False
    parts = (node.value for node in ast.walk(arguments[0]) if isinstance(node, ast.Attribute))
    return last_name(arguments[1]) in HELD or any(last_name(part) in HELD for part in parts)


def traffic_faults(package) -> Iterator[str]:
    """Every call of `network.apply` outside enforcement and of `network.report` outside collection and the loop."""
    for path in package.modules():
        if path.relative_to(package.source).parts[:2] == AGENTS:
            continue
        for node in package.nodes(path):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            verb, of = node.func.attr, last_name(node.func.value)
            allowed_homes = {"apply": WRITERS, "report": READERS}.get(verb)
            if allowed_homes and of.endswith("network") and home(package, path) not in allowed_homes:
                yield f"{package.place(path, node.lineno)}: {of}.{verb} belongs to {sorted(allowed_homes)}"


def enforced_types(package) -> dict[str, set[str]]:
    """Names in the annotations of each public function of enforcement, by function."""
    found: dict[str, set[str]] = {}
    for path in sorted((package.source / "enforcement").rglob("*.py")):
        for node in package.tree(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                marks = [arg.annotation for arg in node.args.args + node.args.kwonlyargs if arg.annotation]
                found[node.name] = {last_name(x) for mark in marks for x in ast.walk(mark) if isinstance(x, ast.expr)}
    return found


def test_only_validation_makes_approved(package):
    assert not list(construction_faults(package))


def test_only_enforcement_writes_the_network(package):
    assert not list(traffic_faults(package))


def test_enforce_takes_approved_and_no_proposal(package):
    types = enforced_types(package)
    assert APPROVED in types["enforce"]
    assert not [name for name, marks in types.items() if "Proposal" in marks]


@pytest.mark.parametrize(
    "text",
    [
        "from twinloop.validation import Approved\n\nFIRST = Approved(1)",
        "from twinloop.validation import Approved as Yes\n\nFIRST = Yes(1)",
        "import twinloop.validation\n\nFIRST = twinloop.validation.Approved(1)",
        "from twinloop.validation import Approved\n\nMAKE = Approved",
        "from twinloop.validation import Approved\n\nFIRST = Approved.__new__(Approved)",
        "from twinloop.validation import Approved\n\nclass Mine(Approved):\n    pass",
        "import equinox as eqx\n\ndef widen(verdict, action):\n"
        "    return eqx.tree_at(lambda a: a.action, verdict.approved, action)",
        "import equinox as eqx\n\ndef widen(state, action):\n"
        "    return eqx.tree_at(lambda s: s.standing.action, state, action)",
        "import jax\n\ndef widen(verdict):\n    return jax.tree.map(lambda x: 2 * x, verdict.approved)",
        "from dataclasses import replace\n\ndef widen(approved, action):\n    return replace(approved, action=action)",
    ],
)
def test_making_approved_elsewhere_is_caught(text, spoiled):
    before = set(construction_faults(spoiled))
    spoiled.plant("enforcement/planted.py", text)
    assert set(construction_faults(spoiled)) - before


def test_naming_the_type_is_not_caught(spoiled):
    before = set(construction_faults(spoiled))
    spoiled.plant(
        "enforcement/planted.py",
        "from twinloop.validation import Approved\n\ndef same(a: Approved) -> 'Approved | None':\n"
        "    return a if isinstance(a, Approved) else None\n\n"
        "def keep(eqx, state, verdict):\n    return eqx.tree_at(lambda s: s.standing, state, verdict.approved)",
    )
    assert set(construction_faults(spoiled)) == before


@pytest.mark.parametrize("call", ["loop.network.apply(action)", "network.report(request)"])
def test_reaching_for_the_network_elsewhere_is_caught(call, spoiled):
    before = set(traffic_faults(spoiled))
    spoiled.plant("reporting/planted.py", f"def reach(loop, network, action, request):\n    return {call}")
    assert set(traffic_faults(spoiled)) - before
