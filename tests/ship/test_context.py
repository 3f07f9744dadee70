"""One context length for every engine, from what the run recorded; its rows are asked with their tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.ship.merge import context_of
from tuneworthy.ship.served import SLOTS, choose
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, write_artifact


def chain(root: Path, *, most: int = 32_768, **about: Any) -> dict[str, Artifact]:
    """Write base, adapter, merged model and GGUF file of a few bytes."""
    found: dict[str, Artifact] = {}
    parent = None
    kinds: tuple[Kind, ...] = ("base", "adapter", "merged", "gguf")
    for kind in kinds:

        def fill(folder: Path, kind: Kind = kind) -> None:
            name = "config.json" if kind in {"base", "merged"} else "model.gguf"
            (folder / name).write_text(json.dumps({"max_position_embeddings": most}))

        found[kind] = write_artifact(
            Folder(root), kind, fill, parent=parent, about=about if kind == "adapter" else {"of": most}
        )
        parent = found[kind].id
    return found


@pytest.mark.parametrize(
    ("settings", "most", "expected"),
    [
        ({"max_length": 6000}, 32_768, 7168),  # 6000 and an answer of 200, rounded up
        ({"max_length": 600}, 32_768, 4096),
        ({"max_length": 6000}, 2048, 2048),
        ({}, 32_768, 4096),
    ],
)
def test_every_engine_has_room_for_the_rows_of_the_run(
    tmp_path: Path, settings: dict[str, Any], most: int, expected: int
) -> None:
    made = chain(tmp_path, most=most, settings=settings, prompt={"max_tokens": 200})
    store = Folder(tmp_path)
    assert {context_of(store, made[kind]) for kind in ("adapter", "merged", "gguf")} == {expected}
    file, merged = choose(store, "gguf", port=8000), choose(store, "merged", port=8000)
    assert file.context == merged.context == expected
    assert f"-c {SLOTS * expected}" in file.line and f"--max-model-len {expected}" in merged.line


TOOLS = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
WITH_TOOLS = "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}"


def test_only_rows_that_the_run_could_train_on_are_asked_and_with_their_tools(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
    import tiny_circle as tiny
    from tiny_models import TEMPLATE

    from tuneworthy.ship.parity.request import ParityRequest, plan_of
    from tuneworthy.types import Example

    store = Folder(tmp_path)
    store.create()
    base = tiny.make_base(store, template=WITH_TOOLS + TEMPLATE)
    adapter = write_artifact(store, "adapter", lambda folder: (folder / "x").write_text("") and None,
                             parent=base.id, about={"settings": {"max_length": 40}})  # fmt: skip
    short, long = tiny.example("Who owns the cat?", "Quibbly"), tiny.example("what is the name of " * 30, "Oslo")
    tooled = Example(messages=tiny.example("now?", "1234").messages, id="t", meta={"tools": TOOLS})
    cut = Example(messages=short.messages[:1], id="no answer")
    plan = plan_of(ParityRequest(base=base, adapter=adapter, rows=[short, long, tooled, cut]))
    assert {row.id for row in plan.rows} == {short.id, "t"}
    place = [row.id for row in plan.rows].index("t")
    assert plan.chats[place].tools == tuple(TOOLS) and plan.answers[place] == "1234"
    from tuneworthy.ship.parity.transformers_form import renderer_of

    tokens = renderer_of(base.folder)
    assert tokens.text(plan.prompt_ids[place]).startswith("clock")
    assert tokens.prompts(plan.chats) == plan.prompt_ids
    assert tokens.text(plan.answer_ids[place]) == "1234"
    assert plan.end == tokens.tokenizer.get_added_vocab()["<|end|>"]


def test_every_server_is_given_the_tools_of_a_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.ship.parity.server_forms import LlamaForm, VllmForm
    from tuneworthy.train.render import RowChat

    sent: list[dict[str, Any]] = []

    def post(self: Any, path: str, body: dict[str, Any]) -> Any:
        sent.append(body)
        return {"prompt": "", "tokens": [1], "usage": {"prompt_tokens": 1}}

    chats = [RowChat("", ({"role": "user", "content": "now?"},), tuple(TOOLS))]
    for form in (LlamaForm, VllmForm):
        monkeypatch.setattr(form, "_post", post)
        assert object.__new__(form).prompt_ids(chats) == [[1]]
    asked = [body for body in sent if "messages" in body]
    assert len(asked) == 3 and all(body["tools"] == TOOLS for body in asked)
