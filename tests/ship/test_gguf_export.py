"""GGUF: what is written is what llama.cpp computes with; what has no place in the file is refused by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuneworthy.config import load
from tuneworthy.errors import ModelError, UserError
from tuneworthy.ladder.comparison_plan import rungs_with_comparisons
from tuneworthy.ladder.task_info import TaskInfo
from tuneworthy.providers.chat_template import Chat
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.gguf_writer import WRITTEN, Tensor, _type_of
from tuneworthy.providers.models import find, pull
from tuneworthy.providers.weights import from_float32, write_tensors
from tuneworthy.ship.gguf import K_QUANTS, adds_bos, export_gguf, source_of, write_gguf
from tuneworthy.ship.gguf_model import (
    GgufModel,
    HfConfig,
    TokenizerFile,
    end_ids,
    permuted,
    pre_tokenizer,
    read_vocabulary,
)
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, latest_artifact, write_artifact

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "rope_theta": 10000.0, "eos_token_id": 3,
}  # fmt: skip
TOKENIZER: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    "added_tokens": [{"id": 3, "content": "<end>", "special": True}, {"id": 4, "content": "<tag>", "special": False}],
    "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
}
SHAPES = {"model.embed_tokens.weight": (6, 32), "model.norm.weight": (32,)}


def folder_of(
    path: Path, shapes: dict[str, tuple[int, ...]] = SHAPES, tokenizer: Any = TOKENIZER, **config: Any
) -> Path:
    path.mkdir(exist_ok=True)
    numbers = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    write_tensors(path / "model.safetensors", [(name, "BF16", shape) for name, shape in shapes.items()],
                  lambda name: from_float32(np.resize(numbers, shapes[name]), "BF16"))  # fmt: skip
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text('{"eos_token": "<end>", "bos_token": "<tag>"}')
    (path / "chat_template.jinja").write_text("{{ messages }}")
    return path


def test_rows_of_q_and_k_go_from_halves_to_pairs() -> None:
    rows = np.arange(8, dtype=np.float32)
    assert permuted(rows, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_the_vocabulary_is_filled_up_to_the_rows(tmp_path: Path) -> None:
    found = read_vocabulary(folder_of(tmp_path), 6)
    assert found.tokens == ["a", "b", "ab", "<end>", "<tag>", "[PAD5]"]
    assert found.types == [1, 1, 1, 3, 4, 5]
    assert (found.model, found.pre, found.merges) == ("gpt2", "gpt-2", ["a b"])
    assert end_ids(tmp_path) == [3]


def test_a_token_without_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="added tokens would be lost"):
        read_vocabulary(folder_of(tmp_path), 4)


RULES: list[tuple[Any, str | None]] = [
    ({"type": "ByteLevel"}, "gpt-2"),
    ({"pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}]}, "smollm"),
    ({"pretokenizers": [{"type": "Digits", "individual_digits": False}, {"type": "ByteLevel"}]}, None),
    ({"type": "Whitespace"}, None),
    (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "name"), RULES)
def test_a_pre_tokenizer_has_a_name_or_is_refused(rule: Any, name: str | None) -> None:
    if name is None:
        with pytest.raises(UserError, match="pre-tokenizer"):
            pre_tokenizer(TokenizerFile.model_validate({"pre_tokenizer": rule}))
    else:
        assert pre_tokenizer(TokenizerFile.model_validate({"pre_tokenizer": rule})) == name


def test_a_normalizer_that_llama_cpp_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="normalizer"):
        pre_tokenizer(
            TokenizerFile.model_validate({"pre_tokenizer": {"type": "ByteLevel"}, "normalizer": {"type": "Lowercase"}})
        )


MOE: dict[str, Any] = {"architectures": ["Qwen3MoeForCausalLM"], "norm_topk_prob": True}
GEMMA: dict[str, Any] = {
    "architectures": ["Gemma3ForCausalLM"], "query_pre_attn_scalar": 16, "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"architectures": ["FalconH1ForCausalLM"]}, "FalconH1ForCausalLM"),
    "RoPE scaling": ({"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "yarn"),
    "window": ({"use_sliding_window": True}, "sliding-window attention"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
    "activation": ({"hidden_act": "relu"}, "relu"),
    "experts": ({"architectures": ["MixtralForCausalLM"]}, "MixtralForCausalLM"),
    "router": ({**MOE, "norm_topk_prob": False}, "norm_topk_prob"),
    "dense layers": ({**MOE, "mlp_only_layers": [0]}, "experts only in all layers"),
    "layers of Gemma 3": ({**GEMMA, "layer_types": ["full_attention"]}, "one layer of full attention in six"),
    "RoPE of Gemma 3": ({**GEMMA, "rope_local_base_freq": 5.0}, "in its windows, not 5.0"),
    "scale of Gemma 3": ({**GEMMA, "query_pre_attn_scalar": 168}, "but by 168"),
    "caps of Gemma 3": ({**GEMMA, "final_logit_softcapping": 30.0}, "soft-capped"),
    "both ways": ({**GEMMA, "use_bidirectional_attention": True}, "bidirectional"),
}


@pytest.mark.parametrize(("config", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_file_cannot_hold_is_refused_by_its_name(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        GgufModel(folder_of(tmp_path, **config))


def test_a_tensor_without_a_place_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    model = GgufModel(folder_of(tmp_path, {**SHAPES, "model.layers.0.strange.weight": (2, 2)}))
    with pytest.raises(UserError, match="strange"):
        list(model.tensors())


def test_k_quants_without_the_quantiser_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    store = Folder(tmp_path)
    made = write_artifact(store, "merged", lambda folder: folder_of(folder) and None, parent=None, about={})
    with pytest.raises(UserError, match="llama-quantize"):
        export_gguf(store, made, K_QUANTS[0])


def test_a_quantiser_is_given_the_file_and_the_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp "$1" "$2"; echo "$3" > {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    made = write_artifact(Folder(tmp_path), "merged", lambda folder: folder_of(folder) and None, parent=None, about={})
    with pytest.raises(UserError, match="llama-quantize"):  # a program of the project's own is not started
        export_gguf(Folder(tmp_path), made, "q4_k_m")
    store = Folder(tmp_path / "project")
    made = write_artifact(store, "merged", lambda folder: folder_of(folder) and None, parent=None, about={})
    exported = export_gguf(store, made, "q4_k_m")
    assert (tmp_path / "asked").read_text().strip() == "Q4_K_M"
    assert list(exported.manifest["files"]) == ["model.gguf"]
    assert (exported.parent, exported.manifest["file_type"]) == (made.id, "q4_k_m")


@pytest.mark.parametrize("file_type", WRITTEN)
def test_the_file_says_what_it_is(tmp_path: Path, file_type: str) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    write_gguf(folder_of(tmp_path / "hf"), tmp_path / "m.gguf", file_type)
    header = read_header(tmp_path / "m.gguf")
    assert (header.architecture, header.file_type) == ("llama", file_type.upper())
    assert header.values["tokenizer.chat_template"] == "{{ messages }}"
    assert header.values["tokenizer.ggml.eos_token_id"] == 3
    assert header.vocab_size == 6


LAYERS = {
    "model.layers.0.mlp.up_proj.weight": (64, 32),
    "model.layers.0.mlp.down_proj.weight": (32, 48),
    "model.layers.0.self_attn.k_proj.weight": (16, 32),
}
ROUTER = "model.layers.0.mlp.gate.weight"
# Steps from zero to the largest weight of a block.
STEPS = {"q8_0": 127, "q5_0": 16, "q4_0": 8}


@pytest.mark.parametrize("file_type", STEPS)
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_within_a_quantisation_step(tmp_path: Path, file_type: str, tied: bool) -> None:
    gguf = pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    shapes = {**SHAPES, **LAYERS} | ({} if tied else {"lm_head.weight": (6, 32)})
    folder = folder_of(tmp_path / "hf", shapes, tie_word_embeddings=tied)
    write_gguf(folder, tmp_path / "m.gguf", file_type)
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    kinds = {name: tensor.tensor_type.name.lower() for name, tensor in read.items()}
    assert kinds["token_embd.weight" if tied else "output.weight"] == "q8_0"
    assert kinds.get("token_embd.weight") == ("q8_0" if tied else file_type)
    assert (kinds["blk.0.ffn_up.weight"], kinds["blk.0.attn_k.weight"]) == (file_type, file_type)
    assert (kinds["blk.0.ffn_down.weight"], kinds["output_norm.weight"]) == ("f16", "f32"), "no blocks of 32"
    for tensor in GgufModel(folder).tensors():
        if (kind := kinds[tensor.name]) not in STEPS:
            continue
        blocks = tensor.read().reshape(-1, 32)
        stored = gguf.quants.dequantize(read[tensor.name].data, read[tensor.name].tensor_type).reshape(-1, 32)
        apart = np.abs(stored - blocks) / np.abs(blocks).max(axis=1, keepdims=True) * STEPS[kind]
        # The range ends a step early opposite the largest weight, and the step itself is rounded to 16 bits.
        assert apart.max() <= (0.57 if kind == "q8_0" else 1.01), tensor.name
        assert 0.2 < apart.mean() < 0.3, "a uniform error within half a step"


def test_a_router_is_not_quantised(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    more = {**MOE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}
    write_gguf(folder_of(tmp_path / "hf", {**SHAPES, ROUTER: (4, 32)}, **more), tmp_path / "m.gguf", "q4_0")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_gate_inp.weight"] == "F16"


def test_matrices_without_a_kernel_for_quantised_weights_keep_their_type() -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    kept = {"blk.0.ssm_conv1d.weight": "F32", "blk.0.ssm_a": "F32", "position_embd.weight": "F16"}
    for name, stored in kept.items():
        assert _type_of(Tensor(name, (64, 64), lambda: np.zeros((64, 64)), stored), "q8_0", "").name == stored, name
    quantised = Tensor("blk.0.attn_q.weight", (64, 64), lambda: np.zeros((64, 64)), "F32")
    assert _type_of(quantised, "q8_0", "").name == "Q8_0"


PROJECT = """
[task]
name = "t"
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "{}.gguf"
[ladder]
baseline = "small"
"""
FORMS = ("q8_0", "q5_0", "q4_0")
SPLIT: Any = SimpleNamespace(pool=(), explore=False)


@pytest.mark.parametrize(("file_type", "forms"), [("f16", FORMS), ("q8_0", FORMS[1:]), ("q5_0", ()), ("q4_0", ())])
def test_a_model_has_forms_of_fewer_bits_if_its_file_has_eight_or_more(
    tmp_path: Path, file_type: str, forms: tuple[str, ...]
) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    write_gguf(folder_of(tmp_path / "hf", {**SHAPES, **LAYERS}), tmp_path / f"{file_type}.gguf", file_type)
    for more in ("", "[constraints]\np95_ms = 500\n", "[constraints]\non_device = true\n",
                 "[economics]\nrequests_per_month = 9\n"):  # fmt: skip
        (tmp_path / "tuneworthy.toml").write_text(PROJECT.format(file_type) + more)
        project = load(tmp_path)
        assert project.forms == [f"small:{kind}" for kind in forms if more], more
        assert ("model" in rungs_with_comparisons(project, SPLIT, TaskInfo(kind="label"))) is bool(forms and more)
        for name in project.forms:
            assert project.models[name].local_file == f"{name.partition(':')[2]}:{file_type}.gguf"


def test_a_form_is_written_once_with_the_keys_and_the_weights_of_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    folder = folder_of(tmp_path / "hf", {**SHAPES, **LAYERS})
    write_gguf(folder, tmp_path / "f16.gguf", "f16")
    for kind in FORMS:
        spec = f"{kind}:f16.gguf"
        assert find(spec, tmp_path) is None, "nothing is written before it is asked for"
        path = pull(spec, tmp_path)
        written = path.stat().st_mtime_ns
        assert pull(spec, tmp_path) == path == find(spec, tmp_path) and path.stat().st_mtime_ns == written
        assert read_header(path).values["general.name"] == read_header(tmp_path / "f16.gguf").values["general.name"]
        write_gguf(folder, tmp_path / "direct.gguf", kind)
        ours, direct = [
            {tensor.name: tensor for tensor in gguf.GGUFReader(one).tensors} for one in (path, tmp_path / "direct.gguf")
        ]
        for name, tensor in direct.items():  # from f16 and not from bfloat16: a value may round to the next step
            assert ours[name].tensor_type == tensor.tensor_type, name
            a, b = [gguf.quants.dequantize(one.data, one.tensor_type) for one in (ours[name], tensor)]
            assert np.allclose(a, b, atol=2e-3), name
    write_gguf(folder_of(tmp_path / "hf", {**SHAPES, **LAYERS}, rope_theta=5.0), tmp_path / "f16.gguf", "f16")
    assert find("q8_0:f16.gguf", tmp_path) is None, "of another source it is another file"


def test_a_form_of_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    write_gguf(folder_of(tmp_path / "hf", {**SHAPES, **LAYERS}), tmp_path / "f16.gguf", "f16")
    whole = (tmp_path / "f16.gguf").read_bytes()
    for n in (10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "f16.gguf").write_bytes(whole[:n])
        with pytest.raises(ModelError):
            pull("q8_0:f16.gguf", tmp_path)
    assert not [*(tmp_path / "home").rglob("*.gguf")], "no part is left"


def test_the_keys_of_the_source_are_taken_over(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    source = tmp_path / "source.gguf"
    write_gguf(folder_of(tmp_path / "old", _name_or_path="Old"), source, "f16")
    new = folder_of(tmp_path / "new")
    (new / "chat_template.jinja").write_text("NEW")
    write_gguf(new, tmp_path / "new.gguf", "f16", source)
    reader = gguf.GGUFReader(tmp_path / "new.gguf")
    assert reader.get_field("general.name").contents() == "Old"
    assert reader.get_field("tokenizer.chat_template").contents() == "NEW"
    assert reader.get_field("tokenizer.ggml.tokens").contents() == ["a", "b", "ab", "<end>", "<tag>", "[PAD5]"]
    other = {**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": {"a": 0, "c": 1, "ab": 2}}}
    with pytest.raises(UserError, match="tokenizer or number of embeddings differs"):
        write_gguf(folder_of(tmp_path / "x", tokenizer=other), tmp_path / "x.gguf", "f16", source)
    with pytest.raises(UserError, match="belongs to a different base model"):
        write_gguf(folder_of(tmp_path / "y", rope_theta=5.0), tmp_path / "y.gguf", "f16", source)


def test_a_source_that_is_gone_or_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    store = Folder(tmp_path)
    about = {"dequantised_from": "Q4_1", "source": {"spec": "m.gguf", "sha256": "0" * 64}}
    base = write_artifact(store, "base", lambda folder: folder_of(folder) and None, parent=None, about=about)
    with pytest.raises(UserError, match="not on this machine"):
        source_of(store, base)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="is not the file"):
        source_of(store, base)


@pytest.mark.parametrize(
    ("single", "adds"),
    [([{"SpecialToken": {"id": "<tag>"}}, {"Sequence": {"id": "A"}}], True), ([{"Sequence": {}}], False)],
)
def test_the_begin_token_is_added_where_the_tokenizer_adds_it(tmp_path: Path, single: list[Any], adds: bool) -> None:
    tokenizer = {**TOKENIZER, "post_processor": {"type": "TemplateProcessing", "single": single}}
    assert adds_bos(folder_of(tmp_path, tokenizer=tokenizer)) is adds


LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
GEMMA3 = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "num_hidden_layers": 6}
EXPERTS = {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
           "norm_topk_prob": True, "tie_word_embeddings": False}  # fmt: skip
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("Llama", "gpt2", {}),
    "llama with a head and biases": ("Llama", "smollm", {"tie_word_embeddings": False, "attention_bias": True}),
    "llama with sentencepiece": ("Llama", "llama", {}),
    "llama 3": ("Llama", "gpt2", {"rope_parameters": LLAMA3}),
    "llama scaled": (
        "Llama",
        "gpt2",
        {"rope_parameters": LINEAR},
    ),
    "mistral": ("Mistral", "llama", {"sliding_window": None}),
    "qwen 2": ("Qwen2", "qwen2", {}),
    "qwen 3": ("Qwen3", "qwen2", {"head_dim": 32}),
    "gemma": ("Gemma", "llama", {"head_dim": 32}),
    "gemma 3": ("Gemma3", "llama", GEMMA3),
    "qwen 3 with experts": ("Qwen3Moe", "qwen2", EXPERTS),
    "gemma 2": ("Gemma2", "llama", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 256}),
}
QUESTIONS = [
    "what is the name of our cat 1234? Grüße, naïve café — élan",
    "Who lives in Oslo now and then?",
    "  two  spaces\n\nand lines",
]
CHATS = [[{"role": "user", "content": text}] for text in QUESTIONS]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "kind", "more"), FAMILIES.values(), ids=FAMILIES)
def test_llama_cpp_computes_what_transformers_does(
    tmp_path: Path, architecture: str, kind: str, more: dict[str, Any]
) -> None:
    for package in ("torch", "transformers", "gguf", "xllamacpp"):
        pytest.importorskip(package, reason="pip install 'tuneworthy[train,local]'")
    from tiny_models import model_of, save, tokenizer_of

    from tuneworthy.ship.parity.measure import divergence
    from tuneworthy.ship.parity.server_forms import LlamaForm
    from tuneworthy.ship.parity.transformers_form import TransformersForm, renderer_of
    from tuneworthy.ship.served import llama_cpp

    tokenizer = tokenizer_of(kind)
    model = model_of(architecture, len(tokenizer), **more)
    folder = save(model, tokenizer, tmp_path / "hf")
    write_gguf(folder, tmp_path / "m.gguf", "f16")
    theirs = TransformersForm(model, renderer_of(folder), [1])
    with llama_cpp(tmp_path / "m.gguf", tmp_path / "log", 512) as engine:
        ours = LlamaForm(engine)
        chats = [Chat(messages=messages, generation_prompt=True) for messages in CHATS]
        ids = theirs.prompt_ids(chats)
        assert ours.prompt_ids(chats) == ids
        wanted = theirs.following(ids)
        apart = [divergence(one, other) for one, other in zip(wanted, ours.following(ids), strict=True)]
        far = [divergence(wanted[0], other) for other in wanted[1:]]
        assert max(apart) < 1e-3 < mean(far), "the figures must be able to tell"


def test_a_base_may_be_exported_without_an_adapter(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="pip install 'tuneworthy[train]'")
    store = Folder(tmp_path)
    base: Artifact = write_artifact(store, "base", lambda folder: folder_of(folder) and None, parent=None, about={})
    assert export_gguf(store, base, "f16").parent == base.id
    assert latest_artifact(store, "gguf") is None, "it would be served in the place of the tuned one"
    shutil.rmtree(base.folder)


def test_a_key_of_the_configuration_that_is_null_has_its_default() -> None:
    keys = {**CONFIG, "num_experts": None, "num_local_experts": 4}
    config = HfConfig.model_validate({**keys, "rope_scaling": {"rope_type": None, "type": "linear", "factor": 2.0}})
    assert (config.n_experts, config.rope.kind) == (4, "linear")
    bare = HfConfig.model_validate({**keys, "num_local_experts": None, "rope_scaling": {"rope_type": None}})
    assert (bare.n_experts, bare.rope.kind) == (0, "default")
