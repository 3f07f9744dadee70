"""The parity checks on numbers made by hand: each has a planted fault that trips it and a case that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.providers.chat_template import template_sha256
from tuneworthy.providers.weights import from_float32, to_float32, write_tensors
from tuneworthy.ship.parity import PARITY_CHECKS, FormFinding
from tuneworthy.ship.parity.checks import EQUAL
from tuneworthy.ship.parity.measure import FormAnswers, Greedy, NextToken, ParityPlan, divergence
from tuneworthy.ship.parity.request import ParityRequest, Scoring, named_files, request_of
from tuneworthy.ship.parity.run import document_of, facts_of
from tuneworthy.ship.parity.subject import Scores, Subject, scores_of
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, Manifest, Times, write_artifact
from tuneworthy.train.render import RowChat
from tuneworthy.types import Example

END, BEGIN, YES, NO = 9, 8, 1, 2
Q, K = "q_proj.weight", "k_proj.weight"
RNG = np.random.default_rng(0)
BASE, A, B = (RNG.normal(size=shape).astype(np.float32) for shape in ((64, 64), (2, 64), (64, 2)))


ROUNDED = to_float32(from_float32(BASE, "BF16"), "BF16").reshape(BASE.shape)
ASKED = RowChat("", ({"role": "user", "content": "?"},))


def likely(token: int, p: float = 0.9) -> NextToken:
    rest = [one for one in (YES, NO, END) if one != token]
    return {token: log(p), **{one: log((1 - p) / 2) for one in rest}}


def weights(folder: Path, numbers: Any, dtype: str = "BF16", k: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {Q: numbers, K: numbers if k is None else k}
    write_tensors(folder / "model.safetensors", [(name, dtype, numbers.shape) for name in tensors],
                  lambda name: from_float32(tensors[name], dtype))  # fmt: skip
    return folder


def subject_of(tmp_path: Path, **forms: FormAnswers) -> Subject:
    tmp_path.mkdir(exist_ok=True)
    base, adapter = weights(tmp_path / "base", BASE), tmp_path / "adapter"
    adapter.mkdir(exist_ok=True)
    names = {f"base_model.model.{q_or_k}_proj.lora_{side}.weight": part
             for q_or_k in "qk" for side, part in (("A", A), ("B", B))}  # fmt: skip
    write_tensors(adapter / "adapter_model.safetensors", [(n, "F32", t.shape) for n, t in names.items()],
                  lambda name: from_float32(names[name], "F32"))  # fmt: skip
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    merged = weights(tmp_path / "merged", ROUNDED + B @ A)
    plan = ParityPlan(
        chats=[ASKED] * 4, answers=["yes"] * 4, prompt_ids=[[BEGIN, 5, 6]] * 4,
        answer_ids=[[YES]] * 4, end=END, marks={"<|end|>": END, "<|begin|>": BEGIN}, begin=BEGIN,
        facts=[0, 2],
    )  # fmt: skip
    own = tuned("adapter")
    asked = ParityRequest(
        base=artifact(base, "base", None), adapter=artifact(adapter, "adapter", "base"),
        merged=artifact(merged, "merged", "adapter"), ggufs=[artifact(tmp_path / "gguf", "gguf", "merged")],
    )  # fmt: skip
    untrained = replace(
        own, name="base", first=[likely(NO)] * 4, end=[likely(NO)] * 4, greedy=(),
    )  # fmt: skip
    even = Scores(num=[1.0] * 200, den=[1.0] * 200)
    return Subject(
        plan=plan, request=asked, base_folder=base, base=untrained, adapter=own,
        forms={"merged": tuned("merged"), **forms}, scores={"adapter": even, "merged": even},
    )  # fmt: skip


def tuned(name: str, kind: str = "bf16") -> FormAnswers:
    return FormAnswers(
        name=name, kind=kind, template="T", prompt_ids=[[BEGIN, 5, 6]] * 4,
        marks={"<|end|>": [END], "<|begin|>": [BEGIN]}, first=[likely(YES)] * 4, end=[likely(END)] * 4,
        greedy=[Greedy((YES,), "yes", True)] * 4,
    )  # fmt: skip


def form(**change: Any) -> Callable[[Subject], Subject]:
    return lambda subject: replace(subject, forms={"gguf": replace(tuned("gguf", "f16"), **change)})


def artifact(folder: Path, kind: Kind, parent: str | None) -> Artifact:
    sha256 = template_sha256("T") if kind == "adapter" else None
    return Artifact(folder, {}, Manifest(kind, parent, Times(""), {}, template_sha256=sha256))


def asking(**change: Any) -> Callable[[Subject], Subject]:
    return lambda subject: replace(subject, request=replace(subject.request, **change))


def about(name: str, **change: Any) -> Callable[[Subject], Subject]:
    def changed(subject: Subject) -> Subject:
        one = getattr(subject.request, name)
        return asking(**{name: replace(one, about=replace(one.about, **change))})(subject)

    return changed


def unsupervised(subject: Subject) -> Subject:
    path = subject.request.adapter.folder / "rendered.json"
    path.write_text('[[{"text": "yes", "supervised": true}, {"text": "<|end|>", "supervised": false}]]')
    return subject


def adapter(**change: Any) -> Callable[[Subject], Subject]:
    return lambda subject: replace(subject, adapter=replace(subject.adapter, **change), forms={})


def merged_as(numbers: Any, k: Any = None) -> Callable[[Subject], Subject]:
    def change(subject: Subject) -> Subject:
        assert subject.request.merged is not None
        weights(subject.request.merged.folder, numbers, k=k)
        return subject

    return change


def scored_worse(subject: Subject) -> Subject:
    worse = Scores(num=[1.0] * 180 + [0.0] * 20, den=[1.0] * 200)
    return replace(subject, scores={**subject.scores, "merged": worse})


FLAT = np.sign(BASE + B @ A) * np.float32(0.5)
PLANTED: dict[str, tuple[str, str, Callable[[Subject], Subject]]] = {
    "another base": ("lineage", "wrong_base", about("adapter", parent="x")),
    "another adapter": ("lineage", "wrong_adapter", about("merged", parent="x")),
    "another merged model": ("lineage", "wrong_merged", asking(ggufs=[artifact(Path("gguf"), "gguf", "x")])),
    "another template": ("template", "template_changed", form(template="U")),
    "another template in training": ("template", "template_changed", about("adapter", template_sha256="x")),
    "a token in pieces": ("added_tokens", "added_token_lost", form(marks={"<|end|>": [3, 4], "<|begin|>": [BEGIN]})),
    "a token of another id": ("added_tokens", "added_token_lost", form(marks={"<|end|>": [7], "<|begin|>": [BEGIN]})),
    "a token unknown": ("added_tokens", "added_token_lost", form(marks={"<|begin|>": [BEGIN]})),
    "begun twice": ("prompt_ids", "bos_doubled", form(prompt_ids=[[BEGIN, BEGIN, 5, 6]] * 4)),
    "not begun": ("prompt_ids", "bos_lost", form(prompt_ids=[[5, 6]] * 4)),
    "other ids": ("prompt_ids", "template_changed", form(prompt_ids=[[BEGIN, 5, 7]] * 4)),
    "merged into nothing": ("weights", "adapter_not_applied", merged_as(BASE)),
    "merged into another": ("weights", "wrong_base", merged_as(BASE[::-1] + B @ A)),
    "merged in part": ("weights", "module_dropped", merged_as(ROUNDED + B @ A, k=ROUNDED)),
    "merged into 4 bit": ("weights", "merged_in_4bit", merged_as(FLAT)),
    "an end that is not supervised": ("end_of_turn", "end_of_turn_masked", unsupervised),
    "an end that is not learned": ("end_of_turn", "end_of_turn_masked", adapter(end=[likely(NO)] * 4)),
    "fails to stop": ("end_of_turn", "end_of_turn_lost", form(greedy=[Greedy((YES,), "yes", False)] * 4)),
    "taught nothing": ("acts", "adapter_not_applied", adapter(first=[likely(NO)] * 4, end=[likely(NO)] * 4)),
    "served base": ("acts", "adapter_not_applied", form(first=[likely(NO)] * 4, end=[likely(NO)] * 4)),
    "other probabilities": ("distributions", "distribution_changed", form(first=[likely(YES, 0.4)] * 4)),
    "other answers": ("greedy", "answers_changed", form(greedy=[Greedy((YES, YES), "yes yes", True)] * 4)),
    "a lost fact": ("fact", "fact_lost", form(greedy=[Greedy((NO,), "no", True)] * 4)),
    "a worse score": ("score", "score_worse", scored_worse),
}  # fmt: skip


ORDER = [
    "lineage", "template", "added_tokens", "prompt_ids", "weights", "acts", "end_of_turn", "distributions",
    "greedy", "fact", "score",
]  # fmt: skip
"""A cause before what follows from it."""


def check(name: str, subject: Subject) -> FormFinding:
    (finding,) = PARITY_CHECKS.run(subject, only=[name])
    return finding


def test_a_model_that_is_the_same_everywhere_passes_every_check(tmp_path: Path) -> None:
    found = PARITY_CHECKS.run(subject_of(tmp_path, gguf=tuned("gguf", "q8_0"), served=tuned("served")))
    assert [finding.rule for finding in found] == ORDER
    assert {finding.rule: finding.message for finding in found if finding.status != "pass"} == {}


@pytest.mark.parametrize(("name", "cause", "plant"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_trips_its_check_with_its_cause(
    tmp_path: Path, name: str, cause: str, plant: Callable[[Subject], Subject]
) -> None:
    finding = check(name, plant(subject_of(tmp_path)))
    assert (finding.status, finding.code) == ("fail", cause)
    assert finding.message and finding.forms


@pytest.mark.parametrize("name", ORDER)
def test_every_cause_is_planted_once_and_documented(name: str) -> None:
    rule = PARITY_CHECKS.get(name)
    assert {cause for of, cause, _ in PLANTED.values() if of == name} == set(rule.codes)
    assert all(rule.codes.values()) and "Bad:" in rule.page


def test_what_cannot_be_looked_at_is_skipped_with_the_reason(tmp_path: Path) -> None:
    whole = subject_of(tmp_path)
    bare = replace(
        whole, forms={}, scores={}, plan=replace(whole.plan, facts=()), adapter=replace(whole.adapter, template=None)
    )
    bare = about("adapter", parent=None, template_sha256=None)(asking(merged=None)(bare))
    skipped = {found.rule for found in PARITY_CHECKS.run(bare) if found.status == "skipped" and found.message}
    assert skipped == {"lineage", "template", "weights", "fact", "score"}


def test_too_few_answers_to_show_that_a_form_is_no_worse_are_not_scored(tmp_path: Path) -> None:
    few = Scores(num=[1.0] * 51, den=[1.0] * 51)
    whole = replace(subject_of(tmp_path), scores={"adapter": few, "merged": few})
    said = check("score", whole)
    assert (
        said.status == "skipped" and "too few answers (n = 51)" in said.message and "All rows were used" in said.message
    )
    more = Scores(num=[1.0] * 52, den=[1.0] * 52)
    assert check("score", replace(whole, scores={"adapter": more, "merged": more})).status == "pass"


@pytest.mark.parametrize(
    ("lost", "gained", "status"),
    [(0, 0, "pass"), (2, 1, "skipped"), (3, 3, "pass"), (5, 5, "skipped"), (4, 0, "fail"), (9, 3, "fail")],
)
def test_a_score_is_worse_only_where_that_is_shown_or_as_large_as_the_margin(
    tmp_path: Path, lost: int, gained: int, status: str
) -> None:
    own = [1.0] * 60 + [0.0] * 40
    other = [0.0] * lost + [1.0] * (60 - lost + gained) + [0.0] * (40 - gained)
    scores = {"adapter": Scores(num=own, den=[1.0] * 100), "merged": Scores(num=other, den=[1.0] * 100)}
    whole = subject_of(tmp_path)
    said = check("score", replace(whole, scores=scores, plan=replace(whole.plan, n_left=1)))
    assert said.status == status and ("Not all rows" in said.message) is (status == "skipped")


def equal_but(tmp_path: Path, n: int, n_other: int) -> Subject:
    """Forms whose first `n_other` of `n` answers differ, with nothing that could grade them."""
    whole = subject_of(tmp_path)
    ids = [[place] for place in range(n)]
    answers = [Greedy((YES,), "yes", True)] * n
    plan = replace(whole.plan, prompt_ids=ids, n_left=1)
    merged = replace(tuned("merged"), greedy=[Greedy((NO,), "no", True)] * n_other + answers[n_other:])
    return replace(whole, plan=plan, adapter=replace(whole.adapter, greedy=answers), forms={"merged": merged},
                   scores={}, why_not_scored="a judge would have to be asked")  # fmt: skip


def test_where_nothing_can_be_graded_equal_answers_show_it_and_others_leave_it_open(tmp_path: Path) -> None:
    shown = check("score", equal_but(tmp_path, 100, 0))
    assert shown.status == "pass" and "a judge would have to be asked" in shown.message
    for few in (equal_but(tmp_path, 51, 0), equal_but(tmp_path, 100, 5)):
        said = check("score", few)
        assert (said.status, said.code) == ("skipped", "") and "Not all rows" in said.message


def test_facts_are_answers_that_the_adapter_gives_and_the_base_does_not() -> None:
    class Base:
        def greedy(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> list[Greedy]:
            return [Greedy((), "no" if ids == [3] else "yes", True) for ids in prompts]

    plan = ParityPlan(chats=[ASKED] * 4, answers=["yes"] * 4, prompt_ids=[[1], [2], [3], [3]], answer_ids=[[YES]] * 4,
                      end=END, marks={})  # fmt: skip
    own = replace(tuned("adapter"), greedy=[Greedy((), text, True) for text in ("yes", "no", " yes", "no")])
    assert facts_of(plan, own, Base()) == [2]  # type: ignore[arg-type]


def test_parity_is_unknown_unless_the_scores_were_compared(tmp_path: Path) -> None:
    whole = subject_of(tmp_path / "models")
    assert document_of(whole)["status"] == "pass"
    one = Scores(num=[1.0], den=[1.0])
    for open_one in (replace(whole, scores={"adapter": one, "merged": one}), replace(whole, scores={})):
        document = document_of(open_one)
        assert (document["status"], document["cause"]) == ("unknown", None) and "too few" in document["detail"]
    failed = document_of(about("adapter", parent="x")(replace(whole, scores={})))
    assert (failed["status"], failed["cause"]) == ("fail", "wrong_base")


def test_a_merge_is_held_against_the_base_that_it_was_merged_into(tmp_path: Path) -> None:
    seen = to_float32(from_float32(BASE * 1.01, "BF16"), "BF16").reshape(BASE.shape)
    whole = merged_as(seen + B @ A)(subject_of(tmp_path))
    assert check("weights", whole).code == "wrong_base"
    assert check("weights", replace(whole, base_folder=weights(tmp_path / "dequantised", seen))).status == "pass"


def test_a_form_that_is_stored_coarsely_has_wider_limits(tmp_path: Path) -> None:
    near = [likely(YES, 0.7)] * 4
    fine = replace(tuned("gguf", "f16"), first=near)
    whole = subject_of(tmp_path)
    assert check("distributions", replace(whole, forms={"gguf": fine})).status == "fail"
    assert check("distributions", replace(whole, forms={"gguf": replace(fine, kind="q4_k_m")})).status == "pass"


def test_a_form_stays_nearer_where_training_changed_little(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, gguf=replace(tuned("gguf", "f16"), first=[likely(YES, 0.89)] * 4))
    assert check("distributions", subject).status == "pass"
    base = replace(subject.base, first=[likely(YES, 0.88)] * 4, end=[likely(END)] * 4)
    assert check("distributions", replace(subject, base=base)).code == "distribution_changed"


def test_one_module_that_training_hardly_changed_is_missed_all_the_same(tmp_path: Path) -> None:
    subject, little = subject_of(tmp_path), B * np.float32(1e-4)  # 97% of the rounded weights stay
    names = {f"base_model.model.{name}_proj.lora_{side}.weight": part
             for name, side, part in (("q", "A", A), ("q", "B", B), ("k", "A", A), ("k", "B", little))}  # fmt: skip
    file = subject.request.adapter.folder / "adapter_model.safetensors"
    write_tensors(file, [(n, "F32", t.shape) for n, t in names.items()], lambda name: from_float32(names[name], "F32"))
    merged_as(ROUNDED + B @ A, k=ROUNDED + little @ A)(subject)
    assert check("weights", subject).status == "pass"
    merged_as(ROUNDED + B @ A, k=ROUNDED)(subject)
    found = check("weights", subject)
    assert found.code == "module_dropped" and found.numbers["as_meant"] >= EQUAL


def test_the_divergence_is_that_of_two_distributions_and_never_below_0() -> None:
    p = {1: 0.7, 2: 0.2, 3: 0.1}
    q = {1: 0.5, 2: 0.2, 3: 0.3}
    exact = sum(p[one] * log(p[one] / q[one]) for one in p)
    logs = [{one: log(value) for one, value in many.items()} for many in (p, q)]
    assert divergence(*logs) == pytest.approx(exact, abs=1e-6)
    cut = [{one: one_log for one, one_log in dist.items() if one < 3} for dist in logs]
    assert divergence(*cut) == pytest.approx(exact, abs=1e-6)
    apart = divergence({1: log(0.98)}, {2: log(0.9), 3: log(0.05)})
    assert apart > 2.5  # nothing in common is not taken for the same


# --- what is compared -----------------------------------------------------------------------------------------------

PROJECT = """
[task]
name = "t"
[examples]
path = "examples.jsonl"
[prompt]
user = "{{ input }}"
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "model"
[ladder]
baseline = "small"
"""
ROW = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


def made_in(root: Path, *kinds: Kind) -> dict[str, Artifact]:
    """Write a project with a chain of artifacts of a few bytes."""
    for name, text in (
        ("tuneworthy.toml", PROJECT), ("examples.jsonl", ROW), ("cases.jsonl", '{"input": "a", "expected": "b"}\n')
    ):  # fmt: skip
        (root / name).write_text(text)

    def fill(folder: Path) -> None:
        (folder / "file").write_text("x")

    found: dict[str, Artifact] = {}
    parent = None
    for kind in kinds:
        found[kind] = write_artifact(Folder(root), kind, fill, parent=parent, about={})
        parent = found[kind].id
    return found


def test_every_file_that_may_be_served_is_asked_and_proven_by_itself(tmp_path: Path) -> None:
    made = made_in(tmp_path, "base", "adapter", "merged")
    f16, q8 = (
        write_artifact(Folder(tmp_path), "gguf", lambda folder: (folder / "file").write_text("x") and None,
                       parent=made["merged"].id, about={"file_type": kind}) for kind in ("f16", "q8_0")
    )  # fmt: skip
    asked = request_of(load(tmp_path))
    assert {name: one.id for name, one in named_files(asked).items()} == {"gguf-f16": f16.id, "gguf-q8_0": q8.id}
    lost = replace(tuned("gguf-q8_0", "q8_0"), greedy=[Greedy((NO,), "no", True)] * 4)
    whole = subject_of(tmp_path / "models", **{"gguf-f16": tuned("gguf-f16", "f16"), "gguf-q8_0": lost})
    even = whole.scores["adapter"]
    files = [replace(one, about=replace(one.about, parent="merged")) for one in (f16, q8)]
    whole = replace(whole, scores={**whole.scores, "gguf-f16": even, "gguf-q8_0": even})
    document = document_of(asking(ggufs=files)(whole))
    assert (document["status"], document["cause"]) == ("fail", "answers_changed")
    told = {identity: one["status"] for identity, one in document["models"].items()}
    assert told == {f16.id: "pass", "merged": "pass", q8.id: "fail"}
    unasked = document_of(asking(ggufs=files[:1])(whole))
    assert q8.id not in unasked["models"]


def test_two_files_of_one_type_are_both_asked(tmp_path: Path) -> None:
    made = made_in(tmp_path, "base", "adapter", "merged")
    files = [
        write_artifact(Folder(tmp_path), "gguf", lambda folder: (folder / "file").write_text("x") and None,
                       parent=made["merged"].id, about={"file_type": "q8_0", "keys_of": name}) for name in "ab"
    ]  # fmt: skip
    found = named_files(request_of(load(tmp_path)))
    assert {name: one.id for name, one in found.items()} == {f"gguf-q8_0-{one.id[:8]}": one.id for one in files}


def rows_for(*questions: str, answer: str = "a") -> list[Example]:
    said = {"role": "assistant", "content": answer}
    return [
        Example(messages=({"role": "user", "content": text}, said), id=str(at)) for at, text in enumerate(questions)
    ]


def test_every_form_is_scored_by_the_project_s_grader_on_the_rows_that_were_asked(tmp_path: Path) -> None:
    made_in(tmp_path, "base", "adapter")
    scoring = request_of(load(tmp_path)).scoring_of(rows_for("q", "r", "r", "s", "t"))
    assert scoring.places == (0, 1, 3, 4), "each question once"
    right, wrong, cut = Greedy((1,), "a", True), Greedy((2,), "b", False), Greedy((2,), "a", False)
    adapter = replace(tuned("adapter"), greedy=[right, right, wrong, right, cut])
    gguf = replace(adapter, greedy=[right, wrong, right, right, right])
    found = scores_of(scoring, adapter, {"gguf": gguf})
    assert {name: list(one.num) for name, one in found.items()} == {"adapter": [1, 1, 1], "gguf": [1, 0, 1]}


def test_what_is_not_scored_is_told_with_its_reason(tmp_path: Path) -> None:
    made_in(tmp_path, "base", "adapter")
    for scoring, reason in (
        (Scoring(), "no grader is configured"),
        (
            request_of(load(tmp_path)).scoring_of(rows_for("q", answer=" ")),
            "none of the training rows used as prompts can be graded",
        ),
    ):
        assert scores_of(scoring, tuned("adapter"), {"gguf": tuned("gguf")}) == {}
        subject = replace(subject_of(tmp_path), scores={}, why_not_scored=scoring.why_not)
        said = check("score", subject)
        assert said.status == "skipped" and reason in said.message


def test_answers_that_never_end_are_not_scored(tmp_path: Path) -> None:
    made_in(tmp_path, "base", "adapter")
    scoring = request_of(load(tmp_path)).scoring_of(rows_for("q", "r", "s", "t"))
    endless = replace(tuned("adapter"), greedy=[Greedy((1,), "a", False)] * 4)
    assert scores_of(scoring, endless, {"gguf": endless}) == {}
    said = check("score", replace(subject_of(tmp_path), scores={}))
    assert said.status == "skipped" and "finishes none of the answers" in said.message


def test_no_form_is_asked_for_more_than_there_is_room_for(tmp_path: Path) -> None:
    class Room:
        def greedy(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> list[Greedy]:
            return [Greedy((n,), "", True) for n in most]

    plan = subject_of(tmp_path).plan
    assert [one.ids for one in plan.answered(Room(), [[1] * 10])] == [(17,)]  # type: ignore[arg-type]
    short = replace(plan, context=16).answered(Room(), [[1] * 10, [1] * 9])  # type: ignore[arg-type]
    assert [one.ids for one in short] == [(6,), (7,)]


def test_a_greedy_answer_may_be_longer_than_the_longest_that_was_trained_on(tmp_path: Path) -> None:
    plan = subject_of(tmp_path).plan
    assert replace(plan, answer_ids=[[1] * 60, [1]]).n_greedy == 76


def test_an_adapter_alone_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_in(tmp_path, "base", "adapter")
    assert invoke(["train", "--only", "parity", "--project", str(tmp_path)]) == 2
    assert "no merged or exported model to compare" in capsys.readouterr().err
    assert Folder(tmp_path).read("parity", dict) is None
