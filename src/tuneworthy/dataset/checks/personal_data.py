"""Personal data and secrets in a row and what goes along with it: found, masked or a reason to drop it; never shown."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, Literal, Protocol

from tuneworthy.cases import pii
from tuneworthy.cases.pii import KINDS, Look, Masker, PiiMatch, recurrences
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check, id_of
from tuneworthy.dataset.distill.teacher import KEY as TEACHER
from tuneworthy.dataset.records import Action
from tuneworthy.errors import UserError
from tuneworthy.text import number_text, plural
from tuneworthy.types import Example, Examples, Texts, TextTuple, frozen

_DIGEST = 8
# How often a row is masked: what stood close to a value may be found only where the value is gone.
_ROUNDS = 3
# Least confidence of a match of Presidio.
MIN_CONFIDENCE = 0.5
EngineName = Literal["patterns", "presidio"]


class PiiEngine(Protocol):
    def find_all(self, texts: Texts) -> Iterator[tuple[int, list[PiiMatch]]]:
        """Yield the number of each text that holds any, with what it holds, in order and without overlaps."""


class Presidio:
    """Presidio's analyzer in addition to our validators: names and places too, as far as its language model goes.

    Args:
        analyzer: Made with `presidio_analyzer.AnalyzerEngine()` if None.

    Raises:
        UserError: presidio-analyzer is not installed.
    """

    kinds: ClassVar = {
        "PERSON": "person", "LOCATION": "place", "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "IBAN_CODE": "iban",
        "CREDIT_CARD": "card", "IP_ADDRESS": "ip", "US_SSN": "id", "US_PASSPORT": "id", "US_DRIVER_LICENSE": "id",
        "US_ITIN": "id", "UK_NHS": "id", "ES_NIF": "id", "IT_FISCAL_CODE": "id", "MEDICAL_LICENSE": "id",
        "US_BANK_NUMBER": "account", "CRYPTO": "account",
    }  # fmt: skip

    def __init__(self, analyzer: Any = None) -> None:
        if analyzer is None:
            try:
                analyzer = import_module("presidio_analyzer").AnalyzerEngine()
            except ImportError:
                raise UserError(
                    "The package presidio-analyzer is not installed.",
                    hint="Run `pip install presidio-analyzer`, then install the spaCy model that it requests.",
                ) from None
        self.analyzer = analyzer

    def find_all(self, texts: Texts) -> Iterator[tuple[int, list[PiiMatch]]]:
        ours = dict(pii.find_all(texts))
        for number, text in enumerate(texts):
            matches = ours.get(number, [])
            results = self.analyzer.analyze(text=text, language="en", entities=list(self.kinds))
            for result in sorted(results, key=lambda result: (result.start, -result.end)):
                if result.score >= MIN_CONFIDENCE and (kind := self.kinds.get(result.entity_type)):
                    match = pii.match_of(text, kind, result.start, result.end)
                    matches = [*matches, *_apart(match, matches)]
            if matches:
                yield number, sorted(matches, key=lambda match: match.start)


@lru_cache  # a language model is loaded once, not for each row
def open_engine(name: EngineName) -> PiiEngine:
    """Return the engine called `name`; `patterns` is our own validators (`cases.pii`), which find no names.

    Raises:
        UserError: It is not installed.
    """
    return Presidio() if name == "presidio" else pii


def row_text(row: Example) -> str:
    """Return all text that leaves with a row: its messages without the roles, its `meta`, `group` and `tags`.

    A value of JSON follows its key, which names it.
    """
    parts = [value for message in row.messages for key, value in message.items() if key != "role"]
    if not (row.meta or row.group or row.tags) and all(type(part) is str for part in parts):
        return "\n".join([*parts, "", "", ""])
    return "\n".join(text for value in (*parts, dict(row.meta), row.group, row.tags) for text in _texts(value))


def _texts(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        yield name
        for key, item in value.items():
            yield from _texts(item, f"{key}: ")
    elif isinstance(value, list | tuple):
        for item in value or ("",):
            yield from _texts(item, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name + number_text(value)
    else:
        yield name + (value if isinstance(value, str) else "")


MASK = re.compile(r"\[[A-Z_]+_[0-9a-f]+\]")


def _apart(match: PiiMatch, others: Iterable[PiiMatch]) -> list[PiiMatch]:
    """Return the match, or nothing if it overlaps another one."""
    return [match] if all(match.end <= other.start or other.end <= match.start for other in others) else []


def _hashed(name: str, matches: Sequence[PiiMatch]) -> str:
    for match in reversed(matches):
        name = f"{name[: match.start]}[{match.kind.upper()}_{match.digest[:_DIGEST]}]{name[match.end :]}"
    return name


@data_check(
    "personal_data",
    gate=frozenset(messages.REASONS["personal_data"]),
    certain=True,
    version=3,
)
@frozen
class PersonalData:
    """Rows with addresses, phone or account numbers, cards, national identifiers, devices, birth dates or keys.

    A model can repeat its training data to anyone. Numbers with a checksum count only if it is right, and those
    of digits only if a word before them names them ("BSN 111222333"). Keys count by the format of their vendor, or by
    the words before them ("password =", "Bearer"). By default the values are masked, the same value by the same mask,
    so that question and answer still belong together. Masked rows are read again, and the gate fails if anything is
    found in them. Names of people and places need the engine `presidio`; the gate and the card list the missing kinds.
    Further fields of a log (`meta`, `group`, `tags`) count too. A value is never shown, only counted.

    Bad: "Write to ada@example.org".
    """

    action: Action = "mask"
    secrets: Action = "mask"
    kinds: TextTuple = KINDS
    engine: EngineName = "patterns"

    @property
    def blind(self) -> str:
        names = [] if self.engine == "presidio" else ["names of people and places"]
        off = [kind for kind in KINDS if kind not in self.kinds]
        unnamed = (
            "user names, number plates without a word that names them, streets without a word such as Street, and "
            "identifiers of digits only without a word that names them"
        )
        return f"not looked for: {'; '.join([*off, *names, unnamed])}"

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        left = []
        for number, matches in open_engine(self.engine).find_all([row_text(row) for row in rows]):
            counts = Counter(match.kind for match in matches if self._counts(match.kind))
            if counts and "mask" in {self.action, self.secrets} and self._look(row_text(self.repair(rows[number]))):
                left.append(rows[number].source or str(number + 1))
            if n_keys := counts.pop("key", 0):
                yield RowFinding(row=number, code="secret", message=f"{n_keys} key", action=self.secrets)
            if counts:
                yield RowFinding(
                    row=number,
                    code="personal_data",
                    message=", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())),
                    action=self.action,
                )
        if left:  # about the set: no policy can ask to mask these rows once more
            yield RowFinding(
                code="personal_data",
                message=f"{len(left)} masked {plural(len(left), 'row', 'rows')} still "
                f"{plural(len(left), 'contains', 'contain')} personal data, the first is {left[0]}; remove or "
                f"edit {plural(len(left), 'it', 'them')}, then import the file again",
            )

    def repair(self, row: Example) -> Example:
        masker = Masker()
        for _ in range(_ROUNDS):
            text = row_text(row)
            if not (matches := self._look(text)):
                break
            row = self._masked(row, masker, recurrences(text, matches))
        return row

    def _masked(self, row: Example, masker: Masker, again: Look) -> Example:
        def look(text: str) -> list[PiiMatch]:
            longest: list[PiiMatch] = []
            for match in sorted([*again(text), *self._look(text)], key=lambda match: match.start - match.end):
                longest += _apart(match, longest)
            return sorted(longest, key=lambda match: match.start)

        masker.look = look
        turns = tuple(
            {key: value if key == "role" else masker.mask_json(value) for key, value in message.items()}
            for message in row.messages
        )
        teacher = {TEACHER: Masker(look=look).mask_json(row.meta[TEACHER])} if TEACHER in row.meta else {}
        return replace(
            row,
            messages=turns,
            meta=masker.mask_json({key: value for key, value in row.meta.items() if key != TEACHER}) | teacher,
            group=row.group and _hashed(row.group, look(row.group)),
            tags=tuple(_hashed(tag, look(tag)) for tag in row.tags),
            id=id_of(turns),
        )

    def _look(self, text: str) -> list[PiiMatch]:
        masks = [match.span() for match in MASK.finditer(text)]
        return [
            one
            for _, matches in open_engine(self.engine).find_all([text])
            for one in matches
            if self._counts(one.kind) and not any(start < one.end and one.start < end for start, end in masks)
        ]

    def _counts(self, kind: str) -> bool:
        return kind in self.kinds or kind not in KINDS


def masking(engine: EngineName) -> Callable[[Example], Example]:
    check = PersonalData(engine=engine)

    def masked(row: Example) -> Example:
        return check.repair(row) if any(True for _ in check([row], CheckContext())) else row

    return masked
