"""The project's tools: their schemas, and their calls in child processes.

Invariant: a tool that fails, hangs or lies is data: `Toolbox.call` returns a failure, with a text for the model. The
schemas are read once, so no result adds or changes a tool.
"""

import asyncio
import re
import time
from functools import cached_property
from typing import Any
from weakref import ref

from tuneworthy.config.grants import section_grants
from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.config.tools import FunctionTool, McpServer
from tuneworthy.engine import tool_child
from tuneworthy.errors import ConfigError, UserError
from tuneworthy.extras import require as require_package
from tuneworthy.limited import Child, OverLimit
from tuneworthy.trust import VARIABLE, require
from tuneworthy.types import Answer, Failure, JsonObject, Response, ToolUse, content_hash

# Of the child of a function (libraries of numbers reserve more than they use) and of an MCP server (WebAssembly
# reserves more than there is), of a file that the tool writes, and of the output of the child for one task, bytes.
MAX_MEMORY, MAX_RESERVED, MAX_FILE, MAX_OUTPUT = 2**32, 2**62, 2**30, 2**20
# Children of one function; an MCP server has one.
MAX_CHILDREN = 4
# Limit of starting a child and reading its tools, seconds.
START_S = 30.0
# The data files in the source of a function, which does not run for this, and the name of each.
_FILES, _NAME = r"\.files\s*=\s*(\[[^\]]*|\([^)]*|.*)", "[\"'](.+?)[\"']"


class ToolSource:
    """A table [[tools]], with its idle children.

    Args:
        project: Its project.
        section: The table.

    Attributes:
        children: All its running children, idle or not. Threads append to it.
        closed: Whether no further task may run.
        stamp: Content hash of the table, of the files that it and its function's `files` name, and of the project's
            Python files without exports.
    """

    def __init__(self, project: Project, section: FunctionTool | McpServer) -> None:
        self.words = section.command if isinstance(section, McpServer) else [section.function]
        self.function = "" if isinstance(section, McpServer) else section.function
        # the child of a server keeps its limit
        self.limit_s, self.patience_s = section.timeout_s, 0.0 if self.function else tool_child.GRACE_S / 2
        self.task, self.closed = (str(project.root), self.function, tuple(self.words)), False
        self.idle, self.children = list[Child](), list[ref[Child]]()
        self.free = asyncio.Semaphore(MAX_CHILDREN if self.function else 1)
        if not isinstance(section, McpServer):  # it reads the files that a server could
            lists = [
                one
                for code in section_grants(section, project)
                if code and code.kind == "content"
                for one in re.findall(_FILES, (project.root / code.what).read_text("utf-8", "replace"))
            ]
            section = McpServer(command=["", self.function.rpartition(":")[0], *re.findall(_NAME, " ".join(lists))])
        self.stamp = content_hash(
            [self.words, sorted([*one] for one in {*section_grants(section, project)} if one and one.kind == "content")]
        )

    def ask(self, child: Child, limit_s: float, function: str, *arguments: Any) -> Any:
        """Return the answer of a child to one task; a child that gives none ends."""
        try:
            child.room = MAX_OUTPUT
            task = tool_child.__name__, function, [self.task, limit_s, *arguments], None
            # closed means no time: a thread may start a child after the end
            return child.answer(task, limit_s, time.monotonic() + (limit_s + self.patience_s) * (not self.closed))
        except BaseException:
            child.close()
            raise

    def start(self) -> tuple[Child, JsonObject]:
        """Start a child, which needs the user's permissions too; return it with its tools."""
        child = Child(MAX_MEMORY if self.function else MAX_RESERVED, MAX_FILE, (VARIABLE, "XDG_CONFIG_HOME"))
        self.children.append(ref(child))
        return child, self.ask(child, max(START_S, self.limit_s), "describe")

    def call(self, name: str, arguments: JsonObject) -> Answer:
        """Return the result of a call; time to start does not count."""
        started = time.perf_counter()
        try:
            while (child := self.idle.pop() if self.idle else self.start()[0]).process.poll() is not None:
                continue
            started = time.perf_counter()
            text, failed = self.ask(child, self.limit_s, "call", name, arguments)
            self.idle.append(child) if self.function or not failed else child.close(tool_child.GRACE_S)
        except (OverLimit, LookupError, TypeError, ValueError) as error:  # or the tool wrote into the pipe
            # a permission is missing, such as for a module that is imported late
            if (reason := str(getattr(error, "reason", "")).partition("it raises Untrusted: "))[1]:
                raise UserError(f"The tool {name} failed. {reason[2]}") from None
            text, failed = f"Error: The tool failed: {getattr(error, 'reason', 'it answers with garbage')}.", True
        text, seconds = tool_child.cut(str(text)), time.perf_counter() - started
        return Failure(code="tool", message=text, seconds=seconds) if failed else Response(text=text, seconds=seconds)


class Toolbox:
    """The tools of a project."""

    def __init__(self, project: Project) -> None:
        self.project, self.sources = project, [ToolSource(project, one) for one in project.tools]
        self.stamp = content_hash([one.stamp for one in self.sources])

    @cached_property
    def read(self) -> tuple[ToolUse, dict[str, ToolSource]]:
        """The part of a variant that names the tools, and their sources by name.

        Raises:
            ConfigError: A source has no usable tool.
            Untrusted: The project may not run it.
        """
        project, by_name, described = self.project, dict[str, ToolSource](), list[JsonObject]()
        for section, source in zip(project.tools, self.sources, strict=True):
            where = f"{project.root / FILE_NAME}: [[tools]] {' '.join(source.words)}"
            require(project.root, *section_grants(section, project))
            described.append(_described(source, where))
            for one in [tool["function"] for tool in described[-1]["tools"]]:
                if one["name"] in by_name or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one["name"]):
                    raise ConfigError([f"{where}: {one['name']!r:.80} is the name of another tool, or no valid name."])
                if not isinstance(one["parameters"], dict) or one["parameters"].get("type") != "object":
                    raise ConfigError([f"{where}: {one['name']} needs a JSON schema of the type `object`."])
                by_name[one["name"]] = source
        return ToolUse(
            schemas=tuple(tool for one in described for tool in one["tools"]),
            source=content_hash([[one["source"] for one in described], self.stamp]),
            max_steps=project.ladder.tool_steps,
        ), by_name

    async def call(self, name: str, arguments: JsonObject) -> Answer:
        source = self.read[1][name]
        async with source.free:
            return await asyncio.to_thread(source.call, name, arguments)

    def close(self) -> None:
        for source in self.sources:
            source.closed = True
            for child in filter(None, [one() for one in source.children]):
                # a cancelled call goes on in its thread: its child ends at once
                child.close(tool_child.GRACE_S * (child in source.idle))


# Tools by the task of a source and its stamp: estimates read them again and again.
_DESCRIBED: dict[tuple[Any, ...], JsonObject] = {}


def _described(source: ToolSource, where: str) -> JsonObject:
    if not source.function:
        require_package("mcp")
    if (key := (source.task, source.stamp)) not in _DESCRIBED:
        try:
            child, _DESCRIBED[key] = source.start()
        except OverLimit as error:
            raise ConfigError(
                [f"{where}: {error.reason.removeprefix('it raises UserError: ')}"],
                hint="If it starts slowly, increase its `timeout_s`." * bool(re.search("longer|Timeout", error.reason)),
            ) from None
        child.close(tool_child.GRACE_S)
    return _DESCRIBED[key]
