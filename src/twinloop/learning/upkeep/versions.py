"""Versions of a model and where each comes from: parent, data, figures, reason, and what became of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import equinox as eqx

from twinloop.errors import ModelError, OutputError
from twinloop.learning.weights import load_model, save_model

Model = TypeVar("Model", bound=eqx.Module)
Standing = Literal["candidate", "refused", "probation", "in service", "replaced", "rolled back"]
_FILE = "lineage.json"


@dataclass(frozen=True)
class Version:
    """One version of a model: `data` is the first and the last slot it was trained on, `slot` the one it came in.

    `parent` is the version that training began with, None of the first one.
    """

    number: int
    parent: int | None
    slot: int
    data: tuple[int, int]
    reason: str
    standing: Standing
    metrics: Mapping[str, float] = field(default_factory=lambda: {})


class Lineage(Generic[Model]):
    """Every version there was, and the arrays of those that serve or may again (the last `kept` that were replaced)."""

    def __init__(self, model: Model, reason: str, kept: int = 3) -> None:
        self.versions: list[Version] = [Version(0, None, 0, (0, 0), reason, "in service")]
        self.models: dict[int, Model] = {0: model}
        self._kept = kept

    def add(self, model: Model, parent: int, slot: int, data: tuple[int, int], reason: str) -> int:
        """Enter a candidate; returns its number."""
        number = len(self.versions)
        self.versions.append(Version(number, parent, slot, data, reason, "candidate"))
        self.models[number] = model
        return number

    def mark(self, number: int, standing: Standing, **metrics: float) -> None:
        """Say what became of a version, with the figures that decided."""
        before = self.versions[number]
        self.versions[number] = replace(before, standing=standing, metrics={**before.metrics, **metrics})
        if standing in ("refused", "rolled back"):
            del self.models[number]
        replaced = [one.number for one in self.versions if one.standing == "replaced" and one.number in self.models]
        for old in replaced[: -self._kept]:
            del self.models[old]

    def path_to(self, number: int) -> tuple[int, ...]:
        """The version and its ancestors up to the first."""
        path = [number]
        while (parent := self.versions[path[-1]].parent) is not None:
            path.append(parent)
        return tuple(path)

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write `lineage.json` and the kept models with their cards (`about` and the version) into `folder`.

        Raises OutputError where that is not possible.
        """
        for number, model in self.models.items():
            card = {**about, "version": asdict(self.versions[number]), "lineage": list(self.path_to(number))}
            save_model(folder / _name(number), model, card)
        content = {"versions": [asdict(version) for version in self.versions], "kept": sorted(self.models)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except OSError as fault:
            raise OutputError(f"{folder}: cannot be written ({fault.strerror or fault}); give another path") from None


def read_lineage(folder: Path) -> tuple[Version, ...]:
    """The versions in a folder that `Lineage.save` wrote. Raises ModelError where there are none."""
    path = folder / _FILE
    try:
        listed: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["versions"]
        for one in listed:
            one["data"] = tuple(one["data"])
        return tuple(Version(**one) for one in listed)
    except OSError as fault:
        raise ModelError(path, f"cannot be read ({fault.strerror or fault})", "the lineage that a run wrote") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as fault:
        raise ModelError(path, f"this is no lineage ({fault})", "the lineage that a run wrote") from None


def load_version(folder: Path, number: int, like: Model) -> Model:
    """The model of a saved version. Raises ModelError where its arrays were not kept or are of another model."""
    return load_model(folder / _name(number), like)


def _name(number: int) -> str:
    return f"version-{number:04d}.safetensors"
