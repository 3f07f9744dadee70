"""Tools of a project as tasks of a child process (`limited`): functions, and MCP servers that the child starts.

Only the text of a result leaves the child, and a text is data: no tool, file or resource that it names is opened. A
task begins with its source: the project folder; the function, or "" and the command of an MCP server.
"""

import asyncio
import inspect
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, validate_call

from tuneworthy import processes
from tuneworthy.errors import UserError
from tuneworthy.functions import as_answer, load_function, source_hash
from tuneworthy.trust import Untrusted
from tuneworthy.types import JsonObject, content_hash

# Of a result, characters; the rest is cut.
MAX_RESULT = 8_000
# After its limit, a task ends even if the owner of the child is gone, seconds.
GRACE_S = 5.0


def describe(task: Sequence[Any], limit_s: float) -> JsonObject:
    """Return the tools of a source in OpenAI's shape, and the hash of its content."""
    os.chdir(task[0])
    if not task[1]:
        return {"tools": (tools := _ask(task, limit_s)), "source": content_hash(tools)}
    function = load_function(task[1], Path(task[0]))
    files = [files] if isinstance(files := getattr(function, "files", ()), str) else files
    return {
        "tools": [_schema(task[1].rpartition(":")[2], function)],
        "source": content_hash([source_hash(function), *(Path(one).read_bytes().hex() for one in files)]),
    }


def call(task: Sequence[Any], limit_s: float, name: str, arguments: JsonObject) -> Any:
    """Return the result of a call as text, and whether it is an error."""
    os.chdir(task[0])
    signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S)
    try:
        if not task[1]:
            return _ask(task, limit_s, name, arguments)
        value = validate_call(load_function(task[1], Path(task[0])))(**arguments)
        return cut(as_answer(asyncio.run(value) if inspect.iscoroutine(value) else value)), False
    except Untrusted:  # a missing permission ends the run: as a result it would be measured and stored
        raise
    except Exception as error:
        return cut(f"Error: {type(error).__name__}: {error}"), True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def cut(text: str) -> str:
    """Return the text that a model gets: valid Unicode, at most `MAX_RESULT` characters.

    >>> len(cut("x" * 10_000)), cut("a\\ud800")
    (8032, 'a?')
    """
    rest = len(text) - MAX_RESULT
    text = text[:MAX_RESULT].encode("utf-8", "replace").decode()
    return f"{text}\n[{rest:,} more characters are cut]" if rest > 0 else text


def _schema(name: str, function: Any) -> JsonObject:
    """Return a function as a tool in OpenAI's shape: its own `schema`, or that of its type hints.

    Raises:
        UserError: It has no docstring, a parameter without a type hint, or one that JSON cannot express.
    """
    description, parameters = inspect.getdoc(function), getattr(function, "schema", None)
    if not description:
        raise UserError("The function has no docstring, which tells the model what it does.")
    try:
        for key, one in {} if parameters else inspect.signature(function).parameters.items():
            if one.annotation is one.empty:
                raise UserError(f"The parameter {key} has no type hint. Add it, or set `{name}.schema`.")
        parameters = parameters or TypeAdapter(function).json_schema()
    except (PydanticUserError, NameError) as error:
        raise UserError(f"JSON cannot express its parameters: {str(error).splitlines()[0]}") from None
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


# Of the MCP client: its event loop runs while a task waits.
_RUNNER = asyncio.Runner()
# Starts a program that gets SIGTERM when this child ends, however it ends (Linux; elsewhere its input ends).
_ENDS_WITH_US = (
    "import ctypes, os, sys; getattr(ctypes.CDLL(None), 'prctl', max)(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
)
# The connected client, once there is one: its owner ends a child whose server failed.
_clients: list[Any] = []


def _ask(task: Sequence[Any], limit_s: float, *call: Any) -> Any:
    return _RUNNER.run(asyncio.wait_for(_answer(task, *call), limit_s))


async def _answer(task: Sequence[Any], *call: Any) -> Any:
    """Return the tools of an MCP server; the text of a result and whether it is an error, for a call."""
    if not _clients:
        from mcp import Client, StdioServerParameters

        if (program := processes.program(task[2][0], Path(task[0]))) is None:  # as in its permission
            raise UserError(f"There is no program {task[2][0]} on the PATH outside the project.")
        command, *words = processes.python("-c", _ENDS_WITH_US, program, *task[2][1:])
        server = StdioServerParameters(
            command=command,
            args=words,
            env=processes.environment(
                PATH=processes.search_path() or os.defpath,
                # a compiled copy in the project may be a stranger's
                PYTHONPYCACHEPREFIX=str(Path.home() / ".cache" / "tuneworthy" / "bytecode"),
            ),
            cwd=task[0],
            encoding_error_handler="replace",
        )
        _clients.append(await Client(server, cache=None).__aenter__())
    if call:
        result = await _clients[0].call_tool(*call)
        text = "\n".join(one.text for one in result.content if one.type == "text")
        return cut(f"Error: {text}" if result.is_error else text), result.is_error
    pages = [await _clients[0].list_tools()]
    while pages[-1].next_cursor:
        pages.append(await _clients[0].list_tools(cursor=pages[-1].next_cursor))
    return [
        {
            "type": "function",
            "function": {"name": one.name, "description": one.description or "", "parameters": one.input_schema},
        }
        for page in pages
        for one in page.tools
    ]
