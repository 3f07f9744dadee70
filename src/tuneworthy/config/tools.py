"""[[tools]]: functions and MCP servers that a model may call before it answers."""

from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, ValidationInfo, WrapValidator

from tuneworthy.config.base import FunctionSection, Timed


class FunctionTool(Timed, FunctionSection):
    """A Python function with type hints and a docstring; it runs in a child process without the keys of the
    environment."""


class McpServer(Timed):
    """An MCP server over stdio, with all tools that it lists; it gets no key of the environment. Needs
    `pip install 'tuneworthy[tools]'`."""

    command: list[str] = Field(min_length=1)
    """Program, on the PATH or by its path outside the project, and its arguments; it runs in the project folder."""


def _choose(value: Any, _: Any, info: ValidationInfo) -> Timed:
    if not isinstance(value, dict) or ("command" in value) == ("function" in value):
        raise ValueError("A table [[tools]] needs either `function` or `command`.")
    return (McpServer if "command" in value else FunctionTool).model_validate(value, context=info.context)


Tool = Annotated[FunctionTool | McpServer, WrapValidator(_choose), SerializeAsAny()]
