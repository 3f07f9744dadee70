"""Where a process, a file or a stream of a stranger meets the command line: signals, closed streams, memory, logs, links."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forked
from tests.ladder.simulations import write_simulation
from tuneworthy import limited
from tuneworthy.cli import MIN_MEMORY, invoke, safe_stream
from tuneworthy.cli.invocation import Invocation
from tuneworthy.errors import UserError
from tuneworthy.exports.folder import write_export
from tuneworthy.report.text import escaped, inert
from tuneworthy.store import Folder
from tuneworthy.store.database import open_database
from tuneworthy.store.lines import exclusive
from tuneworthy.store.shapes import DamagedRecord

SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY);"
# Sends a signal to its own process while the modules of the command line are imported.
INTERRUPTED = """
import os, sys, time
number, module = sys.argv[1:]
class Finder:
    def find_spec(name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), int(number))
            time.sleep(5)
sys.meta_path.insert(0, Finder)
from tuneworthy.start import main
sys.argv[1:] = ["status"] if number != "1" or module != "click" else ["--version"]
main()
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doors") / "world"
    return write_simulation(root, {"small": "answer(request, 0.9)"}, n_cases=30, rungs=["baseline"])


# ---- signals, streams, memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "module"),
    [(signal.SIGINT, "tuneworthy.cli"), (signal.SIGTERM, "click"), (signal.SIGHUP, "tuneworthy.cli.status")],
)
def test_a_signal_during_the_imports_ends_the_process_without_a_traceback(number: int, module: str) -> None:
    heard = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)\n"  # also where the tests run under `nohup`
    command = [sys.executable, "-c", heard + INTERRUPTED, str(int(number)), module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == "Stopped before the command started.\n"


def test_an_ignored_signal_stays_ignored_during_the_imports() -> None:
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + INTERRUPTED.replace(
        "sleep(5)", "sleep(0)"
    )
    command = [sys.executable, "-c", ignore, "1", "click"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0 and "Stopped" not in done.stderr


@pytest.mark.parametrize("closed", [(1, 2), (0, 1, 2), (0,)])
def test_a_closed_stream_is_the_null_device(closed: tuple[int, ...]) -> None:
    code = f"""
import os
for number in {closed}:
    os.close(number)
import sys
if 1 in {closed}:
    sys.stdout = sys.stderr = None
import tuneworthy.cli
tuneworthy.cli.invoke = lambda _: 40 + (os.open(__file__ if 0 else "/", os.O_RDONLY) > 2) + 2 * (print("x") is None)
from tuneworthy.start import main
main()
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 43


@pytest.mark.parametrize("size", [250_000_000, MIN_MEMORY - 1])
def test_too_little_address_space_is_no_bug(size: int, world: Path) -> None:
    done = forked.run(["check", "--json", "--project", str(world)], cwd=world, limits={resource.RLIMIT_AS: size})
    assert done.returncode == 2 and "bug" not in done.stderr and "memory" in done.stderr.lower()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), ImportError("libgomp.so: failed to map segment from shared object"),
     RuntimeError("can't start new thread"), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
     OSError(12, "Cannot allocate memory")],
)  # fmt: skip
def test_a_lack_of_memory_is_no_bug(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Invocation) -> int:
        raise error

    monkeypatch.setattr("tuneworthy.cli._run", fail)
    assert invoke(["status"]) == 2
    assert "Cannot allocate memory" in capsys.readouterr().err


def test_the_child_for_templates_stays_below_a_limit_of_its_parent() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    code = "import sys; from tuneworthy import limited; limited.MAX_MEMORY = 2**40; "
    code += "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
    code += "sys.exit(limited.call(sorted, [3, 1, 2], limit_s=10.0) != [1, 2, 3])"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (soft, hard) == resource.getrlimit(resource.RLIMIT_AS) and limited.MAX_MEMORY == 2**30


# ---- logs of CI -----------------------------------------------------------------------------------------------------

COMMANDS = ["::error::x", "  ::set-output name=a::b", "\t::add-mask::x", "a ##[error]x", "##vso[task.setvariable a=b]c",
            "##teamcity[x]", "a\n::stop-commands::x", "\u3000::warning::x", "\n\n::debug::x"]  # fmt: skip
TEXTS = ["a::b", "std::vector", "## heading [1]", "# a", ":: ".join("ab"), "#[x]"]


def is_command(text: str) -> bool:
    """Whether a runner of GitHub, Azure or TeamCity acts on a line."""
    lines = [line.lstrip() for line in text.splitlines()]
    return any(line.startswith("::") or "##[" in line or "##vso[" in line or "##teamcity[" in line for line in lines)


@pytest.mark.parametrize("text", COMMANDS)
def test_no_text_is_a_command_to_a_ci_runner(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_command(text) and not is_command(inert(text))
    with safe_stream.safe_streams(Invocation()):
        print(text)
        print(text, file=sys.stderr)
    printed = capsys.readouterr()
    assert not is_command(printed.out) and not is_command(printed.err)
    document = escaped(json.dumps({"a": text}))
    assert json.loads(document) == {"a": text} and not is_command(document)


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_is_printed_as_it_is(text: str) -> None:
    assert inert(text) == text and not is_command(text)


def test_no_verb_prints_a_command_of_a_case(tmp_path: Path) -> None:
    root = write_simulation(tmp_path / "::error::x", {"small": "answer(request, 0.9)"}, n_cases=30, rungs=["baseline"])
    rows = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        row |= {"id": f"##[c]{n}", "input": f"::error::{n}\n::set-output name=x::y\n##[error] {row['input']}"}
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = os.environ | {"TUNEWORTHY_TRUST": str(tmp_path), "FORCE_COLOR": "1"}
    for words in (
        ["compare", "baseline", "current", "--format", "markdown"],
        ["cases", "show", "##[c]1"],
        ["::error::"],
    ):
        done = forked.run([*words, "--project", str(root)], cwd=tmp_path, env=environment)
        assert done.returncode in {0, 2, 3, 4} and not is_command(done.stdout + done.stderr), done


# ---- files ----------------------------------------------------------------------------------------------------------


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize("make", [os.mkfifo, socket_at])
@pytest.mark.parametrize("name", ["lock", "logs", "served.json", "models/a/weights", "responses.sqlite-wal"])
def test_a_special_file_in_the_store_is_named_and_removed(
    make: Callable[[Path], None], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path)
    folder.create()
    (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
    make(folder.path / name)
    with pytest.raises(DamagedRecord, match=name):
        Folder(tmp_path.resolve())
    assert invoke(["doctor"]) == 2 and name in capsys.readouterr().out
    assert invoke(["doctor", "--repair"]) == 0
    assert (folder.path / name).is_file() or not os.path.lexists(folder.path / name)
    assert Folder(tmp_path.resolve()).holder() is None


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_line_is_not_written_to_a_special_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "reviews.jsonl")
    with pytest.raises(UserError), exclusive(tmp_path / "reviews.jsonl"):
        pass


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    path.touch()
    with pytest.raises(DamagedRecord, match=r"responses\.sqlite"):
        open_database(path, SCHEMA)


def test_a_new_store_is_whole_for_all_that_open_it_at_once(tmp_path: Path) -> None:
    path, faults = tmp_path / "a" / "responses.sqlite", []

    def use(n: int) -> None:
        try:
            database = open_database(path, SCHEMA)
            database.execute("INSERT INTO answers VALUES (?)", (b"%d" % n,))
            database.close()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = open_database(path, SCHEMA)
    assert faults == [] and database.execute("SELECT COUNT(*) FROM answers").fetchone() == (8,)
    database.close()
    assert [child.name for child in path.parent.iterdir()] == ["responses.sqlite"]


# ---- exports --------------------------------------------------------------------------------------------------------

FILES = {"classifier.py": b"Made by tuneworthy", "large/client.py": b"x", "weights.npz": b"w"}
MARK = ("classifier.py", b"Made by tuneworthy")


@pytest.mark.parametrize("link", ["classifier.py", "weights.npz", "large", "large/client.py", "old.txt"])
@pytest.mark.parametrize("own", [False, True])
def test_no_link_in_an_export_folder_leads_out(link: str, own: bool, tmp_path: Path) -> None:
    folder, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(MARK[1])
    folder.mkdir()
    if own:
        write_export(folder, FILES, MARK)
        if (folder / link).is_dir():
            (folder / "large/client.py").unlink()
            (folder / link).rmdir()
        (folder / link).unlink(missing_ok=True)
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(outside if link == "large" else outside / "file")
    with pytest.raises(UserError, match="is a link"):
        write_export(folder, FILES, MARK, ["old.txt"])
    assert [path.name for path in outside.iterdir()] == ["file"] and (outside / "file").read_bytes() == MARK[1]


@pytest.mark.parametrize("name", ["classifier", "router", "ollama"])
def test_a_default_folder_that_is_a_link_out_is_refused_but_a_typed_path_is_not(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "work" / name).symlink_to(tmp_path / "outside")
    monkeypatch.chdir(tmp_path / "work")
    words = ["export", name, "--project", str(world)]
    assert invoke(words) == 2 and "is a link to" in capsys.readouterr().err
    assert invoke([*words, "--out", name]) == 2 and "is a link to" not in capsys.readouterr().err
    assert [*(tmp_path / "outside").iterdir()] == []
