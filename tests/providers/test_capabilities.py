"""The capability table: which row holds, and that what a model rejects is neither sent nor lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fault_server import QUESTION

from tuneworthy.providers import capabilities as table
from tuneworthy.providers.anthropic import AnthropicProvider
from tuneworthy.providers.capabilities import Capabilities, Parameter, capabilities_of, filter_parameters
from tuneworthy.providers.http import HttpProvider
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key
from tuneworthy.providers.openai import OpenAIProvider

ROWS = json.loads((Path(table.__file__).parent / "capabilities.json").read_bytes())["families"]
ALL = {"temperature": 0.3, "top_p": 0.8, "top_k": 7, "min_p": 0.1, "seed": 5, "frequency_penalty": 0.5,
       "presence_penalty": 0.5, "repetition_penalty": 1.1, "stop": ["X"], "effort": "high", "made_up": 1}  # fmt: skip
WIRE = {*ALL, "stop_sequences", "repeat_penalty", "reasoning_effort", "reasoning", "output_config"}

EXAMPLES: dict[str, tuple[str, str, str]] = {
    "llama.cpp": ("llama_cpp", "SmolLM2", ""),
    "vllm": ("vllm", "Qwen/Qwen3-8B", "127.0.0.1"),
    "openai-search": ("openai", "gpt-5-search-api", "api.openai.com"),
    "openai-gpt-5-pro": ("openai", "gpt-5-pro-2025-10-06", "api.openai.com"),
    "openai-pro": ("openai", "gpt-5.5-pro", "api.openai.com"),
    "openai-responses-only": ("openai", "o3-pro-2025-06-10", "api.openai.com"),
    "openai-o": ("openai", "o4-mini-2025-04-16", "api.openai.com"),
    "openai-gpt-5-chat": ("openai", "gpt-5.3-chat-latest", "api.openai.com"),
    "openai-gpt-5": ("openai", "gpt-5-mini", "api.openai.com"),
    "openai-gpt-5.1": ("openai", "gpt-5.1-2025-11-13", "api.openai.com"),
    "openai-gpt-5.2-to-5.4": ("openai", "gpt-5.4-nano", "api.openai.com"),
    "openai-reasoning-always": ("openai", "gpt-6.1-sol", "api.openai.com"),
    "openai-reasoning": ("openai", "gpt-6-luna", "api.openai.com"),
    "openai-chat": ("openai", "gpt-4o-mini", "api.openai.com"),
    "claude-by-openai-protocol": ("openai", "claude-haiku-4-5", "api.anthropic.com"),
    "claude-by-gateway": ("openai", "anthropic/claude-opus-4.7", "openrouter.ai"),
    "gemini-2.5-flash": ("openai", "gemini-2.5-flash-lite", "generativelanguage.googleapis.com"),
    "gemini": ("openai", "gemini-3-pro", "generativelanguage.googleapis.com"),
    "gemini-by-gateway": ("openai", "google/gemini-2.5-pro", "openrouter.ai"),
    "local-server": ("openai", "llama3", "127.0.0.1"),
    "openai-compatible": ("openai", "mistral-large", "api.example.com"),
    "claude-no-sampling": ("anthropic", "claude-opus-4-7-20260416", "api.anthropic.com"),
    "claude-4.6": ("anthropic", "claude-sonnet-4-6", "api.anthropic.com"),
    "claude-opus-4.5": ("anthropic", "claude-opus-4-5-20251101", "api.anthropic.com"),
    "claude-4.5": ("anthropic", "claude-haiku-4-5", "api.anthropic.com"),
    "claude-old": ("anthropic", "claude-3-haiku-20240307", "api.anthropic.com"),
    "claude-unknown": ("anthropic", "claude-opus-9", "api.anthropic.com"),
    "scripted": ("scripted", "", ""),
    "own-pipeline": ("http", "", ""),
}


def test_every_row_has_an_example_and_is_reached_by_it() -> None:
    assert set(EXAMPLES) == {row["family"] for row in ROWS}
    for family, (provider, model, host) in EXAMPLES.items():
        assert capabilities_of(provider, model, host).family == family


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["family"])
def test_each_row_is_complete_and_names_its_source(row: dict[str, Any]) -> None:
    assert {"family", "providers", "hosts", "models", "source", "mark"} <= set(row)
    assert row["mark"] in {"V", "V2", "C", "K"}
    assert row["source"]
    assert all(pattern == pattern.lower() for pattern in row["models"] + row["hosts"])
    caps = capabilities_of(*EXAMPLES[row["family"]])
    assert caps.max_tokens in {"max_tokens", "max_completion_tokens", "max_output_tokens"}
    assert caps.choice in {"none", "grammar", "structured_outputs", "wrapped_schema"}
    assert caps.json_schema in {"none", "response_format", "output_config"}
    assert (caps.responses == "always") == (caps.max_tokens == "max_output_tokens")
    assert caps.thinks in {"no", "on_request", "by_default", "always"}
    assert caps.instructions in {"system", "developer", "none"}
    if caps.choice == "wrapped_schema":
        assert caps.json_schema != "none"


def body_of(family: str, decoding: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    provider, model, host = EXAMPLES[family]
    caps = capabilities_of(provider, model, host)
    request = replace(QUESTION, decoding=decoding, logprobs=3)
    if provider == "anthropic":
        return AnthropicProvider(base_url="http://h", model=model, api_key=Key(None), identity={},
                                 capabilities=caps).body(request)  # fmt: skip
    return OpenAIProvider(base_url="http://h/v1", model=model, identity={}, capabilities=caps).body(request)


@pytest.mark.parametrize("family", [name for name in EXAMPLES if name != "own-pipeline"])
def test_what_a_family_rejects_is_not_in_the_body_and_is_reported(family: str) -> None:
    body, dropped = body_of(family, ALL)
    names = [line.split(":")[0] for line in dropped]
    caps = capabilities_of(*EXAMPLES[family])
    assert "made_up" in names
    assert "made_up" not in body
    sent, _ = filter_parameters(caps, ALL)
    for name in ALL:
        assert (name in names) != any(
            parameter.wire in sent for key, parameter in caps.parameters.items() if key == name
        ), name
    allowed = {wire.partition(".")[0] for wire in sent}
    assert (set(body) & WIRE) == allowed
    assert ("logprobs" in body) != ("logprobs" in names)
    assert all(family in line for line in dropped)


def test_an_own_pipeline_gets_no_parameter_and_says_so() -> None:
    caps = capabilities_of("http", "")
    assert filter_parameters(caps, ALL)[0] == {}
    assert len(filter_parameters(caps, ALL)[1]) == len(ALL)
    provider = HttpProvider(HttpClient("http://h", timeout_s=60), {}, caps)
    assert provider.supports == frozenset()


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4-8", "claude-fable-5", "claude-opus-5-5",
                                   "claude-sonnet-5-5", "claude-haiku-5-5", "claude-mythos-5-1"])  # fmt: skip
def test_no_claude_from_4_7_on_is_sent_a_sampling_parameter(model: str) -> None:
    decoding = {"temperature": 1, "top_p": 1, "top_k": 1, "effort": "xhigh"}
    sent, dropped = filter_parameters(capabilities_of("anthropic", model), decoding)
    assert sent == {"output_config.effort": "xhigh"}
    assert len(dropped) == 3


def test_the_reasoning_series_takes_temperature_only_without_effort() -> None:
    five_one = capabilities_of("openai", "gpt-5.1", "api.openai.com")
    assert filter_parameters(five_one, {"temperature": 0})[0] == {"temperature": 0}
    assert filter_parameters(five_one, {"temperature": 0, "effort": "low"})[0] == {"reasoning_effort": "low"}
    sol = capabilities_of("openai", "gpt-6-sol", "api.openai.com")
    assert filter_parameters(sol, {"temperature": 0})[0] == {}
    assert filter_parameters(sol, {"temperature": 0, "effort": "none"})[0] == {
        "temperature": 0,
        "reasoning_effort": "none",
    }
    five = capabilities_of("openai", "gpt-5", "api.openai.com")
    assert filter_parameters(five, {"temperature": 1})[0] == {"temperature": 1}
    assert filter_parameters(five, {"temperature": 0})[1] == ("temperature: accepts only 1, not 0 (openai-gpt-5)",)
    assert five.max_tokens == "max_completion_tokens"
    assert five.efforts == ("minimal", "low", "medium", "high")
    assert "logprobs" not in body_of("openai-gpt-5", {})[0]
    assert "logprobs" in body_of("openai-gpt-5.1", {})[0]
    assert "logprobs" not in body_of("openai-gpt-5.1", {"effort": "high"})[0]


def test_open_models_of_a_similar_name_keep_their_parameters() -> None:
    for model in ("openai/gpt-oss-20b", "deepseek-r1", "o2-mixtral", "meta/llama-3.1"):
        assert capabilities_of("openai", model, "127.0.0.1").family == "local-server"


def test_values_out_of_range_are_dropped_with_the_range() -> None:
    caps = Capabilities(
        family="f", parameters={"t": Parameter(wire="t", low=0, high=2), "r": Parameter(wire="r", low=1)}
    )
    sent, dropped = filter_parameters(caps, {"t": 3, "r": 0})
    assert sent == {}
    assert dropped == ("t: accepts only 0 to 2, not 3 (f)", "r: accepts only 1 to any, not 0 (f)")


def test_none_counts_as_not_set() -> None:
    caps = capabilities_of("anthropic", "claude-haiku-4-5")
    assert filter_parameters(caps, {"temperature": None, "top_p": 0.5, "made_up": None}) == ({"top_p": 0.5}, ())
    assert filter_parameters(caps, {}) == ({}, ())


def test_features_follow_from_the_row() -> None:
    assert capabilities_of("llama_cpp", "x").supports == {
        "choice",
        "json_schema",
        "ranked",
        "tools",
        "logprobs",
        "seed",
    }
    assert capabilities_of("anthropic", "claude-opus-5").supports == {"choice", "json_schema", "tools"}
    assert capabilities_of("nobody", "x").supports == frozenset()


def test_the_table_is_dated() -> None:
    assert date.fromisoformat(table._table().date) >= date(2026, 11, 24)
