"""Training on pairs: what is compared with what, what is learned from it, and where it goes on."""

from __future__ import annotations

from importlib.util import find_spec
from math import log
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.dataset.check_rows import RECIPE
from tests.train.test_render import chat, renderer
from tests.train.test_rows import FILES, TOML, project, turns
from tests.train.tiny import VOCAB
from tuneworthy.cli import invoke as command
from tuneworthy.config import load
from tuneworthy.dataset.freeze import freeze
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import open_artifact
from tuneworthy.train.render import TokenPair, TokenRow
from tuneworthy.train.row_lengths import count
from tuneworthy.train.settings import TrainingSettings
from tuneworthy.types import content_hash

MISSING = [name for name in ("torch", "transformers", "peft", "trl", "datasets") if find_spec(name) is None]
needs_torch = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
SETTINGS = TrainingSettings(
    method="preference", rank=8, alpha=16.0, dtype="float32", batch_size=4, micro_batch_size=4, learning_rate=2e-2,
    beta=1.0,
)  # fmt: skip


def ids(text: str) -> list[int]:
    return [VOCAB[letter] for letter in text]


PAIRS = [
    TokenPair(str(n), ids(f"Name {n}: "), [*ids(good), VOCAB["<end>"]], [*ids(bad), VOCAB["<end>"]])
    for n, (good, bad) in enumerate([("Oslo", "Rome"), ("Rome and so on", "Bern"), ("Paris", "Nice is it"), ("x", "y")])
]  # fmt: skip


# --- rows -----------------------------------------------------------------------------------------------------------


def test_both_answers_follow_the_ids_of_one_prompt_and_each_has_its_end() -> None:
    made = renderer()
    rendered = made.pairs([chat("Hi?", "Yes.")], ["No, never."], 1000)
    (pair,) = rendered.pairs
    text = made.tokenizer.decode(
        [*pair.prompt, *pair.rejected], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    assert text == "<system>Be brief.<end><user>Hi?<end><assistant>No, never.<end>"
    assert [*pair.prompt, *pair.chosen] == rendered.rows[0].ids
    assert count(rendered).n_tokens == 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
    assert count(rendered).n_rows == 1 and count(rendered).longest == pair.longest


def test_only_the_last_answer_of_a_chat_is_compared() -> None:
    rendered = renderer().pairs([chat("a", "b", "c", "d")], ["e"], 1000)
    assert (len(rendered.pairs[0].chosen), len(rendered.pairs[0].rejected)) == (2, 2)


def test_a_pair_with_one_answer_that_is_too_long_is_left_out_with_both() -> None:
    chats = [chat("Hi?", "Yes.", name="a"), chat("Hi?", "Yes.", name="b")]
    rendered = renderer().pairs(chats, ["No.", "No" * 40], 60)
    assert ([pair.id for pair in rendered.pairs], rendered.left_out) == (["a"], {"b": "too_long"})
    assert [row.id for row in rendered.rows] == ["a"]
    shorter = renderer().pairs(chats, ["No.", "No, no."], 1000).within(rendered.pairs[0].longest)
    assert [pair.id for pair in shorter.pairs] == [row.id for row in shorter.rows] == ["a"]


def test_beta_is_part_of_what_an_adapter_depends_on_only_where_it_acts() -> None:
    assert "beta" in SETTINGS.identity and "beta" not in TrainingSettings().identity


# --- training -------------------------------------------------------------------------------------------------------


def train(folder: Path, *, start: Path | None = None, stop_at: int = 0, steps: int = 8) -> Any:
    from tests.train.test_methods import Looks
    from tests.train.tiny import write_tiny
    from tuneworthy.train.trainer import train_rows

    tokenizer = write_tiny(folder / "base")
    rows = [TokenRow(pair.id, [*pair.prompt, *pair.chosen], []) for pair in PAIRS]
    return train_rows(
        folder / "base", rows * 4, SETTINGS, folder / "run", tokenizer=tokenizer, pairs=PAIRS * 4, start=start,
        evaluate=Looks(stop_at), max_steps=steps,
    )  # fmt: skip


@needs_torch
def test_a_run_learns_the_order_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    losses = [step.loss for step in whole.progress.steps]
    assert losses[0] == pytest.approx(log(2), abs=1e-4), "at first the model is its own reference"
    assert losses[-1] < 0.4 and whole.progress.steps[-1].accuracies == 1.0 and not whole.shared
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "halves", stop_at=3)
    again = train(tmp_path / "halves")
    assert [step.loss for step in again.progress.steps] == pytest.approx(losses, rel=1e-3)


@needs_torch
def test_what_it_starts_from_is_the_reference_and_one_adapter_comes_of_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    first = train(tmp_path / "first")
    second = train(tmp_path / "second", start=first.adapter, steps=4)
    assert second.progress.steps[0].loss == pytest.approx(log(2), abs=1e-4), "not the base, whose order is another"
    before, after = (load_file(run.adapter / "adapter_model.safetensors") for run in (first, second))
    assert before.keys() == after.keys() and second.n_trainable == first.n_trainable
    assert any(not before[name].equal(after[name]) for name in before)
    assert not [path for path in second.adapter.iterdir() if path.is_dir()], "the reference is not stored"


def paired_project(root: Path, extra: str = "") -> Folder:
    """A project whose rows are pairs, with a tiny base."""
    from tests.train.tiny import write_tiny

    store = project(root)
    write_tiny(root / "tiny", dtype="bfloat16")
    (root / "tuneworthy.toml").write_text(
        f'{TOML}[train]\nbase = "tiny"\nrank = 2\nbatch_size = 8\nepochs = 1\n{extra}'
    )
    worse = {"role": "assistant", "content": "some other colour"}
    rows = [
        {"id": content_hash(chat), "source": "f", "messages": chat, "meta": {"rejected": worse} if at % 2 else {}}
        for at, chat in enumerate(map(turns, range(60)))
    ]
    contents = {name: [orjson.dumps(one) + b"\n" for one in rows] if name == "rows.jsonl" else [] for name in FILES}
    freeze(store, contents, RECIPE)
    return store


@pytest.mark.slow
@needs_torch
@pytest.mark.moved
def test_a_project_goes_from_answers_to_pairs_and_its_adapter_is_merged_like_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = paired_project(tmp_path)
    path, at = tmp_path / "tuneworthy.toml", ["--project", str(tmp_path)]
    assert command(["train", "--only", "train", *at]) == 0
    capsys.readouterr()
    first = open_artifact(store, "adapter")
    path.write_text(path.read_text() + 'method = "preference"\n')
    assert command(["plan", *at, "--json"]) == 0
    planned = orjson.loads(capsys.readouterr().out)
    knobs = {knob["name"]: knob["reason"] for knob in planned["knobs"]}
    assert first.id in knobs["rank"] and "Divided by 40" in knobs["learning_rate"] and "beta" in knobs
    assert command(["train", "--only", "train", *at, "--json"]) == 0
    told = capsys.readouterr()
    made = open_artifact(store, "adapter")
    assert made.id != first.id and made.parent == first.parent
    assert (made.manifest["start"], made.manifest["settings"]["rank"]) == (first.id, 2)
    assert made.manifest["rows"]["n_rows"] == 30 and f"30 pairs, starting from adapter {first.id}" in told.err
    assert made.manifest["rehearsal"]["n_rows"] == 0
    assert command(["train", "--only", "merge", *at]) == 0
    assert open_artifact(store, "merged").parent == made.id
    capsys.readouterr()
    assert command(["train", "--only", "train", *at, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["again"]


@needs_torch
def test_what_cannot_be_started_from_or_trained_on_is_refused(tmp_path: Path) -> None:
    from tuneworthy.train.pilot import run_pilot

    store = paired_project(tmp_path, 'method = "preference"\n')
    with pytest.raises(UserError, match="train on answers, not on pairs"):
        run_pilot(load(tmp_path), store, sizes=lambda n: [n], n_seeds=1, unsafe=False, say=lambda _: None)


def test_a_project_without_pairs_says_where_they_come_from(tmp_path: Path) -> None:
    from tests.train.test_rows import frozen, gathered

    frozen(project(tmp_path), n=40)
    (tmp_path / "tuneworthy.toml").write_text(f'{TOML}[train]\nmethod = "preference"\n')
    with pytest.raises(UserError, match="None of the 40 training rows has a worse answer"):
        gathered(tmp_path, unsafe=False)
