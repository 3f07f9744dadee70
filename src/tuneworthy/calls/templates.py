"""Prompts grouped by their constant part, and the template of a group.

Invariant: the values that `Template.values` finds, written between the template's pieces, are the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tuneworthy.cases.task_kind import guess_kind, parse_object
from tuneworthy.text import n_shared, verbatim
from tuneworthy.types import Texts, TextTuple, frozen, grouped, positional

# Ends the system text of a prompt in the text that is compared.
END = "\0"
# Fewest prompts of a group, and their share of all prompts.
MIN_PROMPTS, MIN_SHARE = 20, 0.01
# Share of the prompts that the branches of a fork cover.
_COVERED = 0.95
# Characters of the constant text of a branch, where the branches cover nearly all prompts, and where they do not.
_MIN_CONSTANT, _MIN_OWN = 8, 40
# The same where the answers are those of two tasks; and of an instruction, which ends a line or has a colon.
_MIN_APART, _MIN_INSTRUCTION = 3, 20
# Values without constant text between them that the search passes, at most; and forks inside forks.
_MAX_SKIPS, _MAX_FORKS = 12, 8
# Characters of the shortest value in which constant text is searched.
_MAX_RUNS_IN = 400
# Answers of a branch that are compared, and prompts whose lines are compared.
_COMPARED, _MAX_LINES_OF = 200, 300
# Two sets of labels, or of keys, are of one task from this share on, and of two tasks up to the other.
_SAME, _OTHER = 0.5, 0.2
# Median answers of one task are not longer by more than this factor, beyond some characters.
_LONGER, _SHORT = 2.5, 40
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+\Z")
_GAP_END = re.compile(r"[\n\0]|[.!?:,;] ")
_INSTRUCTION_END = re.compile(r"\n|: ")
_WORD = re.compile(r"\w")
# Places after which a value may begin.
_OPENING = re.compile(r"[\s\"'`(\[{<>=|«“„]|(?<!\d):")
# A line; the name at its start is one of its own, such as `Question: `.
_LINE = re.compile(r"(?m)^[A-Za-z][\w -]{0,30}:[ \t]*(?=\S)|[^\n]*\n|[^\n]+")
# The name of a value before it: `Ticket:`, `<ticket>`, `"ticket": "`.
_NAMED = re.compile(r"(?:<([A-Za-z]\w*)>|([A-Za-z][\w -]{0,30}?)\W?\s*[:=])\s*[\"'`(\[{<«“„]*\Z")
_RESERVED = frozenset(
    [
        "input",
        "labels",
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "range",
        "dict",
        "lipsum",
        "cycler",
        "joiner",
        "namespace",
        "self",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "for",
    ]
)

Member = tuple[int, str]
"""The number of a prompt, and its text after the constant part."""


@positional
class _Branch:
    """Prompts with one constant start.

    Attributes:
        members: Of the group.
        constant: Text that all have.
    """

    members: list[Member]
    constant: str

    @property
    def own(self) -> bool:
        """Whether the constant text is one that no value of another template has by chance."""
        return len(self.constant) >= _MIN_OWN or (END in self.constant and len(self.constant) >= _MIN_CONSTANT)


@positional
class _Fork:
    """The answers of a branch: their kind, its labels or keys, and the median length."""

    kind: str
    names: frozenset[str]
    length: int

    def likeness(self, other: _Fork) -> int:
        """Return 1 if the answers are those of one task, -1 if they are those of two, 0 if they do not say."""
        if self.kind != other.kind:
            return -1
        if fewest := min(len(self.names), len(other.names)):
            share = len(self.names & other.names) / fewest
            return 1 if share >= _SAME else -1 if share <= _OTHER else 0
        short, long = sorted((self.length, other.length))
        return -1 if long > _LONGER * short + _SHORT else 0


class _Grouping:
    def __init__(self, answers: Texts) -> None:
        self.answers = answers
        self.least = max(MIN_PROMPTS, round(MIN_SHARE * len(answers)))

    def split(self, members: list[Member], skips: int = 0, forks: int = 0, *, reverse: bool = False) -> list[_Branch]:
        """Return the groups of prompts; those that belong to no group are in no branch."""
        n = _n_constant([text for _, text in members])
        constant = members[0][1][:n]
        members = [(number, text[n:]) for number, text in members]
        found = self._found(members, skips, forks, reverse=reverse) or [_Branch(members, "")]
        return [_Branch(one.members, constant + one.constant) for one in found]

    def _found(self, members: list[Member], skips: int, forks: int, *, reverse: bool) -> list[_Branch]:
        if len(members) < 2 * self.least or forks > _MAX_FORKS:
            return []
        by_token = grouped((_first_token(text), (number, text)) for number, text in members)
        large = [branch for token, branch in by_token.items() if token and len(branch) >= self.least]
        shortest = _MIN_CONSTANT
        if len(large) > 1 and self._cover(large, members):
            alike = self._likeness(large)
            shortest = _MIN_CONSTANT if alike >= 0 else _MIN_APART
            tails = self._tails(large) if alike >= 0 else []
            if tails:  # a variable of few values, followed by the same text
                return self.split(tails, skips, forks + 1, reverse=reverse)
            if alike > 0:
                return []
        inner = [one for branch in large for one in self.split(branch, skips, forks + 1, reverse=reverse)]
        named = [one for one in inner if len(one.constant) >= shortest]
        if len(named) > 1 and self._cover([one.members for one in named], members):
            return named
        if reverse:
            return []
        return self._owned(inner, members) or self._later(members, skips, forks)

    def _likeness(self, branches: Sequence[Sequence[Member]]) -> int:
        first, *others = map(self._fork, branches)
        return min(map(first.likeness, others))

    def _cover(self, parts: Sequence[Sequence[Member]], members: Sequence[Member]) -> bool:
        return sum(map(len, parts)) >= _COVERED * len(members)

    def _tails(self, branches: Sequence[Sequence[Member]]) -> list[Member]:
        """Return the prompts after the value at which they fork; empty if different texts follow."""
        for cut in (_TOKEN, _GAP_END):
            tails = [(number, _after(cut, text)) for branch in branches for number, text in branch]
            if _n_constant([text for _, text in tails]) >= _MIN_CONSTANT:
                return tails
        return []

    def _owned(self, inner: Sequence[_Branch], members: Sequence[Member]) -> list[_Branch]:
        """Return the branches with a text of their own, and the rest as one."""
        own = [one for one in inner if one.own or self._instructs(one, members)]
        taken = {number for one in own for number, _ in one.members}
        rest = [member for member in members if member[0] not in taken]
        return [*own, *([_Branch(rest, "")] if own and len(rest) >= self.least else [])]

    def _instructs(self, branch: _Branch, members: Sequence[Member]) -> bool:
        """Return whether the constant text is an instruction for a task that the other prompts do not have."""
        if len(branch.constant) < _MIN_INSTRUCTION or not _INSTRUCTION_END.search(branch.constant):
            return False
        numbers = {number for number, _ in branch.members}
        others = [member for member in members if member[0] not in numbers]
        if len(others) < self.least:
            return True
        known = {self.answers[number] for number, _ in others}  # of many labels, those frequent in both can be few
        shared = sum(self.answers[number] in known for number in numbers)
        return shared <= _OTHER * len(numbers) and self._likeness([branch.members, others]) < 0

    def _later(self, members: Sequence[Member], skips: int, forks: int) -> list[_Branch]:
        """Return the groups that differ only after a value, which is skipped."""
        tails = [(number, _after(_GAP_END, text)) for number, text in members] if skips < _MAX_SKIPS else []
        tails = [member for member in tails if member[1]]
        if not tails or not self._cover([tails], members):
            return []
        later = self.split(tails, skips + 1, forks)
        return [_Branch(one.members, "") for one in later] if len(later) > 1 else []

    def _fork(self, members: Sequence[Member]) -> _Fork:
        answers = [self.answers[number] for number, _ in members[:: max(1, len(members) // _COMPARED)]]
        kind = guess_kind(answers)
        names = Counter[str](kind.labels)
        if kind.name == "label":
            names = Counter(answer.strip() for answer in answers)
        elif kind.name == "json":
            names = Counter(key for value in map(parse_object, answers) if isinstance(value, dict) for key in value)
        often = frozenset(name for name, n in names.items() if n >= 0.02 * len(answers))
        return _Fork(kind.name, often, sorted(map(len, answers))[len(answers) // 2])


def group_prompts(texts: Texts, answers: Texts) -> list[list[int]]:
    """Return the numbers of the prompts of each group, the largest first; some prompts may be in no group.

    Args:
        texts: Distinct prompts: the system text, `END`, the user's text.
        answers: An answer to each.
    """
    grouping = _Grouping(answers)
    if len(texts) < MIN_PROMPTS:
        return [[*range(len(texts))]] if texts else []
    found = []
    for branch in grouping.split([*enumerate(texts)]):
        found += grouping.split([(number, text[::-1]) for number, text in branch.members], reverse=True)
    groups = [sorted(number for number, _ in branch.members) for branch in found]
    ordered = sorted((one for one in groups if len(one) >= MIN_PROMPTS), key=lambda one: (-len(one), one[0]))
    kept: list[tuple[list[Template], list[int]]] = []
    for group in ordered:  # a frequent value of a variable is no template of its own
        parts = [*zip(*(texts[number].split(END, 1) for number in group), strict=True)]
        wider = next((one for made, one in kept if _are_made_by(made, parts)), None)
        if wider is None:
            kept.append(([template_of([*dict.fromkeys(part)]) for part in parts], group))
        else:
            wider += group
    return sorted((sorted(group) for _, group in kept), key=lambda one: (-len(one), one[0]))


def _are_made_by(templates: Sequence[Template], parts: Sequence[Texts]) -> bool:
    """Return whether the templates of system and user, which have enough constant text to tell, make these texts."""
    return sum(len(piece) for one in templates for piece in one.pieces) >= _MIN_OWN and all(
        one.values(text) is not None for one, part in zip(templates, parts, strict=True) for text in part
    )


def _first_token(text: str) -> str:
    token = _TOKEN.match(text)
    return token[0].strip() or " " if token else ""


def _after(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return text[found.end() :] if found else ""


def _common_start(texts: Texts) -> str:
    first, last = min(texts), max(texts)
    return first[: n_shared(first, last)]


def _n_constant(texts: Texts) -> int:
    """Return the length of the common start that does not end within a word."""
    n = len(start := _common_start(texts))
    if n and _WORD.match(start[-1]) and any(_WORD.match(text[n : n + 1]) for text in texts):
        while n and _WORD.match(start[n - 1]):
            n -= 1
    return n


@frozen
class Template:
    """The constant pieces of texts; between two pieces is a value, which has a name.

    Attributes:
        pieces: One more than `names`.
        names: Of the values.
    """

    pieces: TextTuple
    names: TextTuple = ()

    def values(self, text: str) -> list[str] | None:
        """Return the values of a text; None if it is not made by this template."""
        first, *rest = self.pieces
        if not rest:
            return [] if text == first else None
        if not text.startswith(first):
            return None
        at, found = len(first), []
        for piece in rest[:-1]:
            if (place := text.find(piece, at)) < 0:
                return None
            found.append(text[at:place])
            at = place + len(piece)
        end = len(text) - len(rest[-1])
        return [*found, text[at:end]] if end >= at and text.endswith(rest[-1]) else None

    @property
    def source(self) -> str:
        """The template in Jinja, without white space at its ends, where files lose it."""
        pieces = [verbatim(piece).replace("\r", _expression("\r")) for piece in self.pieces]
        names = [f"{{{{ {name} }}}}" for name in self.names]
        text = "".join(part for pair in zip(pieces, [*names, ""], strict=True) for part in pair)
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        if start > end:
            return _expression(text)
        return "".join(
            [
                *map(_expression, filter(None, [text[:start]])),
                text[start:end],
                *map(_expression, filter(None, [text[end:]])),
            ]
        )


PLAIN = Template(pieces=("", ""), names=("input",))


def _expression(text: str) -> str:
    return f'{{{{ "{text.encode("unicode_escape").decode()}" }}}}'


def template_of(texts: Texts, taken: Texts = ()) -> Template:
    """Return the template of the distinct texts of a group.

    Args:
        texts: At least one.
        taken: Names of the values before these; values without a name are numbered after them.
    """
    if len(texts) == 1:
        return Template(pieces=(texts[0],))
    anchors = _common_lines(texts[:: max(1, len(texts) // _MAX_LINES_OF)])
    parts = [found for found in (_between(text, anchors) for text in texts) if found]
    pieces = [""]
    for segments, anchor in zip(zip(*parts, strict=True), [*anchors, ""], strict=True):
        start, end = _ends(segments)
        if len(set(segments)) == 1:
            pieces[-1] += segments[0]
        else:
            pieces[-1] += start
            pieces += [*_common_runs([one[len(start) : len(one) - len(end)] for one in segments]), end]
        pieces[-1] += anchor
    names: list[str] = []
    for number, piece in enumerate(pieces[:-1], 1 + len(taken)):
        label = _NAMED.search(piece)
        words = re.findall(r"[a-z0-9]+", (label[1] or label[2]).lower()) if label else []
        name = "_".join(words[-2:])
        name = f"part_{number}" if not name or name[0].isdigit() or name in _RESERVED else name
        names.append(name if name not in {*names, *taken} else f"{name}_{number}")
    return Template(pieces=tuple(pieces), names=tuple(names))


def _common_runs(texts: Texts) -> list[str]:
    """Return the constant texts between values on one line, each once in all texts, in their order."""
    shortest = min(texts, key=len)
    if len(texts) < MIN_PROMPTS or len(shortest) > _MAX_RUNS_IN:
        return []
    runs, at = list[str](), 0
    while at + _MIN_CONSTANT <= len(shortest):
        end = at + _MIN_CONSTANT - 1
        while end < len(shortest) and all(shortest[at : end + 1] in text for text in texts):
            end += 1
        found = list(_OPENING.finditer(run := re.sub(r"\A\w+", "", shortest[at:end])))
        run = run[: found[-1].end()] if found else ""
        if len(run) >= _MIN_CONSTANT and all(text.count(run) == 1 for text in texts):
            runs.append(run)
        at = max(at + 1, end) if len(run) >= _MIN_CONSTANT else at + 1
    return _in_order(runs, [{run: text.index(run) for run in runs} for text in texts])


def _common_lines(texts: Texts) -> list[str]:
    """Return the lines that nearly every text has once, in the order in which all have them."""
    split = [_LINE.findall(text) for text in texts]
    once = [{line: at for at, line in enumerate(lines) if line.strip()} for lines in split]
    repeated = {line for lines in split for line, n in Counter(lines).items() if n > 1}
    counts = Counter(line for lines in once for line in lines if line not in repeated)
    common = {line for line, n in counts.items() if n >= _COVERED * len(texts)}
    places = [lines for lines in once if common <= lines.keys()]
    if len(places) < _COVERED * len(texts) / 2:
        common = {line for line, n in counts.items() if n == len(texts)}
        places = once
    return _in_order(common, places)


def _in_order(lines: Iterable[str], places: Sequence[Mapping[str, int]]) -> list[str]:
    """Return the lines that follow one another in all texts."""
    anchors: list[str] = []
    for line in sorted(lines, key=lambda one: places[0][one]):
        if not anchors or all(one[anchors[-1]] < one[line] for one in places):
            anchors.append(line)
    return anchors


def _between(text: str, anchors: Texts) -> list[str]:
    """Return the parts of a text before, between and after whole lines; empty if it lacks one."""
    parts, at = [], 0
    for anchor in anchors:
        place = text.find(anchor, at)
        while place > at and text[place - 1] != "\n":
            place = text.find(anchor, place + 1)
        if place < 0:
            return []
        parts.append(text[at:place])
        at = place + len(anchor)
    return [*parts, text[at:]]


def _ends(texts: Texts) -> tuple[str, str]:
    """Return the common start and the common end of texts, which do not overlap in any of them."""
    start = _common_start(texts)
    if start not in texts:
        opening = [found.end() for found in _OPENING.finditer(start)]
        start = start[: opening[-1]] if opening else ""
    rests = [text[len(start) :][::-1] for text in texts]
    end = _common_start(rests)[::-1]
    while end and _WORD.match(end) and any(_WORD.match(rest[len(end) : len(end) + 1]) for rest in rests):
        end = end[1:]
    return start, end
