"""Rows that a run trains on and is measured on: rows with the prompt that will be served, and a held-out slice.

Invariant: neither dev nor test is here. The frozen version lost them when it was built; an examples file loses them
now. The rows held out for early stopping are drawn from the rest.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from tuneworthy.cases import Dataset, guess_kind, labels_of, read_dataset
from tuneworthy.cases.agreement import padded_words
from tuneworthy.cases.dataset import search
from tuneworthy.cases.pairs import rejected_answer
from tuneworthy.cases.pii import Masker
from tuneworthy.cases.splits import StoredSplit, asked_case, example_case, fingerprint
from tuneworthy.cases.stratified import draw, units_of
from tuneworthy.cases.task_kind import Kind, answer_text
from tuneworthy.config.project import Project
from tuneworthy.dataset.card import look_of
from tuneworthy.dataset.freeze import Version, full_version, open_version
from tuneworthy.errors import GateFailed, UserError
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.graders.base import Grader, GradingContext
from tuneworthy.prompts.templates import chat
from tuneworthy.retrieval.documents import read_documents
from tuneworthy.retrieval.library import documents_path
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, artifacts
from tuneworthy.store.shapes import Pointer
from tuneworthy.text import plural
from tuneworthy.train import messages
from tuneworthy.train.render import Rendered, Renderer, RowChat
from tuneworthy.types import (
    Case,
    Cases,
    Example,
    Examples,
    JsonMapping,
    JsonObject,
    Response,
    Say,
    Score,
    Texts,
    TextTuple,
    Trace,
    Variant,
    content_hash,
    frozen,
)

# Seed of the held-out rows, the order of rows, the new weights and the dropout.
SEED = 0
HELD_OUT_MOST = 128
HELD_OUT_SHARE = 0.1
# Fewer rows than that tell nothing: then no row is held out, and the run goes on to its end.
HELD_OUT_FEWEST = 20
# Sections of documents that must be left to measure on, and their characters that are measured.
HELD_OUT_TEXTS, HELD_OUT_CHARACTERS = 8, 1000
# Answers may be so many times as long as the longest answer of the rows: longer answers are wrong.
ANSWER_SLACK = 2


@frozen
class Student:
    """How the model that is trained is asked: the project's prompt for the student, without examples.

    Attributes:
        variant: Templates, limit and stop texts; its model is the one that is trained.
    """

    variant: Variant

    def question(self, case: Case) -> RowChat:
        return RowChat(case.id, chat(self.variant, case, ()), case.tools)

    def row(self, example: Example) -> RowChat:
        """Return `example` as it is trained on: the prompt that is served, whatever it answers, and its answer.

        Raises:
            UserError: Its question lacks variables that the templates name.
        """
        case = asked_case(example)
        if case is None:  # no question: unchanged
            return RowChat(example.id, example.messages)
        return RowChat(example.id, (*self.question(case).messages, example.messages[-1]), case.tools)

    def fits(self, example: Example) -> bool:
        try:
            self.row(example)
        except UserError:
            return False
        return True

    def document(self) -> JsonObject:
        """Return what must be served with the adapter."""
        variant = self.variant
        return {
            "system": variant.system,
            "user": variant.user,
            "max_tokens": variant.max_tokens,
            "stop": list(variant.stop),
        }


@frozen
class TaskMetric:
    """The project's primary grader on the rows that were held out.

    Attributes:
        grader: Scores an answer without calling a model.
        cases: The held-out rows as cases.
    """

    grader: Grader
    cases: tuple[Case, ...]

    @property
    def identity(self) -> JsonObject:
        return {"grader": dict(self.grader.identity), "cases": [asdict(fingerprint(case)) for case in self.cases]}

    def score(self, answers: Sequence[tuple[str, str]], say: Say) -> float:
        """Return the score of the set, 0..1.

        Args:
            answers: (text, finish reason) per case, in the order of the cases.
            say: Gets how many could not be scored.

        Raises:
            UserError: No answer could be scored.
        """
        grades = self.grades(answers)
        scores = [score for score in grades if not score.unscored]
        if not scores:
            reason = grades[0].unscored if grades else "there are no answers"
            raise UserError(
                f"The first grader could not score any of the {len(grades)} answers ({reason}).",
                hint="Fix the first grader in [[graders]].",
            )
        if lost := len(grades) - len(scores):
            say(f"{lost} of {len(grades)} answers could not be scored and {plural(lost, 'is', 'are')} excluded.")
        total = sum(score.den for score in scores)
        return sum(score.num for score in scores) / total if total else 0.0

    def grades(self, answers: Sequence[tuple[str, str]]) -> list[Score]:
        traces = [
            Trace(
                case_id=case.id,
                variant_id="student",
                repeat=0,
                messages=(),
                response=Response(text=text, finish_reason=reason),
            )
            for case, (text, reason) in zip(self.cases, answers, strict=True)
        ]
        return asyncio.run(grade_all(self.grader, traces, self.cases))


@frozen
class Material:
    """All that a run is made of, but for the model.

    Attributes:
        dataset: Id of the frozen version, or a hash of the rows that are not gated.
        gated: Whether the rows passed the gates of `data build`.
        train: Rows that are trained on.
        student: How they are asked.
        kind: Of the task, with its labels.
        metric: Metric that stops the run; None if there are too few rows, or only a judge can score them.
        notes: For the reader.
        held_out: Ids of the rows that are kept for `metric`.
        paired: Whether pairs are trained on; all of `train` are pairs then.
        text: Raw text that is trained on before the rows.
        measured: Raw text that is held out, to measure bits per byte.
    """

    dataset: str
    gated: bool
    train: tuple[Example, ...]
    student: Student
    kind: Kind
    metric: TaskMetric | None
    notes: TextTuple = ()
    held_out: TextTuple = ()
    paired: bool = False
    text: TextTuple = ()
    measured: TextTuple = ()

    def rendered(self, renderer: Renderer, max_length: int) -> Rendered:
        """Return the rows as they are trained on, with their worse answers where pairs are trained on.

        Args:
            renderer: Of the model.
            max_length: Tokens of a row; longer rows are left out.

        Raises:
            UserError: No row is left.
        """
        chats = [self.student.row(row) for row in self.train]
        if not self.paired:
            return renderer.rows(chats, max_length)
        return renderer.pairs(chats, [rejected_answer(row) for row in self.train], max_length)


def gather(
    project: Project,
    store: Folder,
    *,
    unsafe: bool,
    say: Say,
    dataset: Dataset | None = None,
    full: bool = False,
) -> Material:
    """Read the training data of the project.

    Args:
        project: The project.
        store: Its folder.
        unsafe: Take a version that did not pass its gates, or the examples file if there is no version.
        say: Gets notes for a person.
        dataset: Cases and examples, if they were read before.
        full: Also take the rows that overlap with cases: for a model to ship, which is not measured.

    Raises:
        UserError: There are no rows, no row has the variables of [prompt], or there are no pairs to train on.
        GateFailed: The version did not pass its gates, and `unsafe` was not given.
    """
    version = _version(store, unsafe, full)
    dataset = dataset or read_dataset(project, examples=version is None)
    cases = dataset.cases
    rows = list(version.examples()) if version else _ungated(project, dataset, say)
    kind = kind_of(store, cases, rows)
    student = Student(
        variant=project.variant("student", project.ladder.baseline, {}, system=project.student_system, decoding={})
    )
    fitting = [row for row in rows if student.fits(row)]
    if rows and not fitting:
        raise UserError(
            f"None of the {len(rows)} rows has the variables of [prompt] in its question.",
            hint="In each question, write every variable on its own line as `name: value`, or change [prompt].",
        )
    metric, train, notes = _hold_out(project, fitting, cases, kind)
    chosen = {row.id for row in train}
    if project.train.method == "preference":
        train = [row for row in train if rejected_answer(row)]
        notes.append(f"Rows that are pairs, and are trained on: {len(train)} of {len(chosen)}.")
        if not train:
            raise UserError(
                (f"None of the {len(chosen)} training rows has a worse answer beside its own, so there are no pairs."),
                hint=(
                    "Import pairs, corrections or ratings, or draw several answers with `tuneworthy data distill` "
                    "and samples in [teacher]. Then run `tuneworthy data build`."
                ),
            )
    if lacking := len(rows) - len(fitting):
        notes = [f"Rows dropped because their question lacks variables of [prompt]: {lacking}.", *notes]
    raw = raw_text(project, dataset, kind) if project.train.method == "continued" else ((), (), ())
    notes += raw[2]
    for line in notes:
        say(line)
    return Material(
        dataset=version.id if version else content_hash([row.id for row in rows]),
        gated=version is not None and not version.recipe.unsafe,
        train=tuple(train),
        student=student,
        kind=kind,
        metric=metric,
        notes=tuple(notes),
        held_out=tuple(row.id for row in fitting if row.id not in chosen),
        paired=project.train.method == "preference",
        text=raw[0],
        measured=raw[1],
    )


def _version(store: Folder, unsafe: bool, full: bool) -> Version | None:
    if unsafe and store.read("datasets/latest", Pointer) is None:
        return None
    version = open_version(store)
    if version.recipe.unsafe and not unsafe:
        raise GateFailed(
            f"Version {version.id} of the dataset was frozen with failed gates.",
            hint="Fix the rows and run `tuneworthy data build`, or pass --unsafe, which the adapter records.",
        )
    if not full:
        return version
    if (whole := full_version(store, version)) is None:
        raise UserError("No row was dropped only because it overlaps with a case.", hint="Omit --all-rows.")
    return whole


def _ungated(project: Project, dataset: Dataset, say: Say) -> list[Example]:
    if project.examples is None:
        raise UserError(
            "There is neither a frozen dataset nor an examples file to train on.", hint=messages.IMPORT_ROWS
        )
    rows = list(dataset.split.shots)
    n = len(dataset.examples) - len(rows)
    say(
        f"Training uses {len(rows)} rows of {project.examples.path}, which have not passed the data gates. Rows "
        f"excluded because they are in dev or overlap with cases: {n}."
    )
    return rows


def kind_of(store: Folder, cases: Cases, rows: Examples) -> Kind:
    stored = store.read("split", StoredSplit)
    if stored is None:
        return guess_kind([case.expected for case in cases if case.labelled])
    name, reason = stored.kind
    return Kind(name, reason, labels_of(cases, rows) if name == "label" else ())


def _hold_out(
    project: Project, rows: Examples, cases: Cases, kind: Kind
) -> tuple[TaskMetric | None, list[Example], list[str]]:
    if project.graders[0].type == "judge":
        return None, [*rows], ["No early stopping: the first grader is a judge, which would need model calls."]
    take = min(HELD_OUT_MOST, int(HELD_OUT_SHARE * len(rows)))
    if take < HELD_OUT_FEWEST:
        few = (
            f"{len(rows)} training {plural(len(rows), 'row is', 'rows are')} too few to hold any out (at least "
            f"{round(HELD_OUT_FEWEST / HELD_OUT_SHARE)} needed). Training runs to the last epoch, and no held-out "
            "score shows whether the adapter overfits. Import more rows, or compare the adapter on dev with "
            "`tuneworthy run`."
        )
        return None, [*rows], [few]
    units = units_of(rows)
    for unit in units:
        unit.strata[""] = len(unit.members)
    chosen = {at for unit in draw(units, take, seed=SEED, at_least=False) for at in unit.members}
    cases_of = [example_case(rows[at], kind) for at in sorted(chosen)]
    held_out = {case.id: case for case in cases_of if case is not None}
    train = [row for at, row in enumerate(rows) if at not in chosen]
    if len(held_out) < HELD_OUT_FEWEST:
        return None, list(rows), [f"No early stopping: too few held-out rows can be scored ({len(held_out)})."]
    lost, n, notes = cases_of.count(None), len(cases_of), list[str]()
    if lost:
        notes.append(f"{lost} of {n} held-out rows cannot be scored, and are not trained on either.")
    if again := n - lost - len(held_out):
        notes.append(f"{again} of {n} held-out rows repeat the question of another, which is evaluated once.")
    return TaskMetric(grader=own_grader(project, cases, train, kind), cases=tuple(held_out.values())), train, notes


def own_grader(project: Project, cases: Cases, rows: Examples, kind: Kind) -> Grader:
    """Return the project's first grader.

    Args:
        project: The project.
        cases: Its cases.
        rows: Rows that are trained on.
        kind: Kind of the task.
    """
    return make_grader(
        project.graders[0],
        GradingContext(
            root=project.root,
            examples=rows,
            labels=labels_of(cases, rows) if kind.name == "label" else (),
            seed=project.split.seed,
        ),
    )


def raw_text(project: Project, dataset: Dataset, kind: Kind) -> tuple[TextTuple, TextTuple, TextTuple]:
    """Return the sections of the project's documents in a seeded order, without copies of cases.

    Personal data and keys are treated as `data.policy` says of `personal_data` and `secret`.

    No held-out text repeats a text that is trained on: they are compared by stretches of words, as rows are with cases.

    Returns:
        Texts to train on, held-out texts, cut, and notes for the reader: without texts, the reason.
    """
    if (path := documents_path(project)) is None:
        return (), (), ("There is no raw text to train on, because the project has no documents.",)
    corpus, test = read_documents(path), dataset.split.test
    whole = _parts({section.text for document in corpus.documents for section in document.sections})
    # before anything is masked: a mask would hide the copy
    copies = {hit.row for hit in search(whole, [*dataset.cases, *dataset.split.drawn_dev]) if hit.certain}
    texts, personal = _private([part.text for at, part in enumerate(whole) if at not in copies], project)
    parts = _parts(texts)
    n = min(HELD_OUT_MOST, int(HELD_OUT_SHARE * len(parts)))
    near = {case for hit in search(parts[n:], parts[:n]) if hit.certain or hit.reason == "ngram" for case in hit.cases}
    train = tuple(part.text for part in parts[n:])
    held_out = tuple(part.text[:HELD_OUT_CHARACTERS] for part in parts[:n] if part.id not in near)
    if len(held_out) < HELD_OUT_TEXTS:
        return (), (), (
            f"The documents have too few texts to train on: {len(parts)} sections that copy no case, and "
            f"{len(held_out)} to hold out that no other section repeats (at least {HELD_OUT_TEXTS} needed).",
        )  # fmt: skip
    known = 0 if kind.name == "label" else _known(train, test)
    counts = {
        f"Sections with personal data or keys: {personal}. See `data.policy`.": personal,
        f"Sections that copy cases and are not trained on: {len(copies)}.": copies,
        f"The raw text has the answers of {known} of {len(test)} test cases verbatim, which their score "
        "includes.": known,
    }
    return train, held_out, tuple(filter(None, [corpus.injection_note, *(note for note in counts if counts[note])]))


def _parts(texts: set[str]) -> list[Case]:
    return sorted((Case(id=content_hash(text), input=text) for text in texts), key=lambda part: part.id)


def _private(texts: Texts, project: Project) -> tuple[set[str], int]:
    """Return texts with personal data and keys treated as the policy says, and how many have any."""
    policy, look = project.data.policy, look_of(project.data.pii_engine)
    others = policy.get("personal_data", "mask")
    actions = {"key": policy.get("secret", others)}
    found = {text: {actions.get(match.kind, others) for match in look(text)} for text in texts}
    masker = Masker(look=lambda text: [match for match in look(text) if actions.get(match.kind, others) == "mask"])
    return {masker.mask(text) for text, acts in found.items() if "drop" not in acts}, sum(map(bool, found.values()))


def _known(texts: Texts, cases: Cases) -> int:
    """Count the cases whose answer is in one of the texts verbatim."""
    whole = padded_words(" ".join(texts))
    return sum(padded_words(answer_text(case.expected)) in whole for case in cases if case.has_answer)


def start_of(project: Project, store: Folder, base: str | None, prompt: JsonMapping) -> Artifact | None:
    """Return the adapter that a run on pairs starts from; None for the base, and for any other method.

    Args:
        project: Its `[train] method` says whether the rows are pairs.
        store: The project's folder.
        base: Id of the base's artifact; None before the first training.
        prompt: The prompt that is served with the adapter: only an adapter with the same prompt is taken.
    """
    if project.train.method != "preference":
        return None
    fitting = [
        one for one in artifacts(store, "adapter")
        if one.parent == base and one.about.method in {"lora", "continued"} and one.about.prompt == prompt
    ]  # fmt: skip
    return next((one for one in reversed(fitting) if one.whole), None)
