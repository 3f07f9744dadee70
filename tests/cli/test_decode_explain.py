"""`tuneworthy decode explain --prompt`: one call, stored, within the budget, and what came of it in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_verbs import PAID, refused, told, write
from tuneworthy.cli import invoke
from tuneworthy.store import Folder, ResponseStore

ANSWERS = """
from pathlib import Path

from tuneworthy.errors import ProviderError
from tuneworthy.types import Response


def weak(request):
    with (Path(__file__).parent / "asked").open("a") as file:
        file.write("x")
    text = request.messages[-1]["content"]
    if text == "refuse":
        raise ProviderError("no such thing", code="bad_request", retryable=False)
    top = [["Paris", -0.1], ["Lyon", -3.0]] if request.logprobs == 20 and text != "silent" else []
    return Response(text="Paris", logprobs=({"token": "Paris", "logprob": -0.1, "top": top},))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = write(tmp_path / "world", {"weak": "1"})
    (found / "world.py").write_text(ANSWERS)
    return found


def n_asked(root: Path) -> int:
    asked = root / "asked"
    return len(asked.read_text()) if asked.exists() else 0


def test_the_one_call_is_stored_and_never_asked_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["decode", "explain", "--project", root, "--prompt", "The capital of France is {{ brace }}"]
    first = told(capsys, *words, "temperature=0.7")
    assert first["tokens"][:2] == ["Paris", "Lyon"] and n_asked(root) == 1
    again = told(capsys, *words, "temperature=1.2")
    assert again["tokens"] == first["tokens"] and n_asked(root) == 1
    told(capsys, *words[:-1], "Another", "temperature=0.7")
    assert n_asked(root) == 2


def test_an_answer_that_cannot_be_explained_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["decode", "explain", "--project", root, "--prompt"]
    assert "weak returns no log-probabilities." in refused(capsys, *words, "silent", status=4)
    assert "weak did not answer: no such thing" in refused(capsys, *words, "refuse", status=4)


def test_its_call_counts_against_the_budget(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "tuneworthy.toml"
    paid = file.read_text().replace("[models.weak]\n", f"[models.weak]\n{PAID}")
    file.write_text(paid.replace("[ladder]\n", "[ladder]\nbudget_usd = 0.000001\n"))
    assert invoke(["decode", "explain", "--project", str(root), "--prompt", "x"]) == 4
    assert n_asked(root) == 0
    file.write_text(paid.replace("[ladder]\n", "[ladder]\nbudget_usd = 5\n"))
    capsys.readouterr()
    assert invoke(["decode", "explain", "--project", str(root), "--prompt", "x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"][0] == "Paris"
    store = ResponseStore(Folder(root).responses)
    assert store.spending().usd > 0
    store.close()
