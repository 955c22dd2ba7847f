"""The package under test, and copies of it in which a violation can be planted."""

import ast
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@functools.cache
def parsed(text: str) -> tuple[ast.Module, tuple[ast.AST, ...]]:
    """Tree of a text and all its nodes, kept: a copy of the package differs from the package in a file or two."""
    tree = ast.parse(text)
    return tree, tuple(ast.walk(tree))


@dataclass(frozen=True)
class Package:
    """A source tree of twinloop: the real one, or a copy that a test may spoil. `source` is its `src/twinloop`."""

    source: Path

    def modules(self) -> list[Path]:
        """Every Python file, sorted."""
        return sorted(self.source.rglob("*.py"))

    def tree(self, path: Path) -> ast.Module:
        """Syntax tree of one file."""
        return parsed(path.read_text(encoding="utf-8"))[0]

    def nodes(self, path: Path) -> tuple[ast.AST, ...]:
        """Every node of that tree."""
        return parsed(path.read_text(encoding="utf-8"))[1]

    def name(self, path: Path) -> str:
        """Dotted name of the module in `path`, `twinloop.units` for units.py."""
        parts = path.relative_to(self.source.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def place(self, path: Path, line: int) -> str:
        """`simulator/channel.py:12`."""
        return f"{path.relative_to(self.source)}:{line}"

    def plant(self, relative: str, text: str) -> None:
        """Appends `text` to the file `relative`, which is made if absent; every folder on its way becomes a package."""
        path = self.source / relative
        for folder in [path.parent, *path.parent.parents]:
            if folder == self.source or self.source not in folder.parents:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            door = folder / "__init__.py"
            if not door.exists():
                door.write_text('"""Planted."""\n\n__all__: list[str] = []\n', encoding="utf-8")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + text + "\n")


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def package() -> Package:
    """The real package."""
    return Package(ROOT / "src" / "twinloop")


@pytest.fixture
def spoiled(tmp_path: Path, package: Package) -> Package:
    """A copy of the package to plant violations in."""
    target = tmp_path / "src" / "twinloop"
    shutil.copytree(package.source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return Package(target)
