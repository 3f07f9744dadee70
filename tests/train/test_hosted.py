"""`train --on`: a job at a vendor is started and paid for once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.ladder.simulations import write_simulation
from tests.train.hosted_vendor import ACCOUNT, KEY, STATES, Fault, Vendor, told
from tuneworthy.cli import invoke
from tuneworthy.config import Project, load
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.tuned_models import add_base, missing, tuned_models
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts
from tuneworthy.train.hosted import api as api_module
from tuneworthy.train.hosted import job as job_module
from tuneworthy.train.hosted import vendors as vendors_module
from tuneworthy.train.hosted.job import JobRequest, Record, open_api, open_job, paid_usd, prepare_job, records, run_job
from tuneworthy.train.hosted.vendors import vendors

BASES = {
    "openai": "gpt-4.1-mini-2025-04-14",
    "together": "Qwen/Qwen3-8B",
    "fireworks": "accounts/fireworks/models/qwen3-8b",
}
PATHS = {"openai": "/v1", "together": "/v1", "fireworks": "/v1/accounts/{account}"}
WEAK = 'answer(request, 0.4, "w") if question(request).startswith("item") else "I do not know"'
REAL_TABLE = vendors_module._table()


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(api_module, "PAUSE_S", 0.0)
    for variable in ("OPENAI_API_KEY", "TOGETHER_API_KEY", "FIREWORKS_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", ACCOUNT)


def write_project(root: Path, extra: str = "", **options: Any) -> Path:
    return write_simulation(root, {"weak": WEAK}, **{"n_cases": 100, "n_examples": 30, "extra": extra, **options})


def request(name: str, **changes: Any) -> JobRequest:
    usual = {"vendor": name, "base": BASES[name], "usd_per_mtok": None, "personal_data": "mask", "unsafe": True}
    return JobRequest(**{**usual, **changes})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the rows of a job for each vendor."""
    root = write_project(tmp_path_factory.mktemp("hosted") / "world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIREWORKS_ACCOUNT_ID", ACCOUNT)
        for name in BASES:
            prepare_job(load(root), Folder(root), request(name), print)
    return root


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Project:
    return load(Path(shutil.copytree(prepared, tmp_path / "world")))


def record_of(project: Project, name: str) -> Record:
    """The record as the next command reads it."""
    found = [one for one in records(Folder(project.root)) if one["vendor"] == name]
    assert len(found) == 1
    return found[0]


def point_at(patch: pytest.MonkeyPatch, name: str, url: str) -> None:
    """Let the table name a local server."""
    own = REAL_TABLE["vendors"][name] | {"api": url + PATHS[name], "answers": f"{url}/v1"}
    patch.setattr(vendors_module, "_table", lambda: {**REAL_TABLE, "vendors": {**REAL_TABLE["vendors"], name: own}})


def play(project: Project, vendor: Vendor, said: list[str] | None = None) -> Artifact:
    """Bring the job to its end at a local server."""

    async def run() -> Artifact:
        async with vendor as server:
            with pytest.MonkeyPatch.context() as patch:
                point_at(patch, vendor.name, server.url)
                record = record_of(project, vendor.name)
                async with open_api(project, record) as api:
                    return await run_job(Folder(project.root), record, api, (said if said is not None else []).append)

    return asyncio.run(run())


def killed_in(where: str, moment: int, work: Callable[[], object]) -> bool:
    """Run `work` until its n-th request (before or after the server has processed it) or write; say if it got there."""
    n = 0
    exchange, write = HttpClient._exchange, Folder.write

    async def exchanged(self: HttpClient, *arguments: Any, **named: Any) -> Any:
        nonlocal n
        n += where in {"before", "after"}
        if n == moment and where == "before":
            raise Killed
        answer = await exchange(self, *arguments, **named)
        if n == moment and where == "after":
            raise Killed
        return answer

    def written(self: Folder, *arguments: Any) -> Path:
        nonlocal n
        n += where == "write"
        if n == moment and where == "write":
            raise Killed
        return write(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpClient, "_exchange", exchanged)
        patch.setattr(Folder, "write", written)
        try:
            work()
        except Killed:
            return True
    return False


def started_once(vendor: Vendor) -> bool:
    return (vendor.uploads, len(vendor.files), len(vendor.jobs), len(vendor.bodies)) == (1, 1, 1, 1)


# --- killed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_killed_at_any_moment_nothing_is_uploaded_or_started_twice(prepared: Path, tmp_path: Path, name: str) -> None:
    n_moments = 0
    for where in ("before", "after", "write"):
        for moment in count(1):
            root = shutil.copytree(prepared, tmp_path / f"{where}{moment}")
            vendor, project = Vendor(name), load(Path(root))
            if not killed_in(where, moment, lambda: play(project, vendor)):  # noqa: B023
                break
            made = play(project, vendor)
            assert started_once(vendor), (where, moment)
            assert made.manifest["model"] and made.manifest["state"] == "succeeded"
            assert [one.id for one in artifacts(Folder(project.root), "hosted")] == [made.id]
            n_moments += 1
    assert n_moments >= 20


@pytest.mark.parametrize(("looks", "n_jobs"), [(3, 1), (1, 2)])
def test_a_list_that_does_not_show_the_job_yet_is_read_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, looks: int, n_jobs: int
) -> None:
    monkeypatch.setattr(job_module, "LOOKS", looks)
    vendor = Vendor("openai", faults=[Fault("start", reset, processed=True)])
    with pytest.raises(TuneworthyError):
        play(project, vendor)
    vendor.hidden = 1
    play(project, vendor)
    assert len(vendor.jobs) == n_jobs  # with a single look the second start is what this protects from


def test_what_is_at_the_vendor_is_recognised_without_any_record(project: Project) -> None:
    vendor = Vendor("openai", files=[{"id": f"file-x{n}", "filename": f"other-{n}"} for n in range(5)])
    play(project, vendor)
    store = Folder(project.root)
    record = record_of(project, "openai")
    job_module.save(store, record, job=None, file=None, state="", model=None)
    vendor.jobs += [{"id": f"ftjob-x{n}", "metadata": {}, "left": ["running"]} for n in range(5)]  # further pages
    play(project, vendor)
    assert (vendor.uploads, len(vendor.bodies)) == (1, 1)


# --- faults -------------------------------------------------------------------------------------------------------


def error(status: int, message: str = "no", **more: Any) -> Callable[[web.Request], web.Response]:
    return lambda _: told({"error": {"message": message, **more}}, status)


def text(body: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(text=body, content_type="application/json")


def answer(value: Any) -> Callable[[web.Request], web.Response]:
    return lambda _: told(value)


async def reset(incoming: web.Request) -> web.StreamResponse:
    assert incoming.transport is not None
    incoming.transport.abort()
    return web.Response()


async def cut_off(incoming: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await reply.prepare(incoming)
    await reply.write(b'{"id": "')
    assert incoming.transport is not None
    incoming.transport.close()
    return reply


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


def fault(kind: str, play_: Any, *, processed: bool = False) -> dict[str, Any]:
    return {"faults": [Fault(kind, play_, processed, times=99)]}


def ends(name: str, state: str, **end: Any) -> dict[str, Any]:
    return {"states": [STATES[name][0], state], "end": end}


FAULTS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    # the key and the account
    "key refused": ("openai", fault("list_jobs", error(401, f"Incorrect API key: {KEY}")), 2, "OPENAI_API_KEY"),
    "key refused at the upload": ("together", fault("upload", error(401)), 2, "TOGETHER_API_KEY"),
    "no permission": ("openai", fault("list_files", error(403, "not allowed to fine-tune")), 2, "not allowed"),
    "no permission to start": ("openai", fault("start", error(403, "closed to new organisations")), 2, "closed to new"),
    "no such account": ("fireworks", fault("list_jobs", error(404, "account not found")), 2, "account not found"),
    # limits
    "too many requests": ("openai", fault("list_jobs", error(429)), 5, "429"),
    "too many requests at the start": ("openai", fault("start", error(429)), 5, "resume"),
    "no money": ("openai", fault("start", error(429, "quota", code="insufficient_quota")), 5, "balance"),
    "payment required": ("together", fault("start", error(402, "add credits")), 5, "add credits"),
    "overloaded": ("fireworks", fault("job", error(529)), 5, "529"),
    # the server is down
    "server error in a list": ("openai", fault("list_files", error(500)), 5, "500"),
    "server error at the upload": ("openai", fault("upload", error(500)), 5, "500"),
    "server error behind the upload": ("openai", fault("upload", error(500), processed=True), 5, "500"),
    "server error at the start": ("together", fault("start", error(500)), 5, "500"),
    "server error behind the start": ("together", fault("start", error(502), processed=True), 5, "502"),
    "server error while it runs": ("openai", fault("job", error(503)), 5, "503"),
    "announced, then an error": ("fireworks", fault("announce", error(500), processed=True), 5, "500"),
    # answers that are none
    "a list that is no JSON": ("openai", fault("list_jobs", text("<html>")), 5, "<html>"),
    "a list that is a list": ("openai", fault("list_jobs", answer([])), 5, "JSON object"),
    "a list without rows": ("openai", fault("list_jobs", answer({"object": "list"})), 5, "`data`"),
    "a list without an end": (
        "openai", fault("list_jobs", answer({"data": [{"id": "a"}], "has_more": True})), 5, "without an end"),
    "an upload without an id": ("openai", fault("upload", answer({}), processed=True), 5, "`id`"),
    "a start without an id": ("openai", fault("start", answer({"object": "x"}), processed=True), 5, "`id`"),
    "an id that leaves its path": ("openai", fault("start", answer({"id": ".."}), processed=True), 5, "`id`"),
    "a start that is no JSON": ("together", fault("start", text("ok"), processed=True), 5, "ok"),
    "a start that is cut off": ("openai", fault("start", cut_off, processed=True), 5, "resume"),
    "a job that is no JSON": ("openai", fault("job", text("{")), 5, "{"),
    "a job that is cut off": ("fireworks", fault("job", cut_off), 5, "resume"),
    # connections
    "the upload is dropped": ("openai", fault("upload", reset), 5, "resume"),
    "the upload is dropped behind it": ("together", fault("upload", reset, processed=True), 5, "resume"),
    "the start is dropped": ("openai", fault("start", reset), 5, "resume"),
    "the start is dropped behind it": ("fireworks", fault("start", reset, processed=True), 5, "resume"),
    "no answer to a list": ("openai", fault("list_jobs", hang), 5, "0.2 s"),
    "no answer to the start": ("openai", fault("start", hang, processed=True), 5, "0.2 s"),
    "no answer while it runs": ("openai", fault("job", hang), 5, "0.2 s"),
    # what is sent is refused
    "the upload is too large": ("together", fault("upload", error(413, "too large")), 2, "too large"),
    "the upload is invalid": ("openai", fault("upload", error(400, "not JSONL")), 2, "not JSONL"),
    "the file is rejected": ("openai", {"file_state": {"status": "error", "status_details": "line 3"}}, 2, "line 3"),
    "the format is invalid": (
        "together",
        {"file_state": {"processing_status": "INVALID_FORMAT", "validation_report": {"error": "line 7"}}},
        2,
        "line 7",
    ),
    "no such model": ("openai", fault("start", error(400, "model not available for fine-tuning")), 2, "not available"),
    "the settings are invalid": ("together", fault("start", error(422, "n_epochs")), 2, "n_epochs"),
    # how a job can end
    "it failed": ("openai", ends("openai", "failed", error={"code": "bad", "message": "row 9 is empty"}), 2, "row 9"),
    "it failed without a word": ("openai", ends("openai", "failed", error=None), 2, "failed"),
    "it failed on their side": (
        "openai", ends("openai", "failed", error={"code": "server_error", "message": "ours"}), 5, "ours"),
    "it failed at Together": ("together", ends("together", "error", events=[{"message": "bad row"}]), 2, "bad row"),
    "it failed at Fireworks": (
        "fireworks", ends("fireworks", "JOB_STATE_FAILED", status={"code": "INVALID_ARGUMENT", "message": "bad"}), 2,
        "bad"),
    "it failed inside Fireworks": (
        "fireworks", ends("fireworks", "JOB_STATE_FAILED", status={"code": "INTERNAL", "message": "boom"}), 5, "boom"),
    "it was cancelled": ("openai", ends("openai", "cancelled"), 2, "cancelled"),
    "it was cancelled at Together": ("together", ends("together", "cancelled"), 2, "cancelled"),
    "its state is unknown": ("openai", ends("openai", "meditating"), 5, "meditating"),
    "its state is missing": ("openai", fault("job", answer({"id": "ftjob-1"})), 5, "None"),
    "no model is named": ("openai", ends("openai", "succeeded", fine_tuned_model=None), 5, "does not name"),
    "it is gone": ("openai", fault("job", error(404, "no such job")), 2, "no such job"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_one_clear_error_and_nothing_is_made_twice(
    project: Project, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    name, options, status, words = FAULTS[case]
    monkeypatch.setattr(api_module, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(api_module, "MOST_PAGES", 20)
    vendor = Vendor(name, **{**options, "faults": [Fault(**vars(one)) for one in options.get("faults", [])]})
    with pytest.raises(TuneworthyError) as caught:
        play(project, vendor)
    error_ = caught.value
    assert error_.exit_status == status and words in str(error_) and error_.hint and error_.error_code
    assert vendors()[name].title in error_.message and "\n" not in str(error_) and KEY not in str(error_)
    monkeypatch.undo()
    for path in project.root.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_a_fault_that_passes_is_got_over(project: Project) -> None:
    faults = [
        Fault(kind, play_) for kind in ("list_jobs", "list_files", "file", "job") for play_ in (error(500), reset)
    ]
    vendor = Vendor("openai", faults=faults)
    play(project, vendor)
    assert started_once(vendor)


RESUMED = [case for case, (_, options, _, _) in FAULTS.items() if "faults" in options]


@pytest.mark.parametrize("case", RESUMED)
def test_after_any_fault_the_same_command_goes_on(project: Project, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    name, options, *_ = FAULTS[case]
    monkeypatch.setattr(api_module, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(api_module, "MOST_PAGES", 20)
    vendor = Vendor(name, faults=[Fault(**vars(one)) for one in options["faults"]])
    with pytest.raises(TuneworthyError):
        play(project, vendor)
    vendor.faults = []
    monkeypatch.setattr(api_module, "TIMEOUT_S", 20.0)
    made = play(project, vendor)
    assert started_once(vendor) and made.manifest["model"]


def test_each_request_that_starts_something_is_sent_once(project: Project) -> None:
    for kind in ("upload", "start"):
        vendor = Vendor("openai", faults=[Fault(kind, error(500), times=99)])
        with pytest.raises(TuneworthyError):
            play(project, vendor)
        assert vendor.asked[kind] == 1


# --- what is sent, and what it costs ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASES)
def test_the_table_gives_each_vendor_what_its_protocol_wants(project: Project, name: str) -> None:
    vendor = Vendor(name)
    record = record_of(project, name)
    made = play(project, vendor)
    [file] = vendor.files
    rows = [orjson.loads(line) for line in file["content"].splitlines()]
    assert len(rows) == record["n_rows"] >= 20
    assert rows[0]["messages"][0] == {"role": "system", "content": "Name the colour."}
    assert [turn["role"] for turn in rows[0]["messages"]] == ["system", "user", "assistant"]
    assert vendor.keys == {f"Bearer {KEY}"}
    manifest = made.manifest
    assert manifest["prompt"]["system"] == "Name the colour." and manifest["epochs"] == 3 and not manifest["gated"]
    rate = {"openai": 5.0, "together": 0.48, "fireworks": 0.5}[name]
    most = len(file["content"]) * 3 * rate / 1e6
    assert record["usd"] == pytest.approx(most)
    billed = {"openai": 5.0, "together": 0.48}.get(name, most)  # a million tokens, where the vendor counts them
    assert manifest["usd"] == pytest.approx(billed) == paid_usd(Folder(project.root))


def test_every_row_of_the_table_names_its_sources_and_how_sure_they_are() -> None:
    for vendor in vendors().values():
        assert {"protocol", "min_rows", "max_bytes"} <= set(vendor.sources)
        assert all(text_.split(",")[0] in {"V", "V2", "K"} for text_ in vendor.sources.values())
        assert all(row["mark"] in {"V", "V2", "K"} and "http" in row["source"] for row in vendor.prices)
        assert ("last_start" in vendor.sources) == (vendor.last_start is not None)
        assert len({state for states in vendor.states.values() for state in states}) == sum(
            map(len, vendor.states.values())
        )
        assert set(vendor.states) == {"running", "succeeded", "failed", "cancelled"}


@pytest.mark.parametrize(
    ("treatment", "n_rows", "words"), [("mask", 30, b"[EMAIL_"), ("drop", 29, b""), ("send", 30, b"ada@")]
)
def test_personal_data_is_treated_as_for_a_teacher(tmp_path: Path, treatment: Any, n_rows: int, words: bytes) -> None:
    root = write_project(tmp_path / "world")
    path = root / "examples.jsonl"
    lines = path.read_bytes().splitlines()
    row = orjson.loads(lines[0])
    row["messages"][0]["content"] += " by ada@example.org"
    path.write_bytes(b"\n".join([orjson.dumps(row), *lines[1:]]) + b"\n")
    said: list[str] = []
    record = prepare_job(load(root), Folder(root), request("openai", personal_data=treatment), said.append)
    [sent] = (root / ".tuneworthy").glob("models/*/tuneworthy-*.jsonl")
    assert record["n_rows"] == n_rows and words in sent.read_bytes()
    assert (b"ada@" in sent.read_bytes()) == (treatment == "send")
    assert any("personal data" in line for line in said) == (treatment != "send")


@pytest.mark.parametrize(
    ("extra", "changes", "words"),
    [("[constraints]\ndata_stays = true", {}, "data_stays"), ("", {"base": None}, "--base"),
     ("", {"base": "mixtral-8x7b"}, "--usd-per-mtok"), ("", {"base": "gpt-9"}, "--usd-per-mtok")],
)  # fmt: skip
def test_what_bars_a_job_is_said_before_anything_is_sent(
    tmp_path: Path, extra: str, changes: dict[str, Any], words: str
) -> None:
    root = write_project(tmp_path / "world", extra)
    with pytest.raises(TuneworthyError, match=words) as caught:
        prepare_job(load(root), Folder(root), request("openai", **changes), print)
    assert caught.value.exit_status == 2 and not list((root / ".tuneworthy").glob("models/*"))


def test_too_few_and_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_project(tmp_path / "few", n_examples=9)
    with pytest.raises(TuneworthyError, match="at least 10 rows"):
        prepare_job(load(root), Folder(root), request("openai"), print)
    small = REAL_TABLE["vendors"]["openai"] | {"max_bytes": 1000, "min_rows": 1}
    monkeypatch.setattr(vendors_module, "_table", lambda: {**REAL_TABLE, "vendors": {"openai": small}})
    with pytest.raises(TuneworthyError, match="largest file"):
        prepare_job(load(root), Folder(root), request("openai"), print)


# --- the command line ---------------------------------------------------------------------------------------------


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    """Run a vendor in a thread, and let the table name it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(vendor.__aenter__(), loop).result()
    with pytest.MonkeyPatch.context() as patch:
        point_at(patch, vendor.name, vendor.url)
        yield vendor
    asyncio.run_coroutine_threadsafe(vendor.__aexit__(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def train(root: Path, *more: str, name: str = "openai") -> int:
    return invoke(["train", "--on", name, "--base", BASES[name], "--unsafe", "--project", str(root), *more])


def test_the_command_shows_the_cost_trains_and_is_repeated_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path / "world")
    with serving(Vendor("openai")) as vendor:
        assert train(root, "--max-usd", "5") == 0
        shown = capsys.readouterr()
        assert "Cost: at most $0." in shown.err and "K, https://openai.com/api/pricing" in shown.err
        assert "2027-01-06" in shown.err and "succeeded" in shown.err
        assert '[models.tuned]\nprovider = "openai"\nmodel = "ft:' in shown.out and "[serve]" in shown.out
        assert "train --on openai" in missing(load(root))
        before = vendor.asked.copy()
        assert train(root, "--json") == 0
        assert vendor.asked == before
        assert orjson.loads(capsys.readouterr().out)["model"] == "ft:gpt-4.1-mini-2025-04-14:acme:tuned:1"


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [(["--max-usd", "0"], 4, "costs up to"), ([], 2, "--max-usd or --yes"), (["--yes"], 0, ""),
     (["--yes", "--max-usd", "0"], 4, "costs up to")],
)  # fmt: skip
def test_money_is_asked_about_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], status: int, words: str
) -> None:
    root = write_project(tmp_path / "world")
    with serving(Vendor("openai")) as vendor:
        assert train(root, *more) == status
        assert bool(vendor.asked) == (status == 0)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((given, "need --on") for given in (["--cancel"], ["--base", "m"], ["--max-usd", "1"], ["--yes"])),
        (["--personal-data", "send"], "need --on"),
        (["--on", "openai", "--pilot"], "on this machine"),
    ],
)
def test_options_that_do_not_belong_together_start_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    root = write_project(tmp_path / "world")
    assert invoke(["train", "--unsafe", "--project", str(root), *arguments]) == 2
    assert words in capsys.readouterr().err and not (root / ".tuneworthy" / "models").exists()


def test_what_earlier_jobs_cost_counts_against_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_project(tmp_path / "world", "budget_usd = 5.01")  # behind [ladder]
    with serving(Vendor("openai")):
        assert train(root) == 0
        assert train(root, "--usd-per-mtok", "25", "--personal-data", "send") == 0  # the same rows: the same job
        (root / "tuneworthy.toml").write_text((root / "tuneworthy.toml").read_text() + "\n[train]\nepochs = 2\n")
        assert train(root, "--usd-per-mtok", "25") == 4
    assert "$0.01 of the budget" in capsys.readouterr().err


def test_a_key_goes_nowhere_that_nobody_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_project(tmp_path / "world")
    with serving(Vendor("openai")) as vendor:
        monkeypatch.delenv("TUNEWORTHY_TRUST")
        assert train(root, "--yes") == 2
        assert not vendor.asked
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_a_missing_key_or_account_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_project(tmp_path / "world")
    monkeypatch.delenv("FIREWORKS_ACCOUNT_ID")
    assert train(root, "--yes", name="fireworks") == 2
    assert "FIREWORKS_ACCOUNT_ID" in capsys.readouterr().err
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", ACCOUNT)
    with serving(Vendor("fireworks")):
        monkeypatch.delenv("FIREWORKS_API_KEY")
        assert train(root, "--yes", name="fireworks") == 2
        assert "FIREWORKS_API_KEY" in capsys.readouterr().err
        monkeypatch.setenv("FIREWORKS_API_KEY", KEY)
        assert train(root, "--yes", name="fireworks") == 0


def test_ctrl_c_leaves_the_job_and_it_can_be_resumed_or_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with it ignored
    root = write_project(tmp_path / "world")

    async def interrupt(_: web.Request) -> web.StreamResponse:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.5)
        return told({"id": "ftjob-1", "status": "running"})

    with serving(Vendor("openai", faults=[Fault("job", interrupt)], states=["queued", "running"])) as vendor:
        assert train(root, "--yes") == 130
        told_ = capsys.readouterr().err
        assert "ftjob-1 is still running at OpenAI" in told_ and "--cancel" in told_
        assert open_job(Folder(root), "openai") is not None
        vendor.faults = [Fault("job", interrupt)]
        assert train(root) == 130, "resumed without asking for money again"
        assert "resuming it" in capsys.readouterr().err
        assert invoke(["train", "--on", "openai", "--cancel", "--project", str(root)]) == 0
        assert "cancelled" in capsys.readouterr().out and len(vendor.jobs) == 1
        assert invoke(["train", "--on", "openai", "--cancel", "--project", str(root)]) == 2
        vendor.states = []
        assert train(root, "--yes") == 0
    assert [job["metadata"]["tuneworthy"][-2:] for job in vendor.jobs][1] == "-2"
    assert vendor.uploads == 1


def test_a_job_that_ended_before_it_is_cancelled_is_not_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path / "world")
    with serving(Vendor("openai", faults=[Fault("job", error(500), times=4)], states=["succeeded"])) as vendor:
        assert train(root, "--yes") == 5
        assert invoke(["train", "--on", "openai", "--cancel", "--project", str(root)]) == 0
        assert "succeeded" in capsys.readouterr().out and not vendor.asked["cancel"]
        assert invoke(["train", "--on", "openai", "--project", str(root)]) == 0, "no model needs to be named again"
    assert started_once(vendor)


# --- the ladder ---------------------------------------------------------------------------------------------------


def test_the_tuned_model_enters_the_ladder_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rungs = ["classical", "baseline", "fine_tune"]
    root = write_project(tmp_path / "world", '[train]\nsystem = "Colour?"', n_cases=200, n_examples=420, rungs=rungs)
    with serving(Vendor("openai")) as vendor:
        assert train(root, "--yes") == 0
        sections = capsys.readouterr().out
        named = sections[sections.index("[models.tuned]") : sections.index("Next:")]
        base = named.partition("[serve]")[0].replace("models.tuned", "models.before")
        base = "\n".join(f'model = "{BASES["openai"]}"' if "model =" in line else line for line in base.splitlines())
        with (root / "tuneworthy.toml").open("a") as file:
            file.write(f"{named}\n{base}\n")
        project = load(root)
        [tuned] = tuned_models(project)
        [made] = artifacts(Folder(root), "hosted")
        assert (tuned.hosted, tuned.artifact, tuned.prompt["system"]) == (made.id, made.id, "Colour?")
        against = add_base(None, project, tuned)  # type: ignore[arg-type]
        assert (against.model, against.base) == ("before", tuned.base == f"openai:{BASES['openai']}" and tuned.base)
        assert invoke(["run", "--project", str(root), "--max-usd", "1"]) == 0
        assert vendor.asked["chat"] > 0
    record = read_record(Folder(root))
    assert record is not None
    rung = record.rung("fine_tune")
    assert rung is not None and rung.score is not None and rung.score > 0.9
    assert (rung.detail.hosted, rung.detail.compared_base) == (made.id, tuned.base)
    assert invoke(["decide", "--project", str(root), "--json"]) in {0, 3, 4}
    capsys.readouterr()
    invoke(["decide", "--project", str(root), "--json"])
    gates = {gate["gate"]: gate["status"] for gate in orjson.loads(capsys.readouterr().out)["gates"]}
    assert (gates["parity"], gates["serving"]) == ("not_applicable", "pass")
