from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from twinloop.errors import ModelError, OutputError
from twinloop.learning import load_model, read_card, save_model

CARD = {"metrics": {"rmse": 0.5}, "command": "train"}


def network(seed: int, width: int = 4) -> eqx.nn.MLP:
    return eqx.nn.MLP(3, 2, width, 1, key=jax.random.key(seed))


def test_a_model_comes_back_exactly_with_its_card(tmp_path: Path) -> None:
    path = tmp_path / "new" / "m.safetensors"
    model = network(0)
    save_model(path, model, CARD)
    again = load_model(path, network(1))
    x = jax.random.normal(jax.random.key(2), (3,))
    assert np.array_equal(again(x), model(x)) and not np.array_equal(network(1)(x), model(x))
    assert read_card(path) == CARD


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "this is no safetensors file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{garbage", "this is no safetensors file"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "m.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(path, network(0))


def test_a_model_of_another_kind_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, network(0, width=5), CARD)
    with pytest.raises(ModelError, match=r"has shape .*expected"):
        load_model(path, network(0))
    save_file({"other": np.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"no array layers"):
        load_model(path, network(0))
    broken = jax.tree.map(lambda leaf: leaf * np.nan if eqx.is_inexact_array(leaf) else leaf, network(0))
    save_model(path, broken, CARD)
    with pytest.raises(ModelError, match="not finite"):
        load_model(path, network(0))


def test_a_missing_or_damaged_card_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ModelError, match="the card beside the model"):
        read_card(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ModelError, match="this is no JSON"):
        read_card(path)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(ModelError, match="this is no card"):
        read_card(path)


def test_a_model_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    for path in (tmp_path / "file" / "m.safetensors", tmp_path / "folder.safetensors"):
        with pytest.raises(OutputError, match="give another path"):
            save_model(path, network(0), CARD)
