"""Rows that the base writes itself: what they are, that they are kept, and that they hold the model to itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows_that_share import ASKED as ASKED_FIRST  # noqa: E402
from tests.train.test_rows_that_share import rows  # noqa: E402
from tests.train.test_train_project import tiny_project  # noqa: E402
from tests.train.tiny import END, VOCAB, write_tiny  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train import rehearsal  # noqa: E402
from tuneworthy.train.base_model import Base, load_model, open_base, prepare_base  # noqa: E402
from tuneworthy.train.batch_layout import StepsOfAKind  # noqa: E402
from tuneworthy.train.plan import plan_project  # noqa: E402
from tuneworthy.train.rehearsal import rehearsal_rows  # noqa: E402
from tuneworthy.train.run import train_project  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import summed_loss, train_rows  # noqa: E402

SETTINGS = TrainingSettings(
    rank=4, dtype="float32", batch_size=4, micro_batch_size=4, learning_rate=0.02, rehearsal=0.5
)
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


def plain_loss(model: Any, ids: list[int], labels: list[int]) -> float:
    """Sum of the losses of the supervised tokens of one row."""
    import torch

    n = sum(label != -100 for label in labels)
    return float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss) * n


def test_the_base_asks_and_answers_itself(base: Base, tmp_path: Path) -> None:
    told: list[str] = []
    made = rehearsal_rows(tmp_path, base, SETTINGS, 80, told.append)
    assert len(made) == 40
    assert told == [
        "Rehearsal: the base model generates 40 rows of its own, which are added to the 80 task rows so that it "
        "forgets less."
    ]
    assert len({tuple(row.ids[: row.mask.index(1)]) for row in made}) == 40  # no question twice
    ended = 0
    for row in made:
        first = row.mask.index(1)
        assert row.ids[0] == ASKED and row.ids[first - 1] == VOCAB["<assistant>"] and row.ids[first - 2] == END
        assert row.mask == [0] * first + [1] * (len(row.ids) - first)  # its answer, to the end, and nothing else
        assert row.n_supervised <= rehearsal.ANSWER_TOKENS and END not in row.ids[first:-1]
        assert len(row.ids) <= rehearsal.LONGEST
        ended += row.ids[-1] == END
    assert 0 < ended < 40  # an answer that was cut has no end that could be learnt


def test_its_phases_count_questions_and_answers(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = {}

    @contextmanager
    def counted(name: str, total: int) -> Iterator[Any]:
        counts[name] = 0
        yield lambda n: counts.update({name: counts[name] + n})

    monkeypatch.setattr(rehearsal, "phase", counted)
    rehearsal_rows(tmp_path, base, SETTINGS, 80)
    assert counts == {"rehearsal questions": pytest.approx(48, abs=32), "rehearsal answers": 48}


def test_what_it_answers_is_its_greedy_answer(base: Base, tmp_path: Path) -> None:
    import torch

    model = load_model(base.artifact.folder, "float32").eval()
    made = rehearsal_rows(tmp_path, base, SETTINGS, 8)
    assert len(made) == 4
    for row in made:
        with torch.no_grad():
            best = model(torch.tensor([row.ids])).logits[0].argmax(-1).tolist()
        first = row.mask.index(1)
        assert best[first - 1 : -1] == row.ids[first:]


def test_a_question_ends_where_the_template_ends_a_user_s_turn(base: Base, tmp_path: Path) -> None:
    """Here that is the beginning of the assistant's turn, which a model goes on from to its answer."""
    import torch

    source = base.template.source.replace("<end>", "{% if turn.role == 'assistant' %}<end>{% endif %}")
    other = replace(base, template=replace(base.template, source=source))
    model = load_model(base.artifact.folder, "float32")
    with torch.no_grad():
        model.lm_head.weight[VOCAB["<assistant>"]] = model.lm_head.weight[END]
        model.lm_head.weight[END] = 0
    model.save_pretrained(base.artifact.folder)
    made = rehearsal_rows(tmp_path, other, SETTINGS, 40)
    assert made
    for row in made:
        first = row.mask.index(1)
        assert row.ids[first - 1] == VOCAB["<assistant>"] and VOCAB["<assistant>"] not in row.ids[: first - 1]


def test_the_model_s_own_way_to_generate_is_not_heeded(base: Base, tmp_path: Path) -> None:
    plain = rehearsal_rows(tmp_path / "plain", base, SETTINGS, 8)
    path = base.artifact.folder / "generation_config.json"
    odd = {"num_return_sequences": 4, "num_beams": 4, "no_repeat_ngram_size": 2, "min_new_tokens": 60, "min_p": 0.9}
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **odd, "do_sample": True}))
    assert rehearsal_rows(tmp_path / "odd", base, SETTINGS, 8) == plain


def test_they_are_written_once_and_what_was_changed_is_written_anew(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rehearsal_rows(tmp_path, base, SETTINGS, 20)
    (kept,) = tmp_path.glob("rehearsal-*.json")
    whole = kept.read_bytes()
    for fault in (whole[:-40], whole.replace(b'"ids":[2,', b'"ids":[3,'), b"[]", b'{"rows": [{"a": 1}]}'):
        kept.write_bytes(fault)
        assert rehearsal_rows(tmp_path, base, SETTINGS, 20) == made and kept.read_bytes() == whole
    monkeypatch.setattr(rehearsal, "_written", None)
    assert rehearsal_rows(tmp_path, base, SETTINGS, 20) == made
    with pytest.raises(TypeError):
        rehearsal_rows(tmp_path, base, replace(SETTINGS, seed=1), 20)  # another run has rows of its own
    assert rehearsal_rows(tmp_path, base, replace(SETTINGS, rehearsal=0.0), 20) == []


TEMPLATES = {
    "says nothing around it": "{% for turn in messages %}{{ turn.content }}{% endfor %}",
    "says nothing before it": "{% for turn in messages %}{{ turn.content }}<end>{% endfor %}",
    "says too much before it": "{{ '<user>' * 2000 }}{% for turn in messages %}{{ turn.content }}<end>{% endfor %}",
    "rejected by": "{{ raise_exception('a system message comes first') }}",
    "hides it": "<user>{{ messages | length }}<end>",
}


@pytest.mark.parametrize("fault", ["no question ends", *TEMPLATES])
def test_a_base_that_asks_nothing_is_said_so(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault in TEMPLATES:
        base = replace(base, template=replace(base.template, source=TEMPLATES[fault]))
    else:
        monkeypatch.setattr("tuneworthy.train.rehearsal.answer_ids", lambda *_, **__: [([5, 6], None)] * 32)
    told: list[str] = []
    assert rehearsal_rows(tmp_path, base, SETTINGS, 20, told.append) == []
    assert told[-1] == "Rehearsal: only 0 of 8 rows, because the base model generated no more complete questions."


def test_they_fill_whole_steps() -> None:
    settings = TrainingSettings(batch_size=16, rehearsal=0.05)
    counts = [settings.n_rehearsal(n) for n in (1, 60, 480, 1229, 100_000)]
    assert counts == [16, 16, 32, 64, 512]


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
            plain_loss(model, row.ids, labels)
            for row, labels in zip(fresh, labelled, strict=True)
        ) / sum(row.n_supervised for row in fresh))  # fmt: skip
    assert losses[0] < 0.8 * losses[1]


def test_steps_are_of_one_kind_but_for_what_is_left() -> None:
    order = StepsOfAKind([21, 8], 4, seed=3)
    first, again = list(order), list(order)
    assert first == again and sorted(first) == list(range(29)) and len(order) == 29
    kinds = [{place >= 21 for place in first[at : at + 4]} for at in range(0, 29, 4)]
    assert all(len(kind) == 1 for kind in kinds) and kinds.count({True}) == 2 and kinds[-1] == {False}
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first


def test_a_run_s_steps_are_of_one_kind(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the task begin alike; among them one of another kind would leave no common beginning."""
    seen: list[tuple[bool, int]] = []

    def watched(model: object, batch: dict[str, Any], attention: object) -> Any:
        prefix, _, *lengths = batch["lengths"].tolist()
        seen.append((prefix >= len(ASKED_FIRST), len(lengths)))
        return summed_loss(model, batch, attention)  # type: ignore[arg-type]

    monkeypatch.setattr("tuneworthy.train.trainer.summed_loss", watched)
    own = rehearsal_rows(tmp_path, base, SETTINGS, 16)
    train_rows(base.artifact.folder, rows() * 4, SETTINGS, tmp_path / "run", tokenizer=base.tokenizer, rehearsal=own)
    steps = seen[1:]  # the first is the check of our batches
    n_task, n_own = len(rows()) * 4 // 4, len(own) // 4
    assert n_own == 2 and len(steps) == 3 * (n_task + n_own)
    assert sum(not shared for shared, _ in steps) == 3 * n_own


def test_a_run_trains_on_them_and_keeps_them_and_a_plan_hands_them_on(tmp_path: Path) -> None:
    from tuneworthy.train.emit import emit_planned, rows_of

    store = tiny_project(tmp_path, "rehearsal = 0.1")
    write_talker(tmp_path / "tiny", "bfloat16")
    planned = plan_project(load(tmp_path))
    assert planned.rehearsal is None
    assert "do not include rehearsal rows" in " ".join(emit_planned(planned, "trl").notes)
    made, _ = train_project(load(tmp_path), store)
    told = made.manifest["rehearsal"]
    n_rows = made.manifest["rows"]["n_rows"]
    assert told["n_rows"] == 16 and n_rows == 189
    assert len(orjson.loads((made.folder / "rehearsal.json").read_bytes())) == 16
    assert made.manifest["curves"]["n_steps"] == -(-(n_rows + told["n_rows"]) // 8)
    planned = plan_project(load(tmp_path))
    assert planned.rehearsal is not None and len(rows_of(planned)) == n_rows + told["n_rows"]
    assert not any("rehearsal" in note for note in emit_planned(planned, "trl").notes)
