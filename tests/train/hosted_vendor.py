"""A local server that plays the files and fine-tuning jobs of a vendor, and their faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

KEY = "sk-test-0123456789-secret"
ACCOUNT = "acme"
Play = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]
ROUTES = {
    "openai": [
        ("list_files", "GET", r"/v1/files"), ("upload", "POST", r"/v1/files"),
        ("file", "GET", r"/v1/files/(?P<id>[^/]+)"), ("list_jobs", "GET", r"/v1/fine_tuning/jobs"),
        ("start", "POST", r"/v1/fine_tuning/jobs"),
        ("job", "GET", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)"),
        ("cancel", "POST", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/cancel"),
    ],
    "together": [
        ("list_files", "GET", r"/v1/files"), ("upload", "POST", r"/v1/files/upload"),
        ("file", "GET", r"/v1/files/(?P<id>[^/]+)"), ("list_jobs", "GET", r"/v1/fine-tunes"),
        ("start", "POST", r"/v1/fine-tunes"), ("job", "GET", r"/v1/fine-tunes/(?P<id>[^/]+)"),
        ("cancel", "POST", r"/v1/fine-tunes/(?P<id>[^/]+)/cancel"),
    ],
    "fireworks": [
        ("list_files", "GET", r"/v1/accounts/acme/datasets"), ("announce", "POST", r"/v1/accounts/acme/datasets"),
        ("upload", "POST", r"/v1/accounts/acme/datasets/(?P<id>[^/]+):upload"),
        ("file", "GET", r"/v1/accounts/acme/datasets/(?P<id>[^/]+)"),
        ("list_jobs", "GET", r"/v1/accounts/acme/supervisedFineTuningJobs"),
        ("start", "POST", r"/v1/accounts/acme/supervisedFineTuningJobs"),
        ("cancel", "POST", r"/v1/accounts/acme/supervisedFineTuningJobs/(?P<id>[^/]+):cancel"),
        ("job", "GET", r"/v1/accounts/acme/supervisedFineTuningJobs/(?P<id>[^/]+)"),
    ],
}  # fmt: skip
STATES = {
    "openai": ["validating_files", "queued", "running", "succeeded"],
    "together": ["pending", "running", "uploading", "completed"],
    "fireworks": ["JOB_STATE_CREATING", "JOB_STATE_RUNNING", "JOB_STATE_COMPLETED"],
}
CANCELLED = {"openai": "cancelled", "together": "cancelled", "fireworks": "JOB_STATE_CANCELLED"}


CHAT = ("chat", "POST", r"/v1/chat/completions")


@dataclass
class Fault:
    """What one kind of request meets instead of its answer.

    Attributes:
        kind: Of the request, e.g. `start`.
        play: Answers it.
        processed: Whether the server does what was asked for first.
        times: How often.
    """

    kind: str
    play: Play
    processed: bool = False
    times: int = 1


@dataclass
class Vendor:
    """A vendor in memory.

    Attributes:
        name: Whose protocol it speaks.
        faults: What goes wrong.
        states: That a job goes through, one a read; the last one stays.
        end: Added to a job in its last state.
        page: Rows of a page of a list.
        hidden: How often a list does not show yet what was made last.
    """

    name: str
    faults: list[Fault] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    file_state: dict[str, Any] = field(default_factory=dict)
    page: int = 2
    hidden: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    bodies: list[Any] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    port: int = 0

    async def __aenter__(self) -> Vendor:
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]  # the same one the next time
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def uploads(self) -> int:
        """How many files lie here with their content."""
        return sum("content" in file for file in self.files)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        kind, id_ = self._kind(request)
        self.asked[kind] += 1
        self.keys.add(request.headers.get("Authorization", ""))
        fault = next((one for one in self.faults if one.kind == kind and one.times > 0), None)
        if fault is None:
            return await self._answer(kind, id_, request)
        fault.times -= 1
        if fault.processed:
            await self._answer(kind, id_, request)
        else:
            await request.read()
        answer = fault.play(request)
        return answer if isinstance(answer, web.StreamResponse) else await answer

    def _kind(self, request: web.Request) -> tuple[str, str]:
        for kind, method, pattern in [*ROUTES[self.name], CHAT]:
            if request.method == method and (match := re.fullmatch(pattern, request.path)):
                return kind, match.groupdict().get("id", "")
        raise AssertionError(f"no such call: {request.method} {request.path}")

    async def _answer(self, kind: str, id_: str, request: web.Request) -> web.Response:
        if kind in {"list_files", "list_jobs"}:
            return self._list(self.files if kind == "list_files" else self.jobs, kind, request)
        if kind == "chat":
            return await self._chat(request)
        if kind == "announce":
            body = orjson.loads(await request.read())
            assert isinstance(body["dataset"]["exampleCount"], str)
            if any(file["id"] == body["datasetId"] for file in self.files):
                return told({"message": "already there"}, 409)
            self.files.append(self._file(body["datasetId"], body["datasetId"]))
            return told(self.files[-1])
        if kind == "upload":
            return await self._upload(id_, request)
        rows = self.files if kind == "file" else self.jobs
        row = next((one for one in rows if one["id"] == id_), None)
        if kind == "start":
            return await self._start(request)
        if row is None:
            return told({"error": {"message": f"no such {kind}"}}, 404)
        if kind == "job":
            left = row["left"]
            self._enter(row, left.pop(0) if len(left) > 1 else left[0], last=len(left) == 1)
        if kind == "cancel":
            row["left"] = [CANCELLED[self.name]]
        return told({key: value for key, value in row.items() if key not in {"left", "content"}})

    def _list(self, rows: list[dict[str, Any]], kind: str, request: web.Request) -> web.Response:
        shown = [{key: value for key, value in row.items() if key not in {"left", "content"}} for row in reversed(rows)]
        if self.hidden and shown:
            self.hidden -= 1
            shown = shown[1:]
        if self.name == "together":
            return told({"object": "list", "data": shown})
        if self.name == "openai":
            after = request.query.get("after")
            start = next((n for n, row in enumerate(shown, 1) if row["id"] == after), 0)
            page = shown[start : start + self.page]
            return told({"object": "list", "data": page, "has_more": start + self.page < len(shown)})
        start = int(request.query.get("pageToken", 0))
        page, end = shown[start : start + self.page], start + self.page
        field_name = "datasets" if kind == "list_files" else "supervisedFineTuningJobs"
        more = {"nextPageToken": str(end)} if end < len(shown) else {}
        return told({**({field_name: page} if page else {}), **more})

    def _file(self, id_: str, name: str) -> dict[str, Any]:
        if self.name == "fireworks":
            return {"id": id_, "name": f"accounts/{ACCOUNT}/datasets/{id_}", "state": "UPLOADING"}
        state = {"status": "processed"} if self.name == "openai" else {"processing_status": "COMPLETED"}
        return {"id": id_, "object": "file", "filename": name, **state}

    async def _upload(self, id_: str, request: web.Request) -> web.Response:
        form = await request.post()
        sent = form["file"]
        assert isinstance(sent, web.FileField)
        if self.name == "fireworks":
            row = next(file for file in self.files if file["id"] == id_)
            row["state"] = "READY"
        else:
            assert form["purpose"] == "fine-tune"
            assert self.name == "openai" or form["file_name"] == sent.filename
            row = self._file(f"file-{len(self.files) + 1}", sent.filename)
            self.files.append(row)
        row["content"] = sent.file.read()
        row |= self.file_state
        return told({"id": row["id"], "object": "file"})

    async def _start(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        if self.name == "openai":
            id_, named = f"ftjob-{len(self.jobs) + 1}", {"metadata": body["metadata"], "error": {}}
            epochs = body["method"]["supervised"]["hyperparameters"]["n_epochs"]
            file = body["training_file"]
        elif self.name == "together":
            id_, named = f"ft-{len(self.jobs) + 1}", {"suffix": body["suffix"]}
            epochs, file = body["n_epochs"], body["training_file"]
        else:
            id_ = request.query["supervisedFineTuningJobId"]
            named = {"name": f"accounts/{ACCOUNT}/supervisedFineTuningJobs/{id_}"}
            epochs, file = body["epochs"], body["dataset"].rpartition("/")[2]
            assert not any(job["id"] == id_ for job in self.jobs)
        assert isinstance(epochs, int) and any(one["id"] == file and "content" in one for one in self.files)
        states = self.states or STATES[self.name]
        self.jobs.append({"id": id_, **named, "left": list(states[1:] or states)})
        self._enter(self.jobs[-1], states[0], last=False)
        return told({key: value for key, value in self.jobs[-1].items() if key != "left"})

    async def _chat(self, request: web.Request) -> web.Response:
        """Answer as a tuned model does: right with the prompt that it was trained with."""
        turns = orjson.loads(await request.read())["messages"]
        found = re.search(r"item (\d+)", turns[-1]["content"])
        right = ("red", "green", "blue")[int(found[1]) % 3] if found else "I do not know"
        message = {"role": "assistant", "content": right if turns[0]["content"] == "Colour?" else "red"}
        usage = {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return told({"id": "c", "object": "chat.completion", "model": "tuned", "choices": [choice], "usage": usage})

    def _enter(self, job: dict[str, Any], state: str, *, last: bool) -> None:
        job["state" if self.name == "fireworks" else "status"] = state
        if last and state == STATES[self.name][-1]:
            if self.name == "openai":
                job |= {"fine_tuned_model": "ft:gpt-4.1-mini-2025-04-14:acme:tuned:1", "trained_tokens": 1_000_000}
            elif self.name == "together":
                job |= {"model_output_name": "acme/tuned", "token_count": 1_000_000}
            else:
                job |= {"outputModel": f"accounts/{ACCOUNT}/models/{job['id']}"}
        if last:
            job |= self.end


def told(value: Any, status: int = 200) -> web.Response:
    """A plain JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
