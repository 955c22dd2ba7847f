"""LAW 4: a package is entered by its door, and the door offers names, not modules."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = "twinloop"


def targets(node: ast.stmt) -> list[str]:
    """Names that an assignment binds."""
    written = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in written if isinstance(target, ast.Name)]


class Doors:
    """What each package of a source tree offers."""

    def __init__(self, package) -> None:
        self.package = package
        self.offers: dict[str, set[str] | None] = {}
        self.side: dict[str, dict[str, set[str] | None]] = {}
        for path in package.source.iterdir():
            if path.suffix == ".py" and path.stem != "__init__":
                self.offers[path.stem] = None
            elif (path / "__init__.py").exists():
                self.offers[path.name] = self._named(path / "__init__.py", "__all__")
                self.side[path.name] = {
                    name: self._named(path / name / "__init__.py", "__all__") if (path / name).is_dir() else None
                    for name in self._named(path / "__init__.py", "__doors__")
                }

    def _named(self, door: Path, list_name: str) -> set[str]:
        for node in self.package.tree(door).body:
            if list_name in targets(node):
                return set(ast.literal_eval(node.value))
        return set()

    def fault(self, dotted: list[str], here: str) -> str | None:
        """Why code in the package `here` may not name `dotted` (full path, root included); None if it may.

        Of a dotted path the first part below the root is the package, the second what is taken from it. A root module
        (units, errors, loop) is its own door: its public names.
        """
        if dotted[0] != ROOT or len(dotted) < 3 or dotted[1] == here or dotted[1] not in self.offers:
            return None
        offered, name = self.offers[dotted[1]], dotted[2]
        if name in self.side.get(dotted[1], {}) and len(dotted) > 3:
            offered, name = self.side[dotted[1]][name], dotted[3]
        if offered is None:
            return f"{'.'.join(dotted)} is private" if name.startswith("_") else None
        return None if name in offered else f"{'.'.join(dotted[:3])} is not offered by the door of {dotted[1]}"


def absolute(node: ast.ImportFrom, module: str, is_door: bool) -> list[str]:
    """Full path of what an import names; a relative one is counted from `module`."""
    named = node.module.split(".") if node.module else []
    if not node.level:
        return named
    base = module.split(".")
    return base[: len(base) - node.level + is_door] + named


def written(package, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every full path that a file names: by plain, relative and dotted import, by attribute, by importlib."""
    nodes, module, is_door = package.nodes(path), package.name(path), path.stem == "__init__"
    bound: dict[str, list[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name.split(".")
                bound[alias.asname or full[0]] = full if alias.asname else full[:1]
                yield node.lineno, full
        elif isinstance(node, ast.ImportFrom):
            start = absolute(node, module, is_door)
            for alias in node.names:
                bound[alias.asname or alias.name] = [*start, alias.name]
                yield node.lineno, [*start, alias.name]
    for node in nodes:
        if isinstance(node, ast.Attribute):
            chain = dotted_name(node)
            if chain and chain[0] in bound:
                yield node.lineno, bound[chain[0]] + chain[1:]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = (dotted_name(node.func) or [""])[-1]
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value.split(".")


def dotted_name(node: ast.expr) -> list[str] | None:
    """`['a', 'b', 'c']` for the expression a.b.c; None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def door_faults(package) -> Iterator[str]:
    """Every place where a package is entered past its door."""
    doors = Doors(package)
    for path in package.modules():
        here = (path.relative_to(package.source).with_suffix("").parts)[0]
        found = {(line, why) for line, names in written(package, path) if (why := doors.fault(names, here))}
        yield from (f"{package.place(path, line)}: {why}" for line, why in sorted(found))


def offer_faults(package) -> Iterator[str]:
    """Every door without `__all__` (inner ones may lack it), or that offers a module, or a name it does not have."""
    for door in sorted(package.source.glob("*/**/__init__.py")):
        tree = package.tree(door)
        offered = [node for node in tree.body if "__all__" in targets(node)]
        if not offered:
            if door.parent.parent != package.source:
                continue
            yield f"{package.place(door, 1)}: a door lists what it offers in __all__"
            continue
        bound = names_bound(package, door, tree)
        for name in ast.literal_eval(offered[0].value):
            if bound.get(name) == "module":
                yield f"{package.place(door, offered[0].lineno)}: offers the module {name}; offer its names"
            elif name not in bound:
                yield f"{package.place(door, offered[0].lineno)}: offers {name}, which it does not have"


def names_bound(package, door: Path, tree: ast.Module) -> dict[str, str]:
    """Names at the top of a door: `module` where one stands for a module of ours, else `name`.

    A door with `__getattr__` loads late what it names under TYPE_CHECKING; that it does is seen by importing (LAW 5).
    """
    bound: dict[str, str] = {}
    lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    typed = [inner for node in tree.body if lazy and isinstance(node, ast.If) for inner in node.body]
    for node in [*tree.body, *typed]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound[node.name] = "name"
        elif isinstance(node, ast.Import):
            bound |= {alias.asname or alias.name.split(".")[0]: "module" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = absolute(node, package.name(door), is_door=True)
            for alias in node.names:
                bound[alias.asname or alias.name] = kind_of(package, [*start, alias.name])
        else:
            bound |= dict.fromkeys(targets(node), "name")
    return {name: kind for name, kind in bound.items() if kind != "absent"}


def kind_of(package, dotted: list[str]) -> str:
    """Whether a full path of ours is a `module`, a `name` in one, or `absent`; what is not ours is a name."""
    if dotted[0] != ROOT:
        return "name"
    place = package.source.joinpath(*dotted[1:])
    if place.is_dir() or place.with_suffix(".py").exists():
        return "module"
    home = place.parent.with_suffix(".py") if place.parent.with_suffix(".py").exists() else place.parent / "__init__.py"
    if not home.exists():
        return "absent"
    tree = package.tree(home)
    named = {name for node in package.nodes(home) if isinstance(node, ast.stmt) for name in targets(node)}
    named |= {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }
    named |= {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    return "name" if dotted[-1] in named else "absent"


def test_packages_are_entered_by_their_doors(package):
    assert not list(door_faults(package))


def test_doors_offer_names_that_they_have(package):
    assert not list(offer_faults(package))


@pytest.mark.parametrize(
    "text",
    [
        "import twinloop.slicing.invariants",
        "import twinloop.slicing.invariants as rules",
        "from twinloop.slicing.invariants import Violations",
        "from twinloop.slicing import invariants",
        "from twinloop.slicing import _with_possible_floors",
        "from ..slicing import invariants",
        "from ..slicing.invariants import Violations",
        "from .. import slicing\n\nRULES = slicing.invariants.Violations",
        "import twinloop.slicing\n\nRULES = twinloop.slicing.invariants.Violations",
        "import twinloop.slicing as slices\n\nRULES = slices.invariants",
        "from twinloop import slicing\n\nRULES = slicing.invariants",
        "def late():\n    from twinloop.slicing.invariants import Violations\n    return Violations",
        "import importlib\n\nRULES = importlib.import_module('twinloop.slicing.invariants')",
        "from twinloop.units import _SECONDS",
    ],
)
def test_entering_past_the_door_is_caught(text, spoiled):
    before = set(door_faults(spoiled))
    spoiled.plant("abstraction/planted.py", text)
    assert [fault for fault in set(door_faults(spoiled)) - before if fault.startswith("abstraction/planted.py")]


@pytest.mark.parametrize(
    "text",
    [
        "from twinloop.slicing import SliceTable",
        "import twinloop.slicing\n\nTABLE = twinloop.slicing.SliceTable.active",
        "from twinloop import units\n\nSPEED = units.mps_from_kmh(3.6)",
        "from twinloop.abstraction.features import Features",
        "from .features import Features",
    ],
)
def test_entering_by_the_door_is_not_caught(text, spoiled):
    before = set(door_faults(spoiled))
    spoiled.plant("abstraction/planted.py", text)
    assert set(door_faults(spoiled)) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("from twinloop.slicing import invariants\n\n__all__ = ['invariants']", "offers the module invariants"),
        ("from twinloop.slicing.invariants import gone\n\n__all__ = ['gone']", "offers gone"),
        ("__all__ = ['Nothing']", "offers Nothing"),
        ("LIMIT = 3", "lists what it offers"),
    ],
)
def test_a_door_that_offers_the_wrong_thing_is_caught(text, words, spoiled):
    (spoiled.source / "slicing" / "__init__.py").write_text(text, encoding="utf-8")
    assert any(words in fault for fault in offer_faults(spoiled))
