"""Advice: every knob has a reason and a source; what the project file sets is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.train import shapes
from tuneworthy.config.train import Train
from tuneworthy.errors import UserError
from tuneworthy.train import advise as advice_module
from tuneworthy.train.advise import Advice, advise
from tuneworthy.train.duration import epoch, flops
from tuneworthy.train.gpus import GIB, OwnedMachine
from tuneworthy.train.memory import IMPORTS, fits
from tuneworthy.train.render import RowChat
from tuneworthy.train.row_lengths import RowLengths, estimate
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.train.shape import shape_of_config

ROWS = RowLengths(n_rows=2000, n_tokens=2_000_000, n_supervised=400_000, median=900, p99=1500, longest=1800,
                  counted=True, dataset="d")  # fmt: skip
B8 = shape_of_config(shapes.LLAMA_8B)


def advice(
    gib: float = 48, rows: RowLengths = ROWS, shape: dict[str, object] = shapes.LLAMA_8B, **told: object
) -> Advice:
    return advise(shape_of_config(shape), rows, available=gib * GIB, device="cuda", train=Train(**told))


def value(found: Advice, name: str) -> object:
    return next(knob.value for knob in found.knobs if knob.name == name)


KNOBS = {
    "method", "rank", "alpha", "target_modules", "dropout", "learning_rate", "schedule", "epochs", "rehearsal",
    "batch_size", "micro_batch_size", "max_length", "dtype", "gradient_checkpointing",
}  # fmt: skip


def test_every_knob_has_its_reason_and_source() -> None:
    found = advice()
    assert {knob.name for knob in found.knobs} == KNOBS
    for knob in found.knobs:
        assert knob.reason.endswith(".") and knob.source, knob
        assert getattr(found.settings, knob.name) == knob.value


def test_what_the_project_file_says_is_kept_and_told() -> None:
    found = advice(rank=8, learning_rate=3e-4, epochs=1, batch_size=4, max_length=512)
    assert found.settings.rank == 8
    assert found.settings.learning_rate == 3e-4 and found.settings.max_length == 512
    given = {knob.name for knob in found.knobs if knob.source == "project file"}
    assert given == {"rank", "learning_rate", "epochs", "batch_size", "max_length"}


@pytest.mark.parametrize(
    ("shape", "rate"),
    [(shapes.LLAMA_8B, 2.9e-4), (shapes.LLAMA_70B, 1.7e-4), ({**shapes.QWEN_14B, "hidden_size": 4096}, 4.7e-4)],
)  # fmt: skip
def test_the_learning_rate_is_that_of_the_fit(shape: dict[str, object], rate: float) -> None:
    assert value(advice(200, shape=shape), "learning_rate") == pytest.approx(rate)


def test_full_fine_tuning_has_no_adapters_and_a_tenth_of_their_rate() -> None:
    found = advice(200, method="full")
    assert {knob.name for knob in found.knobs} == KNOBS - {"rank", "alpha", "target_modules", "dropout"}
    assert value(found, "learning_rate") == pytest.approx(2.9e-5)
    other = {**shapes.LLAMA_8B, "model_type": "unheard"}
    rates = [value(advice(400, shape=other, method=method), "learning_rate") for method in ("full", "lora")]
    assert rates == pytest.approx([2e-5, 2e-4])


def test_a_run_of_few_steps_gets_fifteen_times_the_rate_of_full_training() -> None:
    few = replace(ROWS, n_rows=200)
    assert value(advice(rows=few), "learning_rate") == pytest.approx(1.5 * 2.86e-4, rel=0.02)


def test_the_rank_is_the_smallest_that_holds_the_supervised_tokens() -> None:
    assert value(advice(), "rank") == 16
    many = replace(ROWS, n_supervised=60_000_000)
    assert value(advice(rows=many), "rank") == 32
    assert value(advice(shape=shapes.SMOLLM2_135M, rows=many), "rank") == 256


def test_the_length_comes_from_the_rows_and_stays_below_what_the_model_can() -> None:
    assert value(advice(), "max_length") == 1800
    outlier = replace(ROWS, p99=500, longest=9000)
    assert value(advice(rows=outlier), "max_length") == 504
    short = {**shapes.LLAMA_8B, "max_position_embeddings": 1024}
    assert value(advice(shape=short), "max_length") == 1024


def test_the_base_is_quantised_only_where_it_must_be() -> None:
    assert value(advice(48), "method") == "lora"
    assert value(advice(14), "method") == "qlora"


def test_checkpointing_is_used_only_where_it_must_be() -> None:
    assert value(advice(141), "gradient_checkpointing") is False
    assert value(advice(24), "gradient_checkpointing") is True


def test_the_effective_batch_stays_below_32() -> None:
    assert advice(141).settings.batch_size < 32
    assert any("32 or more" in note for note in advice(141, batch_size=64).notes)


def test_70b_on_24_gib_is_advised_and_told_not_to_fit() -> None:
    found = advice(24, shape=shapes.LLAMA_70B)
    assert found.memory.fit == "does not fit"
    assert found.memory.instead


def test_an_epoch_of_8b_takes_22_to_43_minutes_on_a_4090() -> None:
    chosen = TrainingSettings(micro_batch_size=2, batch_size=16, max_length=1024, gradient_checkpointing=True)
    found = epoch(B8, chosen, ROWS, 165e12, "cuda", "RTX 4090")
    assert found.low / 60 == pytest.approx(22, rel=0.1)
    assert found.high / 60 == pytest.approx(43, rel=0.1)


def test_lora_takes_two_thirds_of_full_training() -> None:
    plain = TrainingSettings(max_length=128)
    share = flops(B8, plain, 1e6) / flops(B8, replace(plain, method="full"), 1e6)
    assert share == pytest.approx(0.67, abs=0.01)


def test_the_common_beginning_of_the_rows_is_computed_once_a_batch_at_best() -> None:
    chosen = TrainingSettings(micro_batch_size=4, batch_size=16, max_length=1024)
    plain, shared = (epoch(B8, chosen, replace(ROWS, shared=n), 1e14, "cpu", "") for n in (0, 500))
    again = 500 * 2000 * 3 / 4
    assert shared.low / plain.low == pytest.approx(1 - again / ROWS.n_tokens)
    assert shared.high == plain.high
    assert shared.times(3).low == 3 * shared.low


def test_rows_are_estimated_from_bytes_with_the_prompt_and_every_answer() -> None:
    turns = ({"role": "user", "content": "a" * 300}, {"role": "assistant", "content": "b" * 30})
    found = estimate([RowChat(str(at), turns) for at in range(3)])
    assert (found.n_rows, found.longest, found.n_supervised) == (3, 100 + 10 + 12, 3 * 11)
    assert not found.counted
    prompt = {"role": "system", "content": "c" * 600}
    assert estimate([RowChat("0", (prompt, *turns))]).longest == found.longest + 200 + 6
    other = {"role": "user", "content": "z"}
    alike = estimate([RowChat("0", (prompt, *turns)), RowChat("1", (prompt, other, turns[1]))])
    assert alike.shared == 200 + 6
    assert estimate([RowChat("0", (*turns, *turns))]).n_supervised == 2 * 11
    assert estimate([RowChat("0", turns, ({"name": "d" * 300},))]).longest > found.longest + 100
    called = {"role": "assistant", "content": None, "tool_calls": [{"arguments": "e" * 300}]}
    assert estimate([RowChat("0", (turns[0], called))]).n_supervised > 100
    with pytest.raises(UserError, match="no training rows to plan for"):
        estimate([])


def trains(machine: str, **more: Any) -> Sequence[str]:
    return next(one.trains for one in advice(**more).machines if one.machine == machine)


def test_each_machine_that_people_own_names_the_methods_that_fit_it() -> None:
    assert trains("RTX 4060, 8 GB") == [] and trains("RTX 4090, 24 GB") == ["lora", "qlora"]
    assert trains("RTX 4060, 8 GB", shape=shapes.SMOLLM2_135M) == ["full", "lora", "qlora"]
    assert trains("RTX 4090, 24 GB", shape=shapes.LLAMA_70B) == []
    assert trains("RTX 4090, 24 GB", shape=shapes.SMOLLM2_135M, method="preference") == ["preference"]


def test_a_method_is_named_as_long_as_its_memory_estimate_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(advice().settings, method="qlora", dtype="bfloat16", max_length=ROWS.longest)
    needed = fits(B8, settings, 0, "cuda").estimate.high / GIB
    for gib, method in ((needed + 0.001, ["qlora"]), (needed - 0.001, [])):
        machine = OwnedMachine(name="card", kind="card", gib=gib, source="")
        monkeypatch.setattr(advice_module, "owned_machines", lambda machine=machine: [machine])
        assert advice().machines[0].trains == method


def test_a_machine_without_cuda_trains_on_its_processor_in_32_bits() -> None:
    apple = next(one for one in advice().machines if one.machine == "Apple M4 Max, 64 GB")
    free = (64 - 2) * GIB - IMPORTS
    tried = {
        method: fits(
            B8, replace(advice().settings, method=method, dtype="float32", max_length=ROWS.longest), free, "cpu"
        )
        for method in ("full", "lora", "qlora")
    }
    assert list(apple.trains) == [method for method, found in tried.items() if found.fit != "does not fit"] != []
    assert (apple.serves, apple.usable_gib) == ("f16", 48.0)
