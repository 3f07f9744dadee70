"""The server of `ui`: a page, its scripts, and JSON; every view is a function of the project folder.

Invariant: nothing here runs a model, spends money or grants trust.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tuneworthy.config import load
from tuneworthy.errors import TuneworthyError
from tuneworthy.web import failures, label_page
from tuneworthy.web.data_view import data, dropped, restore
from tuneworthy.web.run_views import history, live, verdict
from tuneworthy.web.security import RequestRefused
from tuneworthy.web.state import Read, UiState, Write

# In the order in which they run; queue.js is in the label page as well.
SCRIPTS = (
    "preact.js", "common.js", "queue.js", "people.js", "tables.js", "verdict.js", "history.js", "failures.js",
    "data.js", "live.js",
    "app.js",
)  # fmt: skip
VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "engineer": ("verdict", "failures", "queue", "history", "data", "live"),
    "expert": ("queue",),
}


def project_of(state: UiState, query: Mapping[str, str]) -> Any:
    task = load(state.root).task.name
    return {"task": task, "role": state.role, "labeller": state.labeller, "views": VIEWS[state.role]}


READS: dict[str, Read] = {
    **failures.READS,
    "data": data,
    "data/dropped": dropped,
    "history": history,
    "live": live,
    "project": project_of,
    "queues": label_page.queues,
    "verdict": verdict,
}
WRITES: dict[str, Write] = {
    **failures.WRITES,
    "data/restore": restore,
    "queue/open": label_page.open_queue,
    "queue/answer": label_page.answer,
    "queue/undo": label_page.undo,
}


def create_app(state: UiState) -> Starlette:
    """Return the application for one project."""

    async def page(request: Request) -> Response:
        template = jinja2.Template(files(__package__).joinpath("app.html.j2").read_text(encoding="utf-8"))
        return HTMLResponse(template.render(scripts=SCRIPTS))

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in {*SCRIPTS, "page.css"}:
            return JSONResponse({"error": "No such file."}, 404)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(files(__package__).joinpath(name).read_bytes(), media_type=kind)

    async def api(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            if request.method == "GET" and name in READS:
                return JSONResponse(await run_in_threadpool(READS[name], state, dict(request.query_params)))
            if request.method == "POST" and name in WRITES:
                return JSONResponse(await run_in_threadpool(WRITES[name], state, await request.json()))
        except RequestRefused as error:
            return error.response(as_page=False)
        except TuneworthyError as error:
            return JSONResponse({"error": error.message, "hint": error.hint}, 409)
        return JSONResponse({"error": "No such view."}, 404)

    async def fault(request: Request, error: Exception) -> Response:
        hint = "The terminal of the server shows the traceback. Please report it."
        return JSONResponse({"error": "This is a bug in tuneworthy.", "hint": hint}, 500)

    return Starlette(
        exception_handlers={Exception: fault},
        routes=[
            Route("/", page),
            Route("/static/{name}", static),
            Route("/api/{name:path}", api, methods=["GET", "POST"]),
        ],
    )
