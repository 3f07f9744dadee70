"""Two processes on one project: one waits for the other, and neither harms what the other does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tuneworthy.config import load
from tuneworthy.ladder.session import open_session
from tuneworthy.store import Folder

from .resume_project import committed, openai, record, run_ladder, start, words, write_project
from .resume_server import Running


@pytest.mark.slow
def test_two_runs_at_once_ask_everything_once_and_leave_the_record_of_one(tmp_path: Path) -> None:
    with Running(latency_ms=2) as server:
        alone = write_project(tmp_path / "alone", openai(server.base_url), rungs="baseline few_shot")
        assert run_ladder(alone) == 0, words(alone)
        needed = len(server.stats()["calls"])
        root = write_project(tmp_path / "both", openai(server.base_url), rungs="baseline few_shot")
        runs = [start(root, "--yes") for _ in range(2)]
        assert [process.wait(300) for process in runs] == [0, 0], words(root)
        assert len(server.stats()["calls"]) == 2 * needed
    assert len(committed(root)) == len(set(committed(root))) == needed
    assert "is using this project. Waiting for it to finish" in words(root)
    assert record(root)["rungs"] == record(alone)["rungs"]


def test_a_process_that_waited_takes_the_split_that_was_drawn_meanwhile(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p", openai("http://127.0.0.1:9/v1"))
    folder, told, seen = Folder(root), threading.Event(), []

    async def second() -> None:
        async with open_session(load(root), waiting=lambda _: told.set()) as session:
            seen.extend(case.id for case in session.split.test)

    with folder.lock(lambda _: None):
        thread = threading.Thread(target=lambda: asyncio.run(second()))
        thread.start()
        assert told.wait(60)
        other = write_project(tmp_path / "other", openai("http://127.0.0.1:9/v1"))
        project = (other / "tuneworthy.toml").read_text()
        (other / "tuneworthy.toml").write_text(project + "[split]\nseed = 99\n")

        async def first() -> None:
            async with open_session(load(other)) as session:
                folder.write("split", session.split.stored())

        asyncio.run(first())
    thread.join(60)
    stored = folder.read("split", dict)
    assert stored is not None
    assert stored["seed"] == 99
    assert seen == [entry["id"] for entry in stored["test"]]
