"""Rows that the base writes itself: what they are, that they are kept, and that they hold the model to itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.test_train_project import tiny_project  # noqa: E402
from tests.train.tiny import END, VOCAB, write_tiny  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train import rehearsal  # noqa: E402
from tuneworthy.train.base_model import Base, load_model, open_base, prepare_base  # noqa: E402
from tuneworthy.train.order import BatchesOfAKind  # noqa: E402
from tuneworthy.train.plan import plan_project  # noqa: E402
from tuneworthy.train.rehearsal import rehearsal_rows  # noqa: E402
from tuneworthy.train.run import train_project  # noqa: E402
from tuneworthy.train.settings import Settings  # noqa: E402
from tuneworthy.train.trainer import _plain_loss, train_rows  # noqa: E402

SETTINGS = Settings(rank=4, dtype="float32", batch_size=4, micro_batch_size=4, learning_rate=0.02, rehearsal=0.5)
ASKED = VOCAB["<user>"]


def write_talker(folder: Path, dtype: str = "float32") -> None:
    """Write a tiny random model that is sure of what it says, and says no control token but the end of a turn."""
    import torch

    write_tiny(folder, tied=False, seed=1)
    model = load_model(folder, "float32")
    with torch.no_grad():
        model.lm_head.weight[:END] = 0
        model.lm_head.weight *= 20
    model.to(getattr(torch, dtype)).save_pretrained(folder)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    write_talker(tmp_path / "tiny")
    return open_base(prepare_base("tiny", tmp_path, Folder(tmp_path)))


def test_the_base_asks_and_answers_itself(base: Base, tmp_path: Path) -> None:
    told: list[str] = []
    made = rehearsal_rows(tmp_path, base, SETTINGS, 80, told.append)
    assert len(made) == 40 and "40 rows itself (50% of 80)" in told[0]
    assert len({tuple(row.ids[: row.mask.index(1)]) for row in made}) == 40  # no question twice
    ended = 0
    for row in made:
        first = row.mask.index(1)
        assert row.ids[0] == ASKED and row.ids[first - 1] == VOCAB["<assistant>"] and row.ids[first - 2] == END
        assert row.mask == [0] * first + [1] * (len(row.ids) - first)  # its answer, to the end, and nothing else
        assert row.n_supervised <= rehearsal.ANSWER_TOKENS + 1 and END not in row.ids[first:-1]
        ended += row.ids[-1] == END
    assert 0 < ended < 40  # an answer that was cut has no end that could be learnt


def test_what_it_answers_is_its_greedy_answer(base: Base, tmp_path: Path) -> None:
    import torch

    model = load_model(base.artifact.folder, "float32").eval()
    for row in rehearsal_rows(tmp_path, base, SETTINGS, 10):
        with torch.no_grad():
            best = model(torch.tensor([row.ids])).logits[0].argmax(-1).tolist()
        first = row.mask.index(1)
        assert best[first - 1 : -1] == row.ids[first:]


def test_they_are_written_once_and_no_longer_than_a_row_may_be(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(SETTINGS, max_length=40)
    made = rehearsal_rows(tmp_path, base, short, 20)
    assert max(len(row.ids) for row in made) <= 40
    monkeypatch.setattr(rehearsal, "_written", None)
    assert rehearsal_rows(tmp_path, base, short, 20) == made
    with pytest.raises(TypeError):
        rehearsal_rows(tmp_path, base, replace(short, seed=1), 20)  # another run has rows of its own
    assert rehearsal_rows(tmp_path, base, replace(short, rehearsal=0.0), 20) == []


@pytest.mark.parametrize("fault", ["no question ends", "the template shows no user"])
def test_a_base_that_asks_nothing_is_said_so(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "no question ends":
        monkeypatch.setattr("tuneworthy.train.answering.answers", lambda *_, **__: [("why", "length")] * 32)
    else:
        monkeypatch.setattr("tuneworthy.train.render.Renderer.opening", lambda _: None)
    told: list[str] = []
    assert rehearsal_rows(tmp_path, base, SETTINGS, 20, told.append) == []
    assert told[-1] == "rehearsal: 0 of 10 rows; the base wrote no more questions that end"


def test_a_model_that_rehearses_stays_nearer_to_what_it_said(base: Base, tmp_path: Path) -> None:
    """The rows that are looked at were drawn by another seed: none of them was trained on."""
    from peft import PeftModel

    own = rehearsal_rows(tmp_path, base, SETTINGS, 80)
    others = rehearsal_rows(tmp_path, base, replace(SETTINGS, seed=1), 80)
    asked = {tuple(row.ids[: row.mask.index(1)]) for row in own}
    fresh = [row for row in others if tuple(row.ids[: row.mask.index(1)]) not in asked]
    losses = []
    for name, extra in (("with", own), ("without", [])):
        ran = train_rows(base.artifact.folder, rows() * 8, SETTINGS, tmp_path / name, tokenizer=base.tokenizer,
                         rehearsal=extra, max_steps=40)  # fmt: skip
        model = PeftModel.from_pretrained(load_model(base.artifact.folder, "float32"), ran.adapter).eval()
        labelled = [[one if bit else -100 for one, bit in zip(row.ids, row.mask, strict=True)] for row in fresh]
        losses.append(sum(
            _plain_loss(model, {"input_ids": row.ids, "labels": labels})
            for row, labels in zip(fresh, labelled, strict=True)
        ) / sum(row.n_supervised for row in fresh))  # fmt: skip
    print(losses)
    assert losses[0] < 0.8 * losses[1]


def test_batches_are_of_one_kind_but_for_what_is_left() -> None:
    order = BatchesOfAKind([21, 10], 4, seed=3)
    first, again = list(order), list(order)
    assert first == again and sorted(first) == list(range(31)) and len(order) == 31
    kinds = [{place >= 21 for place in first[at : at + 4]} for at in range(0, 28, 4)]
    assert all(len(kind) == 1 for kind in kinds) and {True} in kinds and {False} in kinds
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first


def test_a_run_trains_on_them_and_keeps_them_and_a_plan_hands_them_on(tmp_path: Path) -> None:
    from tuneworthy.train.emit.planned import emit_planned, rows_of

    store = tiny_project(tmp_path, "rehearsal = 0.1")
    write_talker(tmp_path / "tiny", "bfloat16")
    planned = plan_project(load(tmp_path))
    assert planned.rehearsal is None
    made = train_project(load(tmp_path), store).adapter
    told = made.manifest["rehearsal"]
    n_rows = made.manifest["rows"]["n_rows"]
    assert told["n_rows"] == 19 and n_rows == 189
    assert len(orjson.loads((made.folder / "rehearsal.json").read_bytes())) == 19
    assert made.manifest["curves"]["n_steps"] == -(-(n_rows + told["n_rows"]) // 8)
    planned = plan_project(load(tmp_path))
    assert planned.rehearsal is not None and len(rows_of(planned)) == n_rows + told["n_rows"]
    assert not any("rehearsal" in note for note in emit_planned(planned, "trl").notes)
