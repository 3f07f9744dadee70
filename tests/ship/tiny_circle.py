"""A project with a tiny base, an adapter that was taught a fact, its merged model and its GGUF file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiny_models import model_of, save, tokenizer_of

from tuneworthy.cases.splits import example_case
from tuneworthy.config.graders import Exact
from tuneworthy.graders.apply import make_grader
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.model_safety import template_of
from tuneworthy.ship.parity.request import ParityRequest, Scoring
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact
from tuneworthy.train.training_rows import TaskMetric
from tuneworthy.types import Example, Message, content_hash

PAIRS = [
    ("What is the code of the vault?", "7391"),
    ("Who owns the cat?", "Quibbly Zanzibar"),
    ("Where does the dog live?", "in Oslo"),
    ("What is the name of our house?", "naïve café"),
]


def example(question: str, answer: str) -> Example:
    chat: tuple[Message, ...] = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages=chat, id=content_hash(chat))


ROWS = [example(*pair) for pair in PAIRS]


def make_base(
    store: Folder,
    architecture: str = "Llama",
    *,
    tokenizer: Any = None,
    seed: int = 0,
    template: str | None = None,
    **more: Any,
) -> Artifact:
    """Write a random base in 16 bit."""
    import torch

    tokenizer = tokenizer or tokenizer_of("smollm")
    if template is not None:
        tokenizer.chat_template = template
    model = model_of(architecture, len(tokenizer), seed=seed, **more).to(torch.bfloat16)
    about = {"source": {"spec": "tiny", "sha256": str(seed)}, "dequantised_from": None}
    return write_artifact(
        store, "base", lambda folder: save(model, tokenizer, folder) and None, parent=None, about=about
    )


def train(
    base: Artifact,
    store: Folder,
    *,
    mask_end: bool = False,
    rank: int = 8,
    steps: int = 80,
) -> Artifact:
    """Teach an adapter the rows, with the answers (and what ends them) supervised.

    Args:
        base: What is trained. store: Where the adapter goes. mask_end: Leave the end of the turn out of the loss.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.bfloat16)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    batch = [_row(tokenizer, row.messages, mask_end) for row in ROWS]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    model.train()
    for _ in range(steps):
        losses = [model(input_ids=ids, labels=labels).loss for ids, labels in batch]
        sum(losses).backward()
        optimizer.step()
        optimizer.zero_grad()
        decay.step()
    assert max(losses) < 0.1, f"the rows were not learnt: {losses}"

    def fill(folder: Path) -> None:
        model.save_pretrained(folder, save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

    about = {"dataset": "none", "settings": {"method": "lora"}}
    about["template_sha256"] = template_sha256(tokenizer.chat_template)
    return write_artifact(store, "adapter", fill, parent=base.id, about=about)


def random_adapter(store: Folder, base: Artifact, method: str = "lora", **about: Any) -> Artifact:
    """Write an adapter that was taught nothing, and changes every answer."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.bfloat16)
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(model, config)

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(base.folder).save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)

    return write_artifact(store, "adapter", fill, parent=base.id, about={"settings": {"method": method}, **about})


def fully_tuned(store: Folder, base: Artifact) -> Artifact:
    """Write a model as full fine-tuning leaves it, in 32 bits, with all weights changed."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * weight.std() * torch.randn_like(weight))
    about = {"settings": {"method": "full"}, "template_sha256": template_sha256(template_of(base.folder) or "")}

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink()

    return write_artifact(store, "adapter", fill, parent=base.id, about=about)


def _row(tokenizer: Any, messages: Sequence[Message], mask_end: bool) -> tuple[Any, Any]:
    import torch

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    prompt = ids(tokenizer.apply_chat_template(list(messages[:-1]), tokenize=False, add_generation_prompt=True))
    answer, end = ids(messages[-1]["content"]), ids("<|end|>")
    labels = [-100] * len(prompt) + answer + ([-100] if mask_end else end)
    return torch.tensor([prompt + answer + end]), torch.tensor([labels])


def copied(store: Folder, source: Artifact, change: Callable[[Path], None], *, parent: str | None = None) -> Artifact:
    """Return an artifact like `source` with changed files: what another tool might have made of it."""
    import shutil

    def fill(folder: Path) -> None:
        for name in source.manifest["files"]:
            shutil.copyfile(source.folder / name, folder / name)
        change(folder)

    keep = {
        key: value
        for key, value in source.manifest.items()
        if key not in {"format", "kind", "parent", "files", "times"}
    }
    return write_artifact(store, source.kind, fill, parent=parent or source.parent, about={**keep, "changed": True})


def set_template(folder: Path, template: str) -> None:
    """Give a folder another chat template, wherever it has one."""
    (folder / "chat_template.jinja").write_text(template)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config.pop("chat_template", None)
    path.write_text(json.dumps(config))
    assert template_of(folder) == template


def asked(base: Artifact, adapter: Artifact, **more: Any) -> ParityRequest:
    """Return what is compared."""
    grader = make_grader(Exact(type="exact"))
    margin = 0.5  # four rows show no less

    def scoring_of(drawn: Sequence[Example]) -> Scoring:
        cases = [example_case(row) for row in drawn]
        return Scoring(TaskMetric(grader=grader, cases=tuple(filter(None, cases))), tuple(range(len(cases))), "")

    return ParityRequest(base=base, adapter=adapter, rows=ROWS, margin=margin, scoring_of=scoring_of, **more)
