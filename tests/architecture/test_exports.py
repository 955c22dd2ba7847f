"""What is public is documented; interfaces are abstract, everything else is final; names are the field's."""

import ast
import re
import sys
from collections.abc import Iterator

import pytest

FORBIDDEN = {"util", "utils", "helper", "helpers", "manager", "process", "handle", "handler"}
HOMELESS = {"common", "core", "misc", "base"}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def words(name: str) -> set[str]:
    """`{'ring', 'buffer'}` of RingBuffer and ring_buffer."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def documentation_faults(package) -> Iterator[str]:
    """Every module, public class, public function and public method without a docstring."""
    for path in package.modules():
        tree = package.tree(path)
        if path.stem != "__main__" and ast.get_docstring(tree) is None:
            yield f"{package.place(path, 1)}: no docstring"
        for owner in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
            hidden = isinstance(owner, ast.ClassDef) and owner.name.startswith("_")
            yield from (
                f"{package.place(path, node.lineno)}: {node.name} has no docstring"
                for node in owner.body
                if isinstance(node, DEFINITIONS)
                and not (hidden or node.name.startswith("_") or overloads(node))
                and ast.get_docstring(node) is None
            )


def overloads(node: ast.stmt) -> bool:
    """True for a typing overload and for a method that only fills in what its interface documents."""
    marks = [] if isinstance(node, ast.ClassDef) else getattr(node, "decorator_list", [])
    return any(getattr(mark, "id", getattr(mark, "attr", "")) in {"overload", "override"} for mark in marks)


def name_faults(package) -> Iterator[str]:
    """Every module and definition with a name that says nothing, and every module that shadows the standard library."""
    for path in package.modules():
        own = path.parent.name if path.stem == "__init__" else path.stem
        if words(own) & FORBIDDEN or own in HOMELESS:
            yield f"{package.place(path, 1)}: {own} names no thing of the field"
        if own in sys.stdlib_module_names and not own.startswith("__"):
            yield f"{package.place(path, 1)}: {own} shadows the standard library"
        for node in package.nodes(path):
            if isinstance(node, DEFINITIONS) and words(node.name) & FORBIDDEN:
                yield f"{package.place(path, node.lineno)}: {node.name} names no thing of the field"


def inheritance_faults(package) -> Iterator[str]:
    """Every class of ours that is subclassed although it is neither `Abstract*`, private, nor an exception."""
    classes = [
        (package.place(path, node.lineno), path.stem, node)
        for path in package.modules()
        for node in package.nodes(path)
        if isinstance(node, ast.ClassDef)
    ]
    ours = {node.name for _, module, node in classes if module != "errors" and not settings_only(node)}
    for place, _, node in classes:
        for base in node.bases:
            root = base.value if isinstance(base, ast.Subscript) else base
            name = root.id if isinstance(root, ast.Name) else root.attr if isinstance(root, ast.Attribute) else ""
            if name in ours and not name.startswith(("Abstract", "_")):
                yield f"{place}: {node.name} subclasses {name}, which is final"


def settings_only(node: ast.ClassDef) -> bool:
    """True for a base of pydantic forms that holds their `model_config` and nothing else."""
    written = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return bool(written) and all(
        isinstance(s, ast.Assign) and getattr(s.targets[0], "id", "") == "model_config" for s in written
    )


def test_what_is_public_is_documented(package):
    assert not list(documentation_faults(package))


def test_names_are_the_fields(package):
    assert not list(name_faults(package))


def test_only_interfaces_are_subclassed(package):
    assert not list(inheritance_faults(package))


@pytest.mark.parametrize(
    "text",
    [
        "def bare():\n    return 1",
        "class Bare:\n    x = 1",
        '"""Planted."""\n\n\nclass Told:\n    """Told."""\n\n    def bare(self):\n        return 1',
        '"""Planted."""\n\n\nasync def bare():\n    return 1',
    ],
)
def test_an_undocumented_export_is_caught(text, spoiled):
    spoiled.plant("qoe/planted.py", text)
    assert any(fault.startswith("qoe/planted.py") for fault in documentation_faults(spoiled))


@pytest.mark.parametrize(
    ("relative", "text"),
    [
        ("qoe/utils.py", ""),
        ("qoe/twin_helpers.py", ""),
        ("qoe/statistics.py", ""),
        ("qoe/common.py", ""),
        ("types/planted.py", ""),
        ("qoe/planted.py", "class TwinManager:\n    pass"),
        ("qoe/planted.py", "def process_reports():\n    pass"),
        ("qoe/planted.py", "class HTTPHandler:\n    pass"),
    ],
)
def test_a_name_that_says_nothing_is_caught(relative, text, spoiled):
    before = set(name_faults(spoiled))
    spoiled.plant(relative, text)
    assert set(name_faults(spoiled)) - before


def test_a_subclass_of_a_final_class_is_caught(spoiled):
    before = set(inheritance_faults(spoiled))
    spoiled.plant("qoe/planted.py", "class Base:\n    pass\n\n\nclass Child(Base):\n    pass")
    spoiled.plant("qoe/fine.py", "class AbstractModel:\n    pass\n\n\nclass Linear(AbstractModel):\n    pass")
    assert [fault.split(": ")[1] for fault in set(inheritance_faults(spoiled)) - before] == [
        "Child subclasses Base, which is final"
    ]
