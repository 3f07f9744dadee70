"""The project file `tuneworthy.toml`: read, checked, and all its faults told at once, each with its line."""

from __future__ import annotations

import difflib
import logging
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from tuneworthy.config.base import Section
from tuneworthy.config.data import Data
from tuneworthy.config.graders import Grader
from tuneworthy.config.ladder import Constraints, Decoding, Economics, FewShot, Ladder, Waiver
from tuneworthy.config.models import Model
from tuneworthy.config.reflection import Reflection
from tuneworthy.config.regressions import RegressionSource
from tuneworthy.config.retrieval import Documents, Retrieval
from tuneworthy.config.serve import Serve
from tuneworthy.config.task import Cases, Examples, Prompt, Split, Task
from tuneworthy.config.teacher import Teacher
from tuneworthy.config.toml_lines import key_lines, line_of
from tuneworthy.config.train import Train
from tuneworthy.errors import ConfigError, UserError

FILE_NAME = "tuneworthy.toml"
logger = logging.getLogger(__name__)


class Project(Section):
    """A project: its file, resolved, and the folder it stands in."""

    task: Task
    cases: Cases = Cases()
    examples: Examples | None = None
    documents: Documents | None = None
    split: Split = Split()
    prompt: Prompt = Prompt()
    graders: list[Grader] = Field(min_length=1)
    models: dict[str, Model] = Field(min_length=1)
    ladder: Ladder
    retrieval: Retrieval = Retrieval()
    few_shot: FewShot = FewShot()
    decoding: Decoding = Decoding()
    constraints: Constraints = Constraints()
    economics: Economics = Economics()
    reflection: Reflection | None = None
    data: Data = Data()
    teacher: Teacher | None = None
    train: Train = Train()
    serve: Serve = Serve()
    regressions: list[RegressionSource] = []
    waivers: list[Waiver] = []

    _root: Path = PrivateAttr(default=Path())

    @property
    def root(self) -> Path:
        """The project folder, absolute."""
        return self._root

    @property
    def answering(self) -> list[str]:
        """Models that may answer the task untuned: without those that only judge, and the server of a tuned one."""
        judges = {grader.model for grader in self.graders if grader.type == "judge"} - {self.ladder.baseline}
        return [name for name in self.models if name not in {*judges, self.serve.model}]

    @property
    def student_system(self) -> str | None:
        """System prompt of what is trained, in its rows and when it is asked; None if it has none."""
        told = self.teacher.student_system if self.teacher else None
        return self.text(self.prompt.system if told is None else told) or None

    @model_validator(mode="after")
    def _baseline_is_a_model(self) -> Self:
        if self.ladder.baseline not in self.models:
            known = ", ".join(self.models)
            raise ValueError(f"ladder.baseline: expected a key of [models] ({known}), got {self.ladder.baseline!r}")
        return self

    @model_validator(mode="after")
    def _served_is_a_model(self) -> Self:
        name = self.serve.model
        if name is not None and (name not in self.models or name == self.ladder.baseline):
            known = ", ".join(one for one in self.models if one != self.ladder.baseline) or "none there"
            raise ValueError(
                f"serve.model: expected a key of [models] that is not the baseline ({known}), got {name!r}"
            )
        return self

    @model_validator(mode="after")
    def _judges_are_models(self) -> Self:
        judges = [grader.model for grader in self.graders if grader.type == "judge"]
        judges += [self.data.judge.model] if self.data.judge else []
        for name in judges:
            if name not in self.models:
                known = ", ".join(self.models)
                raise ValueError(f"judge: expected a key of [models] ({known}) as its model, got {name!r}")
        return self

    @model_validator(mode="after")
    def _teacher_is_a_model(self) -> Self:
        if self.teacher and self.teacher.model is not None and self.teacher.model not in self.models:
            known = ", ".join(self.models)
            raise ValueError(f"teacher.model: expected a key of [models] ({known}), got {self.teacher.model!r}")
        return self

    @model_validator(mode="after")
    def _who_reflects_is_a_model(self) -> Self:
        if self.reflection and self.reflection.model not in self.models:
            known = ", ".join(self.models)
            raise ValueError(f"reflection.model: expected a key of [models] ({known}), got {self.reflection.model!r}")
        return self

    def text(self, value: str | None) -> str | None:
        """Return the text of a template value: the file's content if it names one, else itself."""
        if value is None or "\n" in value or len(value) > 255:
            return value
        path = self.root / value
        if path.is_file() and path.resolve().is_relative_to(self.root.resolve()):
            return path.read_text(encoding="utf-8-sig").strip()
        if path.suffix in {".md", ".txt", ".j2"} and " " not in value:
            raise UserError(f"expected the template file {path}, got nothing there", hint="write it or mend [prompt]")
        return value


def load(root: Path | str) -> Project:
    """Read and check the project file of the folder `root` (or the file itself).

    Raises:
        ConfigError: Not there, not TOML, or wrong; `faults` has one line for each fault.
    """
    path = Path(root)
    path = path if path.suffix == ".toml" else path / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            [f"expected a project file at {path}, got nothing there"],
            hint="Go to the project folder, use --project DIR, or make one with `tuneworthy init`",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: expected UTF-8, got a byte that is not ({error.reason})"]) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: expected TOML, got: {error}"]) from None
    try:
        project = Project.model_validate(data)
    except ValidationError as error:
        lines = key_lines(text)
        raise ConfigError([_fault(path, lines, item) for item in error.errors()]) from None
    project._root = path.parent.resolve()
    logger.debug("read the project %s", path)
    return project


def _fault(path: Path, lines: dict[Any, int], item: Any) -> str:
    """One line for one of pydantic's errors."""
    location = list(item["loc"])
    line = line_of(lines, location)
    where = f"{path}:{line}" if line else f"{path}"
    key = ".".join(str(step) for step in location)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "remove it, or see docs/project-file.md"
        return f"{where}: unknown key {key}; {hint}"
    if item["type"] == "missing":
        return f"{where}: expected the key {key}, got none"
    if item["type"] == "value_error":
        return f"{where}: {item['msg'].removeprefix('Value error, ')}"
    got = repr(item["input"])
    got = got if len(got) <= 60 else got[:57] + "..."
    expected = item["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return f"{where}: {key}: expected {expected}, got {got}"


def _known_keys(location: list[str | int]) -> list[str]:
    """The keys that are allowed where an unknown one stands, walked through the JSON schema of `Project`."""
    schema = Project.model_json_schema()
    nodes = [schema]
    for step in location[:-1]:
        following = []
        for node in nodes:
            following += _children(schema, node, step)
        nodes = following or nodes
    return [key for node in nodes for key in node.get("properties", {})]


def _children(schema: dict[str, Any], node: dict[str, Any], step: str | int) -> list[dict[str, Any]]:
    candidates = []
    if isinstance(step, str) and step in node.get("properties", {}):
        candidates.append(node["properties"][step])
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            candidates.append(node[key])
    return [leaf for candidate in candidates for leaf in _resolve(schema, candidate)]


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            return [leaf for option in node[key] for leaf in _resolve(schema, option)]
    return [node]
