"""The child of `shadow proxy` that asks the candidate; its argument is JSON (`WorkerOrder`).

Copies come through standard input; each outcome goes out as a line of JSON. A copy is read, masked as
`data.policy` says, and asked of the candidate as a replay asks; its answer is committed to the store of all answers,
and only then is the turn appended to the recording. Every now and then the recording is judged, as a replay is.

In a canary, requests of users come the same way, and their answers go out. The candidate is asked as for a copy, and no
byte of its server reaches the user: the answer is built from the text and the calls that were read and checked.

Invariants: nothing of a request's headers is here; stored text went through the masks; a turn is in the recording
only after it was asked, so a killed process loses the turns in flight and counts nothing twice; a turn that the
candidate failed is in the recording, as a comparison that it lost.
"""

import asyncio
import gc
import os
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.cases.formats.chats import check_words
from tuneworthy.cases.formats.logs import exchange
from tuneworthy.cases.formats.values import names
from tuneworthy.cases.readers.faults import Dropped, RowFault
from tuneworthy.config import load
from tuneworthy.errors import BudgetSpent, TuneworthyError, UserError
from tuneworthy.graders.tool_call import read_call
from tuneworthy.ladder.session import Session, open_session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.usage import cut
from tuneworthy.shadow.confidence import ask_watched, watch_of
from tuneworthy.shadow.copies import (
    BUDGET,
    ENOUGH,
    FAILED,
    MARK,
    MOST_BYTES,
    PAIRED,
    PERSONAL,
    UNREADABLE,
    UNSTORED,
    CopyHead,
    WorkerReport,
    read_copy,
)
from tuneworthy.shadow.pairs import AnswerPair, is_well_formed
from tuneworthy.shadow.protocols import answer_of, asked_by, chat_answer, unpacked
from tuneworthy.shadow.recording import FAILED_BY, TRAFFIC, WRITTEN, LiveTraffic, NothingEnded, clean, turn_of
from tuneworthy.shadow.replay import labels_path, replay
from tuneworthy.store.lines import append_line
from tuneworthy.types import Case, Example, JsonObject, Response, Variant, positional

# The child of the proxy yields to the proxy, unless users wait for it.
NICENESS = 19
# Fields of a user's request that the candidate's prompt, its own sampling and the turn replace, or that concern
# production's account. Others ask for an answer that the candidate would not give.
_REPLACED = names(
    "stream stream_options max_tokens max_completion_tokens model messages tools temperature top_p seed "
    "presence_penalty frequency_penalty reasoning_effort verbosity user metadata store service_tier safety_identifier "
    "prompt_cache_key"
)


@positional
class WorkerOrder:
    """Settings of a worker; JSON on its command line.

    Attributes:
        root: Folder of the project.
        candidate: The variant, as in `compare`.
        judge_s: Time between two verdicts, seconds.
        max_usd: What may be spent, US dollars; None leaves it to the project's budget.
        canary: Whether it answers users too.
    """

    root: str
    candidate: str
    judge_s: float
    max_usd: float | None = None
    canary: bool = False


class Worker:
    """Answers copies, one task each, and judges the recording.

    Args:
        session: The opened project.
        candidate: Who is asked.
        order: Its settings.
        reports: Descriptor that gets the reports.
    """

    def __init__(self, session: Session, candidate: Variant, order: WorkerOrder, reports: int) -> None:
        self.session, self.candidate, self.order, self.reports = session, candidate, order, reports
        self.path = session.folder.path / TRAFFIC
        self.usd_before = session.runner.budget.spent_usd
        self.tasks: set[asyncio.Task[None]] = set()
        self.watch = watch_of(session, candidate)
        self.state: object = None
        self.traffic, self.pairs = LiveTraffic(session.project), list[AnswerPair]()

    async def serve(self, pipe: asyncio.StreamReader) -> None:
        """Take copies until the pipe ends, finish them, and judge once more."""
        judging = asyncio.create_task(self._judge_regularly())
        self._report(ready=True)
        while (copy := await read_copy(pipe)) is not None:
            task = asyncio.create_task(self._answer(*copy))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        judging.cancel()
        await self.judge()

    async def _answer(self, head: CopyHead, request: bytes, answer: bytes) -> None:
        outcome, given = FAILED, b""
        try:
            if head.number:
                given = await self._answer_user(head, request)
                outcome = PAIRED if given else FAILED
            else:
                outcome = await self._pair(head, request, answer)
        except (ValueError, RowFault, Dropped):  # an image, a stream that broke off, an answer that is an error
            outcome = UNREADABLE
        except BudgetSpent:
            outcome = BUDGET
            self._report(enough=BUDGET)
        except OSError:
            outcome = UNSTORED
        except TuneworthyError as error:
            outcome = UNSTORED if isinstance(error.__cause__, OSError | sqlite3.Error) else FAILED
            sys.stderr.write(f"{error.message}\n")
        finally:
            self._report(
                outcome=outcome,
                usd=self.session.runner.budget.spent_usd - self.usd_before,
                number=head.number,
                answer=given.decode(),
            )

    async def _pair(self, head: CopyHead, request: bytes, answer: bytes) -> str:
        project = self.session.project
        cleaned = clean(project, head.session, read_row(head, request, answer, project.shadow.by))
        if cleaned is None:
            return PERSONAL
        turn = turn_of(head.session, cleaned)
        failed_by = self.candidate.id
        try:
            (trace,), _ = await ask_watched(self.session, self.candidate, [turn.case], self.watch)
            failed_by = "" if trace.response else failed_by
        except TuneworthyError as error:
            if isinstance(error, BudgetSpent) or isinstance(error.__cause__, OSError | sqlite3.Error):
                raise
            sys.stderr.write(f"{error.message}\n")
        append_line(
            self.path, {"messages": list(cleaned.messages), **cleaned.meta, FAILED_BY: failed_by, WRITTEN: time.time()}
        )
        return FAILED if failed_by else PAIRED

    async def _answer_user(self, head: CopyHead, request: bytes) -> bytes:
        """Return the body of the candidate's answer to a user; b"" if it gave no valid answer.

        Raises:
            ValueError: Production has to answer: the request is not for the candidate, or has personal data.
            TuneworthyError: The candidate failed.
        """
        candidate = self.candidate
        try:
            question, case = self._user_case(head, request)
        except (TypeError, AttributeError) as error:  # a request of an unusual form is no fault of the candidate
            raise ValueError(repr(error)) from None
        (trace,) = await self.session.ask(candidate, [case])
        if trace.response is None or not _is_valid(trace.response, case, candidate):
            return b""
        return chat_answer(trace.response, str(question.get("model")), streamed=bool(question.get("stream")))

    def _user_case(self, head: CopyHead, request: bytes) -> tuple[JsonObject, Case]:
        question, candidate, project = orjson.loads(request), self.candidate, self.session.project
        limits = [question.get(key) or candidate.max_tokens for key in ("max_tokens", "max_completion_tokens")]
        if question.keys() - _REPLACED or not all(isinstance(n, int) and n >= candidate.max_tokens for n in limits):
            raise ValueError("another form of answer, or a shorter one")
        row = Example(**exchange(asked_by(question), "-", {}), id="", source="user")  # the answer is left out again
        cleaned = clean(project, head.session, row)
        if cleaned is None or (cleaned.messages, cleaned.meta.get("tools")) != (row.messages, row.meta.get("tools")):
            raise ValueError("personal data")
        return question, turn_of(head.session, cleaned).case

    async def _judge_regularly(self) -> None:
        while True:
            await asyncio.sleep(self.order.judge_s)
            await self.judge()

    async def judge(self) -> None:
        """Judge the sessions that have ended, if there are any, and report the verdict.

        An error goes to the log, and the next look tries again.
        """
        command = f"tuneworthy shadow replay --candidate {self.order.candidate}"
        project = self.session.project
        labels = labels_path(project)
        try:
            state = (self.path.exists() and self.path.stat().st_ino, labels.exists() and labels.stat().st_mtime_ns)
            if state != self.state:  # another recording, or other labels for the pairs of earlier looks
                self.state, self.traffic, self.pairs = state, LiveTraffic(project), []
            recording = self.traffic.read()
            record = await replay(self.session, recording, self.candidate, command=command, earlier=self.pairs)
            self.traffic.forget()
            full = len(recording.sessions) >= project.shadow.sessions
            self._report(
                verdict=record.verdict.status,
                alert=record.confidence.status == "alert" if record.confidence else None,
                enough=ENOUGH if record.verdict.status == "fail" or full else None,
            )
        except NothingEnded:
            pass
        except Exception as error:
            sys.stderr.write(f"{error}\n" if isinstance(error, TuneworthyError) else f"{error!r}\n")

    def _report(self, **event: Any) -> None:
        with suppress(OSError):  # the proxy is gone: open requests are finished all the same
            os.write(self.reports, orjson.dumps(WorkerReport(**event), option=orjson.OPT_APPEND_NEWLINE))


def _is_valid(response: Response, case: Case, candidate: Variant) -> bool:
    """Whether an answer was not cut off, is within its limit, and is a call of a user's tool or a text of its form."""
    tools, calls = ([call and call[0] for call in map(read_call, own)] for own in (case.tools, response.tool_calls))
    return (
        response.finish_reason in {"stop", "tool_calls"}
        and is_well_formed(response, response, candidate.output)
        and {*calls} <= {*tools}
        and (response.output_tokens or 0) <= candidate.max_tokens
        and cut(response.text, candidate.max_tokens - 1) == response.text
    )


def read_row(head: CopyHead, request: bytes, answer: bytes, by: str | None) -> Example:
    """Return a copied request and its answer as a row, as `data build` reads a log.

    Args:
        head: Facts about the copy.
        request: Body of the request.
        answer: Body of the answer.
        by: Key of the request's metadata that names the stratum.

    Raises:
        ValueError: A body is not JSON, the request continues a conversation that it does not contain, or the API
            itself runs its tools.
        RowFault: A message is not text.
        Dropped: There is no answer.
    """
    question = orjson.loads(request)
    if not isinstance(question, dict) or question.get("previous_response_id") or question.get("conversation"):
        raise ValueError("no whole conversation")
    whole = answer_of(head.path, unpacked(answer, head.encoding, 8 * MOST_BYTES), streamed=head.streamed)
    metadata = question.get("metadata")
    about = {by: metadata.get(by)} if by and isinstance(metadata, dict) else {}
    fields = exchange(asked_by(question), whole, about, api=True)
    check_words(fields["messages"])
    return Example(**fields, id="", source="proxy")


async def work(order: WorkerOrder, reports: int) -> None:
    """Open the project and serve standard input."""
    HttpClient.marks = MARK
    loop = asyncio.get_running_loop()
    pipe = asyncio.StreamReader(limit=MOST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin)
    async with open_session(load(Path(order.root)), max_usd=order.max_usd, beside=True) as session:
        worker = Worker(session, resolve(session, order.candidate), order, reports)
        gc.freeze()  # as in `shadow.proxy.serve`
        await worker.serve(pipe)


def yield_processor() -> None:
    """Let the proxy go first, where both want the same processor.

    Linux shares it among sessions before it looks at their processes, and the worker is in a session of its own.
    """
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def main(order: str) -> int:
    """Run a worker until its standard input ends."""
    reports, settings = os.dup(1), WorkerOrder(**orjson.loads(order))
    os.dup2(2, 1)  # to standard error from now on: no library can write into the reports
    if not settings.canary:
        yield_processor()
    try:
        asyncio.run(work(settings, reports))
    except UserError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    return 0
