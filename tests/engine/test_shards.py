"""Shards of a run: the same record, no call twice, one budget, whoever answers, fails or is killed."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import pytest
from tests.e2e.resume_project import record
from tests.killing import killed_at
from tests.ladder.simulations import write_simulation

from tuneworthy import cli
from tuneworthy.config import load
from tuneworthy.engine import shards
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import Models
from tuneworthy.engine.rounds import Rounds
from tuneworthy.engine.runner import Progress, Runner
from tuneworthy.engine.shards import DIVIDED, Shards, work
from tuneworthy.errors import BudgetSpent, ModelError, OutsideFault, TuneworthyError, Undecided, UserError
from tuneworthy.executors import Engine, PooledTask, perform, run_tasks
from tuneworthy.ladder.run import run_ladder
from tuneworthy.ladder.session import Session, open_runner
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.store.responses import Expenses
from tuneworthy.store.signatures import Keyring, MeasuredElsewhere
from tuneworthy.trust import VARIABLE, Untrusted

WORLD = """
import json
from pathlib import Path

from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import outgoing
from tuneworthy.types import Response, canonical

LOG = Path(__file__).parents[1] / "calls.log"  # copies of the project share it


def logged(request, text, bad=""):
    with LOG.open("ab") as log:
        log.write(canonical([outgoing(request), request.repeat]) + b"\\n")
    if bad and bad in request.messages[-1]["content"]:
        raise ProviderError("no such case", code="refused", retryable=False)
    size = sum(len(message["content"]) for message in request.messages)
    return Response(text=text, input_tokens=size // 4, output_tokens=2)


def sound(request):
    seen = json.loads(request.messages[-1]["content"].split("\\n")[1])
    return logged(request, "good" if seen["answer"] == seen["reference"] else "bad")
"""
# Calls need a file of the working folder and a module of the import path, and write down their process.
NEEDY = """
plain = logged


def logged(*arguments):
    import os
    import own_rules
    Path("rules.txt").read_text()
    with open("workers", "a") as file:
        print(os.getpid(), file=file)
    return plain(*arguments)
"""
MODEL = 'logged(request, answer(request, 0.9 if has_shots(request) else 0.4, str(len(request.messages))), "{bad}")'
JUDGE = '[[graders]]\ntype = "judge"\nmodel = "judge"\nrubric = "It names the colour."\n'
PRICE = "input_usd_per_mtok = 0.0\noutput_usd_per_mtok = 1000.0\n"
# Of a call with two tokens; its ceiling is twice as much.
CALL_USD = 0.002


def project(root: Path, *, n_cases: int = 80, judged: bool = False, price: str = "", bad: str = "") -> Path:
    """Write a project with races over shots, whose model writes each call to `root.log`."""
    write_simulation(root, {"m": MODEL.format(bad=bad)}, n_cases=n_cases, n_examples=40, rungs=["baseline", "few_shot"])
    script, file = root / "world.py", root / "tuneworthy.toml"
    script.write_text(script.read_text() + WORLD)
    text = (
        file.read_text()
        .replace("[prompt]", "[prompt]\nmax_tokens = 4")
        .replace('function = "world.py:m"\n', f'function = "world.py:m"\n{price}concurrency = 6\n')
    )
    if judged:
        text = text.replace('[[graders]]\ntype = "exact"\n', JUDGE)
        text += '[models.judge]\nprovider = "scripted"\nfunction = "world.py:sound"\n'
    file.write_text(text)
    log_of(root).write_bytes(b"")
    return root


def log_of(root: Path) -> Path:
    """The calls of a project, which its copies share."""
    return root.parent / "calls.log"


def calls(root: Path) -> Counter[str]:
    return Counter(log_of(root).read_text().splitlines())


def in_shards(
    n: int, engine: Engine = "local", sizes: list[int] | None = None
) -> Callable[[Session], Awaitable[Rounds | None]]:
    """Return what sends the rounds of a run to `n` shards; `sizes` gets the requests of each."""

    async def rounds(session: Session) -> Rounds:
        found = Shards(session.project, session.runner, n, engine).rounds()
        send = found.send

        async def counted(wanted: Any) -> None:
            if sizes is not None:
                sizes.append(sum(len(jobs) for _, jobs in wanted.values()))
            await send(wanted)

        found.send, found.quiet_s = counted, 0.01
        return found

    return rounds


def run(root: Path, n: int = 0, engine: Engine = "local", sizes: list[int] | None = None, **options: Any) -> Any:
    """Run the ladder, in shards or not, and return the record without times."""
    asyncio.run(run_ladder(load(root), rounds=in_shards(n, engine, sizes) if n else None, **options))
    return record(root)


def in_this_process(tasks: Sequence[PooledTask], engine: Engine, *arguments: Any, **options: Any) -> None:
    """Run tasks as `run_tasks` does, but here, where a test can plant faults."""
    if engine == "slurm":
        run_tasks(tasks, engine, *arguments, **options)
    errors = [error for task in tasks if (error := attempt(task))]
    if errors:
        raise errors[0]


def attempt(task: PooledTask) -> TuneworthyError | None:
    try:
        shards.work_as_task(**task.arguments)
    except TuneworthyError as error:
        return error
    return None


@pytest.fixture(autouse=True)
def small_rounds_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MIN_REQUESTS", 6)
    monkeypatch.setattr(shards, "run_tasks", in_this_process)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """The record of a run in one process, and its number of calls."""
    root = project(tmp_path_factory.mktemp("plain") / "p", price=PRICE)
    return run(root), calls(root).total()


def test_a_run_in_shards_has_the_record_of_a_run_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MIN_REQUESTS", 10)
    results = []
    for n in (0, 1, 4):
        (tmp_path / str(n)).mkdir()
        root, sizes = project(tmp_path / str(n) / "p", n_cases=120, judged=True), list[int]()
        results.append((run(root, n, sizes=sizes), calls(root)))
        assert set(calls(root).values()) == {1}
        assert bool(sizes) is bool(n) and not (root / ".tuneworthy" / "shards").exists()
    assert results[0] == results[1] == results[2]
    assert results[0][0]["rungs"][1]["candidates_tried"] > 1


def test_a_ray_cluster_that_a_run_starts_has_the_keys_and_folders_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[Any, int]
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(shards, "run_tasks", run_tasks)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    root = project(tmp_path / "p", price=PRICE)
    script = root / "world.py"
    script.write_text(script.read_text() + "\nimport os\nassert os.environ['MY_API_KEY'] == 'secret'\n")
    monkeypatch.setenv("MY_API_KEY", "secret")
    monkeypatch.setattr(shards, "MIN_REQUESTS", 20)
    sizes = list[int]()
    run(root, 2, "ray", sizes=sizes)
    assert sizes and (calls(root).total(), len(calls(root))) == (expected[1], expected[1])


def test_a_function_finds_its_files_and_modules_in_a_local_shard_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[Any, int]
) -> None:
    monkeypatch.setattr(shards, "run_tasks", run_tasks)
    root, place = project(tmp_path / "p", price=PRICE), tmp_path / "place"
    for path in (place / "rules.txt", tmp_path / "modules" / "own_rules.py"):
        path.parent.mkdir()
        path.write_text("RULES = 1\n")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    script = root / "world.py"
    script.write_text(script.read_text() + NEEDY)
    assert run(root, 2) and (calls(root).total(), len(calls(root))) == (expected[1], expected[1])
    pids = (place / "workers").read_text().split()
    assert len({*pids} - {str(os.getpid())}) > 1 and pids.count(str(os.getpid())) < len(pids) / 2


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A project whose first round waits for three workers elsewhere."""
    root = project(tmp_path / "p", price=PRICE)
    with pytest.raises(Undecided, match=r"Slurm has to run 3 tasks first.*--shard I/3"):
        run(root, 3, "slurm")
    assert not calls(root)
    return root


def copy_of(root: Path, name: str) -> Path:
    return Path(shutil.copytree(root, root.with_name(name)))


def test_shards_that_ran_in_copies_of_the_project_are_merged_and_the_run_goes_on(
    waiting: Path, expected: tuple[Any, int]
) -> None:
    rounds, found = 0, None
    while not found and (rounds := rounds + 1) < 20:
        numbers = sorted(int(path.stem) for path in (waiting / ".tuneworthy" / "shards").glob("[0-9].jsonl"))
        copies = [copy_of(waiting, f"copy-{rounds}-{number}") for number in numbers]
        for number, copy in zip(numbers, copies, strict=True):
            assert work(str(copy), number, 3) == work(str(copy), number, 3) != ""
        with pytest.raises(Undecided, match="Slurm has to run 1 task"):
            run(waiting, 3, "slurm", copies=copies[:-1])
        waits = ""
        try:
            found = run(waiting, 3, "slurm", copies=copies)
        except Undecided as error:
            waits = str(error)
        assert found or re.match(r"Slurm has to run \d+ tasks? first.*--shard I/3", waits)
    assert found == expected[0] and rounds > 1 and set(calls(waiting).values()) == {1}
    assert not (waiting / ".tuneworthy" / "shards").exists()


def change_model(root: Path) -> None:
    script = root / "world.py"
    script.write_text(script.read_text().replace("0.9", "0.8"))


def change_request(root: Path) -> None:
    for path in (root / ".tuneworthy" / "shards").glob("*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"Name the colour.", b"Name the weight."))


def cut_request(root: Path) -> None:
    for path in (root / ".tuneworthy" / "shards").glob("*.jsonl"):
        path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(("change", "n", "message"), [
    (change_model, 3, r"models\.m is \{.*\} here, but \{.*\} where the run is"),
    (change_request, 3, "the request for case .* was changed"),
    (cut_request, 3, "is not valid JSON"),
    (lambda root: None, 4, "The open round has 3 shards, not 4")])  # fmt: skip
def test_a_worker_refuses_a_round_that_is_not_its_own(
    waiting: Path, change: Callable[[Path], None], n: int, message: str
) -> None:
    change(waiting)
    with pytest.raises(UserError, match=message):
        work(str(waiting), 2, n)
    assert not calls(waiting)


@pytest.mark.parametrize("engine", ["local", "slurm"])
def test_only_a_worker_on_another_machine_reports_a_provider_that_gives_no_answer(engine: str, tmp_path: Path) -> None:
    root = project(tmp_path / "p", bad="item ")
    with pytest.raises(Undecided):
        run(root, 3, "slurm")
    file = root / ".tuneworthy" / "shards" / "round.json"
    this = orjson.loads(file.read_bytes())
    file.write_bytes(orjson.dumps({**this, "engine": engine}))
    if engine == "local":
        assert work(str(root), 1, 3) == this["id"]
    else:
        with pytest.raises(ModelError, match="rejects every call"):
            work(str(root), 1, 3)
    assert (file.with_name("1.done.json").exists()) is (engine == "local")


def test_a_worker_needs_the_consent_of_its_user(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(Untrusted, match=r"world\.py:m"):
        work(str(waiting), 1, 3)
    assert not calls(waiting)


def test_a_worker_without_an_open_round_has_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path / "p")
    assert cli.invoke(["run", "--project", str(root), "--shard", "2/4"]) == 0
    assert "Shard 2 of 4 has nothing to answer." in capsys.readouterr().err


def test_a_worker_without_requests_has_nothing_to_do(waiting: Path) -> None:
    (waiting / ".tuneworthy" / "shards" / "2.jsonl").unlink()
    assert not work(str(waiting), 2, 3) and work(str(waiting), 1, 3)


def test_a_worker_without_the_disk_of_the_project_does_not_count_as_done(waiting: Path, tmp_path: Path) -> None:
    task = {"number": 1, "n": 3}
    marker = tmp_path / "elsewhere" / "1.done.json"
    error = perform("tuneworthy.engine.shards:work_as_task", {"root": str(marker.parent), **task}, marker)
    assert isinstance(error, OutsideFault) and "no open round" in error.message and not marker.parent.exists()
    assert perform("tuneworthy.engine.shards:work_as_task", {"root": str(waiting), **task}, marker) is None


@pytest.mark.parametrize("typed", ["0", "0/4", "5/4", "4/", "a", "-1", "1/2/3"])
def test_a_shard_is_a_number_or_one_of_a_number(typed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "--project", str(tmp_path), "--shard", typed]) == 2
    assert "such as 2/4" in capsys.readouterr().err
    assert cli.invoke(["run", "--project", str(tmp_path), "--engine", "ray"]) == 2
    assert "--engine needs --shard N" in capsys.readouterr().err


def test_a_model_that_changes_between_driver_and_worker_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "p")

    def changed(*arguments: Any) -> str:
        change_model(root)
        return work(*arguments)

    monkeypatch.setattr(shards, "work", changed)
    with pytest.raises(UserError, match=r"models\.m is"):
        run(root, 2)
    assert not calls(root)


def test_answers_that_another_key_signed_are_refused_until_the_user_accepts_it(
    waiting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.environ["XDG_CONFIG_HOME"]
    copy = copy_of(waiting, "copy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    for number in (1, 2, 3):
        work(str(copy), number, 3)
    signer = Keyring().key
    monkeypatch.setenv("XDG_CONFIG_HOME", mine)
    with pytest.raises(MeasuredElsewhere, match=signer):
        run(waiting, copies=[copy])
    before = calls(waiting)
    signers = Path(mine) / "tuneworthy" / "allowed_signers"
    try:
        signers.write_text(f"cluster {signer}\n")
        run(waiting, copies=[copy])
    finally:
        signers.unlink()
    assert before <= calls(waiting) and set(calls(waiting).values()) == {1}
    with closing(sqlite3.connect(waiting / ".tuneworthy" / "responses.sqlite")) as db:
        marks = {bytes(body).split(b"\n")[1][:64].decode() for (body,) in db.execute("SELECT body FROM responses")}
    assert marks == {signer, Keyring().key}  # as they are


def test_a_folder_without_answers_is_no_copy(waiting: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no answers"):
        run(waiting, copies=[tmp_path / "empty"])


def spending(root: Path) -> Expenses:
    with closing(ResponseStore(Folder(root).responses)) as store:
        return store.spending()


class Shown(Progress):
    """Adds up the cost that is shown."""

    usd = 0.0

    def advance(self, cost_usd: float) -> None:
        self.usd += cost_usd

    spend = advance


def test_a_budget_that_ends_in_the_middle_is_one_budget_for_all_shards(
    tmp_path: Path, expected: tuple[Any, int]
) -> None:
    root = project(tmp_path / "p", price=PRICE)
    for limit in (0.06, 0.12):
        before = calls(root).total()
        with pytest.raises(BudgetSpent):
            run(root, 4, max_usd=limit)
        spent = calls(root).total() - before
        assert limit / 2 < spent * CALL_USD <= limit  # not many calls fit any more
        assert spending(root) == Expenses(pytest.approx(calls(root).total() * CALL_USD))
    before, shown = calls(root).total(), Shown()
    assert (run(root, 3, progress=shown), calls(root).total()) == expected
    assert shown.usd == pytest.approx((expected[1] - before) * CALL_USD)
    assert set(calls(root).values()) == {1}
    assert spending(root).usd == pytest.approx(expected[1] * CALL_USD)


def test_a_part_of_the_budget_that_is_elsewhere_counts_until_its_shard_is_complete(tmp_path: Path) -> None:
    root = project(tmp_path / "p", price=PRICE)
    for _ in range(2):
        with pytest.raises(Undecided):
            run(root, 2, "slurm", max_usd=0.4)
        assert spending(root).unanswered_usd == pytest.approx(0.4 * DIVIDED)
    work(str(root), 1, 2)
    with pytest.raises(Undecided, match="Slurm has to run 1 task"):
        run(root, 2, "slurm", max_usd=0.4)
    halves, one = spending(root), calls(root).total() * CALL_USD
    assert halves.answered_usd == pytest.approx(one) and 0.1 < halves.unanswered_usd < 0.3
    work(str(root), 2, 2)
    with pytest.raises(BudgetSpent):
        run(root, max_usd=0.0)
    assert spending(root) == Expenses(pytest.approx(calls(root).total() * CALL_USD))


@pytest.mark.parametrize(("moment", "owner", "name"), [
    (2, shards, "write_atomic"), (3, shards, "write_atomic"), (2, ResponseStore, "open_call")])  # fmt: skip
def test_a_round_whose_driver_was_killed_while_it_wrote_it_keeps_no_part_of_the_budget(
    moment: int, owner: Any, name: str, tmp_path: Path
) -> None:
    root = project(tmp_path / "p", price=PRICE)

    def waits() -> None:
        with pytest.raises(Undecided):
            run(root, 2, "slurm", max_usd=0.4)

    assert killed_at(moment, [(owner, name)], waits)
    with pytest.raises(BudgetSpent):
        run(root, max_usd=0.0)
    assert shards.open_round(Folder(root)) is None and spending(root) == Expenses(0.0)


def test_a_command_that_slurm_repeats_gets_no_further_allowance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path / "p", price=PRICE)
    monkeypatch.setenv("TUNEWORTHY_NEXT", str(tmp_path / "next.sh"))
    errors: list[type[Undecided]] = []
    while BudgetSpent not in errors:
        with pytest.raises(Undecided) as error:
            run(root, 2, "slurm", max_usd=0.2)
        errors.append(error.type)
        for number in (1, 2):
            work(str(root), number, 2)
    assert 2 < len(errors) < 10 and 0.18 < spending(root).usd <= 0.2 and (tmp_path / "next.sh").exists()


def test_a_call_that_a_worker_gave_up_is_not_repeated_by_the_driver(tmp_path: Path) -> None:
    root = project(tmp_path / "p", bad="item 2")
    run(root, 1)
    bad = [n for text, n in calls(root).items() if '"payload":"item 2' in text and "timing" not in text]
    assert len(bad) > 5 and set(bad) == {1}


def test_shards_share_the_concurrency_of_a_server(tmp_path: Path) -> None:
    found = load(project(tmp_path / "p"))
    model = Models(found)["m"]
    assert [shards.slots(found, model, n) for n in (1, 4, 6, 9)] == [[6], [1, 1, 2, 2], [1] * 6, [1] * 6]


@pytest.mark.parametrize("reader", ["worker", "driver"])
def test_whoever_finds_a_worker_at_its_shard_waits_for_its_end(reader: str, waiting: Path) -> None:
    told, own = Event(), Folder(waiting / ".tuneworthy" / "shards" / "1")

    def say(line: str) -> None:
        assert "Waiting for it to finish" in line
        told.set()

    def read() -> None:
        if reader == "worker":
            work(str(waiting), 1, 3, say)
        else:
            with closing(ResponseStore(Folder(waiting).responses)) as store:
                shards.collect(Folder(waiting), store, say, ending=True)

    ResponseStore(own.responses).close()
    with ThreadPoolExecutor(1) as pool:
        with own.lock(print):
            done = pool.submit(read)
            assert told.wait(10) and not done.done() and not calls(waiting)
        done.result(10)
    assert bool(calls(waiting)) is (reader == "worker")


def test_answers_of_shards_that_were_left_behind_are_there_for_other_commands(waiting: Path) -> None:
    work(str(waiting), 1, 3)
    (waiting / ".tuneworthy" / "shards" / "round.json").unlink()

    async def stored() -> int:
        async with open_runner(load(waiting)) as (runner, _):
            return len(runner.store)

    assert asyncio.run(stored()) == calls(waiting).total()
    assert not (waiting / ".tuneworthy" / "shards").exists()


def test_a_round_that_cannot_be_removed_is_not_open_any_more(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards.shutil, "rmtree", full)
    unwritable = pytest.raises(UserError, match="shards cannot be read or written")
    with closing(ResponseStore(Folder(waiting).responses)) as store, unwritable:
        shards.collect(Folder(waiting), store, pytest.fail, ending=True)
    assert shards.open_round(Folder(waiting)) is None and not work(str(waiting), 1, 3)


def test_no_command_waits_for_shards_on_other_machines(waiting: Path) -> None:
    own = Folder(waiting / ".tuneworthy" / "shards" / "1")
    ResponseStore(own.responses).close()
    with own.lock(pytest.fail), closing(ResponseStore(Folder(waiting).responses)) as store:
        shards.collect(Folder(waiting), store, pytest.fail)
    assert shards.open_round(Folder(waiting))


def test_no_other_run_asks_what_shards_on_other_machines_ask(waiting: Path) -> None:
    with pytest.raises(Undecided, match=r"shards on other machines will give: \d+.*doctor --release"):
        run(waiting)
    with pytest.raises(Undecided, match=r"Shards on other machines have not ended.*doctor --release"):
        run(waiting, 3, "local")
    assert not calls(waiting) and shards.open_round(Folder(waiting))


def test_a_release_gives_up_on_shards_elsewhere_and_keeps_their_answers(
    waiting: Path, expected: tuple[Any, int], capsys: pytest.CaptureFixture[str]
) -> None:
    work(str(waiting), 1, 3)
    before = calls(waiting).total()
    assert cli.invoke(["doctor", "--release", "--project", str(waiting)]) == 0
    assert shards.open_round(Folder(waiting)) is None
    assert run(waiting) == expected[0] and before and set(calls(waiting).values()) == {1}


def test_models_outside_the_project_file_and_trained_models_stay_with_the_driver(tmp_path: Path) -> None:
    root = project(tmp_path / "p")
    file = root / "tuneworthy.toml"
    served = '[models.tuned]\nprovider = "scripted"\nfunction = "world.py:m"\n[serve]\nmodel = "tuned"\n'
    file.write_text(file.read_text() + served)
    found = load(root)
    with closing(ResponseStore(Folder(root).responses)) as store:
        accepts = Shards(found, Runner(store, Budget(None), ShotPool(())), 2).rounds().accepts
    models = {name: Models(found)["m"] for name in ("m", "tuned", "classical:knn")}
    assert [name for name, model in models.items() if accepts(replace(model, name=name))] == ["m"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["round", "store"])
def test_a_full_disk_in_the_exchange_stops_the_run_and_costs_nothing_twice(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[Any, int]
) -> None:
    root = project(tmp_path / "p", price=PRICE)
    with monkeypatch.context() as patch:
        if place == "round":
            patch.setattr(shards, "write_atomic", full)
        else:
            opened = ResponseStore.__init__

            def small(self: ResponseStore, path: Path, **options: Any) -> None:
                opened(self, path, **options)
                if "shards" in path.parts:
                    self._db.execute("PRAGMA max_page_count = 6")

            patch.setattr(ResponseStore, "__init__", small)
        with pytest.raises(TuneworthyError, match=r"shards.*disk has free space"):
            run(root, 2)
    in_flight = 6 * (place == "store")
    assert run(root, 2) == expected[0]
    counted = calls(root)
    assert sum(counted.values()) - len(counted) <= in_flight
    assert spending(root).usd == pytest.approx(sum(counted.values()) * CALL_USD)


@pytest.mark.parametrize(("moment", "owner", "name"), [
    (1, ResponseStore, "put"), (30, ResponseStore, "put"), *[(moment, shards, "write_atomic") for moment in (2, 3, 4)],
    (2, ResponseStore, "merge"), (1, shards.shutil, "rmtree"), (2, shards.shutil, "rmtree")])  # fmt: skip
def test_a_run_that_was_killed_anywhere_goes_on_with_another_number_of_shards(
    moment: int, owner: Any, name: str, tmp_path: Path, expected: tuple[Any, int]
) -> None:
    root = project(tmp_path / "p", price=PRICE)
    assert killed_at(moment, [(owner, name)], lambda: run(root, 2))
    assert run(root, 3) == expected[0]
    repeated = calls(root).total() - len(calls(root))
    assert repeated == (name == "put")  # the call in flight
    assert spending(root).usd == pytest.approx(calls(root).total() * CALL_USD)
