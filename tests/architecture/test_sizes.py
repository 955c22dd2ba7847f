"""Sizes: what no longer fits a head does not land. Ceilings fail; the norms below them are printed by `make check`."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE_LINES, MODULE_NORM, LOOP_LINES = 500, 300, 250
FUNCTION_LINES, FUNCTION_NORM = 80, 50
NESTING = 3
MODULES_A_PACKAGE = 10

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines_of(path: Path) -> int:
    """Lines in a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its name to its end, its docstring left out: physics is documented at length."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def depth(node: ast.AST) -> int:
    """Blocks inside blocks below `node`; an `elif` stands beside its `if`, a function inside counts for itself."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not chained))
    return deepest


def module_sizes(package) -> Iterator[tuple[str, int]]:
    """Lines of every module."""
    for path in package.modules():
        yield str(path.relative_to(package.source)), lines_of(path)


def functions(package) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its place."""
    for path in package.modules():
        for node in package.nodes(path):
            if isinstance(node, FUNCTIONS):
                yield f"{package.place(path, node.lineno)} {node.name}", node


def faults(package) -> Iterator[str]:
    """Everything above a ceiling."""
    for name, lines in module_sizes(package):
        ceiling = LOOP_LINES if name == "loop.py" else MODULE_LINES
        if lines > ceiling:
            yield f"{name}: {lines} lines, at most {ceiling}"
    for name, node in functions(package):
        if length(node) > FUNCTION_LINES:
            yield f"{name}: {length(node)} lines, at most {FUNCTION_LINES}"
        if depth(node) > NESTING:
            yield f"{name}: nested {depth(node)} deep, at most {NESTING}"
    for door in package.source.glob("*/**/__init__.py"):
        modules = [path for path in door.parent.glob("*.py") if path != door]
        if len(modules) > MODULES_A_PACKAGE:
            yield f"{door.parent.relative_to(package.source)}: {len(modules)} modules, at most {MODULES_A_PACKAGE}"


def above_norm(package) -> Iterator[str]:
    """Everything below its ceiling and above the norm."""
    yield from (f"{name}: {n} lines, norm {MODULE_NORM}" for name, n in module_sizes(package) if n > MODULE_NORM)
    yield from (
        f"{name}: {length(f)} lines, norm {FUNCTION_NORM}"
        for name, f in functions(package)
        if length(f) > FUNCTION_NORM
    )


def test_everything_is_below_its_ceiling(package, capsys):
    with capsys.disabled():
        sys.stdout.write("".join(f"\n  {row}" for row in above_norm(package)))
    assert not list(faults(package))


def block(depth: int) -> str:
    """A function with `depth` nested blocks."""
    return (
        "def deep(x):\n"
        + "".join(f"{'    ' * (i + 1)}if x > {i}:\n" for i in range(depth))
        + "    " * (depth + 1)
        + "return x"
    )


@pytest.mark.parametrize(
    ("relative", "text", "words"),
    [
        ("qoe/long.py", "x = 1\n" * (MODULE_LINES + 1), "qoe/long.py"),
        ("loop.py", "x = 1\n" * (LOOP_LINES + 1), "loop.py"),
        ("qoe/wide.py", "def wide():\n" + "    x = 1\n" * FUNCTION_LINES + "    return x", "lines, at most 80"),
        ("qoe/deep.py", block(NESTING + 1), "nested 4 deep"),
    ],
)
def test_what_is_too_large_is_caught(relative, text, words, spoiled):
    before = set(faults(spoiled))
    spoiled.plant(relative, text)
    assert any(words in fault for fault in set(faults(spoiled)) - before)


def test_a_crowded_package_is_caught(spoiled):
    for number in range(MODULES_A_PACKAGE + 1):
        spoiled.plant(f"qoe/part_{number}.py", "x = 1")
    assert any(fault.startswith("qoe: ") for fault in faults(spoiled))


def test_a_chain_of_elif_and_a_long_docstring_are_not_caught(spoiled):
    before = set(faults(spoiled))
    chain = "def chain(x):\n    if x == 0:\n        return 0\n"
    chain += "".join(f"    elif x == {i}:\n        return {i}\n" for i in range(1, 9))
    spoiled.plant("slicing/chain.py", chain)
    spoiled.plant(
        "slicing/told.py", 'def told():\n    """Told.\n' + "\n    word" * FUNCTION_LINES + '\n    """\n    return 1'
    )
    assert set(faults(spoiled)) == before
