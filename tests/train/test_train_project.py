"""`train` from a project to an adapter, with a tiny random model: what is stored, and that it is not run twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

for name in ("torch", "transformers", "peft", "trl", "datasets"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.train.test_rows import TOML, frozen, gathered, project, write_documents  # noqa: E402
from tests.train.tiny import write_tiny  # noqa: E402
from tuneworthy.cases import read_dataset  # noqa: E402
from tuneworthy.cases.task_kind import Kind  # noqa: E402
from tuneworthy.cli import invoke as command  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.dataset.freeze import find_version  # noqa: E402
from tuneworthy.errors import UserError  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.store.artifacts import artifacts, open_artifact  # noqa: E402
from tuneworthy.store.shapes import shaped  # noqa: E402
from tuneworthy.train import trainer  # noqa: E402
from tuneworthy.train.checkpoints import newest  # noqa: E402
from tuneworthy.train.pilot import MAX_BLOCKS, continued_result, raw_rows  # noqa: E402
from tuneworthy.train.render import Rendered, TokenRow  # noqa: E402
from tuneworthy.train.run import measure_text, prepare, settings_for, train_phases, train_project  # noqa: E402
from tuneworthy.train.settings import TrainingSettings  # noqa: E402
from tuneworthy.train.trainer import (  # noqa: E402
    DivergedError,
    Ran,
    train_rows,
)
from tuneworthy.train.training_rows import raw_text  # noqa: E402
from tuneworthy.types import Case  # noqa: E402
from tuneworthy.verdict.gather_training import pilot_scores  # noqa: E402


def tiny_project(root: Path, extra: str = "", n: int = 210) -> Folder:
    """A project whose base is a tiny random model."""
    store = project(root)
    write_tiny(root / "tiny", dtype="bfloat16")
    settings = f'[train]\nbase = "tiny"\nrank = 2\nbatch_size = 8\nepochs = 1\n{extra}'
    (root / "tuneworthy.toml").write_text(f"{TOML}{settings}")
    if n:
        frozen(store, n)
    return store


@pytest.mark.slow
def test_a_project_becomes_an_adapter_that_says_what_it_was_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tiny_project(tmp_path)
    assert command(["train", "--only", "train", "--project", str(tmp_path), "--json"]) == 0
    told: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    made = open_artifact(store, "adapter")
    assert told["adapter"] == made.id and not told["again"]
    base = open_artifact(store, "base")
    assert made.parent == base.id and base.manifest["dequantised_from"] is None
    assert made.manifest["template_sha256"] == base.manifest["template_sha256"]
    assert made.manifest["gated"] and made.manifest["settings"]["rank"] == 2
    assert made.manifest["rehearsal"]["n_rows"] == 8 and made.manifest["rows"]["n_rows"] == 189
    assert made.manifest["curves"]["n_steps"] == 25 and made.manifest["shared_rows"]
    assert made.manifest["rows"]["share_supervised"] > 0
    assert made.manifest["memory"]["peak_bytes"] > 0
    assert {path.name for path in made.folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "curves.json", "manifest.json", "rehearsal.json",
        "rendered.json",
    }  # fmt: skip
    assert len(orjson.loads((made.folder / "rendered.json").read_bytes())) == 3
    assert [path.suffix for path in (store.path / "training").iterdir()] == [".json"]  # the rows of rehearsal
    assert command(["train", "--only", "train", "--project", str(tmp_path), "--json"]) == 0
    again = orjson.loads(capsys.readouterr().out)
    assert again["again"] and again["adapter"] == made.id
    assert len(artifacts(store, "adapter")) == 1


@pytest.mark.slow
def test_a_run_says_before_it_starts_that_no_row_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    few: list[str] = []
    store = tiny_project(tmp_path / "few", "rehearsal = 0.0\n", n=24)
    train_project(load(tmp_path / "few"), store, say=few.append, show=lambda _: few.append("the run starts"))
    words = "24 training rows are too few to hold any out (at least 200 needed). Training therefore cannot stop early"
    assert [line.startswith(words) for line in few].index(True) < few.index("the run starts")


@pytest.mark.slow
@pytest.mark.moved
def test_a_pilot_has_the_points_that_a_forecast_asks_for_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuneworthy.verdict.forecast import PilotPoint, forecast

    store = tiny_project(tmp_path)
    assert command(["train", "--project", str(tmp_path), "--pilot"]) == 0
    document = store.read("pilot", dict)
    points = [shaped(point, PilotPoint, "pilot") for point in document["points"]]
    assert forecast(points, document["n_examples"], document["baseline"]).status == "measured"
    assert [point.data for point in points].count("raw") == 2
    assert {point.steps for point in points if point.data == "raw"} <= {p.steps for p in points if p.data == "built"}
    half = {**document, "points": document["points"][:5]}
    store.write("pilot", half)
    capsys.readouterr()
    assert command(["train", "--project", str(tmp_path), "--pilot"]) == 0
    assert "4 " not in capsys.readouterr().err.split("\n")[0]
    assert [point["score"] for point in store.read("pilot", dict)["points"]] == pytest.approx(
        [point["score"] for point in document["points"]], abs=0.1
    )


def test_the_pilot_of_another_base_is_kept_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.train import pilot

    store = project(tmp_path)
    frozen(store, n=240)
    trained: list[tuple[str, int, int]] = []

    def run(base: str) -> dict[str, Any]:
        prepared = SimpleNamespace(
            base=SimpleNamespace(artifact=SimpleNamespace(id=f"id-{base}", folder="")),
            settings=SimpleNamespace(identity=base, dtype="", method="lora"),
            rendered=SimpleNamespace(rows=[]),
        )

        def point(*args: Any, **_: Any) -> dict[str, Any]:
            size, seed, side = args[4]
            trained.append((base, size, seed))
            return {"size": size, "seed": seed, "score": 0.5, "data": side, "steps": 1, "text": ""}

        for name, value in {
            "prepare": lambda *_, **__: prepared,
            "load_model": lambda *_: None,
            "evaluator_of": lambda *_: lambda _: 0.25,
            "rehearsal_rows": lambda *_: [],
            "raw_rows": lambda *_: [],
            "base_spec": lambda _: base,
            "_point": point,
        }.items():
            monkeypatch.setattr(pilot, name, value)
        return dict(
            pilot.run_pilot(
                load(tmp_path), store, sizes=lambda _: [20, 40], n_seeds=1, unsafe=False, say=lambda _: None
            )
        )

    run("small")
    both = run("large")
    assert (both["name"], [one["name"] for one in both["earlier"]]) == ("large", ["small"])
    assert len(both["points"]) == len(both["earlier"][0]["points"]) == 2 and len(trained) == 4
    back = run("small")
    assert len(trained) == 4, "a pilot of an earlier base is trained again"
    assert (back["name"], [one["name"] for one in back["earlier"]]) == ("small", ["large"])
    scores = {0: 0.25, 20: 0.5, 40: 0.5}
    assert pilot_scores(store, back["dataset"]) == dict.fromkeys(("small", "large"), scores)
    store.write("pilot", {**back, "earlier": [{**both, "name": "small", "baseline": 0.1, "earlier": []}]})
    assert pilot_scores(store, back["dataset"]) == {"id-small": scores, "id-large": {**scores, 0: 0.1}}, "of one name"
    store.write("pilot", {**back, "earlier": [{**both, "metric": "another", "earlier": []}]})
    assert pilot_scores(store, back["dataset"]) == {"small": scores}, "another metric"


@pytest.mark.parametrize(("n", "trained"), [(240, 242), (600, 0)])
def test_raw_rows_are_trained_on_only_where_the_checks_dropped_enough_of_them(
    tmp_path: Path, n: int, trained: int
) -> None:
    store = project(tmp_path)
    version = find_version(store, frozen(store, n))
    assert version is not None
    told = list[str]()
    rows = raw_rows(version, gathered(tmp_path, unsafe=False), told.append)
    assert len(rows) == trained
    assert [("only 2 of 602 rows" in line) for line in told] == ([] if trained else [True])


def test_a_run_that_was_stopped_says_so_also_when_it_is_gone_on_with(tmp_path: Path) -> None:
    from tests.train.test_rows_that_share import rows

    tokenizer = write_tiny(tmp_path / "tiny")
    settings = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4, epochs=9)

    def train() -> Ran:
        return train_rows(
            tmp_path / "tiny", rows(), settings, tmp_path / "run", tokenizer=tokenizer, evaluate=lambda model: 0.5
        )

    first = train()
    assert len(first.progress.steps) == 3 and first.stopped_early
    assert train().stopped_early, "nothing is left to do"


def test_a_run_whose_loss_is_no_number_any_more_ends_with_the_reason(tmp_path: Path) -> None:
    from tests.train.test_rows_that_share import rows

    tokenizer = write_tiny(tmp_path / "tiny")
    settings = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4, epochs=6, learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"diverged at step .* learning rate 1e\+30"):
        train_rows(tmp_path / "tiny", rows(), settings, tmp_path / "run", tokenizer=tokenizer)
    assert newest(tmp_path / "run") is None


def test_one_process_trains_on_one_of_two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from functools import cached_property

    from transformers import TrainingArguments

    from tests.train.test_rows_that_share import rows

    found = TrainingArguments._setup_devices.func

    def two(arguments: Any) -> Any:
        device = found(arguments)
        arguments._n_gpu = 2
        return device

    devices = cached_property(two)
    devices.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", devices)
    tokenizer = write_tiny(tmp_path / "tiny")
    settings = TrainingSettings(rank=2, dtype="float32", batch_size=4, micro_batch_size=4)
    done = train_rows(tmp_path / "tiny", rows(), settings, tmp_path / "run", tokenizer=tokenizer, max_steps=2)
    assert len(done.progress.steps) == 2


def test_rows_that_are_all_too_long_for_the_base_are_refused(tmp_path: Path) -> None:
    store = tiny_project(tmp_path)
    config = tmp_path / "tiny" / "config.json"
    config.write_bytes(orjson.dumps({**orjson.loads(config.read_bytes()), "max_position_embeddings": 8}))
    with pytest.raises(UserError, match="the limit is 8 tokens"):
        prepare(load(tmp_path), store, unsafe=False, say=lambda _: None)


def test_a_run_that_may_not_fit_is_said_so(tmp_path: Path) -> None:
    tiny_project(tmp_path, "gpu_memory_gib = 0.01\n", n=0)
    told: list[str] = []
    settings_for(load(tmp_path), rendered(*[60] * 200), tmp_path / "tiny", told.append)
    assert len(told) == 1 and "the run may be killed" in told[0]
    tiny_project(tmp_path, "gpu_memory_gib = 64\n", n=0)
    settings_for(load(tmp_path), rendered(*[60] * 200), tmp_path / "tiny", told.append)
    assert len(told) == 1


@pytest.mark.slow
def test_full_fine_tuning_of_a_project_leaves_a_model_that_merge_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_project(tmp_path, 'method = "full"\n')
    assert command(["train", "--only", "train", "--project", str(tmp_path)]) == 0
    made = open_artifact(Folder(tmp_path), "adapter")
    assert f"model {made.id}, " in capsys.readouterr().out
    assert {"config.json", "model.safetensors"} < {path.name for path in made.folder.iterdir()}
    assert len(made.manifest["held_out"]["rows"]) == 21 and made.manifest["rehearsal"]["n_rows"] == 8
    assert command(["train", "--only", "merge", "--project", str(tmp_path)]) == 0
    assert open_artifact(Folder(tmp_path), "merged").parent == made.id


def rendered(*lengths: int) -> Rendered:
    """Rows of these lengths, two tokens of each supervised."""
    rows = [TokenRow(str(at), [1] * n, [0] * (n - 2) + [1, 1]) for at, n in enumerate(lengths)]
    return Rendered(rows, {}, 0, "")


def test_what_the_project_file_says_is_kept_and_the_rest_is_advised(tmp_path: Path) -> None:
    tiny_project(tmp_path, "learning_rate = 0.5\n", n=0)
    found = settings_for(load(tmp_path), rendered(*[60] * 200), tmp_path / "tiny")
    assert (found.rank, found.batch_size, found.epochs, found.learning_rate) == (2, 8, 1, 0.5)
    assert found.max_length >= 60 and found.micro_batch_size == 8 and found.dropout == 0.0
    (tmp_path / "tuneworthy.toml").write_text(TOML)
    advised = settings_for(load(tmp_path), rendered(*[60] * 200), tmp_path / "tiny")
    assert advised.learning_rate != 0.5 and advised.rank != 2


def test_rows_above_the_length_are_counted_and_never_cut() -> None:
    found = rendered(60, 61, 70).within(61)
    assert [len(row.ids) for row in found.rows] == [60, 61]
    assert found.left_out == {"2": "too_long"} and found.reasons == {"too_long": 1}


def documented(root: Path, extra: str = "", n: int = 210) -> Folder:
    """A project with a tiny base and documents of 120 sections."""
    store = tiny_project(root, f"rehearsal = 0.0\n{extra}", n=n)
    write_documents(root)
    return store


@pytest.mark.slow
def test_raw_text_comes_before_the_rows_and_one_adapter_is_merged_like_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, at = documented(tmp_path, 'method = "continued"\n'), ["--project", str(tmp_path)]
    assert command(["train", "--only", "train", *at, "--json"]) == 0
    told = capsys.readouterr()
    made = open_artifact(store, "adapter")
    text = made.manifest["text"]
    assert text["domain"][1] < text["domain"][0] and text["regression"]["n"] == 200
    assert "blocks of raw text" in told.err and made.manifest["settings"]["method"] == "continued"
    assert made.manifest["rows"]["n_rows"] == 189 and len(artifacts(store, "adapter")) == 1
    assert command(["train", "--only", "train", *at, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["again"]
    assert command(["train", "--only", "merge", *at]) == 0
    assert open_artifact(store, "merged").parent == made.id
    (tmp_path / "documents" / "more.md").write_text("# More\nThe last vessel left for the cold north at noon.\n")
    assert command(["train", "--only", "train", *at]) == 0
    assert open_artifact(store, "adapter").id != made.id, "other text, another run"


def test_a_project_without_documents_is_not_trained_on_raw_text(tmp_path: Path) -> None:
    tiny_project(tmp_path, 'method = "continued"\n')
    with pytest.raises(UserError, match="has no documents"):
        train_project(load(tmp_path), Folder(tmp_path))


@pytest.mark.slow
def test_a_run_killed_between_the_phases_goes_on_with_the_adapter_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented(tmp_path, 'method = "continued"\n')
    prepared = prepare(load(tmp_path), Folder(tmp_path), unsafe=False, say=lambda _: None)
    plain, begun = trainer.train_rows, list[tuple[Path, Any]]()

    def train(base: Path, rows: Any, settings: Any, run: Path, **named: Any) -> Ran:
        begun.append((run, named.get("start")))
        if run.name != "text" and len(begun) == 2:
            raise KeyboardInterrupt
        return plain(base, rows, settings, run, **named)

    monkeypatch.setattr(trainer, "train_rows", train)
    with pytest.raises(KeyboardInterrupt):
        train_phases(prepared, tmp_path / "run")
    weights = (tmp_path / "run" / "text").glob("checkpoint-*/adapter_model.safetensors")
    before = {path: path.stat().st_mtime_ns for path in weights}
    ran = train_phases(prepared, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the first phase was trained again"
    assert begun[1] == begun[3] and begun[3][1].parent == tmp_path / "run" / "text"
    whole = train_phases(prepared, tmp_path / "whole")
    assert [step.loss for step in ran.progress.steps] == pytest.approx([s.loss for s in whole.progress.steps], rel=1e-3)
    told = list[str]()
    control = replace(prepared.material, text=tuple(f"{text}<end>" for text in prepared.material.text))
    alone = train_phases(replace(prepared, material=control), tmp_path / "alone", say=told.append)
    assert told[0].startswith("Training once on 0 blocks") and told[0].endswith("control tokens: 108.")
    assert alone.progress.steps[0].loss > ran.progress.steps[0].loss, "the second phase starts from the text"


class Planted:
    """A model that needs 2 bits for each token, and `factor` times as many with its adapter, more or less `noise`."""

    device = "cpu"

    def __init__(self, factor: float, noise: float) -> None:
        self.factor, self.noise, self.on = factor, noise, True

    def __call__(self, *, input_ids: Any, labels: Any) -> SimpleNamespace:
        self.noise = -self.noise
        return SimpleNamespace(loss=(2 * self.factor + self.noise if self.on else 2.0) * log(2))

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        self.on = False
        yield
        self.on = True


@pytest.mark.parametrize(
    ("factor", "noise", "status"),
    [(1.0, 0, "pass"), (1.04, 0, "pass"), (1.06, 0, "fail"), (0.9, 0, "pass"), (1.0, 1, "unknown"), (1.5, 1, "fail")],
)
def test_a_planted_rise_of_the_bits_of_general_text_is_a_regression_above_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, noise: float, status: str
) -> None:
    documented(tmp_path, 'method = "continued"\n')
    prepared = prepare(load(tmp_path), Folder(tmp_path), unsafe=False, say=lambda _: None)
    monkeypatch.setattr("tuneworthy.train.run.answering_mode", nullcontext)
    monkeypatch.setattr(trainer, "adapted", lambda *_: Planted(factor, noise))
    measured = measure_text(prepared, tmp_path)
    for name in ("domain", "general"):  # a token of the tiny model is a byte
        assert measured[name] == pytest.approx([2.0, 2.0 * factor], rel=1e-3 + 0.05 * noise)
    assert measured["regression"]["status"] == status and measured["regression"]["n"] == 200


def scored(side: str, seed: int, grades: list[int], status: str = "pass") -> dict[str, Any]:
    bits = {"domain": [2.0, 1.0], "general": [1.0, 1.0], "regression": {"status": status}}
    return {
        "data": side,
        "size": 9,
        "seed": seed,
        "score": sum(grades),
        "grades": [[one, 1] for one in grades],
        "bits": bits,
    }


@pytest.mark.parametrize(
    ("gained", "status", "helps"),
    [((30, 30), "pass", True), ((30, 30), "fail", False), ((3, 2), "pass", False), ((60, -1), "pass", False)],
)
def test_raw_text_helps_only_if_the_rows_gain_for_certain_with_each_seed_and_nothing_is_forgotten(
    gained: tuple[int, int], status: str, helps: bool
) -> None:
    cases = [Case(id=str(at)) for at in range(100)]
    points = [{"data": "built", "size": 4}]
    for side, more in (("built", (0, 0)), ("continued", gained)):
        points += [scored(side, seed, [1] * (40 + n) + [0] * (60 - n), status) for seed, n in enumerate(more)]
    found = continued_result(points, cases)
    assert found["helps"] is helps and found["delta"] == pytest.approx(sum(gained) / 200) and found["n"] == 100


def test_a_pilot_says_how_much_of_the_raw_text_it_took() -> None:
    cases = [Case(id=str(at)) for at in range(100)]
    for n, is_said in ((MAX_BLOCKS, False), (MAX_BLOCKS + 1, True)):
        points = [scored(side, 0, [1] * 50 + [0] * 50) | {"blocks": n} for side in ("built", "continued")]
        assert ("the first 256 of 257 blocks" in continued_result(points, cases)["detail"]) is is_said


@pytest.mark.parametrize(("policy", "expected"), [("mask", "[EMAIL_1]"), ("drop", ""), ("report", "ada@example.org")])
def test_raw_text_has_no_personal_data_but_as_the_policy_says(tmp_path: Path, policy: str, expected: str) -> None:
    documented(tmp_path)
    (tmp_path / "documents" / "a.md").write_text("# A\nWrite about the vessel to ada@example.org before noon.\n")
    project = load(tmp_path)
    project = project.model_copy(update={"data": project.data.model_copy(update={"policy": {"personal_data": policy}})})
    dataset = read_dataset(project)
    train, held_out, notes = raw_text(project, dataset, Kind("free_text", "", ()))
    (text,) = [one for one in (*train, *held_out) if "about the vessel to" in one] or [""]
    assert expected in text and ("ada@" in text) is (policy == "report")
    assert any("personal data or keys: 1." in note for note in notes)


KEY = "sk-proj-" + "a1B2" * 12


@pytest.mark.parametrize(
    ("policy", "keeps_key", "keeps_text"),
    [
        ({"secret": "drop", "personal_data": "report"}, False, False),
        ({"secret": "report"}, True, True),
        ({}, False, True),
    ],
)
def test_keys_in_raw_text_follow_their_own_policy(
    tmp_path: Path, policy: dict[str, str], keeps_key: bool, keeps_text: bool
) -> None:
    documented(tmp_path)
    (tmp_path / "documents" / "a.md").write_text(f"# A\nStart the vessel about noon with the API key {KEY} of it.\n")
    project = load(tmp_path)
    project = project.model_copy(update={"data": project.data.model_copy(update={"policy": policy})})
    train, held_out, _ = raw_text(project, read_dataset(project), Kind("free_text", "", ()))
    everything = " ".join([*train, *held_out])
    assert (KEY in everything) is keeps_key and ("vessel about noon" in everything) is keeps_text


def test_a_copy_of_a_case_with_an_address_is_found_before_it_is_masked(tmp_path: Path) -> None:
    documented(tmp_path)
    question = "Which vessel left the cold harbour with a letter for ada@example.org and for bob@example.org at noon?"
    with (tmp_path / "cases.jsonl").open("a") as file:
        file.write("\n" + orjson.dumps({"input": question, "expected": "x"}).decode() + "\n")
    (tmp_path / "documents" / "a.md").write_text(f"# A\n{question}\n")
    project = load(tmp_path)
    train, held_out, notes = raw_text(project, read_dataset(project), Kind("free_text", "", ()))
    assert not any("cold harbour" in one for one in (*train, *held_out))
    assert any("copy cases" in note for note in notes)


@pytest.mark.slow
def test_a_pilot_compares_the_rows_after_raw_text_with_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, at = documented(tmp_path), ["--project", str(tmp_path), "--pilot"]
    assert command(["train", *at]) == 0
    document = store.read("pilot", dict)
    points = document["points"]
    assert [point["data"] for point in points].count("continued") == 2
    assert document["continued"]["detail"] in capsys.readouterr().out.replace("\n", " ")
    assert document["continued"] == orjson.loads(
        orjson.dumps(continued_result(points, read_dataset(load(tmp_path)).split.dev))
    )
    (tmp_path / "documents" / "more.md").write_text("# More\nThe last vessel left for the cold north at noon.\n")
    assert command(["train", *at]) == 0
    lines = capsys.readouterr().err
    assert lines.count("Pilot: training") == 2, "other text repeats only the trainings on text"
    shutil.rmtree(tmp_path / "documents")
    assert command(["train", *at]) == 0
    assert "no documents" in capsys.readouterr().out
    assert store.read("pilot", dict)["continued"]["helps"] is False


@pytest.mark.slow
def test_a_project_trains_on_two_processes_to_the_adapter_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    monkeypatch.setattr("tuneworthy.train.run.has_bf16", lambda _: False)
    made = {}
    for n in ("1", "2"):
        (tmp_path / n).mkdir()
        store = tiny_project(tmp_path / n)
        at = ["--project", str(tmp_path / n), "--json", "--processes", n]
        assert command(["train", "--only", "train", *at]) == 0, capsys.readouterr().err
        made[n] = open_artifact(store, "adapter")
        assert command(["train", "--only", "train", *at[:3]]) == 0, "the number of processes names no run"
    capsys.readouterr()
    told = [one.manifest for one in made.values()]
    assert [one["settings"]["processes"] for one in told] == [1, 2] and told[0]["run"] == told[1]["run"]
    assert told[0]["curves"]["last_loss"] == pytest.approx(told[1]["curves"]["last_loss"], abs=1e-4)
    assert told[0]["held_out"]["score"] == pytest.approx(told[1]["held_out"]["score"], abs=1e-4)
    one, two = (load_file(adapter.folder / "adapter_model.safetensors") for adapter in made.values())
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-4
    for arguments, message in (
        (["--processes", "3"], "3 processes cannot share a batch of 8 rows equally. Choose one of 1, 2, 4, 8"),
        (["--processes", "2", "--only", "merge"], "--processes belongs to"),
    ):
        assert command(["train", *arguments, "--project", str(tmp_path / "1"), "--unsafe"]) == 2
        assert message in capsys.readouterr().err
