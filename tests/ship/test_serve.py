"""`serve`: the command of each artifact, and the proof that a server answers as the adapter does."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tuneworthy.cli import serve
from tuneworthy.errors import UserError
from tuneworthy.ship.parity.request import ParityRequest
from tuneworthy.ship.parity.run import serving_proof
from tuneworthy.ship.served import rank_limit
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, Kind, write_artifact


def artifact(root: Path, kind: Kind, parent: str | None = None) -> Artifact:
    def fill(folder: Path) -> None:
        (folder / "file").write_text("x")

    return write_artifact(Folder(root), kind, fill, parent=parent, about={})


def proof(root: Path, merged: bool, **document: Any) -> tuple[dict[str, Any], str, str]:
    """The proof of a compared server, and the ids of the adapter and of the merged model."""
    base = artifact(root, "base")
    adapter = artifact(root, "adapter", base.id)
    whole = artifact(root, "merged", adapter.id)
    request = ParityRequest(adapter=adapter, base=base, merged=whole if merged else None)
    made = serving_proof(request, {"status": "pass", "detail": "", "checks": [], **document})
    return made, adapter.id, whole.id


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.moved
def test_the_proof_names_the_model_that_is_served(tmp_path: Path, merged: bool) -> None:
    made, adapter, whole = proof(tmp_path, merged)
    assert made["status"] == "pass"
    assert made["artifact"] == (whole if merged else adapter)


def test_a_server_with_other_answers_fails_with_the_cause(tmp_path: Path) -> None:
    check = {"name": "acts", "status": "fail", "detail": "The server runs the base model."}
    made, _, _ = proof(tmp_path, True, status="fail", checks=[check])
    assert (made["status"], made["detail"]) == ("fail", "Parity failed. The server runs the base model.")


def test_too_few_answers_prove_nothing(tmp_path: Path) -> None:
    made, _, _ = proof(tmp_path, True, status="unknown", detail="too few")
    assert (made["status"], made["detail"]) == ("unknown", "too few")


@pytest.mark.parametrize(("rank", "limit"), [(1, 1), (2, 8), (16, 16), (17, 32), (512, 512)])
def test_the_rank_limit_is_the_smallest_that_fits(rank: int, limit: int) -> None:
    assert rank_limit(rank) == limit


def test_a_rank_above_all_limits_is_refused() -> None:
    with pytest.raises(UserError, match="513"):
        rank_limit(513)


def test_the_command_for_vllm_comes_with_a_script_that_quantises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuneworthy.toml").write_text(
        '[task]\nname = "t"\n[[graders]]\ntype = "exact"\n[models.a]\nprovider = "openai"\nmodel = "m"\n'
        '[ladder]\nbaseline = "a"\n'
    )
    merged = SimpleNamespace(
        artifact=SimpleNamespace(kind="merged", folder=tmp_path / "merged model"), line="vllm serve"
    )
    versions = [SimpleNamespace(folder=tmp_path / "datasets" / "d"), None]
    monkeypatch.setattr(serve, "choose", lambda *_, **__: merged)
    monkeypatch.setattr(serve, "latest_version", lambda _: versions.pop(0))
    script = tmp_path / ".tuneworthy" / "vllm_quantise.py"
    for written in (True, False):  # without training rows there is nothing to calibrate on
        run = CliRunner().invoke(serve.command, ["--what", "merged", "--project", str(tmp_path)])
        assert run.exit_code == 0 and script.exists() is written
        assert (shlex.join(["python", str(script), str(tmp_path / "merged model")]) in run.output) is written
        if written:
            recipes = next(
                node.value
                for node in ast.walk(ast.parse(script.read_text()))
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECIPES"
            )
            assert [ast.literal_eval(key) for key in recipes.keys] == ["FP8", "W8A8", "W4A16"]  # type: ignore[attr-defined]
            script.unlink()
