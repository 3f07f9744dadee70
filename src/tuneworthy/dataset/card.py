"""What a card says of a frozen version, before it has a form: the funnel, examples, distributions, provenance.

Invariant: every text of a row that it holds is masked, whatever the policy was, and short. Of a row that gives a case
away only the place is told, as its text is that of the case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from tuneworthy.cases.pii import Masker, PiiMatch
from tuneworthy.dataset.checks.personal_data import open_engine
from tuneworthy.dataset.distill.teacher import name_of, terms_of
from tuneworthy.dataset.freeze import Version
from tuneworthy.types import Example

EXAMPLES: Final = 3
"""Rows that are shown for each reason."""
SHOWN: Final = 160
"""Characters of a question or an answer that are shown."""
TOP: Final = 10
HIDDEN: Final = "not shown: its text is that of a case"
_LABEL: Final = 60
_BOUNDS: Final = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)


@dataclass(frozen=True, slots=True)
class Step:
    """One check in the funnel.

    Attributes:
        check: Its name. n_in, n_out: Rows before and after. dropped, masked, reported: Rows. seconds: Time; None if
            it was not measured.
    """

    check: str
    n_in: int
    n_out: int
    dropped: int
    masked: int
    reported: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A row that is shown: where it is from, its masked beginning, what was found, and which row it repeats."""

    source: str
    question: str
    answer: str
    detail: str
    other: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason, with rows.

    Attributes:
        check, reason, words: What was found. action: `drop`, `mask` or `report`. n: Rows. shown: A few of them.
    """

    check: str
    reason: str
    words: str
    action: str
    n: int
    shown: Sequence[Shown]


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many rows fall under each heading, in order."""

    title: str
    counts: Sequence[tuple[str, int]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card.

    Attributes:
        task, version, created: What it is about. n_read, n_rows: Rows at the beginning and at the end.
        unsafe: Gates that failed when it was frozen all the same, in words.
        funnel: The import, then each check. reasons: With examples. told: What was said of the whole set.
        repeated: The rows that most others repeat: source and how many.
        distributions: Of the rows that stay. gates: Name, status, detail.
        provenance: Names and values. licences: Sentences. notes: What to know.
    """

    task: str
    version: str
    created: str
    n_read: int
    n_rows: int
    unsafe: Sequence[str]
    funnel: Sequence[Step]
    reasons: Sequence[Reason]
    told: Sequence[tuple[str, str]]
    repeated: Sequence[tuple[Shown, int]]
    distributions: Sequence[Distribution]
    gates: Sequence[tuple[str, str, str]]
    provenance: Sequence[tuple[str, str]]
    licences: Sequence[str]
    notes: Sequence[str]


def card_of(version: Version) -> Card:
    """Return the card of a frozen version."""
    recipe = version.recipe
    look = look_of(recipe)
    rejects = _Rejects(version.rejects(), look)
    stayed = _Stayed(version, look)
    failed = [gate for gate in recipe["gates"] if not gate["passed"]]
    return Card(
        task=recipe["task"],
        version=version.id,
        created=recipe["times"]["created"],
        n_read=recipe["input"]["n_read"],
        n_rows=version.n_rows,
        unsafe=[f"{gate['check']}: {gate['detail']}" for gate in failed] if recipe["unsafe"] else [],
        funnel=_funnel(recipe),
        reasons=_reasons(recipe, {**rejects.shown, **stayed.shown}),
        told=[(each["check"], one["detail"] or one["words"]) for each in recipe["checks"] for one in each["whole_set"]],
        repeated=stayed.most_repeated(rejects.repeated),
        distributions=stayed.distributions(),
        gates=[(one["check"], "passed" if one["passed"] else "failed", one["detail"]) for one in recipe["gates"]],
        provenance=_provenance(recipe),
        licences=_licences(recipe, stayed.licences),
        notes=recipe["notes"],
    )


Look = Callable[[str], list[PiiMatch]]
"""Finds personal data in a text (see `Masker`)."""


def look_of(recipe: Mapping[str, Any]) -> Look:
    """Return what finds personal data in a version: with the engine of its build.

    Raises:
        UserError: The engine is not installed.
    """
    engine = open_engine(recipe["settings"].get("pii_engine", "patterns"))
    return lambda text: [one for _, found in engine.find_all([text]) for one in found]


class _Rejects:
    """One pass over the rows that left: a few of each reason, and what they repeat."""

    def __init__(self, rejects: Iterable[Mapping[str, Any]], look: Look) -> None:
        self.shown: dict[tuple[str, str], list[Shown]] = {}
        self.repeated: Counter[str] = Counter()
        for one in rejects:
            some = self.shown.setdefault((one["reason"], "drop"), [])
            if len(some) < EXAMPLES:
                row = Example(id=one["id"], messages=tuple(one["row"]["messages"]))
                some.append(_shown(one, row, look))
            if "other" in one:
                self.repeated[one["other"]["source"]] += 1


class _Stayed:
    """One pass over the rows that stay: a few of each reason, lengths, labels, files, licences."""

    def __init__(self, version: Version, look: Look) -> None:
        wanted: dict[str, list[tuple[tuple[str, str], Mapping[str, Any]]]] = {}
        seen: Counter[tuple[str, str]] = Counter()
        self._overlaps: set[str] = set()
        for one in version.findings():
            if one.get("contamination"):
                self._overlaps.add(one["source"])
            key = one["reason"], one["action"]
            if "id" in one and seen[key] < EXAMPLES:
                seen[key] += 1
                wanted.setdefault(one["source"], []).append((key, one))
        self.shown: dict[tuple[str, str], list[Shown]] = {}
        self.questions: Counter[int] = Counter()
        self.answers: Counter[int] = Counter()
        self.turns: Counter[int] = Counter()
        self.files: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self._version, self._look = version, look
        for row in version.examples():
            self._count(row)
            for key, finding in wanted.get(row.source, ()):
                self.shown.setdefault(key, []).append(_shown(finding, row, look))

    def _count(self, row: Example) -> None:
        self.questions[_bin(len(row.question))] += 1
        self.answers[_bin(len(row.answer))] += 1
        self.turns[sum(message.get("role") == "user" for message in row.messages)] += 1
        self.files[row.source.rpartition(":")[0] or row.source] += 1
        if len(self.labels) <= 500 and len(answer := row.answer.strip()) <= _LABEL:
            self.labels[answer] += 1
        for key in ("licence", "license"):
            if row.meta.get(key):
                self.licences[str(row.meta[key])] += 1

    def most_repeated(self, repeated: Counter[str]) -> list[tuple[Shown, int]]:
        """Return the rows that most others repeat, with how many do, most first."""
        top = {source: n for source, n in repeated.most_common(TOP) if n > 1}
        found = [(row, top[row.source]) for row in self._version.examples() if row.source in top] if top else []
        rows = sorted(found, key=lambda pair: (-pair[1], pair[0].source))
        told = {"reason": "", "detail": ""}
        return [
            (_shown({"source": row.source, "contamination": row.source in self._overlaps, **told}, row, self._look), n)
            for row, n in rows
        ]

    def distributions(self) -> list[Distribution]:
        """Return how the rows are spread."""
        n = self._version.n_rows
        found = [
            Distribution("Characters of the question", _binned(self.questions)),
            Distribution("Characters of the answer", _binned(self.answers)),
            Distribution("User turns", [(str(turns), count) for turns, count in sorted(self.turns.items())]),
            Distribution("Files", self.files.most_common(TOP), _rest(self.files)),
        ]
        if self.labels and self.labels.total() == n and len(self.labels) <= max(2, n // 4):
            squares = sum(count * count for count in self.labels.values())
            note = f"{len(self.labels)} different answers count as {n * n / squares:.1f} equally frequent ones"
            masker = Masker(look=self._look)
            top = [(_cut(masker.mask(answer)), count) for answer, count in self.labels.most_common(TOP)]
            found.append(Distribution("Most frequent answers", top, note))
        return found


def _funnel(recipe: Mapping[str, Any]) -> list[Step]:
    read = recipe["input"]
    steps = [Step("import", read["n_read"], read["n_kept"], read["n_rejected"], read["n_repaired"], 0)]
    for one in recipe["checks"]:
        seconds = recipe["times"]["seconds"].get(one["check"])
        counts = (one["n_drop"], one["n_mask"], one["n_report"])
        steps.append(Step(one["check"], one["n_in"], one["n_out"], *counts, seconds))
    return steps


def _reasons(recipe: Mapping[str, Any], shown: Mapping[tuple[str, str], Sequence[Shown]]) -> list[Reason]:
    """Return the reasons of the import and of the checks, in their order."""
    found = [Reason("import", reason, told["words"], "drop", told["n"], [Shown(told["first"], "", "", "")])
             for reason, told in recipe["input"]["reasons"].items()]  # fmt: skip
    for each in recipe["checks"]:
        for reason, told in each["reasons"].items():
            for action in ("drop", "mask", "report"):
                if n := told.get(action):
                    some = shown.get((reason, action), ())
                    found.append(Reason(each["check"], reason, told["words"], action, n, some))
    return found


def _shown(one: Mapping[str, Any], row: Example, look: Look) -> Shown:
    """Return a row as it may be shown."""
    detail, other = str(one["detail"]), str(one.get("other", {}).get("source", ""))
    if one["reason"].startswith(("leak_", "held_out")):
        return Shown(one["source"], HIDDEN, "", detail, other)
    if one.get("contamination"):
        return Shown(one["source"], HIDDEN, "", "", other)
    masker = Masker(look=look)
    return Shown(
        one["source"], _cut(masker.mask(row.question)), _cut(masker.mask(row.answer)), masker.mask(detail), other
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1].rstrip() + "…"


def _bin(length: int) -> int:
    """Return the number of the bin of a length."""
    return sum(length > bound for bound in _BOUNDS[1:])


def _binned(counts: Counter[int]) -> list[tuple[str, int]]:
    """Return counts by bin, up to the last that has any."""
    last = max(counts, default=-1)
    names = [f"{low + 1 if low else 0} to {high}" for low, high in pairwise(_BOUNDS)]
    return [(name, counts[number]) for number, name in enumerate([*names, f"above {_BOUNDS[-1]}"]) if number <= last]


def _rest(counts: Counter[str]) -> str:
    return f"{len(counts) - TOP} more files" if len(counts) > TOP else ""


def _provenance(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    read, depends = recipe["input"], recipe["depends"]
    found = [(one["name"], f"{one['format']}, {one['n_kept']} rows kept, SHA-256 {one['sha256']}")
             for one in read["sources"]]  # fmt: skip
    found += [(name, f"{told['n']} rows, SHA-256 {told['sha256']}") for name, told in recipe["files"].items()]
    found += [
        ("import", read["import"]),
        ("cases kept apart", f"{depends['cases']['n']}, hash {depends['cases']['sha256']}"),
        ("sentence encoder", depends["encoder"] or "none"),
        ("judge", _judge(recipe)),
        ("seed", str(depends["seed"])),
        ("code", f"tuneworthy {recipe['code']['version']}, hash {recipe['code']['sha256']}"),
    ]
    found += [(f"settings of {one['check']}", ", ".join(f"{key} {value}" for key, value in one["settings"].items()))
              for one in recipe["checks"] if one["settings"]]  # fmt: skip
    for one in recipe.get("teachers", ()):
        days = one["first"] if one["first"] == one["last"] else f"{one['first']} to {one['last']}"
        sent = ", ".join(f"{key} {value}" for key, value in (one.get("parameters") or {}).items())
        found.append(
            ("teacher", f"{name_of(one)}; {one['n_rows']} rows, {days or 'no day told'}; {sent or 'defaults'}")
        )
    policy = recipe["settings"]["policy"]
    return [*found, ("policy", ", ".join(f"{key} {value}" for key, value in policy.items()) or "as the checks ask for")]


def _judge(recipe: Mapping[str, Any]) -> str:
    """Return who judged the rows."""
    judge, identity = recipe["settings"].get("judge"), recipe["depends"].get("judge")
    return f"models.{judge['model']}, hash of model, rubric and settings {identity}" if judge and identity else "none"


def _licences(recipe: Mapping[str, Any], rows: Counter[str]) -> list[str]:
    told = recipe["licence"]
    found = [f"Stated for all rows: {told}." if told else "No licence is stated: set `licence` in [data]."]
    found += [f"{n} rows say: {licence}." for licence, n in rows.most_common(TOP)]
    status, words = terms_of(recipe)
    return found if status == "not_applicable" else [*found, f"Terms of the teachers ({status}): {words}."]
