"""What may be loaded: no pickle, no code of a model's own, no header that lies."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tuneworthy.errors import ModelError
from tuneworthy.train.trusted import check_model_folder, tensor_types


def weights(path: Path, *, shape: list[int] | None = None, kind: str = "F32", length: int | None = None) -> None:
    header = orjson.dumps({"w": {"dtype": kind, "shape": shape or [2, 2], "data_offsets": [0, 16]}})
    size = len(header) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + header + bytes(16))


def model(folder: Path, config: object = None) -> Path:
    (folder / "config.json").write_bytes(orjson.dumps(config or {"model_type": "llama"}))
    weights(folder / "model.safetensors")
    return folder


def test_a_folder_of_safetensors_is_taken_without_what_is_pickled(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(b"pickle")
    (tmp_path / "modeling_own.py").write_text("import os")
    assert [path.name for path in check_model_folder(tmp_path)] == ["config.json", "model.safetensors"]
    assert tensor_types(tmp_path / "model.safetensors") == {"F32"}


def test_weights_in_pickle_alone_are_refused(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"got pytorch_model\.bin, which can run code"):
        check_model_folder(tmp_path)


@pytest.mark.parametrize(
    "config",
    [{"auto_map": {"AutoModel": "x.Y"}}, {"text_config": {"auto_map": {}}}, {"parts": [{"trust_remote_code": True}]}],
)
def test_a_configuration_that_asks_for_code_is_refused_however_deep(tmp_path: Path, config: object) -> None:
    with pytest.raises(ModelError, match="needs no code of its own"):
        check_model_folder(model(tmp_path, config))


def test_a_tokenizer_that_asks_for_code_is_refused(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["a.B", null]}}')
    with pytest.raises(ModelError, match="auto_map"):
        check_model_folder(tmp_path)


def test_a_configuration_that_says_no_to_code_is_taken(tmp_path: Path) -> None:
    assert check_model_folder(model(tmp_path, {"trust_remote_code": False}))


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("secret")
    (tmp_path / "folder").mkdir()
    folder = model(tmp_path / "folder")
    (folder / "vocab.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"the link vocab\.txt"):
        check_model_folder(folder)


@pytest.mark.parametrize("fault", [{"length": 2**40}, {"length": 5}, {"shape": [2, 3]}, {"shape": [-1, 4]}])
def test_a_header_that_lies_is_refused(tmp_path: Path, fault: dict[str, object]) -> None:
    weights(tmp_path / "model.safetensors", **fault)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        tensor_types(tmp_path / "model.safetensors")
