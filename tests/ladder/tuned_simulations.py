"""Scripted simulations with tuned models: artifacts whose files are a few bytes, and functions that answer for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import Project
from tuneworthy.config.models import Scripted
from tuneworthy.dataset.freeze import latest_version
from tuneworthy.ladder import own_models as tuned_module
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, write_artifact

WEAK = 'answer(request, 0.4, "w") if question(request).startswith("item") else "I do not know"'
STUDENT = "Colour?"
"""The system prompt that the tuned model was trained with: with another one it is no better than the base."""
TUNED = f'''

from math import log
from tuneworthy.types import Response


def told(request, text, share):
    """The text, and for the first token the share of the likeliest one if it is asked for."""
    top = [[text, log(share)], ["other", log(1 - share)]]
    tokens = ({{"token": text, "logprob": log(share), "top": top}},) if request.logprobs is not None else None
    return Response(text=text, logprobs=tokens)


def tuned(request):
    """Nearly always right with the prompt that it was trained with; knows as much as its base beside that."""
    if not question(request).startswith("item"):
        return "I do not know"
    return told(request, answer(request, 0.97 if system(request) == {STUDENT!r} else 0.4, "t"), 0.99)


def forgetful(request):
    """As `tuned`, but answers every question with a colour."""
    return tuned(request) if question(request).startswith("item") else "red"


def base(request):
    """The base of both."""
    if not question(request).startswith("item"):
        return "I do not know"
    return told(request, answer(request, 0.4, "w"), 0.5)
'''


def make_artifact(root: Path, kind: Kind, parent: str | None = None, **about: Any) -> Artifact:
    """Write an artifact of a few bytes."""
    name = "model.gguf" if kind == "gguf" else "model.safetensors"

    def fill(folder: Path) -> None:
        (folder / name).write_bytes(f"{kind} {about}".encode())

    return write_artifact(Folder(root), kind, fill, parent=parent, about=about)


def make_models(root: Path, *, prompt: Mapping[str, Any] | None = None, **about: Any) -> dict[str, Artifact]:
    """Write base, its GGUF file, adapter, merged model and the tuned GGUF file; return them by name."""
    base = make_artifact(root, "base", source={"spec": "pypi:small", "sha256": "0" * 64})
    exported = make_artifact(root, "gguf", base.id, file_type="q8_0")
    prompt = {"system": STUDENT, "user": "{{ input }}"} if prompt is None else prompt
    adapter = make_artifact(root, "adapter", base.id, prompt=prompt, **about)
    merged = make_artifact(root, "merged", adapter.id, dtype="bfloat16")
    gguf = make_artifact(root, "gguf", merged.id, file_type="f16")
    return {"base": base, "exported": exported, "adapter": adapter, "merged": merged, "gguf": gguf}


def write_tuned_simulation(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, answers: str = "tuned", **options: Any
) -> Path:
    """Write a world whose GGUF files answer by functions: that of a base as `base`, the others as `answers`."""
    options = {"rungs": ["classical", "baseline", "prompt", "fine_tune"]} | options
    write_simulation(root, {"weak": WEAK}, **options)
    with (root / "world.py").open("a") as file:
        file.write(TUNED)

    def config(project: Project, gguf: Artifact) -> Scripted:
        function = "base" if gguf.manifest["file_type"] == "q8_0" else answers
        return Scripted(provider="scripted", function=f"world.py:{function}")

    monkeypatch.setattr(tuned_module, "gguf_config", config)
    return root


def write_proven_model(root: Path) -> None:
    """Build the dataset, make the models, compare them on test, and write a parity proof and a serving proof."""
    assert invoke(["data", "build", "--project", str(root)]) == 0
    version = latest_version(Folder(root))
    assert version is not None
    made = make_models(root, dataset=version.id)
    assert invoke(["run", "--project", str(root)]) == 0
    ids = {name: made[name].id for name in ("adapter", "merged", "gguf")}
    checks = [{"name": "greedy", "forms": ["merged", "gguf"], "status": "pass", "detail": "64 of 64", "numbers": {}}]
    Folder(root).write("parity", {"status": "pass", **ids, "cause": "", "checks": checks})
    serving = {"status": "pass", "engine": "llama_cpp", "artifact": ids["gguf"], "detail": "answers", "checks": []}
    Folder(root).write("serving", serving)
