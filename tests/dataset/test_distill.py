"""`data distill` through the command line, with teachers that are scripted and write down what they were asked."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.taught import ask_elsewhere, question, scattered
from tests.killing import killed_at
from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.dataset.distill.teacher import terms_of
from tuneworthy.dataset.freeze import latest_version, open_version
from tuneworthy.dataset.importing import folder as import_folder
from tuneworthy.dataset.importing.folder import Import, latest_import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.messages import TEACHER_REASONS
from tuneworthy.engine.models import Models
from tuneworthy.errors import ConfigError
from tuneworthy.ladder.task_data import read_data
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store import folder as store_folder

MAIL, PHONE, CARD = "ada@example.org", "+49 30 9012 3456", "4111 1111 1111 1111"
PROJECT = """
[task]
name = "shop"
[cases]
[examples]
[prompt]
system = "Be short."
[[graders]]
type = "exact"
[models.big]
provider = "scripted"
function = "teacher.py:answer"
[ladder]
baseline = "big"
[data]
encoder = "off"
policy = { outside_labels = "report" }
"""
SCRIPT = """
import json
from pathlib import Path
from tuneworthy.types import Response

SEEN = Path(__file__).with_name("seen.jsonl")

def answer(request):
    with SEEN.open("a") as file:
        file.write(json.dumps([list(request.messages), request.payload, request.repeat]) + "\\n")
    return say(request, request.messages[-1]["content"])

"""
PLAIN = "def say(request, question):\n    return 'The answer to: ' + question"
QUESTIONS = [
    f"Where do I find the {thing} of my order?" for thing in ("bill", "number", "state", "label", "date", "sum")
]


def project(root: Path, teacher: str, say: str = PLAIN, model: str = "", data: str = "") -> Path:
    root.mkdir()
    text = PROJECT.replace("[ladder]", f"{model}\n[ladder]") + data
    (root / "tuneworthy.toml").write_text(f"{text}\n[teacher]\n{teacher}\n")
    (root / "teacher.py").write_text(SCRIPT + say + "\n")
    cases = [{"input": f"Is thing number {i} still for sale?", "expected": "yes" if i % 2 else "no"} for i in range(60)]
    write(root / "cases.jsonl", cases)
    write(root / "examples.jsonl", [pair(f"Do you like colour {i}?", "yes") for i in range(8)])
    return root


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def asked(root: Path, questions: list[Any] = QUESTIONS, name: str = "questions.jsonl") -> Path:
    return write(root / name, [one if isinstance(one, dict) else {"input": one} for one in questions])


def distil(root: Path, *arguments: object, status: int = 0) -> Import | None:
    assert invoke(["data", "distill", *map(str, arguments), "--project", str(root)]) == status
    return latest_import(Folder(root))


def made(root: Path, *arguments: object) -> Import:
    found = distil(root, *arguments)
    assert found is not None and found.record.distilled
    return found


def seen(root: Path) -> list[Any]:
    path = root / "seen.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def reasons(found: Import) -> dict[str, int]:
    return {code: reason.n for code, reason in found.record.reasons.items()}


def refused(capsys: pytest.CaptureFixture[str], root: Path, *arguments: object) -> str:
    capsys.readouterr()
    distil(root, *arguments, status=2)
    return capsys.readouterr().err


# --- rows ---------------------------------------------------------------------------------------------------------


def test_every_question_is_a_row_of_the_pinned_teacher_or_a_reject_with_its_reason(tmp_path: Path) -> None:
    teacher = 'model = "big"\nallows_training = true\nparameters = { temperature = 0.3 }'
    root = project(tmp_path / "p", teacher)
    questions = [*QUESTIONS, QUESTIONS[0].upper(), "Is thing number 7 still for sale?", "Could you tell me more?"]
    found = made(root, asked(root, questions))
    rows = list(found.examples())
    assert [row.question for row in rows] == [*QUESTIONS, "Could you tell me more?"]
    assert reasons(found) == {"exact_duplicate": 1, "overlap_exact": 1}
    assert found.record.n_read == len(rows) + len(list(found.rejects())) == 9
    first = rows[0]
    assert [message["role"] for message in first.messages] == ["system", "user", "assistant"]
    assert (first.messages[0]["content"], first.answer) == ("Be short.", f"The answer to: {QUESTIONS[0]}")
    told = first.meta["teacher"]
    assert told["model"] == "teacher.py:answer" and told["parameters"] == {"temperature": 0.3, "max_tokens": 256}
    assert told["prompt"] and told["identity"] and told["date"][:2] == "20" and told["allows_training"] is True
    assert all(row.meta["teacher"] == told for row in rows)
    assert {messages[0]["content"] for messages, _, _ in seen(root)} == {"Be short."}


def test_a_second_run_asks_nothing_and_a_smaller_limit_neither(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    first = made(root, asked(root), "--limit", 4)
    assert len(seen(root)) == 4 and reasons(first) == {"beyond_limit": 2}
    assert made(root, asked(root), "--limit", 4).id == first.id
    fewer = made(root, asked(root), "--limit", 2)
    assert {row.id for row in fewer.examples()} < {row.id for row in first.examples()}
    assert len(seen(root)) == 4
    assert len(list(made(root, asked(root)).examples())) == 6
    assert len(seen(root)) == 6


def test_a_question_that_a_shard_elsewhere_asks_is_not_asked_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    made(root, asked(root))
    ask_elsewhere(root)
    distil(root, asked(root), status=4)
    assert len(seen(root)) == 6 and "shards on other machines will give: 6" in capsys.readouterr().err


@pytest.mark.moved
def test_without_files_the_latest_import_is_asked_and_never_the_teachers_own_rows(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    assert len(list(made(root).examples())) == 8  # the examples file
    log = write(root / "log.jsonl", [pair(question, "Old answer.") for question in QUESTIONS[:3]])
    import_files(Folder(root), [log])
    first = made(root)
    assert [row.question for row in first.examples()] == QUESTIONS[:3]
    assert made(root).id == first.id
    assert len(seen(root)) == 11


def test_feedback_is_heard_before_the_teacher_is_asked(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    rows = [pair(QUESTIONS[0], "Hm.", feedback={"thumbs": "down"}), pair(QUESTIONS[1], "Hm.", escalated=True)]
    rows += [pair(QUESTIONS[2], "Hm.", feedback={"thumbs": "up"})]
    found = made(root, write(root / "log.jsonl", rows))
    assert [row.question for row in found.examples()] == [QUESTIONS[2]]
    assert reasons(found) == {"thumbs_down": 1, "escalated": 1}
    assert len(seen(root)) == 1


def test_turns_before_the_question_and_tools_are_asked_too(tmp_path: Path) -> None:
    say = """
def say(request, question):
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    return Response(text="", finish_reason="tool_calls", tool_calls=(call,)) if request.tools else "Yes."
"""
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
    root = project(tmp_path / "p", 'model = "big"\n[train]\nsystem = ""', say)
    turns = [{"role": "system", "content": "Old."}, {"role": "user", "content": "Hello there?"}]
    turns += [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And the rest of it?"}]
    rows = [{"messages": [*turns, {"role": "assistant", "content": "Old answer."}]}]
    rows += [{**pair("Find the thing for me, please?", "Old answer."), "tools": [tool]}]
    found = made(root, write(root / "log.jsonl", rows))
    one, other = found.examples()
    assert [m["content"] for m in one.messages] == ["Hello there?", "Hi.", "And the rest of it?", "Yes."]
    assert other.messages[-1]["tool_calls"][0]["function"]["name"] == "find" and other.meta["tools"] == [tool]
    systems = {messages[0]["content"] for messages, _, _ in seen(root)}
    assert systems == {"Be short."}


def test_questions_with_variables_fill_the_templates(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    text = (root / "tuneworthy.toml").read_text()
    (root / "tuneworthy.toml").write_text(text.replace("[prompt]", '[prompt]\nuser = "{{ name }} in {{ extra }}"'))
    rows = [{"input": {"name": f"Town {i}", "extra": f"land {i}, {MAIL}"}} for i in range(2)]
    found = made(root, asked(root, rows))
    assert [row.question for row in found.examples()] == [f"Town {i} in land {i}, [EMAIL_1]" for i in range(2)]
    assert sorted(m[-1]["content"] for m, _, _ in seen(root)) == [f"Town {i} in land {i}, [EMAIL_1]" for i in (0, 1)]
    assert MAIL not in (root / "seen.jsonl").read_text()


# --- personal data ------------------------------------------------------------------------------------------------

PERSONAL = [f"I am {MAIL}, where is my parcel?", f"Call {PHONE} when it is there?", f"Was {CARD} charged for it?"]


def test_personal_data_never_reaches_the_teacher_nor_the_student(tmp_path: Path) -> None:
    say = "def say(request, question):\n    return 'I wrote to ' + question.split()[2]"
    root = project(tmp_path / "p", 'model = "big"', say)
    found = made(root, asked(root, [*PERSONAL, *QUESTIONS]))
    sent = (root / "seen.jsonl").read_text()
    rows = (found.folder / "rows.jsonl").read_text()
    for value in (MAIL, PHONE, CARD):
        assert value not in sent and value not in rows
    first = next(iter(found.examples()))
    assert (first.question, first.answer) == ("I am [EMAIL_1], where is my parcel?", "I wrote to [EMAIL_1],")
    assert len(seen(root)) == 9


def test_personal_data_is_sent_or_its_questions_dropped_if_the_project_says_so(tmp_path: Path) -> None:
    sent = project(tmp_path / "sent", 'model = "big"\npersonal_data = "send"')
    made(sent, asked(sent, [*PERSONAL, *QUESTIONS]))
    assert all(value in (sent / "seen.jsonl").read_text() for value in (MAIL, PHONE, CARD))
    dropped = project(tmp_path / "dropped", 'model = "big"\npersonal_data = "drop"')
    found = made(dropped, asked(dropped, [*PERSONAL, *QUESTIONS]))
    assert reasons(found) == {"personal_data": 3}
    assert len(seen(dropped)) == 6


# --- terms --------------------------------------------------------------------------------------------------------

HOSTED = '[models.far]\nprovider = "openai"\nmodel = "gpt-x"\nbase_url = "https://far.example/v1"\napi_key_env = "K"\n'
HOSTED += "input_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n"
PIPE = '[models.far]\nprovider = "python"\nfunction = "teacher.py:answer"\n'


@pytest.mark.parametrize("model", [HOSTED, PIPE])
def test_terms_that_nobody_answered_stop_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    root = project(tmp_path / "p", 'model = "far"', model=model)
    line = refused(capsys, root, asked(root))
    assert "models.far may be a third-party model, and teacher.allows_training is not set" in line
    assert "true or false" in line
    assert seen(root) == []


def test_terms_that_forbid_training_refuse_any_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p", 'model = "big"\nallows_training = false')
    assert "terms of use of models.big forbid training" in refused(capsys, root, asked(root))
    assert seen(root) == []


def test_the_answer_on_terms_stands_in_the_recipe_of_the_version(tmp_path: Path) -> None:
    for name, line, status in (
        ("yes", 'allows_training = true\nterms = "contract of May"', "pass"),
        ("open", "", "unknown"),
    ):
        root = project(tmp_path / name, f'model = "big"\n{line}')
        made(root, asked(root))
        assert invoke(["data", "build", "--project", str(root)]) == 0
        version = open_version(Folder(root))
        (teacher,) = version.recipe.teachers
        assert teacher.n_rows == 6 and teacher.first == teacher.last != ""
        assert terms_of(version.recipe.teachers)[0] == status
        assert invoke(["report", "data", "--out", str(root / "card.md"), "--project", str(root)]) == 0
        page = (root / "card.md").read_text().replace("\\", "")
        assert f"Teachers' terms of use ({status})" in page and "teacher.py:answer" in page


# --- answers that are no good -------------------------------------------------------------------------------------

ENDINGS = {
    "bill": ("length", "truncated"),
    "number": ("content_filter", "content_filter"),
    "state": ("refusal", "teacher_refused"),
    "label": ("error", "unnatural_end"),
}


def test_answers_that_did_not_end_by_themselves_leave_with_the_reason(tmp_path: Path) -> None:
    say = f"""
ENDINGS = { {word: ending for word, (ending, _) in ENDINGS.items()}!r}
def say(request, question):
    ending = next((e for word, e in ENDINGS.items() if word in question), "stop")
    if "sum" in question:
        raise ValueError("no sum")
    return Response(text="It is", finish_reason=ending)
"""
    root = project(tmp_path / "p", 'model = "big"', say)
    found = made(root, asked(root))
    assert [row.question for row in found.examples()] == [QUESTIONS[4]]
    left = {line.source: line.reason for line in found.rejects()}
    expected = [*(reason for _, reason in ENDINGS.values()), "teacher_error"]
    assert list(dict(sorted(left.items())).values()) == expected
    assert set(expected) <= set(TEACHER_REASONS)
    assert found.record.distilled is not None and found.record.distilled.endings["truncated"] == 1


def test_the_grader_chooses_among_samples_where_a_right_answer_is_known(tmp_path: Path) -> None:
    say = "def say(request, question):\n    return 'yes' if request.repeat == 2 and 'sum' not in question else 'maybe'"
    teacher = 'model = "big"\nsamples = 3\nreferences = "all"\nparameters = { temperature = 0.8 }'
    root = project(tmp_path / "p", teacher, say)
    found = made(root, write(root / "labelled.jsonl", [pair(question, "yes") for question in QUESTIONS]))
    assert {row.answer for row in found.examples()} == {"yes"}
    assert {row.meta["teacher"]["samples"]["chosen_by"] for row in found.examples()} == {"grader"}
    assert reasons(found) == {"wrong": 1}
    assert found.record.distilled is not None and found.record.distilled.agreement is not None
    assert (found.record.distilled.agreement.score, found.record.distilled.agreement.n) == (
        0.0,
        6,
    )
    assert len(seen(root)) == 18


def test_a_correction_is_a_right_answer_and_what_the_old_model_said_is_none(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"', "def say(request, question):\n    return 'In the app.'")
    rows = [pair(QUESTIONS[0], "old", correction="In the app."), pair(QUESTIONS[1], "old", correction="Nowhere.")]
    rows.append(pair(QUESTIONS[2], "old"))
    found = made(root, write(root / "log.jsonl", rows))
    assert [row.question for row in found.examples()] == [QUESTIONS[0], QUESTIONS[2]]
    assert reasons(found) == {"wrong": 1}


def test_samples_that_disagree_leave_and_the_majority_is_kept_with_its_share(tmp_path: Path) -> None:
    say = (
        "def say(request, question):\n    return str(request.repeat % 3 if 'sum' in question else request.repeat // 3)"
    )
    teacher = 'model = "big"\nsamples = 4\nself_consistency = 0.7\nparameters = { temperature = 0.8 }'
    root = project(tmp_path / "p", teacher, say)
    found = made(root, asked(root))
    assert {row.answer for row in found.examples()} == {"0"}
    assert {row.meta["teacher"]["samples"]["share"] for row in found.examples()} == {0.75}
    (left,) = found.rejects()
    assert (left.reason, left.detail) == ("disagreement", "the most frequent answer occurs in 2 of 4 samples")


def test_samples_without_anything_to_choose_by_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p", 'model = "big"\nsamples = 3\nparameters = { temperature = 0.8 }')
    assert "generates 3 samples" in refused(capsys, root, asked(root))
    assert seen(root) == []


def test_if_no_answer_is_good_enough_the_reasons_are_kept_and_nothing_is_built_from_it(tmp_path: Path) -> None:
    root = project(
        tmp_path / "p",
        'model = "big"',
        "def say(request, question):\n    return Response(text='x', finish_reason='length')",
    )
    assert distil(root, asked(root), status=2) is None
    (path,) = [p for p in (root / ".tuneworthy/imports").glob("*/rejects.jsonl") if "truncated" in p.read_text()]
    assert len(path.read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("allows_training = true", "[teacher] needs either model or variant"),
        ('model = "big"\nvariant = "best"', "[teacher] sets both model and variant"),
        ('model = "huge"', "teacher.model is 'huge', but [models] has no such model. Defined models: big"),
        ('model = "big"\nself_consistency = 0.6', "self_consistency needs at least 3"),
    ],
)
def test_a_section_that_cannot_be_meant_is_a_fault(tmp_path: Path, teacher: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(project(tmp_path / "p", teacher))
    assert words in str(error.value)


def test_samples_at_temperature_0_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p", 'model = "big"\nsamples = 3\nparameters = { temperature = 0.0 }')
    assert "At temperature 0, all 3 samples" in refused(capsys, root, asked(root))


# --- one teacher --------------------------------------------------------------------------------------------------


def test_bare_questions_of_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    for month, part in (("jan", QUESTIONS[:3]), ("feb", QUESTIONS[3:])):
        (root / month).mkdir()
        asked(root, part, f"{month}/logs.jsonl")
    found = made(root, root / "jan/logs.jsonl", root / "feb/logs.jsonl")
    told = [(one.name, one.n_kept) for one in found.record.sources]
    assert told == [("jan/logs.jsonl", 3), ("feb/logs.jsonl", 3)]


def test_rows_of_two_teachers_are_imported_together_and_need_a_project_that_asks_for_a_mix(tmp_path: Path) -> None:
    root = project(tmp_path / "p", 'model = "big"')
    first = made(root, asked(root, QUESTIONS[:3], "one.jsonl"))
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace('model = "big"', 'model = "big"\nparameters = { temperature = 0.5 }'))
    second = made(root, asked(root, QUESTIONS[3:], "two.jsonl"))
    files = [str(one.folder / "rows.jsonl") for one in (first, second)]
    assert invoke(["data", "build", *files, "--project", str(root)]) == 3
    config.write_text(config.read_text().replace("[data]", "[data]\nteacher_mix = true"))
    assert invoke(["data", "build", "--project", str(root)]) == 0
    version = latest_version(Folder(root))
    assert version is not None and len({str(row.meta["teacher"]["parameters"]) for row in version.examples()}) == 2


def test_a_model_that_changes_behind_its_address_is_another_teacher(tmp_path: Path) -> None:
    say = "def say(request, asked):\n    return Response(text=asked[::-1], model='v2' if 'sum' in asked else 'v1')"
    root = project(tmp_path / "p", 'model = "big"', say)
    found = made(root, asked(root))
    (note,) = found.record.notes
    assert "The answers come from 2 teachers" in note and "served as v2" in note
    assert invoke(["data", "build", "--project", str(root)]) == 3
    assert invoke(["data", "build", "--unsafe", "--project", str(root)]) == 0
    assert [one.served for one in open_version(Folder(root)).recipe.teachers] == ["v1", "v2"]


# --- prompt distillation ------------------------------------------------------------------------------------------

TAUGHT = '\n[teacher]\nvariant = "best"\nallows_training = true\n[data]\nencoder = "off"\n'


def world(root: Path, extra: str = TAUGHT) -> Path:
    """A world in which the model is right only where it sees shots."""
    models = {"weak": "answer(request, 0.97 if has_shots(request) else 0.3)"}
    return write_simulation(root, models, n_cases=60, n_examples=230, rungs=["baseline", "few_shot"], extra=extra)


@pytest.mark.moved
def test_the_best_variant_teaches_and_the_student_sees_the_bare_question(tmp_path: Path) -> None:
    root = world(tmp_path / "w")
    assert invoke(["run", "--project", str(root)]) == 0
    questions = [{"input": f"item {i} thing {i * 7919 % 104729} n{i}"} for i in range(50_000, 50_040)]
    found = made(root, write(root / "q.jsonl", questions))
    rows = list(found.examples())
    assert {tuple(message["role"] for message in row.messages) for row in rows} == {("system", "user", "assistant")}
    assert {row.meta["teacher"]["variant"].split("/")[0] for row in rows} == {"few_shot"}
    right = sum(row.answer == ("red", "green", "blue")[int(row.question.split()[1]) % 3] for row in rows)
    assert right / len(rows) > 0.85
    assert found.record.distilled is not None


def test_a_question_is_never_shown_its_own_answer_and_shots_are_masked(tmp_path: Path) -> None:
    root = world(tmp_path / "w")
    assert invoke(["run", "--project", str(root)]) == 0
    code = (root / "world.py").read_text()
    record = "import json\nfrom pathlib import Path\n\n\ndef weak(request):\n"
    record += "    with Path(__file__).with_name('seen.jsonl').open('a') as file:\n"
    record += "        file.write(json.dumps([list(request.messages), None, 0]) + '\\n')\n    return old(request)\n"
    exported = tmp_path / "best"
    assert invoke(["export", "variant", "best", "--out", str(exported), "--project", str(root)]) == 0
    variant = json.loads((exported / "variant.json").read_text())
    (root / "world.py").write_text(code.replace("def weak(", "def old(") + record)
    lines = [json.loads(line) for line in (root / "examples.jsonl").read_text().splitlines()]
    for line in lines:
        line["messages"][1]["content"] += f", says {MAIL}"
    write(root / "examples.jsonl", lines)
    variant["model_identity"] = dict(Models(load(root))["weak"].provider.identity)
    variant |= {"shots": {"mode": "per_case", "k": 4, "pool_hash": pool_hash(root), "ids": []}}
    (root / "variant.json").write_text(json.dumps({k: v for k, v in variant.items() if k != "id"}))
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace('"best"', f'"{root / "variant.json"}"'))
    made(root)  # the examples themselves are asked
    asked_of = [messages for messages, _, _ in seen(root)]
    assert len(asked_of) > 100
    for messages in asked_of:
        *shots, question = [m["content"] for m in messages if m["role"] == "user"]
        assert question not in shots and len(shots) == 4
    assert MAIL not in (root / "seen.jsonl").read_text()
    assert any("[EMAIL_1]" in m["content"] for messages in asked_of for m in messages if m["role"] == "assistant")


def pool_hash(root: Path) -> str:
    """Return the hash of the pool that the project has now."""
    return ShotPool(read_data(load(root)).split.shots).hash


def test_a_classical_baseline_does_not_teach_and_without_a_run_there_is_no_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = world(tmp_path / "w", TAUGHT.replace('"best"', '"classical"'))
    question = asked(root, ["item 9 thing 9?"])
    assert "There is no run yet." in refused(capsys, root, question)
    config = root / "tuneworthy.toml"
    config.write_text(
        config.read_text().replace("rungs = ['baseline', 'few_shot']", 'rungs = ["classical", "baseline"]')
    )
    assert invoke(["run", "--project", str(root)]) == 0
    assert "The classical baseline cannot be the teacher" in refused(capsys, root, question)


# --- money --------------------------------------------------------------------------------------------------------

PAID = "input_usd_per_mtok = 1000.0\noutput_usd_per_mtok = 1000.0\n"


def test_money_is_agreed_on_before_and_a_budget_ends_the_run_with_all_answers_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say = "def say(request, question):\n    return Response(text='ok', input_tokens=20, output_tokens=10)"
    root = project(tmp_path / "p", 'model = "big"', say, model=PAID)
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace("[prompt]", "[prompt]\nmax_tokens = 20"))
    many = [f"{question} Part {i}" for i, question in enumerate(QUESTIONS)]
    assert "No budget is set, but these services are billed: big." in refused(capsys, root, asked(root, many))
    assert seen(root) == []
    distil(root, asked(root, many), "--max-usd", "0.38", status=4)
    n = len(seen(root))
    assert 0 < n < 6
    store = ResponseStore(Folder(root).responses)
    assert store.spending().usd == pytest.approx(0.03 * n)
    store.close()
    found = made(root, asked(root, many), "--yes")
    assert len(seen(root)) == 6
    assert found.record.distilled is not None and found.record.distilled.cost_usd == pytest.approx(0.18)


# --- killed -------------------------------------------------------------------------------------------------------

STEPS = [
    *((store_folder, name) for name in ("_write", "write_atomic", "sync")),
    *((ResponseStore, name) for name in ("get_many", "put", "dates")),
    (import_folder, "write_atomic"),
    (os, "fsync"),
    (shutil, "rmtree"),
    (Path, "rename"),
]
N_STEPS = 50
"""Fewer than it takes: each moment below is one of it."""


@pytest.mark.slow
def test_killed_at_any_of_20_moments_it_ends_the_same_and_no_stored_answer_is_asked_again(tmp_path: Path) -> None:
    questions = [*map(question, scattered(0, 18))]
    whole = project(tmp_path / "whole", 'model = "big"')
    wanted = made(whole, asked(whole, questions))
    assert wanted.record.distilled is not None
    n_asked = wanted.record.distilled.n_asked
    assert n_asked > 12
    n_kills = 0
    for number, moment in enumerate([*sorted(random.Random(4).sample(range(1, N_STEPS), 20)), 10**9]):
        root = project(tmp_path / f"killed{number}", 'model = "big"')
        path = asked(root, questions)
        n_kills += killed_at(moment, STEPS, lambda root=root, path=path: distil(root, path))  # type: ignore[misc]
        before, stored = len(seen(root)), n_stored(root)
        again = made(root, path)
        assert (again.folder / "rows.jsonl").read_text() == (wanted.folder / "rows.jsonl").read_text()
        assert len(seen(root)) == before + n_asked - stored
        assert not list(again.folder.parent.glob(".*.part"))
    assert n_kills == 20


def n_stored(root: Path) -> int:
    """Return how many answers are committed."""
    store = ResponseStore(Folder(root).responses)
    try:
        return len(store)
    finally:
        store.close()
