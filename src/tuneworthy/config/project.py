"""The project file `tuneworthy.toml`: read and checked; all its faults are reported at once, each with its line."""

import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from tuneworthy.config import serving
from tuneworthy.config.base import Section
from tuneworthy.config.data import DataSection
from tuneworthy.config.graders import GRADER_SECTIONS, Choice, Grader, Judge, RegressionSource
from tuneworthy.config.ladder import Constraints, DecodingSection, Economics, FewShotSection, Ladder, Reflection, Waiver
from tuneworthy.config.models import FORMS, MODEL_SECTIONS, Model, form_of
from tuneworthy.config.retrieval import RetrievalSection
from tuneworthy.config.shadow import Shadow
from tuneworthy.config.task import DataPath, PromptSection, SplitSection, TaskSection
from tuneworthy.config.teacher import Teacher
from tuneworthy.config.toml_lines import key_lines, line_of
from tuneworthy.config.tools import Tool
from tuneworthy.config.train import Serve, Train
from tuneworthy.errors import ConfigError, UserError, did_you_mean
from tuneworthy.input_files import read_input_text
from tuneworthy.remote_files import local_copy
from tuneworthy.text import verbatim
from tuneworthy.trust import own_path, path_of
from tuneworthy.types import JsonMapping, JsonObject, Variant

FILE_NAME = "tuneworthy.toml"
MAKE_PROJECT = "Change to the project folder, pass --project DIR, or create a project with `tuneworthy init`."
# Of the project file and of a prompt, bytes.
MAX_PROJECT = 2**20
# In a prompt: the labels that a grader lists, one a line.
LABELS = "{{ labels }}"
# Default paths of sections.
DEFAULT_PATHS = {"cases": "cases.jsonl", "examples": "examples.jsonl", "documents": "documents/"}
# Faults that are listed; each unknown key is compared with all known keys.
MAX_FAULTS = 50


class Project(Section):
    """A project: its file, resolved, and its folder."""

    task: TaskSection
    cases: DataPath = DataPath(path=DEFAULT_PATHS["cases"])
    examples: DataPath | None = None
    documents: DataPath | None = None
    split: SplitSection = SplitSection()
    prompt: PromptSection = PromptSection()
    graders: list[Grader] = Field(min_length=1)
    models: dict[str, Model] = Field(min_length=1)
    ladder: Ladder
    retrieval: RetrievalSection = RetrievalSection()
    tools: list[Tool] = []
    few_shot: FewShotSection = FewShotSection()
    decoding: DecodingSection = DecodingSection()
    constraints: Constraints = Constraints()
    economics: Economics = Economics()
    reflection: Reflection | None = None
    data: DataSection = DataSection()
    teacher: Teacher | None = None
    train: Train = Train()
    serve: Serve = Serve()
    shadow: Shadow = Shadow()
    regressions: list[RegressionSource] = []
    waivers: list[Waiver] = []

    _root: Path = PrivateAttr(default=Path())

    @property
    def root(self) -> Path:
        """The project folder, absolute."""
        return self._root

    @property
    def judging(self) -> set[str]:
        """Models that only judge."""
        return {grader.model for grader in self.graders if isinstance(grader, Judge)} - {self.ladder.baseline}

    @property
    def untuned(self) -> list[str]:
        """Models for the task itself: without those that only judge and the server of a tuned one."""
        return [name for name in self.models if name not in {*self.judging, self.serve.model}]

    @property
    def answering(self) -> list[str]:
        """Models that are measured: of `untuned` those that something may be sent to."""
        return [name for name in self.untuned if not (self.constraints.data_stays and self.models[name].hosted)]

    def may_serve(self, name: str) -> bool:
        """Return whether the constraints allow the model `name` to answer users."""
        return serving.may_serve(self.constraints, hosted=self.models[name].hosted)

    @property
    def forms(self) -> list[str]:
        return [name for name in self.untuned if form_of(self.models[name].local_file or "")[0]]

    @property
    def needs_small(self) -> bool:
        """Whether a limit or a bill may ask for a smaller or faster model."""
        return bool(self.constraints.p95_ms or self.constraints.on_device or self.economics.requests_per_month)

    @property
    def student_system(self) -> str | None:
        """System prompt of the trained model, in its rows and when it answers; None without one."""
        return self.text(self.prompt.system if self.train.system is None else self.train.system) or None

    def variant(self, name: str, model: str, identity: JsonMapping, **given: Any) -> Variant:
        """Return the prompt and the parameters of today on a model; `given` replaces parts of them."""
        prompt = self.prompt
        today = {
            "system": self.text(prompt.system),
            "user": self.text(prompt.user) or "{{ input }}",
            "decoding": dict(prompt.parameters),
            "max_tokens": prompt.max_tokens,
            "stop": tuple(prompt.stop),
        }
        return Variant(name=name, model=model, model_identity=identity, **{**today, **given})

    @model_validator(mode="before")
    @classmethod
    def _with_default_paths(cls, data: Any) -> Any:
        sections = data if isinstance(data, dict) else {}
        filled = {
            name: {"path": path} | sections[name]
            for name, path in DEFAULT_PATHS.items()
            if isinstance(sections.get(name), dict)
        }
        return {**sections, **filled} if filled else data

    @model_validator(mode="after")
    def _models_are_there(self) -> Self:
        uses = [("ladder.baseline", self.ladder.baseline), ("serve.model", self.serve.model)]
        uses += [("graders.model", grader.model) for grader in self.graders if isinstance(grader, Judge)]
        uses += [("data.judge.model", self.data.judge.model)] if self.data.judge else []
        uses += [("teacher.model", self.teacher.model)] if self.teacher else []
        uses += [("reflection.model", self.reflection.model)] if self.reflection else []
        for key, name in uses:
            if name is not None and name not in self.models:
                hint = did_you_mean(name, self.models)
                raise ValueError(
                    f"{key} is {name!r}, but [models] has no such model. Defined models: "
                    f"{', '.join(self.models)}.{f' {hint}'.rstrip()}"
                )
            if name is not None and self.constraints.data_stays and self.models[name].hosted:
                raise ValueError(
                    f"{key} is {name}, a hosted model, but constraints.data_stays forbids sending data to hosted "
                    "models. Choose a model that is not hosted."
                )
        if self.serve.model == self.ladder.baseline:
            raise ValueError(
                f"serve.model is {self.serve.model!r}, which is the baseline. Add a separate entry for the "
                "fine-tuned model to [models]."
            )
        return self

    def path(self, name: str) -> Path:
        """Return the path `name` of the project file, for reading; of a URL, the path of a copy.

        Raises:
            Untrusted: It leads out of the project folder without permission.
            OutsideFault: The file behind a URL cannot be read.
        """
        path = path_of(self.root, name)
        return local_copy(self.root, name) if "://" in name else path

    def template_path(self, value: str | None) -> Path | None:
        """Return the path that a template value may be; None if it can only be a text. A name has at most 255 bytes."""
        return self.root / value if value and "\n" not in value and len(value.encode()) < 256 else None

    def text(self, value: str | None) -> str | None:
        """Return the text of a template value: the file's content if it names one, else itself.

        `{{ labels }}` becomes the list of labels of the first grader that has one.
        """
        path = self.template_path(value)
        if path and path.is_file() and path.resolve().is_relative_to(self.root.resolve()):
            return self._with_labels(read_input_text(path, MAX_PROJECT).strip())
        if path and path.suffix in {".md", ".txt", ".j2"} and " " not in str(value):
            raise UserError(
                f"The template file {path} does not exist.", hint="Create the file, or fix its path in [prompt]."
            )
        return self._with_labels(value) if value else value

    def _with_labels(self, template: str) -> str:
        labels = next((one.labels for one in self.graders if isinstance(one, Choice) and one.labels), None)
        return template.replace(LABELS, verbatim("\n".join(labels))) if labels else template


def load(root: Path | str, changes: Mapping[tuple[str, ...], float | None] = {}) -> Project:
    """Read and check the project file of the folder `root` (or the file itself).

    Args:
        root: The folder.
        changes: Values that replace those of the file, by the path of the key; None removes a key.

    Raises:
        ConfigError: Not there, not TOML, or wrong; `faults` has one line for each fault. Or the working folder has
            settings of numba.
    """
    if (settings := Path(".numba_config.yaml")).is_file():  # may be a stranger's; numba has no option to ignore it
        raise ConfigError(
            [f"The library numba would read its settings from {settings.absolute()}."],
            hint="Remove the file, or run the command in a different folder with `--project`.",
        )
    path = Path(root)
    path = path if path.suffix == ".toml" else path / FILE_NAME
    try:
        text = read_input_text(own_path(path.parent, path.name), MAX_PROJECT)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError([f"There is no project file at {path}."], hint=MAKE_PROJECT) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not valid UTF-8 ({error.reason}). Save the file as UTF-8."]) from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # bad TOML, a number of thousands of digits, deep lists
        raise ConfigError([f"{path} is not valid TOML: {error}."]) from None
    for (*sections, key), value in changes.items():
        table = reduce(lambda outer, name: outer.setdefault(name, {}), sections, data)
        table.pop(key, None)
        table |= {} if value is None else {key: value}
    try:
        project = Project.model_validate(data, context={"root": path.parent})
    except ValidationError as error:
        lines = key_lines(text)
        faults = [_fault(path, lines, data, item) for item in error.errors()[:MAX_FAULTS]]
        if (n := error.error_count() - len(faults)) > 0:
            faults.append(f"{path}: further errors: {n}.")
        raise ConfigError(faults) from None
    project._root = path.parent.resolve()
    project.models.update({  # quantised forms, where they may matter
        f"{name}:{form}": model.model_copy(update={"model": f"{form}:{model.local_file}"})
        for name, model in project.models.items()
        if project.needs_small and name in {*project.answering} - {*project.forms}
        if model.local_file and model.provider in FORMS.builtins
        for form in FORMS.get(model.provider)(model.local_file, project.root)
    })  # fmt: skip
    return project


def _fault(path: Path, lines: dict[Any, int], data: Any, item: Any) -> str:
    location = list(item["loc"])
    line = line_of(lines, location)
    where = f"{path}:{line}" if line else f"{path}"
    key = ".".join(str(step) for step in location)
    if item["type"] == "extra_forbidden":
        hint = did_you_mean(str(location[-1]), _known_keys(data, location)) or "Remove the key."
        return f"{where}: Unknown key {key}. {hint}"
    if item["type"] == "missing":
        return f"{where}: The key {key} is missing."
    if item["type"] == "value_error":
        (reason,) = item["ctx"]["error"].args
        return f"{where}: {reason}"
    got = repr(item["input"])
    got = got if len(got) <= 60 else got[:57] + "..."
    _, should, rule = item["msg"].partition(" should ")  # as in "Input should be a valid string"
    return f"{where}: {key} must {rule}, but it is {got}." if should else f"{where}: {key}: {item['msg']}"


def _known_keys(data: Any, location: list[str | int]) -> list[str]:
    """Return the keys that are allowed in the place of an unknown one.

    Args:
        data: The parsed project file.
        location: Steps from the top of the file to the unknown key.
    """
    for sections, tag in ((GRADER_SECTIONS, "type"), (MODEL_SECTIONS, "provider")):
        if location[0] == ("graders" if tag == "type" else "models") or (
            location[2:3] == ["graders"] and tag == "type"
        ):
            for step in location[:-1]:
                data = data[step]
            section = sections.get(str(data.get(tag)))
            return list(section.model_fields) if section else []
    schema = Project.model_json_schema()
    nodes = [schema]
    for step in location[:-1]:
        nodes = [child for node in nodes for child in _children(schema, node, step)] or nodes
    return [key for node in nodes for key in node.get("properties", {})]


def _children(schema: JsonObject, node: JsonObject, step: str | int) -> list[JsonObject]:
    candidates = [node.get("properties", {}).get(step), node.get("items"), node.get("additionalProperties")]
    return [leaf for candidate in candidates if isinstance(candidate, dict) for leaf in _resolve(schema, candidate)]


def _resolve(schema: JsonObject, node: JsonObject) -> list[JsonObject]:
    if "$ref" in node:
        return _resolve(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            return [leaf for option in node[key] for leaf in _resolve(schema, option)]
    return [node]
