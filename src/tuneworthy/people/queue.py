"""The queue of one person: rows to judge, the label list, the guideline, and the log that each answer is appended to.

A terminal and a page show the same queue. `guideline.md`, next to the label file, tells people how to label. Its lines
of the form ``- `label`: description`` are the label list.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from tuneworthy.cases.labelling import CANNOT_DECIDE, NO_REMARK, LabelSession, Remark, RowSession
from tuneworthy.cases.task_kind import spelling_variants
from tuneworthy.errors import UserError, did_you_mean
from tuneworthy.input_files import read_input_text
from tuneworthy.people.review import Reviewing
from tuneworthy.store import Folder, write_atomic
from tuneworthy.store.lines import refuse_link
from tuneworthy.text import count, plural
from tuneworthy.types import JsonMapping, NamedTexts, Texts, content_hash, positional

GUIDELINE = "guideline.md"
FREE_TEXT = "The answer is free text."
_LABEL = re.compile(r"^[-*] `([^`\n]+)`(?::[ \t]*(.*))?$", re.MULTILINE)
BARE_LABEL = re.compile(r"^[-*] `[^`\n]+`[ \t]*(\n|$)", re.MULTILINE)
COMMANDS = ("skip", "undo", "quit", "help", "decline", "cannot", "comment")
# Typed by a person who cannot decide a row.
CANNOT = "/cannot"
# Characters of a label, and of an answer of a page.
MAX_LABEL, MAX_LINE = 200, 200_000
# Labels that a search shows.
_MAX_FOUND = 12


@positional
class Guideline:
    """How people label: a text, and the labels with their descriptions; both empty without a file.

    Attributes:
        path: The file.
    """

    path: Path
    text: str
    labels: NamedTexts

    @classmethod
    def read(cls, neighbour: Path) -> "Guideline":
        """Read the guideline next to a file; no guideline means an empty one.

        Raises:
            UserError: It is no text of a reasonable size.
        """
        refuse_link(path := neighbour.with_name(GUIDELINE))
        try:
            text = read_input_text(path, 2**20).strip() if path.exists() else ""
        except (OSError, UnicodeDecodeError):
            raise UserError(f"{path} must be a UTF-8 text.") from None
        return cls(path, text, descriptions(text))

    def add(self, labels: Iterable[str], text: str = "") -> None:
        """Append labels to the file, after `text`."""
        lines = [*filter(None, [text and f"# Guideline\n\n{text}\n"]), *(f"- `{label}`" for label in labels)]
        is_cut = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * is_cut + "\n".join(lines) + "\n")

    def remove(self, label: str) -> None:
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            self.path.write_text("".join(line for line in lines if line.rstrip() != f"- `{label}`"), encoding="utf-8")


@dataclass(slots=True)
class LabelList:
    """The labels of a task, in the order of their numbers.

    Attributes:
        names: The labels.
        closed: Whether the project lists all labels.
        guideline: Gets the labels that a person adds.
        added: These labels.
        asked: The last line that was asked back.
        announced: New labels of a page that are checked and not added yet.
    """

    names: list[str]
    closed: bool
    guideline: Guideline
    added: list[str] = field(default_factory=list)
    asked: str = ""
    announced: list[str] = field(default_factory=list)

    def choose(self, line: str) -> str:
        """Return the label that `line` names: itself, its number, or a new one after `+`.

        Case, spaces and dashes do not distinguish labels. A new label that is nearly a known one is asked back once.

        Raises:
            UserError: It names no label.
        """
        line = self.asked if line == "+" and self.asked else line
        new = line[1:].strip() if line.startswith("+") else ""
        if known := {line, new}.intersection(self.names):
            return min(known)
        same = [label for label in self.names if bare(label) == bare(new or line)]
        if len(same) == 1 and not new:
            return same[0]
        if line.isdecimal() and 1 <= int(line) <= len(self.names):
            return self.names[int(line) - 1]
        if new and not self.closed:
            if fault := label_fault(new):
                raise UserError(fault)
            counts = {**dict.fromkeys(self.names, 10), new: 1}
            near = [*same, *(first for first, *others in spelling_variants(counts) if new in others)]
            if near and line != self.asked:
                self.asked = line
                raise UserError(f"Is this `{near[0]}`? Then type it. To add `{new}`, type {line} again.")
            self.added.append(new)
            self.names.append(new)
            self.guideline.add([new])
            return new
        raise UserError(
            f"{line!r} is not one of the {len(self.names)} known {plural(len(self.names), 'label', 'labels')}.",
            hint=f"{self._near(line)} {'' if self.closed else f'To add {line!r} as a label, type +{line}.'}".strip(),
        )

    def check(self, line: str) -> str:
        """Return the label that a line of a page names; a new one was added on purpose, so it is not asked back.

        Raises:
            UserError: It names no label.
        """
        new = line[1:].strip() if line.startswith("+") else ""
        known = [*self.names, *self.announced]
        if line in known or new in known:
            return line if line in known else new
        if not new or self.closed:  # a number could mean another label by now
            return self.choose(line) if not line.isdecimal() else self.choose(f"label {line}")
        if fault := label_fault(new):
            raise UserError(fault)
        self.announced.append(new)
        self.asked = line
        return new

    def forget(self, used: Container[Any]) -> None:
        """Remove the added labels that no answer uses."""
        for label in [one for one in {*self.added} if one in self.names and one not in used]:
            self.names.remove(label)
            self.guideline.remove(label)

    def _near(self, line: str) -> str:
        found = [label for label in self.names if len(line) > 1 and line.casefold() in label.casefold()]
        if not found or len(found) > _MAX_FOUND:
            return did_you_mean(line, self.names) or "Type the number of a label."
        numbered = (f"{self.names.index(label) + 1} {label}" for label in found)
        return f"{count(len(found), 'label contains', 'labels contain')} it: {' · '.join(numbered)}."


def label_fault(name: str) -> str:
    """Return why a new label cannot have this name; "" if it can."""
    is_taken = "`" in name or name.isdecimal() or name.casefold() in COMMANDS
    if len(name) > MAX_LABEL or not name.isprintable():
        return f"A label has at most {MAX_LABEL} characters on one line, not {name[:40]!r}."
    return f"A label cannot be named {name!r}: commands, numbers and backticks are not allowed." * is_taken


def descriptions(guideline: str) -> NamedTexts:
    """Return the labels of a guideline with their descriptions."""
    return {label.strip(): text or "" for label, text in _LABEL.findall(guideline)}


def first_paragraph(guideline: str) -> str:
    """Return the first paragraph of a guideline without headings and labels, as one line."""
    lines = [line for line in _LABEL.sub("", guideline).splitlines() if not line.startswith("#")]
    return "\n".join(lines).strip().partition("\n\n")[0].replace("\n", " ")


def bare(label: str) -> str:
    """Return a label without case, spaces and punctuation: labels with the same form are one label.

    >>> bare("Report fraud") == bare("report_fraud")
    True
    """
    return "".join(filter(str.isalnum, label)).casefold() or label


@positional
class LabelForm:
    """The answers that a queue takes.

    Attributes:
        keys: What a person types.
        kind: Of the answers: a label, one of `choices`, JSON, or a text.
        choices: Of ratings and decisions: the letter that a person types, and its name on a page.
        with_text: The choices that a text follows.
        closed: Whether the project lists all labels.
        schema: JSON schema of the answers; empty if unknown.
        parse: Turns a typed line into an answer; raises `UserError` if it is no answer.
        labels: The labels to show.
        numbered: Whether the number of a label is an answer.
        commands: Answers that begin with a slash.
        undone: Called after an answer was taken back.
        check: Like `parse` for a line of a page: stores nothing and asks nothing; `parse` if None.
    """

    keys: str
    parse: Callable[[str], Any]
    kind: Literal["label", "choice", "json", "text"] = "text"
    choices: NamedTexts = field(default_factory=dict)
    with_text: Texts = ()
    closed: bool = False
    schema: JsonMapping = field(default_factory=dict)
    labels: Texts = ()
    numbered: bool = False
    commands: Texts = ()
    undone: Callable[[], None] = lambda: None
    check: Callable[[str], Any] | None = None


# Queue to why its rows wait, and the usual seconds for a row; in the order in which a person's time helps most.
KINDS = {
    "cases": ("Cases without a label cannot be tested.", 15.0),
    "drafts": ("A drafted case joins the cases once a person accepts it.", 15.0),
    "judge": ("A judge decides only where people rated 50 answers per variant.", 15.0),
    "suspects": (
        "Failed cases may have wrong labels. The queue ends once 15 to 60 labels settle it.",
        20.0,
    ),
    "shadow": ("Traffic without labels can never pass.", 30.0),
    "review": ("The gate `dataset_review` needs a random sample rated by people.", 10.0),
    "findings": ("Checks reported rows that may be wrong. The next build applies your decisions.", 15.0),
    "audit": ("The share of wrong test labels limits every score.", 20.0),
}


@positional
class Queue:
    """Rows that wait for one person.

    Attributes:
        kind: Its name on the command line.
        session: The rows, and who judges them.
        form: The answers.
        guideline: How to judge.
        log: The file that answers are appended to.
        done: Returns the next command once all rows are done.
        show: Returns a row as it is shown.
        after: Row to lines that are shown after its answer only.
        reading_s: Returns the least time in which a person reads a row before this answer.
        blind: Whether other people judge, or judged, the same rows.
        documents: Returns the texts of the documents with the answer, by name, for a page.
    """

    kind: str
    session: RowSession | Reviewing
    form: LabelForm
    guideline: str
    log: Path
    done: Callable[[], str]
    show: Callable[[Any], str] = attrgetter("text")
    after: Mapping[str, Texts] = field(default_factory=dict)
    reading_s: Callable[[Any, Any], float] = lambda row, answer: 0.0
    blind: bool = True
    documents: Callable[[Any], NamedTexts] = lambda row: {}

    @property
    def version(self) -> str:
        """Hash of the guideline, stored with each answer; labels that people add do not change it."""
        text = BARE_LABEL.sub("", self.guideline).strip()
        return text and content_hash(text, 12)

    def keep_guideline(self, root: Path) -> None:
        """Copy the guideline to `guidelines` below `.tuneworthy` under its version, for readers of the log."""
        if self.version and not (copy := Folder(root).path / "guidelines" / f"{self.version}.md").exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, self.guideline.encode())

    def submit(self, row: Any, line: str, seconds: float, comment: str = "", time: str = "") -> Any:
        """Store the answer that a person typed, or chose on a page; return it.

        Args:
            row: As the session returned it.
            line: The answer as a person types it; `CANNOT` for a row that they cannot decide.
            seconds: Since the row was first shown.
            comment: Of the person.
            time: Of the answer, in ISO 8601; now if empty.

        Raises:
            UserError: It is no answer, or came before the row could be read.
        """
        answer: Any = CANNOT_DECIDE if self._is_cannot(line) else self.form.parse(line)
        self._refuse_early(row, answer, seconds)
        self.session.submit(row.id, answer, Remark(comment, self.version, time))
        return answer

    def submit_from_page(
        self, row: Any, line: str, seconds: float, remark: Remark = NO_REMARK, *, disputed: bool = False
    ) -> None:
        """Store an answer of a page (see `submit`); nothing is asked back.

        Args:
            row: As the session returned it.
            line: The answer.
            seconds: Since the row was first shown.
            remark: Its guideline is that of the page; of this queue if empty.
            disputed: Whether the page showed that labellers disagree: only such an answer settles a case.

        Raises:
            UserError: It is no answer, or came before the row could be read.
        """
        self.check(row, line, seconds)
        remark = replace(remark, guideline=remark.guideline or self.version)
        answer: Any = CANNOT_DECIDE if self._is_cannot(line) else self.form.parse(line)
        if isinstance(self.session, LabelSession) and self.session.is_disputed(row.id) and not disputed:
            self.session.add_blind(row.id, answer, remark)
        else:
            self.session.submit(row.id, answer, remark)

    def check(self, row: Any, line: str, seconds: float) -> Any:
        """Return the answer that a line of a page is; store nothing.

        Raises:
            UserError: It is no answer, or came before the row could be read.
        """
        if len(line) > MAX_LINE:
            raise UserError(f"The answer has {len(line):,} characters; at most {MAX_LINE:,} are stored.")
        if self._is_cannot(line):
            return CANNOT_DECIDE
        answer = (self.form.check or self.form.parse)(line)
        self.session.check(row.id, answer)
        self._refuse_early(row, answer, seconds)
        return answer

    def _is_cannot(self, line: str) -> bool:
        return line == CANNOT and self.session.takes_remarks

    def _refuse_early(self, row: Any, answer: Any, seconds: float) -> None:
        if seconds < self.reading_s(row, answer):
            raise UserError(
                f"This row cannot be read in {seconds:.1f} seconds, so the rating was not saved. Read the row, then "
                "rate it again."
            )

    @property
    def waiting(self) -> int:
        return 0 if self.session.next() is None else len(self.session.assigned) - self.session.n_done

    @property
    def plan(self) -> str:
        return content_hash([self.kind, *sorted(self.session.assigned), *self.form.labels, self.guideline])
