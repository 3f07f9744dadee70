"""Facts for checks: the project's data, graders, models and servers, each read at most once, no fault fatal.

Invariant: a missing fact is None (or empty), with its reason, so that every check can run despite faults elsewhere.

Of a server, its list of models is read, and one token of every free model. ``GET {base_url}/models`` costs nothing, and
neither request contains data of the project. Redirects are not followed, and no message contains the key.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from tuneworthy.cases import (
    CaseFile,
    DataFaults,
    ExampleFile,
    answered_today,
    dataset_of,
    labels_of,
    read_cases,
    read_examples,
)
from tuneworthy.cases.dataset import SAMPLE
from tuneworthy.cases.task_kind import label_counts
from tuneworthy.config.models import ChatServer
from tuneworthy.config.project import Project
from tuneworthy.engine.models import OpenModel, open_model
from tuneworthy.errors import AuthError, DataError, ProviderError, TuneworthyError, UserError
from tuneworthy.graders.apply import make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.ladder.comparison_plan import read_comparisons, rungs_with_comparisons, slot_name, with_slots
from tuneworthy.ladder.estimate import Estimate, estimate_run
from tuneworthy.ladder.task_data import TaskData, settle
from tuneworthy.providers.address import check_address
from tuneworthy.providers.capabilities import Capabilities, capabilities_for
from tuneworthy.providers.http_client import HttpClient, endpoint, weights_of
from tuneworthy.providers.keys import read_key
from tuneworthy.providers.prices import price_for
from tuneworthy.providers.usage import mapping
from tuneworthy.retrieval.documents import Corpus, read_documents
from tuneworthy.retrieval.library import documents_path
from tuneworthy.stats.power import LOSS, detectable_gain, n_for_gain, n_for_non_inferiority
from tuneworthy.store import Folder
from tuneworthy.store.shapes import DamagedRecord
from tuneworthy.text import plural
from tuneworthy.trust import Untrusted
from tuneworthy.types import Cases, Examples, JsonObject, NamedTexts, TextPair, TextTuple

T = TypeVar("T")
E = TypeVar("E", bound=TuneworthyError)


TIMEOUT_S = 3.0
MAX_BODY = 2**22


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """The answer of a server.

    Attributes:
        url: The address that was called.
        status: HTTP status; None if there was no answer.
        fault: Why there was no answer.
        models: Ids that it lists.
        refusal: Why a free model refused a completion of one token; "" if it answered, or was not called.
        serves: Weights in its list of models, and the name in that completion; "" if unknown.
    """

    url: str
    status: int | None = None
    fault: str = ""
    models: TextTuple = ()
    refusal: str = ""
    serves: TextPair = ("", "")


def ask_servers(models: Mapping[str, ChatServer], root: Path) -> list[tuple[str, ServerAnswer]]:
    """Ask all servers of all `models` at the same time; takes at most `TIMEOUT_S` and never raises.

    A server whose key is not to be sent is not asked, and left out.
    """
    return asyncio.run(_all(models, root)) if models else []


async def _all(models: Mapping[str, ChatServer], root: Path) -> list[tuple[str, ServerAnswer]]:
    servers = [(name, config.at(url)) for name, config in models.items() for url in config.addresses]
    answers = await asyncio.gather(*(_one(name, config, root) for name, config in servers))
    return [(name, answer) for (name, _), answer in zip(servers, answers, strict=True) if answer is not None]


async def _one(name: str, config: ChatServer, root: Path) -> ServerAnswer | None:
    url = endpoint(config.base_url, "models")
    try:
        check_address(config.base_url)
    except UserError as error:  # the address may contain a secret: it is neither shown nor called
        return ServerAnswer("the server", fault=error.message.removesuffix("."))
    try:
        key = read_key(config.key_variable, url=config.base_url, root=root, owner=f"models.{name}", required=False)
    except (AuthError, Untrusted):  # an invalid or untrusted key: other checks report it
        return None
    price = price_for(config) if capabilities_for(config).responses != "always" else None
    try:
        async with HttpClient(config.base_url, key=key, timeout_s=TIMEOUT_S, max_body=MAX_BODY) as client:
            answer = await client.send("GET", "models")
            is_free = answer.accepted and price and price.free
            refusal, served = await _refusal(client, config.model) if is_free else ("", "")
    except (ProviderError, UserError) as error:
        return ServerAnswer(url, fault=error.message.removesuffix("."))
    models: TextTuple = ()
    serves = weights_of(answer.body, config.model), served
    if answer.status == 200:
        with suppress(orjson.JSONDecodeError, KeyError, TypeError):  # any other JSON
            models = tuple(str(row["id"]) for row in orjson.loads(answer.body)["data"])
    return ServerAnswer(url, answer.status, models=models, refusal=refusal, serves=serves)


async def _refusal(client: HttpClient, model: str) -> TextPair:
    """Return why the server refuses one token, and the name of its model.

    No reason if it answers, or needs more time (it may be loading the model).
    """
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    try:
        answer = client.read(await client.send("POST", "chat/completions", body))
    except ProviderError as error:
        return "" if error.retryable else error.message, ""
    return "", str(mapping(answer).get("model") or "")


class NoData(Exception):
    """A check needs the data, and other checks report why there is no data."""


@dataclass(frozen=True, slots=True)
class Power:
    """What difference the test set can show.

    Attributes:
        n: Test cases.
        n_groups: The independent cases that they count as.
        comparisons: Test comparisons that can still be made.
        alpha: Smallest alpha among them, one-sided.
        difference: Smallest gain found 8 times in 10, if groups did not matter; infinite if no gain can be shown.
        grouped: The same if all cases of a group went alike.
        margin: From the project file.
        n_for_margin: Cases needed to find a gain of `margin`; None if that is more than `power.MOST_CASES`.
        n_no_worse: Cases needed to show that nothing got worse by `margin`.
    """

    n: int
    n_groups: float
    comparisons: int
    alpha: float
    difference: float
    grouped: float
    margin: float
    n_for_margin: int | None
    n_no_worse: int

    def to_dict(self) -> JsonObject:
        return {key: None if value == float("inf") else value for key, value in asdict(self).items()}


class Facts:
    """The facts of one project.

    Args:
        project: Its file, read.
        contact: Whether servers that it names may be contacted.
    """

    def __init__(self, project: Project, *, contact: bool = True) -> None:
        self.project = project
        self.contact = contact
        self.folder = Folder(project.root, damaged=True)  # the check `store` reports it

    @cached_property
    def _case_file(self) -> tuple[CaseFile | None, list[DataError]]:
        file, error = attempt(DataError, lambda: read_cases(self.project.path(self.project.cases.path)))
        return file, _each(error)

    @cached_property
    def _example_file(self) -> tuple[ExampleFile | None, list[DataError]]:
        if (examples := self.project.examples) is None:
            return None, []
        file, error = attempt(DataError, lambda: read_examples(self.project.path(examples.path)))
        return file, _each(error)

    @property
    def case_faults(self) -> list[DataError]:
        return self._case_file[1]

    @property
    def example_faults(self) -> list[DataError]:
        return self._example_file[1]

    @property
    def reader_notes(self) -> list[str]:
        """Guesses and dropped rows per file."""
        examples = self.project.examples.path if self.project.examples else ""
        return [
            f"{path}: {line}"
            for path, file in ((self.project.cases.path, self._case_file[0]), (examples, self._example_file[0]))
            if file
            for line in file.notes
        ]

    @property
    def cases(self) -> Cases:
        if not self._case_file[0]:
            return ()
        return answered_today(self._case_file[0].cases, self.folder.read(SAMPLE, dict[str, float]))

    @cached_property
    def labelled(self) -> Cases:
        return [case for case in self.cases if case.labelled]

    @property
    def examples(self) -> Examples:
        return self._example_file[0].examples if self._example_file[0] else ()

    @property
    def has_split(self) -> bool:
        return (self.folder.path / "split.json").exists()

    @cached_property
    def _data(self) -> tuple[TaskData | None, UserError | None]:
        return (
            (None, None)
            if not self.labelled or self.example_faults
            else attempt(
                UserError, lambda: settle(self.project, dataset_of(self.project, self.labelled, self.examples))
            )
        )

    @property
    def data(self) -> TaskData | None:
        """The data as a run would have it (labelled cases only); None if there is no data, see `split_fault`."""
        return self._data[0]

    @property
    def run_data(self) -> TaskData:
        """As `data`, for a check that says nothing without data.

        Raises:
            NoData: There is no data.
        """
        if self.data is None:
            raise NoData
        return self.data

    @property
    def label_data(self) -> TaskData:
        """As `run_data`, for a check of label tasks.

        Raises:
            NoData: There is no data, or the task is another one.
        """
        if self.run_data.task.kind != "label":
            raise NoData
        return self.run_data

    @property
    def split_fault(self) -> UserError | None:
        return None if isinstance(self._data[1], DamagedRecord) else self._data[1]  # the check `store` reports that

    @cached_property
    def prompt_texts(self) -> NamedTexts:
        found: dict[str, str] = {}
        for key in ("system", "user"):
            with suppress(UserError, UnicodeDecodeError):
                text = self.project.text(getattr(self.project.prompt, key))
                found |= {} if text is None else {key: text}
        return found

    @cached_property
    def corpus(self) -> Corpus | None:
        path = documents_path(self.project)
        return read_documents(path) if path is not None and path.exists() else None

    @cached_property
    def graders(self) -> list[tuple[Any, Grader | None, TuneworthyError | None]]:
        """(section, grader, why it cannot be built), the primary one first."""
        labels = self.data.labels if self.data else labels_of(self.labelled, self.examples)
        shots = self.data.split.shots if self.data else self.examples
        context = GradingContext(
            root=self.project.root,
            examples=shots,
            labels=labels,
            label_counts=label_counts(self.labelled) if labels else {},
        )
        return [
            (config, *attempt(TuneworthyError, partial(make_grader, config, context)))
            for config in self.project.graders
        ]

    @cached_property
    def opened(self) -> dict[str, tuple[OpenModel | None, TuneworthyError | None]]:
        return {
            name: attempt(TuneworthyError, partial(open_model, name, config, self.project.root))
            for name, config in self.project.models.items()
        }

    @property
    def baseline_capabilities(self) -> Capabilities | None:
        opened = self.opened[self.project.ladder.baseline][0]
        return opened.capabilities if opened else None

    def excluded(self, name: str) -> bool:
        """Whether nothing may be sent to the model `name`; one that only may not serve is measured all the same."""
        return self.project.constraints.data_stays and self.project.models[name].hosted

    @cached_property
    def servers(self) -> list[tuple[str, ServerAnswer]]:
        """Answers of OpenAI-compatible servers to one GET, by model; empty if no server may be contacted."""
        if not self.contact:
            return []
        named = {
            name: config
            for name, config in self.project.models.items()
            if isinstance(config, ChatServer) and config.bearer and not self.excluded(name)
        }
        return ask_servers(named, self.project.root)

    @cached_property
    def estimate(self) -> Estimate | None:
        return (
            estimate_run(self.project, self.data, {name: one for name, (one, _) in self.opened.items() if one})
            if self.data is not None
            else None
        )

    @cached_property
    def power(self) -> Power | None:
        if self.data is None:
            return None
        split = self.data.split
        test, rungs = split.test, rungs_with_comparisons(self.project, split, self.data.task)
        plan = with_slots(read_comparisons(self.folder), rungs, split)
        now = {slot_name(rung, split) for rung in rungs}
        left = {name: level for name, level in plan.open_slots.items() if name in now} or plan.open_slots
        alpha = min(left.values())
        n_groups = round(split.effective_groups, 1)
        margin = self.project.task.margin
        return Power(
            n=len(test),
            n_groups=n_groups,
            comparisons=len(left),
            alpha=alpha,
            difference=detectable_gain(max(1, len(test)), alpha),
            grouped=detectable_gain(max(1, len(test)), alpha, design_effect=len(test) / n_groups),
            margin=margin,
            n_for_margin=n_for_gain(margin, alpha),
            n_no_worse=n_for_non_inferiority(margin, 2 * LOSS),
        )


def attempt(kind: type[E], make: Callable[[], T]) -> tuple[T | None, E | None]:
    try:
        return make(), None
    except kind as error:
        return None, error


def _each(error: DataError | None) -> list[DataError]:
    if not isinstance(error, DataFaults):
        return [error] if error else []
    faults: list[DataError] = list(error.faults)
    if more := error.n_faults - len(faults):
        faults.append(DataError(error.path, None, "valid rows only", f"{more} more {plural(more, 'error', 'errors')}"))
    return faults
