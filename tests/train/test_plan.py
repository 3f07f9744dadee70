"""`plan` measures the rows that `train` trains on, and what it writes for other trainers trains on the same."""

from __future__ import annotations

from pathlib import Path

import pytest

for name in ("torch", "transformers"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows import TOML, frozen, project  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.errors import ModelError  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.train.plan import plan_project  # noqa: E402
from tuneworthy.train.run import prepare  # noqa: E402


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    """A project with a version of 210 rows, whose base is a tiny random model."""
    made = project(tmp_path)
    write_tiny(tmp_path / "tiny", dtype="bfloat16")
    configure(tmp_path)
    frozen(made, 210)
    return made


def configure(root: Path, settings: str = "", toml: str = TOML) -> None:
    (root / "tuneworthy.toml").write_text(f'{toml}[train]\nbase = "tiny"\nbatch_size = 8\n{settings}')


@pytest.mark.parametrize("settings", ["", "max_length = 100\n"])
def test_a_plan_is_of_the_rows_that_train_renders(store: Folder, settings: str) -> None:
    configure(store.root, settings)
    planned = plan_project(load(store.root))
    prepared = prepare(load(store.root), store, unsafe=False, say=lambda _: None)
    assert planned.rendered is not None and planned.rows.counted
    assert planned.rendered.rows == prepared.rendered.rows
    assert planned.rows.longest == prepared.rendered.longest
    assert planned.left_out == prepared.rendered.reasons
    assert planned.advice.settings.max_length == prepared.settings.max_length
    assert bool(planned.left_out) == bool(settings)


def test_a_longer_prompt_makes_the_rows_of_a_plan_longer(store: Folder) -> None:
    def longest() -> int:
        return plan_project(load(store.root)).rows.longest

    prompt = 'system = "Name the colour of {{ input }}."'
    counted = longest()
    configure(store.root, toml=TOML.replace(prompt, prompt[:-1] + 60 * "x" + '"'))
    assert longest() == counted + 60
    (store.root / "tiny" / "tokenizer.json").unlink()
    estimated = longest()
    configure(store.root)
    assert longest() == estimated - 20


def test_a_base_that_would_run_code_is_refused_before_its_tokenizer_is_loaded(store: Folder) -> None:
    path = store.root / "tiny" / "tokenizer_config.json"
    path.write_text(path.read_text().replace("{", '{"auto_map": {"AutoTokenizer": "x.py"},', 1))
    with pytest.raises(ModelError, match="auto_map"):
        plan_project(load(store.root))
