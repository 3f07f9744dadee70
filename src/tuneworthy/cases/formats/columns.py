"""Rows of cells (CSV, Parquet, or JSON with names of one's own) to the keys that the tool knows.

A cell that begins like JSON and is JSON is read as JSON; any other cell stays text. In the expected
column an empty cell means *not labelled* and the word ``null`` means *declining is right*.
"""

import re
from collections.abc import Iterable, Sequence, Set
from itertools import chain
from typing import Any

import orjson

from tuneworthy.cases import messages
from tuneworthy.cases.formats.registry import Convert, Fields
from tuneworthy.cases.readers.faults import Journal, RowFault, show
from tuneworthy.errors import did_you_mean
from tuneworthy.types import JsonMapping, JsonObject, Texts

INPUT_NAMES = ("input", "question", "text", "prompt", "query", "utterance", "message", "user", "instruction", "frage",
               "anfrage", "nachricht")  # fmt: skip
EXPECTED_NAMES = (
    "expected",
    "expected_output",
    "expectedoutput",
    "__expected",
    "label",
    "category",
    "intent",
    "target",
    "ideal",
    "answer",
    "output",
    "completion",
    "response",
    "class",
    "antwort",
    "kategorie",
)
# Columns that may have a verdict on the answer instead of the answer, and words that are one.
_VERDICTS = frozenset({"label", "category", "class"})
_VERDICT = re.compile(
    r"(thumbs?[ _-]?)?(up|down)|good|bad|(in)?correct|wrong|(un)?helpful|accepted|rejected|true|false", re.I
)
# Words in a column `answer` with which a reviewer judges the label or the spans of a row.
_REVIEWS = frozenset({"accept", "reject", "ignore"})
_PASSED_ON = ("id", "group", "tags", "documents", "tools")
_LISTS = ("tags", "documents")
# Columns that say something about a row, such as its date, by a word of their name or by their cells.
_ABOUT = {
    "id", "ids", "uuid", "index", "idx", "sku", "url", "link", "date", "time", "timestamp", "created", "updated",
    "received", "closed", "resolved", "modified", "opened", "due", "metadata", "email", "phone", "count", "minutes",
    "hours", "seconds", "key", "number", "zip",
}  # fmt: skip
_ABOUT_CELL = re.compile(r"\s*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|https?://\S+")
# Words in the name of a column with the answer, and of one that has it for certain.
_ANSWER_WORDS = {
    "label", "category", "categories", "intent", "target", "ideal", "answer", "output", "completion", "response",
    "class", "queue", "type", "topic", "theme", "tag", "department", "team", "reply", "solution", "sql", "sentiment",
    "emotion", "abteilung", "thema", "kategorie", "antwort",
}  # fmt: skip
_RIGHT_WORDS = {"expected", "gold", "golden", "correct", "truth"}
# Words in the name of a column with something else, such as the type of a customer.
_OTHER = {
    "customer", "account", "plan", "device", "file", "contact", "company", "browser", "payment", "model",
    "predicted", "subject", "title", "headline",
}  # fmt: skip
# Words in the name of a column that counts or identifies rows, if all its values differ.
_IDS = {"id", "idx", "index", "uuid", "key", "number", "no", "nr", "ticket", "case", "row", "ref", "reference"}
# Rows that show whether two columns have the same labels, or one column has labels.
_MANY_ROWS = 20


def expected_column(row: JsonMapping, among: Set[str]) -> str | None:
    """Return the column of the right answer: not one with a verdict on the answer, if there is one with the answer.

    >>> expected_column({"label": "bad", "answer": "4"}, {"label", "answer"}), expected_column({"q": "a"}, {"answer"})
    ('answer', 'answer')
    """
    first = find_column(among, EXPECTED_NAMES)
    reviewed = first == "answer" and str(row.get(first)) in _REVIEWS and not row.keys().isdisjoint({"spans", "accept"})
    if reviewed or (first is not None and first.lower() in _VERDICTS and _VERDICT.fullmatch(str(row.get(first)))):
        return find_column(among - {first or ""}, EXPECTED_NAMES) or (None if reviewed else first)
    return first


def question_and_answers(rows: Sequence[JsonMapping], asked: Texts) -> tuple[list[str], list[str]]:
    """Return the column of the question, unless no column is text, and the columns that could be the answer.

    The question is the column with a known name, or with the longest texts. The answer is the column with a known
    name, else with JSON objects, else with a known word in its name, else with few values. Several of one kind compete.

    Args:
        rows: The first rows.
        asked: The columns of the question, where they are known.

    >>> question_and_answers([{"qText": "Where is my card?", "day": "2026-01-02", "slots": "{}"}], [])
    (['qText'], ['slots'])
    """
    names = dict.fromkeys(chain.from_iterable(rows))
    columns = [_Cells(name, [row.get(name) for row in rows], alone=len(names) == 2) for name in names]
    texts = [column for column in columns if column.may_ask and not column.are_objects]
    question = [*asked] or [column.name for column in sorted(texts, key=_Cells.asks)[-1:]]
    labels = [column for column in columns if column.few and not column.are_codes]
    others = [
        column
        for column in columns
        if column.may_answer and column.name not in question and not any(map(column.numbers, labels))
    ]
    return question, [column.name for column in _named(others, rows[0]) or _likely(others)]


def _named(columns: Sequence["_Cells"], row: JsonMapping) -> Sequence["_Cells"]:
    """Return those of `columns` whose names are known and that could be the answer."""
    named = [column for column in columns if column.named]
    named = sorted(
        [column for column in named if column.varied] or named,
        key=lambda column: EXPECTED_NAMES.index(column.name.lower()),
    )
    answer = expected_column(row, {column.name for column in named})
    several = answer is not None and answer == named[0].name and "expected" not in answer.lower()
    return named if several else [column for column in named if column.name == answer]


def _likely(columns: Sequence["_Cells"]) -> Sequence["_Cells"]:
    """Return those of `columns`, whose names are not known, that could be the answer."""

    def with_words(words: Set[str]) -> list[_Cells]:
        return [column for column in columns if column.likely and column.words & words]

    objects, known = [column for column in columns if column.are_objects], with_words(_ANSWER_WORDS)
    full = [column for column in known if column.n >= len(column.cells) / 2]
    few = [column for column in columns if column.few and column not in known]
    texts = [column for column in columns if column.alone or column.likely]
    return with_words(_RIGHT_WORDS) or objects * (len(objects) == 1) or full or [*known, *few] or texts


class _Cells:
    """A column of the first rows.

    Attributes:
        alone: Whether there is only one other.
        words: Of the name, in lower case, also in the singular.
        values: The different cells that are not empty; `n` is the number of such cells.
        varied: Whether there are several.
        few: Whether a classifier could learn them.
        likely: Whether they could be answers.
        named: Whether the name is known as that of an answer.
        are_codes: Whether all cells are whole numbers.
    """

    def __init__(self, name: str, cells: Sequence[Any], *, alone: bool) -> None:
        self.name, self.cells, self.alone = name, cells, alone
        words = {word.lower() for word in re.findall("[A-Z]?[a-zà-ÿ]+|[A-Z]+", name)}
        self.words = words | {word.removesuffix("s") for word in words}
        filled = [str(cell) for cell in cells if cell not in (None, "")]
        self.values, self.n = {*filled}, len(filled)
        self.varied = len(self.values) > 1
        self.few = 1 < len(self.values) <= len(filled) / 2
        self.named = name.lower() in EXPECTED_NAMES
        self.are_codes = all(map(str.isdigit, self.values))
        is_text = sum(" " in value.strip() for value in self.values) > len(self.values) / 2  # unlike ids
        self.likely = self.varied and (self.few or is_text) and not self.words & _OTHER
        about = self.words & _ABOUT - (_IDS if self.few and self.words & _ANSWER_WORDS else set())
        dated = all(_ABOUT_CELL.fullmatch(str(cell or "")) for cell in cells)
        self.may_ask = alone or not (about or dated or name in _PASSED_ON)
        self.may_answer = self.named or (self.may_ask and not (self.words & _IDS and all_differ(cells)))

    @property
    def are_objects(self) -> bool:
        return all(isinstance(parsed(cell), dict) for cell in self.cells if cell)

    def asks(self) -> tuple[int, bool, bool, bool, int]:
        """Return how probably it is the question."""
        return (
            sum(len(INPUT_NAMES) - i for i, word in enumerate(INPUT_NAMES) if word == self.name.lower()),
            not self.few,
            not (self.words - {"user"}).isdisjoint(INPUT_NAMES),
            not (self.named or self.words & _ANSWER_WORDS),
            sum(len(str(cell)) for cell in self.cells),
        )

    def numbers(self, labels: "_Cells") -> bool:
        """Whether it has the numbers of `labels`."""
        pairs = {*zip(map(str, self.cells), map(str, labels.cells), strict=True)}
        same = len(pairs) == len({*map(str, self.cells)}) == len({*map(str, labels.cells)})
        return self.are_codes and same and len(self.cells) >= _MANY_ROWS


def all_differ(cells: Sequence[Any]) -> bool:
    """Whether cells are enough to see that no two are equal, unlike labels."""
    return len(cells) >= _MANY_ROWS and len({*map(str, cells)}) == len(cells)


def find_column(keys: Iterable[str], names: Texts) -> str | None:
    by_lower = {key.lower(): key for key in keys}
    return next((by_lower[name] for name in names if name in by_lower), None)


def is_in_words(row: JsonMapping) -> bool:
    """Whether a row has a question and an answer, both of them words, in columns whose names are known.

    >>> is_in_words({"event": "x", "question": "2+2?", "answer": "4"}), is_in_words({"input": "[1]", "output": "4"})
    (True, False)
    """
    question = find_column(row, INPUT_NAMES)
    cells = [row.get(name or "") for name in (question, expected_column(row, row.keys() - {question or ""}))]
    return all(isinstance(cell, str) and cell.strip() and parsed(cell) is cell for cell in cells)


class Columns:
    """Converts rows of cells by way of native rows: ``{"input" or "messages", "expected"?, "id"?, ...}``.

    Args:
        read: Converts a native row.
        keys: The names of all columns.
        journal: Gets notes on guessed and ignored columns.
        inputs: The input columns; several make a dict of variables. Guessed if empty.
        expected: The expected column; guessed if None, no column if "".
        keep_rest: Whether the other columns are passed on, as `meta`.
        head: The first rows.
    """

    def __init__(
        self,
        read: Convert,
        keys: Set[str],
        journal: Journal,
        inputs: Texts = (),
        expected: str | None = None,
        *,
        keep_rest: bool = False,
        head: Sequence[JsonMapping],
    ):
        self.read, self.journal, self.keep_rest = read, journal, keep_rest
        have = f"the columns {', '.join(sorted(keys))}"
        for name in (*inputs, *((expected,) if expected else ())):
            if name not in keys:
                raise RowFault(
                    f"a column {name!r}",
                    got=have,
                    hint=f"{did_you_mean(name, keys)} Fix --input or --expected.".strip(),
                )
        if expected in inputs:
            raise RowFault(
                "another column for the answer than for the question",
                got=f"column {expected!r} as the expected answer",
                hint="Leave the column of the answer out of --input.",
            )
        self.messages = "messages" if "messages" in keys and not inputs else None
        guess = None if self.messages else find_column(keys - {expected or ""}, INPUT_NAMES)
        self.inputs = tuple(inputs) or ((guess,) if guess else ())
        if not self.inputs and not self.messages:
            raise RowFault(
                "a column `input`",
                got=have,
                hint=f"Rename the columns to `input` and `expected`, {messages.NAME_COLUMNS}",
            )
        self.expected = expected_column(head[0], keys - set(self.inputs)) if expected is None else expected or None
        self.is_label = (self.expected or "").lower() in _VERDICTS
        self.single = self.is_label and all(
            isinstance(label := parsed(row.get(self.expected or "")), list) and list(map(type, label)) == [str]
            for row in head
        )
        self._note_choice(keys)

    def _note_choice(self, keys: Set[str]) -> None:
        if self.inputs and (self.inputs, self.expected) != (("input",), "expected"):
            names = ", ".join(map(repr, self.inputs))
            expected = f"column {self.expected!r}" if self.expected else "no column"
            self.journal.note(f"using column {names} as the input and {expected} as the expected answer", 0)
        unread = sorted(keys - {*self.inputs, self.expected, self.messages, *_PASSED_ON})
        self.rest = tuple(unread) if self.keep_rest else ()
        if unread and not self.keep_rest:
            self.journal.note(f"ignored columns: {', '.join(unread)}", 0)

    def __call__(self, row: JsonObject, journal: Journal) -> Fields:
        return self.read(self.native(row), journal)

    def native(self, row: JsonObject) -> JsonObject:
        out = {}
        for name in _PASSED_ON:
            value = parsed(row.get(name))
            if name in _LISTS and isinstance(value, str):
                value = list(filter(None, map(str.strip, re.split("[,;]", value))))
            if value not in (None, ""):
                out[name] = value
        if self.messages:
            out["messages"] = parsed(row.get("messages"))
        elif len(self.inputs) == 1:
            cell = row.get(self.inputs[0])
            value = parsed(cell)
            if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
                out["messages"] = value
            elif isinstance(value, dict):
                out["input"] = value
            else:
                out["input"] = show(cell, 10**9) if isinstance(cell, int | float | bool | list) else cell
        else:
            out["input"] = {name: parsed(row.get(name)) for name in self.inputs}
        if self.expected is not None:
            self._add_expected(out, row.get(self.expected))
        if rest := {
            ("accepted" if name == "answer" and self.is_label and str(cell) in _REVIEWS else name): parsed(cell)
            for name, cell in zip(self.rest, map(row.get, self.rest), strict=True)
            if cell not in (None, "")
        }:
            inner = rest.pop("meta", {})
            out["meta"] = inner | rest if isinstance(inner, dict) else {"meta": inner} | rest
        return out

    def _add_expected(self, out: JsonObject, cell: Any) -> None:
        cell = cell.strip() if isinstance(cell, str) else cell
        if cell is None or cell == "":
            self.journal.note(
                "the cell for the expected answer is empty, so the case is unlabelled; write the word null as "
                "text if the model should decline"
            )
            return
        value = parsed(cell)
        if self.single and isinstance(value, list) and len(value) == 1:
            self.journal.note("the answer is the only item of a list")
            value = value[0]
        if value is cell and isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
            self.journal.note("the cell for the expected answer looks like JSON but is invalid, so it is kept as text")
        out["expected"] = None if value == "null" else value


def parsed(cell: Any) -> Any:
    """Return the object or list in the JSON text `cell`, else `cell` itself."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
        try:
            value = orjson.loads(cell)
            orjson.dumps(value)  # deeper than can be written again: stays text
        except (orjson.JSONDecodeError, TypeError):
            return cell
        return value
    return cell
