"""Variants by their names: classical baselines resolve, comparisons are paid once, strangers' files are refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.config import load
from tuneworthy.errors import ConfigError, UserError
from tuneworthy.exports.variant import export_variant
from tuneworthy.ladder.commands.compare import _step, compare_variants
from tuneworthy.ladder.comparison_plan import read_comparisons
from tuneworthy.ladder.comparisons import comparison_id, take_comparison
from tuneworthy.ladder.record import write_record
from tuneworthy.ladder.run import LadderRun
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variant_lookup import current, describe, resolve, restore
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.stats.comparisons import RESERVE, SHARED
from tuneworthy.types import Case, Shots, TagSetting, Variant

RUNGS = ["classical", "baseline", "prompt", "model"]


def within(root: Path, act: Callable[[Session], Awaitable[Any]]) -> Any:
    """Open the project at `root` and do something with it."""

    async def go() -> Any:
        async with open_session(load(root)) as session:
            return await act(session)

    return asyncio.run(go())


def world(root: Path, **options: Any) -> Path:
    models = {"weak": "answer(request, 0.4)", "strong": "answer(request, 0.9)"}
    return write_simulation(root, models, n_cases=60, n_examples=210, rungs=RUNGS, **options)


def asking(session: Session, model: str) -> Variant:
    """The current prompt, asked of a model of the project."""
    return replace(current(session), name=model, model=model, model_identity=session.models[model].provider.identity)


def test_a_comparison_before_the_first_run_leaves_the_ladder_its_alpha(tmp_path: Path) -> None:
    async def act(session: Session) -> float:
        return (await compare_variants(session, current(session), asking(session, "strong"), on_test=True)).paired.alpha

    async def steps(session: Session) -> list[str]:
        one = asking(session, "strong")
        shown = replace(one, shots=Shots(k=1, mode="per_case", pool_hash=""))
        return [(await compare_variants(session, current(session), b)).step for b in (current(session), one)] + [
            _step(session, shown)
        ]

    root = world(tmp_path)
    assert within(root, act) == RESERVE / 2
    assert within(root, steps) == ["run", "write", "test"]
    plan = read_comparisons(within(root, _folder))
    assert plan.planned == ("classical", "prompt", "model")
    assert plan.slots["prompt"] == SHARED / 3


async def _folder(session: Session) -> Any:
    return session.folder


def test_another_margin_or_grader_is_another_look_and_a_corrected_label_is_not(tmp_path: Path) -> None:
    async def act(session: Session) -> str:
        return comparison_id(session, "prompt", current(session), asking(session, "strong"))

    root = world(tmp_path, extra="")
    first = within(root, act)
    assert within(root, act) == first
    cases = root / "cases.jsonl"
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    rows[0]["expected"] = "green"
    cases.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert within(root, act) == first
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("target = 0.9", "target = 0.9\nmargin = 0.2"))
    wider = within(root, act)
    file.write_text(file.read_text().replace('type = "exact"', 'type = "normalised_exact"'))
    assert len({first, wider, within(root, act)}) == 3


def test_a_test_set_that_is_used_up_is_said_in_one_line(tmp_path: Path) -> None:
    async def act(session: Session) -> None:
        one = current(session)
        for i in range(12):
            take_comparison(session, "compare", one, replace(one, user=f"{i} {{{{ input }}}}"))

    with pytest.raises(UserError, match=r"The test set is used up\. .* Collect a new test set"):
        within(world(tmp_path), act)


def test_a_variant_compared_with_itself_calls_no_model_and_spends_no_alpha(tmp_path: Path) -> None:
    async def act(session: Session) -> Any:
        session.ask = None  # type: ignore[assignment]
        return await compare_variants(session, current(session), replace(current(session), name="again"), on_test=True)

    result = within(world(tmp_path), act)
    assert result.answer == "same" and result.passes and result.paired is None
    assert not (tmp_path / ".tuneworthy" / "comparisons.json").exists()


def test_on_test_a_comparison_answers_as_often_as_a_run(tmp_path: Path) -> None:
    async def act(session: Session) -> list[int]:
        asked = []
        ask = session.ask

        async def spy(variant: Variant, cases: Any, *, repeats: int = 1) -> Any:
            asked.append(repeats)
            return await ask(variant, cases, repeats=repeats)

        session.ask = spy  # type: ignore[method-assign]
        for on_test in (True, False):
            await compare_variants(session, current(session), asking(session, "strong"), on_test=on_test)
        return asked

    assert within(world(tmp_path, extra="repeats = 2"), act) == [2, 2, 1, 1]


def test_the_classical_baseline_of_a_run_is_compared_in_a_later_session(tmp_path: Path) -> None:
    async def walk(session: Session) -> None:
        record = await LadderRun(session).run(["classical", "baseline"])
        write_record(session.folder, record)
        assert record.best is not None and record.best.rung == "classical"

    async def act(session: Session) -> Any:
        return await compare_variants(session, resolve(session, "baseline"), resolve(session, "best"))

    root = world(tmp_path, learnable=True)
    within(root, walk)
    found = within(root, act)
    assert found.b.startswith("classical/") and found.answer == "better"


def test_what_is_no_variant_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("change", "baseline"):
        (tmp_path / name).mkdir()

    async def act(session: Session) -> str:
        right = describe(current(session))
        said = []
        for wrong in ([1, 2], {"name": "x"}, right | {"max_tokens": "many"}, right | {"temperature": 1}, "text"):
            (tmp_path / "variant.json").write_text(json.dumps(wrong))
            with pytest.raises(UserError) as caught:
                resolve(session, str(tmp_path / "variant.json"))
            said.append(str(caught.value))
        with pytest.raises(UserError, match="No such file"):
            resolve(session, str(tmp_path / "none.json"))
        for folder in (tmp_path, Path("change")):
            with pytest.raises(ConfigError, match="no project file"):
                resolve(session, str(folder))
        with pytest.raises(UserError, match="no run yet"):  # the rung, whatever folder has its name
            resolve(session, "baseline")
        return "\n".join(said)

    lines = within(world(tmp_path / "world"), act).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{tmp_path}/variant.json is not a valid exported variant (") for line in lines)


def test_a_variant_of_an_unknown_model_is_refused(tmp_path: Path) -> None:
    async def act(session: Session) -> None:
        one = current(session)
        await compare_variants(session, one, restore(describe(replace(one, model="gone")), "a file"))

    with pytest.raises(UserError, match=r"has no model \'gone\'\. Add it to \[models\], or use one of: weak, strong"):
        within(world(tmp_path), act)


def test_shots_that_are_gone_are_told(tmp_path: Path) -> None:
    async def act(session: Session) -> None:
        pool, case = session.pool, [Case(id="c", input="x")]
        assert len(pool.select(pool.fixed(3, 1), case)["c"]) == 3
        for shots in (Shots(mode="fixed", k=1, pool_hash=pool.hash, ids=("gone",)), ShotPool(()).per_case(2)):
            with pytest.raises(
                UserError, match=r"no longer in the project's examples|selects few-shot examples, have changed"
            ):
                pool.select(shots, case)

    within(world(tmp_path), act)


SERVED = '[models.served]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'


def test_a_name_cannot_write_code_into_the_exported_client(tmp_path: Path) -> None:
    name = 'x"""\nimport os; os.abort()\n"""{0}\\'
    root = world(tmp_path / "world", extra=SERVED + "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n")

    async def act(session: Session) -> list[Path]:
        one = replace(asking(session, "served"), name=name, system="```\nhi", answer_after='"""')
        one = replace(one, decoding={"temperature": 0.2, "top_p": 0.9})
        return export_variant(session, one, tmp_path / "out")

    paths = {path.name: path for path in within(root, act)}
    assert 'return answer.rpartition(\'"""\')[2].strip()\n' in paths["client.py"].read_text()
    source = paths["client.py"].read_text().replace("from openai import OpenAI", "OpenAI = lambda **_: None")
    (tmp_path / "out" / "checked.py").write_text(f"{source.split('if __name__')[0]}\nprint(VARIANT == {name!r})\n")
    done = subprocess.run([sys.executable, tmp_path / "out" / "checked.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    title = '# x""" import os; os.abort() """{0}\\\n\nModel: served. D'.replace('"', "&#34;")
    assert paths["prompt.md"].read_text().startswith(title)
    assert "\n````\n```\nhi\n````\n" in paths["prompt.md"].read_text()
    assert "Decoding: temperature=0.2, top_p=0.9.\n" in paths["prompt.md"].read_text()


def test_an_exported_client_opens_a_choice_that_is_wrapped_in_json(tmp_path: Path) -> None:
    root = world(tmp_path / "world", extra=SERVED + "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n")

    async def act(session: Session) -> list[Path]:
        one = replace(asking(session, "served"), output=session.task.structured)
        assert session.models["served"].provider.capabilities.choice == "wrapped_schema"  # type: ignore[attr-defined]
        return export_variant(session, one, tmp_path / "out")

    client = next(path for path in within(root, act) if path.name == "client.py")
    assert 'return json.loads(answer)["label"]' in client.read_text().replace("'", '"')


@pytest.mark.parametrize("api", ["chat/completions", "responses"])
def test_an_exported_client_calls_the_api_that_was_measured(tmp_path: Path, api: str) -> None:
    extra = SERVED.replace("/v1", "/v1/responses" if api == "responses" else "/v1")
    root = world(tmp_path / "world", extra=f"{extra}input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n")

    async def act(session: Session) -> list[Path]:
        return export_variant(session, asking(session, "served"), tmp_path / "out")

    client = next(path for path in within(root, act) if path.name == "client.py")
    sent: dict[str, Any] = {}

    def create(path: str, answer: Any) -> SimpleNamespace:
        return SimpleNamespace(create=lambda **body: sent.update(body, path=path) or answer)

    chat = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="red"))])
    fake = SimpleNamespace(
        chat=SimpleNamespace(completions=create("chat/completions", chat)),
        responses=create("responses", SimpleNamespace(output_text="red")),
    )
    source = client.read_text().replace("from openai import OpenAI", "").replace("OpenAI(", "dict(")
    space: dict[str, Any] = {"__file__": str(client), "__name__": "client"}
    exec(source, space)
    assert space["client"]["base_url"] == "http://127.0.0.1:9/v1"
    space["client"] = fake
    assert space["ask"]("What colour?") == "red"
    assert sent["path"] == api
    assert ("input" in sent, "messages" in sent) == (api == "responses", api != "responses")
    assert sent.get("extra_body", {}).get("store") == (False if api == "responses" else None)


def test_an_exported_client_sends_the_settings_of_a_tag(tmp_path: Path) -> None:
    root = world(tmp_path / "world", extra=SERVED + "input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n")
    rows = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    lines = [json.dumps(row | {"tags": [["warm", "greedy", "other"][i % 3]]}) for i, row in enumerate(rows)]
    (root / "cases.jsonl").write_text("\n".join(lines))
    evil = 'x"""\n{0}'
    by_tag = {
        "warm": TagSetting(decoding={"temperature": 0.7, "min_p": 0.1}, max_tokens=9),
        **dict.fromkeys(["greedy", evil], TagSetting(decoding={}, max_tokens=256)),
    }

    async def act(session: Session) -> tuple[list[Path], list[bool], Variant]:
        one = replace(asking(session, "served"), decoding={"temperature": 0.2}, by_tag=by_tag)
        assert restore(describe(one), "here") == replace(one, model_identity=dict(one.model_identity))
        plain = replace(one, by_tag={})
        different = [a != b for a, b in pairwise([plain.id, one.id, replace(one, by_tag={"warm": by_tag["warm"]}).id])]
        return export_variant(session, one, tmp_path / "out"), different, one

    written, different, _ = within(root, act)
    paths = {path.name: path for path in written}
    assert all(different)
    assert "with the tag warm: temperature=0.7, min_p=0.1" in paths["prompt.md"].read_text()
    bodies: list[Any] = []
    answer = SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="red"))])
    completions = SimpleNamespace(create=lambda **body: bodies.append(body) or answer)
    source = paths["client.py"].read_text().replace("from openai import OpenAI", "").replace("OpenAI(", "dict(")
    space: dict[str, Any] = {"__file__": str(paths["client.py"]), "__name__": "client"}
    exec(source, space)
    space["client"] = SimpleNamespace(chat=SimpleNamespace(completions=completions))
    for tag in ([], ["other"], ["warm"], ["greedy"], [evil]):
        assert space["ask"]("What colour?", *tag) == "red"
    assert [body.get("temperature") for body in bodies] == [0.2, 0.2, 0.7, None, None]
    assert [body.get("extra_body", {}).get("min_p") for body in bodies] == [None, None, 0.1, None, None]
    assert len({body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies}) == 2


def test_a_run_takes_new_looks_for_another_margin_and_none_for_a_corrected_label(tmp_path: Path) -> None:
    async def walk(session: Session) -> tuple[int, str]:
        record = await LadderRun(session).run(["baseline", "model"])
        return record.comparisons.made, " ".join(record.notes)

    root = world(tmp_path)
    assert within(root, walk) == (1, "")
    cases = root / "cases.jsonl"
    text = cases.read_text()
    cases.write_text(text.replace('"expected":"red"', '"expected":"green"', 1))
    comparisons, notes = within(root, walk)
    assert comparisons == 1 and "Labels of cases have changed since the first run" in notes
    file = root / "tuneworthy.toml"
    file.write_text(file.read_text().replace("target = 0.9", "target = 0.9\nmargin = 0.2"))
    assert within(root, walk)[0] == 2
