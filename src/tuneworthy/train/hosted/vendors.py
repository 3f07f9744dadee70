"""The table of vendors (`vendors.json`): how their protocols, prices and limits differ; pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import orjson

# The largest size in a model's name, billions of parameters; names of mixtures of experts say too little.
_SIZE: Final = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)b\b")
_EXPERTS: Final = re.compile(r"\dx\d|\b\d+e\b|\ba\d+(?:\.\d+)?b\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingVendor:
    """A row of `vendors.json`; its templates hold fields in braces, its paths into answers have dots.

    Attributes:
        date: Day that the table was collected.
        title: Its name, for people.
        api: Address of its API.
        answers: Address where a tuned model answers, by OpenAI's chat completions.
        key: Environment variable of its key.
        min_rows: Fewest rows of a job.
        max_bytes: Largest file that it takes in one request.
        sources: Where each of these was read, with marks as in `prices`.
        prices: Of training, US dollars a million tokens, by patterns of models or by size.
        upload: Path and form of an upload, and where the id of the file is in the answer.
        files: How files are listed.
        file: Path of a file, and where its state is.
        start: Path and body that start a job.
        jobs: How jobs are listed.
        job: Path of a job, of its end, and where state, model, error and tokens are.
        states: Our word for a job's state to the vendor's words.
        account: Environment variable of the account, where paths name one.
        announce: What makes the record of a file before it is uploaded, where the vendor needs one.
        last_start: Day from which no new job starts, where it is announced.
        deploy: How a tuned model is deployed, where it does not answer at once.
    """

    date: str
    title: str
    api: str
    answers: str
    key: str
    min_rows: int
    max_bytes: int
    sources: Mapping[str, str]
    prices: Sequence[Mapping[str, Any]]
    upload: Mapping[str, Any]
    files: Mapping[str, Any]
    file: Mapping[str, Any]
    start: Mapping[str, Any]
    jobs: Mapping[str, Any]
    job: Mapping[str, Any]
    states: Mapping[str, Sequence[str]]
    account: str | None = None
    announce: Mapping[str, Any] | None = None
    last_start: str | None = None
    deploy: str | None = None

    def price(self, base: str) -> Mapping[str, Any] | None:
        """Return the row of `prices` that holds for a model; None if none does.

        >>> [vendors()["together"].price(name) for name in ("mistralai/Mixtral-8x7B", "a-400B", "unsized")]
        [None, None, None]
        >>> vendors()["together"].price("meta-llama/Llama-3.3-70B")["usd_per_mtok"]
        2.9
        """
        name = base.lower()
        sizes = [] if _EXPERTS.search(name) else [float(size) for size in _SIZE.findall(name)]
        for row in self.prices:
            if any(fnmatchcase(name, pattern) for pattern in row.get("models", ())):
                return row
            if sizes and max(sizes) <= row.get("up_to_b", 0.0):
                return row
        return None

    def state(self, word: Any) -> str | None:
        """Return our word for the state of a job; None if the vendor's is not in the table."""
        return next((ours for ours, theirs in self.states.items() if word in theirs), None)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(files(__package__).joinpath("vendors.json").read_bytes())
    return table


def vendors() -> dict[str, TrainingVendor]:
    """Return every vendor by its name."""
    table = _table()
    return {name: TrainingVendor(date=table["date"], **row) for name, row in table["vendors"].items()}


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Return a template of the table with its fields filled in; one that is a field alone keeps the value's type.

    >>> filled({"n_epochs": "{epochs}", "suffix": "tuned-{name}"}, {"epochs": 3, "name": "a"})
    {'n_epochs': 3, 'suffix': 'tuned-a'}
    """
    if isinstance(template, Mapping):
        return {key: filled(part, values) for key, part in template.items()}
    if not isinstance(template, str):
        return template
    return values[template[1:-1]] if re.fullmatch(r"\{\w+\}", template) else template.format_map(values)


def at(document: Any, path: str) -> Any:
    """Return what is at a path into an answer; None if there is nothing.

    >>> at({"events": [{"message": "a"}, {"message": "b"}]}, "events.-1.message"), at({"error": "x"}, "error.code")
    ('b', None)
    """
    for part in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list) and document and part == "-1":
            document = document[-1]
        else:
            return None
    return document
