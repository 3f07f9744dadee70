"""The client of a variant with retrieval sends what was measured: passages first, then the question."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.test_retrieval_rung import WORDS, needs_lancedb, write_facts
from tests.ladder.test_variants import SERVED, asking, within
from tuneworthy.errors import UserError
from tuneworthy.exports.variant import export_variant
from tuneworthy.ladder.project_search import ProjectSearch
from tuneworthy.ladder.rungs.retrieval import forms_of
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.templates import chat
from tuneworthy.types import Case

FREE = "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n"


def client_of(folder: Path, answer: str, sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the exported client, with a package `openai` that notes what is sent and gives `answer`."""

    def create(**body: Any) -> Any:
        sent.append(body)
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=answer))])

    completions = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    monkeypatch.setitem(sys.modules, "openai", SimpleNamespace(OpenAI=lambda **_: completions))
    return runpy.run_path(str(folder / "client.py"))


@needs_lancedb
@pytest.mark.parametrize(("cite", "whole"), [(False, False), (True, False), (True, True)])
def test_the_exported_client_shows_the_passages_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cite: bool, whole: bool
) -> None:
    extra = WORDS + SERVED + FREE
    root = write_facts(tmp_path / "world", "'x'", extra=extra.replace("[64]", f"[64]\ncite = {str(cite).lower()}"))
    cases = [Case(id=f"c{i}", input=f"item {i} thing") for i in (3, 44)]

    async def act(session: Session) -> list[Any]:
        assert session.library is not None
        retrieval = replace(forms_of(session.library)[0].retrieval, k=3)
        if whole:
            retrieval = session.library.everything()
        variant = replace(asking(session, "served"), name="retrieval/words-3", retrieval=retrieval)
        export_variant(session, variant, tmp_path / "out")
        passages = await session.library.passages(retrieval, cases)
        return [[dict(turn) for turn in chat(variant, case, (), passages[case.id])] for case in cases]

    measured = within(root, act)
    sent: list[Any] = []
    client = client_of(tmp_path / "out", "blue [d3]", sent, monkeypatch)
    assert [client["ask"](case.input) for case in cases] == ["blue" if cite else "blue [d3]"] * 2
    assert [body["messages"] for body in sent] == measured
    shown = measured[0][0 if whole else -1]["content"]
    assert "</documents>" in shown and "fact 3 of item 3" in shown
    (root / "facts.jsonl").write_text('{"id": "d1", "text": "another document"}\n')
    with pytest.raises(UserError, match="changed"):
        client_of(tmp_path / "out", "blue", sent, monkeypatch)["ask"]("item 3")


def test_a_project_without_documents_cannot_be_searched(tmp_path: Path) -> None:
    root = write_facts(tmp_path, "'x'")
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace('[documents]\npath = "facts.jsonl"', ""))
    with pytest.raises(UserError, match="has no documents"):
        ProjectSearch(root, {"documents": "x"})
