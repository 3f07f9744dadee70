"""A released model: the Hub accepts its card, its files stay and are checked, and a roll-back leads to it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

pytest.importorskip("uvicorn")

from huggingface_hub import ModelCard

from tests.ladder.tuned_simulations import (
    STUDENT,
    make_artifact,
    make_models,
    write_proven_model,
    write_tuned_simulation,
)
from tests.shadow.canary_bench import BEHAVIOURS, bench, is_whole, of_candidate
from tests.shadow.servers import run
from tests.shadow.traffic import write_traffic_project
from tests.verdict.test_training import EXTRA, WAIVED, edit_recipe
from tuneworthy.cli import invoke, serve
from tuneworthy.config import load
from tuneworthy.errors import ModelError, UserError
from tuneworthy.report.model_card import hub_licence
from tuneworthy.shadow.canary import RESTARTED, STATE, CanaryState
from tuneworthy.shadow.releases import (
    STARTED,
    Release,
    all_releases,
    open_release,
    record_release,
    release_lines,
    release_of,
    start_release,
)
from tuneworthy.ship.merge import ancestors
from tuneworthy.ship.served import noted, served_at
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, latest_artifact
from tuneworthy.store.shapes import bundled
from tuneworthy.verdict.answer import CHANGED_SINCE, input_hashes, load_verdict


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose verdict is to ship its fine-tuned model."""
    with pytest.MonkeyPatch.context() as patch:
        root = write_tuned_simulation(tmp_path_factory.mktemp("release") / "world", patch, extra=EXTRA + WAIVED)
        write_proven_model(root)
        assert invoke(["decide", "--project", str(root)]) == 0
        yield root


@pytest.fixture
def world(shipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "world"))


def rung_of(root: Path) -> dict[str, Any]:
    rungs: list[dict[str, Any]] = json.loads((root / ".tuneworthy/run.json").read_text())["rungs"]
    return next(one for one in rungs if one["rung"] == "fine_tune")


def card_of(root: Path) -> str:
    with chdir(root):
        assert invoke(["export", "card", "--project", str(root)]) == 0
    return (root / "model-card.md").read_text()


# Source: huggingface/hub-docs modelcard.md, and the message of the Hub's validator in huggingface_hub issue 4218.
def hub_faults(text: str) -> list[str]:
    """Return what the Hub's validator refuses in a card, as far as it is published."""
    try:
        data = ModelCard(text).data.to_dict()
        indexed = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
    except ValueError as error:
        return [str(error)]
    licences = bundled("tuneworthy.report", "licences.json", list[str])
    rules: Mapping[str, Callable[[Any], bool]] = {
        "license": lambda value: value in [*licences, "other"],
        "license_name": lambda value: bool(re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", value)),
        "base_model": lambda value: bool(re.fullmatch(r"[\w.-]+/[\w.-]+", value)),
        "base_model_relation": lambda value: value in {"adapter", "merge", "quantized", "finetune"},
        "pipeline_tag": lambda value: value in {"text-generation", "text-classification"},
        "tags": lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
        "model-index": lambda value: bool(value[0]["results"]),
    }
    faults = [f"unknown key {name}" for name in data if name not in rules]
    faults += [name for name, fits in rules.items() if name in data and not fits(data[name])]
    faults += ["license_name"] * (data.get("license") == "other" and "license_name" not in data)
    return faults + ["model-index"] * ("model-index:" in text and "model-index" not in indexed)


def test_the_hub_accepts_the_card_and_the_card_has_the_measured_score(world: Path) -> None:
    text = card_of(world)
    assert hub_faults(text) == []
    card = ModelCard(text).data
    rung = next(
        one for one in json.loads((world / ".tuneworthy/run.json").read_text())["rungs"] if one["rung"] == "fine_tune"
    )
    (result,) = card.eval_results
    assert result.metric_value == round(rung["score"], 4) and result.metric_args["n"] == rung["n"]
    assert (card.license, card.license_name) == ("other", "unknown")
    gguf = latest_artifact(Folder(world), "gguf")
    assert gguf and gguf.about.files["model.gguf"]["sha256"] in text
    assert "Release 1 " in text and "| Languages | unknown |" in text and "counts here" not in text
    low, high = rung["delta_today_ci"]
    assert f"[{100 * low:+.1f}, {100 * high:+.1f}]" in text


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("license", "license: other", "license: Apache 2"),
        ("license_name", "license_name:", "licence_name:"),
        ("model-index", "    dataset:\n      type: private\n", "    dataset:\n"),
        ("base_model", "pipeline_tag:", "base_model: /home/me/model.gguf\npipeline_tag:"),
        ("tags", "tags: [", "tags: [3, "),
    ],
)
def test_a_fault_in_a_card_is_found(world: Path, name: str, old: str, new: str) -> None:
    text = card_of(world)
    assert old in text
    assert hub_faults(text.replace(old, new, 1)) != []


def test_a_card_has_no_case_row_prompt_path_or_address(world: Path) -> None:
    edit_recipe(world, lambda recipe: recipe.update(licence="CC BY 4.0, ask ada@example.org"))
    text = card_of(world)
    rows = "".join((world / name).read_text() for name in ("cases.jsonl", "examples.jsonl")).splitlines()
    for row in map(json.loads, rows):
        question = row.get("input") or row["messages"][-2]["content"]
        assert question not in text
    assert STUDENT not in text and str(world) not in text and "ada@" not in text and "EMAIL" in text


@pytest.mark.parametrize(
    ("base", "data", "licence"),
    [("apache-2.0", "apache-2.0", "apache-2.0"), ("", "", "unknown"), ("apache-2.0", "", "apache-2.0-and-unknown"),
     ("llama3.1", "CC BY 4.0", "llama3.1-and-cc-by-4.0")],
)  # fmt: skip
def test_a_licence_is_the_hub_s_only_if_base_and_data_agree(base: str, data: str, licence: str) -> None:
    assert hub_licence(base, data) == licence
    assert hub_licence(base, data, "") == (licence if "unknown" in licence else f"{licence}-and-unknown")


@pytest.mark.moved
def test_a_shipped_model_becomes_a_release_once(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = card_of(world)
    (release,) = all_releases(Folder(world))
    gguf = latest_artifact(Folder(world), "gguf")
    assert gguf and (release.number, release.artifact) == (1, gguf.id)
    assert release.dataset and release.variant == rung_of(world)["variant"]
    assert (world / ".tuneworthy/releases/1.md").read_text() == text
    record = (world / ".tuneworthy/releases/1.json").read_bytes()
    assert card_of(world) == text, "the same file is the same release"
    assert (world / ".tuneworthy/releases/1.json").read_bytes() == record and len(all_releases(Folder(world))) == 1
    capsys.readouterr()
    assert invoke(["status", "--json", "--project", str(world)]) == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)["releases"]] == [1]
    assert invoke(["status", "--project", str(world)]) == 0
    told = capsys.readouterr().out
    assert f"Release 1 is current: GGUF file {gguf.id}." in told
    assert "--release 1`" in told and "export card" not in told


def test_a_rolled_back_release_has_a_card_that_says_so_and_no_next_step(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card_of(world)
    told = capsys.readouterr()
    assert "card of release 1, recorded now" in told.out and "Next: " in told.err and "--release 1" in told.err
    _rolled_back(world)
    text = card_of(world)
    told = capsys.readouterr()
    assert "was rolled back" in text and "was rolled back" in told.out and "Next:" not in told.err
    assert hub_faults(text) == []


def test_a_candidate_that_was_rolled_back_never_ships_even_if_the_gate_is_waived(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _rolled_back(world)
    assert invoke(["status", "--project", str(world)]) == 0
    assert "Next: tuneworthy export card" not in capsys.readouterr().out, "the stored verdict is out of date"
    assert invoke(["decide", "--json", "--project", str(world)]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["reason_code"]) == ("do_not_ship", "gate_shadow")
    assert "--restart" in found["next_action"]["why"] and "waivers" not in found["next_action"]["why"]
    variant = rung_of(world)["variant"]
    (world / ".tuneworthy" / f"{STATE.format(variant)}.json").rename(
        world / ".tuneworthy" / f"{RESTARTED.format(variant)}.json"
    )
    assert invoke(["decide", "--project", str(world)]) == 3, "judged again, and not passed"
    (world / ".tuneworthy" / f"{RESTARTED.format(variant)}.json").unlink()
    assert invoke(["decide", "--project", str(world)]) == 0


def test_the_same_model_with_other_settings_is_another_release(two: tuple[Path, list[Artifact]]) -> None:
    store, (first, _) = Folder(two[0]), two[1]
    assert release_of(store, first, "v1").number == 1
    other = release_of(store, first, "v9")
    assert (other.number, other.created, other.variant) == (3, "", "v9")


def test_a_number_is_not_used_again_if_its_record_is_lost(two: tuple[Path, list[Artifact]]) -> None:
    (two[0] / ".tuneworthy/releases/2.json").unlink()
    assert release_of(Folder(two[0]), two[1][1], "v2").number == 3


def test_raw_documents_count_for_the_licence(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Raw documents" not in card_of(world)

    def continued(store: Folder, made: Artifact) -> dict[Any, Artifact]:
        chain = ancestors(store, made)
        about = replace(chain["adapter"].about, settings={"method": "continued"})
        return {**chain, "adapter": replace(chain["adapter"], about=about)}

    monkeypatch.setattr("tuneworthy.report.model_card.ancestors", continued)
    text = card_of(world)
    assert "| Raw documents | unknown |" in text and hub_faults(text) == []


def _no_run(root: Path) -> None:
    (root / ".tuneworthy/run.json").unlink()


def _no_verdict(root: Path) -> None:
    (root / ".tuneworthy/verdict.json").unlink()


def _stale_verdict(root: Path) -> None:
    Folder(root).write("parity", (Folder(root).read("parity", dict) or {}) | {"status": "fail"})


def _rolled_back(root: Path) -> None:
    variant = rung_of(root)["variant"]
    roll_back(root, variant)


@pytest.mark.parametrize("change", [_no_run, _no_verdict, _stale_verdict, _rolled_back])
def test_only_a_model_that_may_ship_now_becomes_a_release(world: Path, change: Callable[[Path], None]) -> None:
    change(world)
    text = card_of(world)
    assert not all_releases(Folder(world)) and "is not a release" in text
    assert ("counts here, so its quality is unknown" in text) is (change is _no_run)
    assert hub_faults(text) == []


def test_there_is_no_card_without_a_model(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _no_run(world)
    shutil.rmtree(world / ".tuneworthy/models")
    assert invoke(["export", "card", "--project", str(world)]) == 2
    assert "No adapter yet" in capsys.readouterr().err


def released(root: Path, artifact: Artifact, variant: str) -> Release:
    """Record an artifact as the next release."""
    record_release(Folder(root), release_of(Folder(root), artifact, variant), "card")
    return release_of(Folder(root), artifact)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, list[Artifact]]:
    """A project with two releases."""
    root = write_traffic_project(tmp_path / "p", "equal")
    made = [make_artifact(root, "gguf", file_type=kind) for kind in ("f16", "q8_0")]
    for number, one in enumerate(made, 1):
        assert released(root, one, f"v{number}").number == number
    return root, made


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("fault", ["flipped byte", "deleted file", "added file", "deleted folder", "edited manifest"])
def test_a_release_whose_files_changed_is_not_served(two: tuple[Path, list[Artifact]], fault: str) -> None:
    root, (first, _) = two
    assert open_release(Folder(root), 1)[1].id == first.id
    start_release(Folder(root), open_release(Folder(root), 2)[0])
    if fault == "flipped byte":
        flip(first.folder / "model.gguf")
    elif fault == "deleted file":
        (first.folder / "model.gguf").unlink()
    elif fault == "added file":
        (first.folder / "other.gguf").write_bytes(b"x")
    elif fault == "deleted folder":
        shutil.rmtree(first.folder)
    else:
        flip(first.folder / "manifest.json")
    with pytest.raises(UserError) as raised:
        open_release(Folder(root), 1)
    assert first.id in raised.value.message and "--release 2" in (raised.value.hint or "")
    assert open_release(Folder(root))[0].number == 2, "the other release is served"


def test_a_release_that_does_not_exist_is_named_with_those_that_do(two: tuple[Path, list[Artifact]]) -> None:
    with pytest.raises(UserError) as raised:
        open_release(Folder(two[0]), 7)
    assert "no release 7" in raised.value.message and "1, 2" in (raised.value.hint or "")


def test_a_canary_that_rolled_back_makes_the_release_before_it_current(
    two: tuple[Path, list[Artifact]],
) -> None:
    root, _ = two
    assert open_release(Folder(root))[0].number == 1, "a recorded release waits for its start"
    assert release_lines(Folder(root))[1].endswith("serve --release 2")
    for number in (2, 1, 2):
        start_release(Folder(root), open_release(Folder(root), number)[0])
        assert open_release(Folder(root))[0].number == number
    for variant, current in (("v2", 1), ("v1", None)):
        roll_back(root, variant)
        if current:
            assert open_release(Folder(root))[0].number == current
    with pytest.raises(UserError, match="rolled back"):
        open_release(Folder(root))
    assert open_release(Folder(root), 2)[0].number == 2, "unless it is named"


class StoppedEngine:
    """A server that runs until its first look, as with Ctrl-C."""

    address, api_key, log = "http://127.0.0.1:9", "key", Path("serve.log")

    @property
    def alive(self) -> bool:
        raise KeyboardInterrupt


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the models whose server started; no server runs."""
    found: list[str] = []

    @contextmanager
    def start(path: Path, log: Path, context: int, *, port: int) -> Iterator[StoppedEngine]:
        found.append(path.parent.name)
        yield StoppedEngine()

    monkeypatch.setattr(serve, "llama_cpp", start)
    return found


def numbers(root: Path) -> list[int]:
    return Folder(root).read(STARTED, list[int]) or []


def roll_back(root: Path, variant: str, name: str = STATE) -> None:
    Folder(root).write(name.format(variant), asdict(CanaryState(variant=variant, rolled_back="It failed.")))


@pytest.mark.parametrize("form", ["gguf", "merged"])
def test_a_release_whose_server_does_not_start_is_not_current(
    two: tuple[Path, list[Artifact]], form: str, served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, made = two
    words = ["serve", "--project", str(root), "--release"]
    if form == "merged":
        made.append(make_artifact(root, "merged"))
        released(root, made[-1], "v3")
    last = str(len(made))

    def fails(*args: object, **options: object) -> NoReturn:
        raise ModelError("It does not load.")

    name = "llama_cpp" if form == "gguf" else "choose"
    with monkeypatch.context() as patch:
        patch.setattr(serve, name, fails)
        assert invoke([*words, last]) != 0
    assert numbers(root) == [] and open_release(Folder(root))[0].number == 1
    assert invoke([*words, last]) == 0
    assert numbers(root) == [len(made)] and open_release(Folder(root))[0].number == len(made)


def test_a_release_that_was_never_started_does_not_go_live_by_a_roll_back(
    two: tuple[Path, list[Artifact]], served: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, second) = two
    words = ["serve", "--project", str(root)]
    assert invoke(words) == 0 and served == [first.id] and numbers(root) == [1]
    assert "rolled back" not in capsys.readouterr().err
    roll_back(root, "v1")
    assert invoke(words) == 2 and served == [first.id]
    told = capsys.readouterr().err
    assert "No release is current" in told and "--release from 1, 2" in told
    assert "was rolled back" in release_lines(Folder(root))[0] and "is not current" in release_lines(Folder(root))[1]
    assert invoke([*words, "--release", "1"]) == 0, "a person may start it"
    assert "It was rolled back. It failed." in capsys.readouterr().err
    assert invoke(words) == 2, "and it is still not current"
    assert invoke([*words, "--release", "2"]) == invoke(words) == 0
    assert served == [first.id, first.id, second.id, second.id]


def test_before_any_start_the_first_release_that_was_not_rolled_back_is_current(
    two: tuple[Path, list[Artifact]],
) -> None:
    roll_back(two[0], "v1")
    assert open_release(Folder(two[0]))[0].number == 2


def test_the_next_step_ends_once_the_release_is_served(
    world: Path, served: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words, page = ["--project", str(world)], world / "report.md"

    def next_steps() -> Iterator[str]:
        for command in (["status"], ["report", "--out", str(page)], ["decide"]):
            capsys.readouterr()
            assert invoke([*command, *words]) == 0
            yield page.read_text() if command[0] == "report" else capsys.readouterr().out

    assert all("export card" in text for text in next_steps())
    card_of(world)
    assert all("erve release 1" in text and "export card" not in text for text in next_steps())
    assert invoke(["serve", *words]) == 0 and served
    assert all("erve release" not in text and "Keep release 1." in text for text in next_steps())
    released(world, make_artifact(world, "gguf", file_type="f16"), "v2")
    start_release(Folder(world), open_release(Folder(world), 2)[0])
    assert all("erve release 1" in text for text in next_steps()), "another release is current"


def test_a_verdict_to_ship_is_out_of_date_until_a_replay_passes_again(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card_of(world)
    variant, before = rung_of(world)["variant"], input_hashes(load(world))
    for name, other in ((STATE, RESTARTED), (RESTARTED, STATE)):  # --restart moves the state
        roll_back(world, variant, name)
        (Folder(world).path / f"{other.format(variant)}.json").unlink(missing_ok=True)
        assert {key for key, value in input_hashes(load(world)).items() if value != before[key]} == {"canary"}
        capsys.readouterr()
        assert invoke(["status", "--project", str(world)]) == 0
        told = capsys.readouterr().out
        assert "Release 1 was rolled back." in told and "Next: Serve" not in told
        stored = load_verdict(load(world))
        assert stored and [*stored.changed] == [CHANGED_SINCE["canary"]]
    (Folder(world).path / f"{RESTARTED.format(variant)}.json").unlink()
    assert input_hashes(load(world)) == before
    assert "rolled back" not in CHANGED_SINCE["shadow"], "a replay alone rolls nothing back"


def test_a_release_survives_new_training_and_is_served_until_the_next_one(world: Path, served: list[str]) -> None:
    def serve_with(*options: str) -> int:
        return invoke(["serve", *options, "--project", str(world)])

    card_of(world)
    (release,) = all_releases(Folder(world))
    newer = make_models(world, prompt={"system": "Another?", "user": "{{ input }}"})["gguf"]
    assert newer.id != release.artifact
    newest = released(world, newer, "v2")
    assert [serve_with(*words) for words in ((), ("--release", "1"), ("--what", "gguf"))] == [0, 0, 0]
    assert served == [release.artifact, release.artifact, newer.id]
    assert [serve_with(*words) for words in (("--release", "2"), (), ("--release", "1"))] == [0, 0, 0]
    assert served[3:] == [newest.artifact, newest.artifact, release.artifact], "a start makes it current"
    del served[3:]
    assert serve_with("--release", "3") == serve_with("--release", "1", "--what", "gguf") == 2
    flip(Folder(world).path / "models" / release.artifact / "model.gguf")
    assert serve_with() == 2 and len(served) == 3


@pytest.mark.parametrize("fault", ["error in 200", "dies in the body", "closes at once", "hang"])
def test_a_roll_back_to_the_previous_release_under_load_loses_no_request(tmp_path: Path, fault: str) -> None:
    """Release 1 is production. The candidate answers 16 clients well, then fails while they go on."""
    n_clients, n_each = 16, 12

    async def work() -> None:
        async with bench(tmp_path) as b:
            store = b.worker.session.folder
            first = make_artifact(store.root, "gguf", file_type="f16")
            released(store.root, first, "v1")
            with noted(store, first, b.app.upstream):
                assert served_at(store, b.app.upstream) == first
                b.renew(1.0, wait_s=0.3 if fault == "hang" else 8.0)
                b.scripts["candidate"] = lambda _: BEHAVIOURS["good" if len(b.asked) < 60 else fault]
                await b.ask()

                async def client() -> list[bytes]:
                    return [await b.ask() for _ in range(n_each)]

                answers = [one for rows in await asyncio.gather(*(client() for _ in range(n_clients))) for one in rows]
                assert sum(map(is_whole, answers)) == n_clients * n_each, "no request is lost"
                assert 0 < sum(map(of_candidate, answers)) < len(answers)
                assert b.canary.state.rolled_back and b.canary.share == 0
                late = [await b.ask() for _ in range(5)]
                assert all(map(is_whole, late)) and not any(map(of_candidate, late))
                assert open_release(store)[0].artifact == first.id

    run(work)
