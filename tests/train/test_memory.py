"""Memory: the figures of the facts, Unsloth's table, and a 70B that does not fit on 24 GB."""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import ModuleType

import pytest

from tests.train import shapes
from tuneworthy.train import memory
from tuneworthy.train.batch_layout import lay_out
from tuneworthy.train.gpus import GIB
from tuneworthy.train.memory import NF4_BYTES, MemoryEstimate, estimate, fits, largest_batch
from tuneworthy.train.rehearsal import expected_rows
from tuneworthy.train.render import TokenRow
from tuneworthy.train.row_lengths import RowLengths, count_rows
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import Shape, shape_of_config

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
B8, B70 = shape_of_config(shapes.LLAMA_8B), shape_of_config(shapes.LLAMA_70B)
LONG = TrainingSettings(micro_batch_size=2, batch_size=16, max_length=4096, gradient_checkpointing=True)
LONG_QLORA = TrainingSettings(
    method="qlora", rank=32, alpha=32, dropout=0.05, micro_batch_size=2, batch_size=16, max_length=4096
)
UNSLOTH = {
    "LLAMA_3B": (3.5, 8), "LLAMA_7B": (5, 19), "LLAMA_8B": (6, 22), "QWEN_14B": (8.5, 33), "QWEN_32B": (26, 76),
    "LLAMA_70B": (41, 164), "LLAMA_405B": (237, 950),
}  # fmt: skip
"""Unsloth's published minimums, GB: QLoRA and LoRA in 16 bits."""


def part(shape: Shape, settings: TrainingSettings, name: str) -> float:
    return part_of(estimate(shape, settings, "cuda"), name) / GIB


def part_of(estimated: MemoryEstimate, name: str) -> float:
    return sum(part.n_bytes for part in estimated.parts if part.name == name)


def test_nf4_takes_four_bits_and_an_eighth() -> None:
    assert round(8 * NF4_BYTES, 3) == 4.127


def test_quantised_weights_are_those_of_the_facts() -> None:
    for shape, gib in ((B8, 5.3), (B70, 36.8)):
        weights = sum(part(shape, TrainingSettings(method="qlora"), f"weights_{name}") for name in ("nf4", "rest"))
        assert round(weights, 1) == gib


def test_activations_of_8b_are_those_of_the_facts() -> None:
    assert part(B8, LONG, "checkpoints") == pytest.approx(2.0, rel=0.01)
    assert part(B8, replace(LONG, gradient_checkpointing=False), "activations") == pytest.approx(49, rel=0.1)


def test_the_logits_are_never_built_in_full() -> None:
    assert part(B8, LONG, "logits") < 0.4  # in full it would be 2 GiB


def test_full_training_of_8b_takes_16_bytes_a_parameter() -> None:
    found = estimate(B8, TrainingSettings(method="full"), "cuda")
    state = sum(part_of(found, name) for name in ("weights", "gradients", "optimizer"))
    assert state / GIB == pytest.approx(120, rel=0.01)


def test_the_8_bit_moments_of_qlora_take_2_bytes_a_trained_parameter() -> None:
    settings = TrainingSettings(method="qlora")
    n = B8.n_lora(settings.rank, settings.target_modules)
    assert part_of(estimate(B8, settings, "cuda"), "optimizer") == 2 * n


def test_adapters_that_learn_from_pairs_keep_their_inputs_in_32_bits() -> None:
    answers = TrainingSettings(micro_batch_size=2)
    pairs = replace(answers, method="preference", micro_batch_size=1, dropout=0.1)  # DPO is without dropout
    kept = [part_of(estimate(B8, one, "cuda"), "activations") for one in (pairs, answers)]
    inputs = sum(layer.n * (layer.d_in + answers.rank) for layer in B8.linears)
    assert kept[0] - kept[1] == pytest.approx(2 * 1024 * inputs * 2, rel=0.01)


def test_70b_does_not_fit_on_24_gib_and_the_numbers_are_given() -> None:
    fit = fits(B70, LONG_QLORA, 24 * GIB, "cuda")
    assert fit.fit == "does not fit"
    assert fit.estimate.low > 36 * GIB
    assert any("80" in line or "48" in line for line in fit.instead)


def test_70b_fits_on_a_card_of_80_gib() -> None:
    assert fits(B70, LONG_QLORA, 80 * GIB, "cuda").fit == "fits with checkpointing"


def test_what_would_fit_does_fit() -> None:
    verdict = fits(B8, replace(LONG_QLORA, method="lora"), 18 * GIB, "cuda")
    assert verdict.fit == "does not fit"
    assert any(line.startswith("qlora") for line in verdict.instead)
    found = fits(B8, replace(verdict.settings, method="qlora"), 18 * GIB, "cuda")
    assert found.fit == "fits with checkpointing"


def test_plain_trl_needs_what_unsloth_publishes_or_somewhat_more() -> None:
    """Unsloth moves inputs of layers and spare embeddings to the host's memory, which TRL does not."""
    shares = []
    for name, table in UNSLOTH.items():
        shape = shape_of_config(getattr(shapes, name))
        for method, gb in zip(("qlora", "lora"), table, strict=True):
            least = TrainingSettings(method=method, rank=16, micro_batch_size=1, batch_size=8, max_length=512,
                             gradient_checkpointing=True)  # fmt: skip
            shares.append(estimate(shape, least, "cuda").n_bytes / 1e9 / gb)
    assert min(shares) > 0.8 and max(shares) < 1.45
    assert median(shares) == pytest.approx(1, abs=0.2)


def test_more_of_anything_never_takes_less() -> None:
    plain = TrainingSettings(micro_batch_size=2, batch_size=16, max_length=512)
    size = estimate(B8, plain, "cuda").n_bytes
    for change in ({"rank": 64}, {"max_length": 1024}, {"micro_batch_size": 4}, {"dropout": 0.1}):
        assert estimate(B8, replace(plain, **change), "cuda").n_bytes > size, change
    assert estimate(B8, replace(plain, gradient_checkpointing=True), "cuda").n_bytes < size


def test_an_unknown_family_has_twice_the_band() -> None:
    strange = shape_of_config({**shapes.LLAMA_8B, "model_type": "strange"})
    low, high = memory.BAND
    found = estimate(strange, TrainingSettings(), "cuda")
    assert found.band == (2 * low - 1, 2 * high - 1)


def test_the_most_rows_at_once_fit_and_one_step_more_does_not() -> None:
    plain = TrainingSettings(batch_size=16, micro_batch_size=1, max_length=1024)
    found = fits(B8, plain, 40 * GIB, "cuda")
    assert found.fit == "fits"
    n = found.settings.micro_batch_size
    assert 1 < n < 16
    assert estimate(B8, replace(plain, micro_batch_size=n), "cuda").high <= 40 * GIB
    assert estimate(B8, replace(plain, micro_batch_size=2 * n), "cuda").high > 40 * GIB


def drawn_rows(n: int, shared: int, longest: int, seed: int = 0) -> list[TokenRow]:
    """Return rows of 3/5 to all of `longest` tokens, of which the last quarter is supervised."""
    draw = random.Random(seed)
    rows = []
    for at in range(n):
        length = draw.randint(3 * longest // 5, longest)
        own = [10 + at, *(draw.randint(3, 999) for _ in range(length - shared - 1))]
        rows.append(TokenRow(str(at), [*range(shared), *own], [0] * (length - length // 4) + [1] * (length // 4)))
    return rows


@pytest.mark.parametrize(("micro", "shared", "longest"), [(16, 40, 96), (4, 64, 320), (1, 8, 50)])
def test_the_largest_batch_is_about_that_of_the_run(micro: int, shared: int, longest: int) -> None:
    rows = drawn_rows(480, shared, longest)
    settings = TrainingSettings(batch_size=micro, micro_batch_size=micro, max_length=longest)
    found = largest_batch(count_rows(rows), settings)
    laid = [
        lay_out([row.ids for row in part], [[i if bit else -100 for i, bit in zip(row.ids, row.mask, strict=True)]
                                            for row in part])
        for part in (rows[at : at + micro] for at in range(0, len(rows), micro))
    ]  # fmt: skip
    assert laid[0]["lengths"][0] == (shared if micro > 1 else 0)
    assert found.tokens == pytest.approx(max(len(one["input_ids"]) for one in laid), rel=0.07)
    assert found.supervised == pytest.approx(max(len(one["targets"]) for one in laid), rel=0.07, abs=24)


def test_rows_that_share_their_beginning_take_less_than_padded_ones_and_a_longer_kind_counts() -> None:
    shape = shape_of_config(shapes.SMOLLM2_135M)
    rows = count_rows(drawn_rows(480, 64, 128))
    for method in ("lora", "qlora", "full"):
        settings = TrainingSettings(method=method, micro_batch_size=16, max_length=128, rehearsal=0.1)
        padded, alone = estimate(shape, settings, "cpu"), estimate(shape, settings, "cpu", [rows])
        assert 0.3 < alone.n_bytes / padded.n_bytes < 0.9, method
        long = replace(settings, max_length=256)
        both = estimate(shape, long, "cpu", [rows, expected_rows(long, 480)])
        assert both.n_bytes == estimate(shape, long, "cpu", [expected_rows(long, 480)]).n_bytes > alone.n_bytes


def test_more_of_them_fit_at_once() -> None:
    shape, rows = shape_of_config(shapes.SMOLLM2_135M), count_rows(drawn_rows(480, 64, 128))
    plain = TrainingSettings(batch_size=16, micro_batch_size=1, max_length=128)
    padded, shared = (fits(shape, plain, 1.5 * GIB, "cpu", kinds) for kinds in ([], [rows]))
    assert padded.fit == shared.fit == "fits"
    assert padded.settings.micro_batch_size < shared.settings.micro_batch_size


def test_equal_rows_have_nothing_behind_their_beginning() -> None:
    rows = RowLengths(n_rows=8, n_tokens=80, n_supervised=16, median=10, p99=10, longest=10, shared=10, counted=True)
    assert largest_batch(rows, TrainingSettings(micro_batch_size=4)).supervised == 8


def load_benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{Path(name).stem}", BENCHMARKS / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_estimate_is_within_a_tenth_of_all_measured_peaks() -> None:
    runs = {**(benchmark := load_benchmark("memory.py")).CALIBRATION, **benchmark.VALIDATION}
    rows_of = load_benchmark("clients/train_memory.py").rows
    measured = json.loads((BENCHMARKS / "results" / "memory.json").read_text())["runs"]
    assert {one["run"] for one in measured} >= set(benchmark.VALIDATION)
    for one in measured:
        kind, options = runs[one["run"]]
        shared = options["shared"]
        settings = TrainingSettings(**{key: value for key, value in options.items() if key != "shared"})
        config = {"model": kind, "settings": settings.to_dict(), "steps": 2, "lengths": "mixed", "shared": shared}
        own = shared is not None and not settings.paired
        made = [TokenRow(str(at), row["input_ids"], [int(label >= 0) for label in row["labels"]])
                for at, row in enumerate(rows_of(config) if own else [])]  # fmt: skip
        found = estimate(shape_of_config(kind), settings, "cpu", [count_rows(made)] if own else [])
        assert found.n_bytes / 1e6 == pytest.approx(one["measured_mb"], rel=0.1), one["run"]
        assert found.low / 1e6 < one["measured_mb"] < found.high / 1e6
