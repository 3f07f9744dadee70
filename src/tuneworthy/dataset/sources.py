"""What a project's training data is built from: its rows, the cases that they must not overlap with, an encoder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

from tuneworthy.cases import Dataset, guess_kind, labels_of, read_dataset
from tuneworthy.cases.splits import Split, example_case, fingerprint
from tuneworthy.config.project import Project
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, DataCheck, RowFinding, RowFindings
from tuneworthy.dataset.checks.degenerate import is_degenerate
from tuneworthy.dataset.corrections import FILE_NAME as CORRECTIONS
from tuneworthy.dataset.corrections import corrections_check, disliked_answers, rated_pairs_check, read_corrections
from tuneworthy.dataset.importing.folder import Import, latest_import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import Depends, HashedCount
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.errors import OutsideFault, UserError
from tuneworthy.graders.refusals import find_refusals
from tuneworthy.people.review_log import FILE_NAME as REVIEWS
from tuneworthy.people.review_log import content_of, rows_found_bad
from tuneworthy.retrieval.encoder import SPEC, CachedEncoder, Encoder, load_encoder
from tuneworthy.store import Folder
from tuneworthy.types import Case, Cases, Examples, NamedInts, Say, Texts, content_hash, frozen

_MIN_OF_A_LABEL = 4
_LONGEST_LABEL = 100


def held_out_check(split: Split) -> DataCheck:
    """Return the check that drops the rows of dev: they are measured on and never trained on."""
    dev = {case.id for case in split.dev}

    def held_out(rows: Examples, context: CheckContext) -> RowFindings:
        for number, row in enumerate(rows):
            case = example_case(row, split.kind) if row.messages else None
            if case is not None and case.id in dev:
                yield RowFinding(row=number, code="held_out")

    return DataCheck(name="held_out", examine=held_out, codes=messages.REASONS["held_out"], certain=True)


def review_check(bad: frozenset[str]) -> DataCheck:
    """Return the check that drops the rows with these content hashes, which reviewers of earlier versions rejected.

    It runs last, as rows are reviewed as they are frozen.
    """

    def review(rows: Examples, context: CheckContext) -> RowFindings:
        return (RowFinding(row=n, code="found_bad") for n, row in enumerate(rows) if content_of(row) in bad)

    return DataCheck(name="review", examine=review, codes=messages.REASONS["review"], certain=True)


@frozen
class BuildInputs:
    """What a build starts from.

    Attributes:
        rows: The import that holds the rows.
        stored: Its rows, read once.
        cases: Dev and test.
        dev: Those that are no test.
        labels: Of a task that has few, with the rows of each.
        rated: Whether people said something about any of the answers.
        notes: What a reader of the version must know.
        first_checks: Run before all others.
        last_checks: Run after all others.
        depends: Hashes of all this, for the recipe.
    """

    rows: Import
    stored: StoredRows
    cases: Cases
    dev: Cases
    labels: NamedInts
    rated: bool
    notes: Texts
    first_checks: Sequence[DataCheck]
    last_checks: Sequence[DataCheck]
    depends: Depends


def gather(project: Project, store: Folder, say: Say = lambda _: None) -> BuildInputs:
    """Read what the training data of `project` is built from: its latest import, else its examples file.

    Raises:
        UserError: There are no rows, or no cases to compare them with, or a file is wrong.
    """
    rows = latest_import(store)
    if rows is None:
        if project.examples is None:
            raise UserError(
                "There are no rows to build from. Nothing has been imported, and [examples] specifies no file.",
                hint="Run `tuneworthy data build FILE`, or specify a file in [examples].",
            )
        rows = import_files(store, [project.path(project.examples.path)], say=say, latest=False)
    say("Reading cases and examples, and looking for overlaps between them")
    cases, split, notes = measured_cases(project)
    held_out = split if split is not None and split.origin == "examples" else None
    bad = rows_found_bad(project.root / REVIEWS)
    corrections = read_corrections(project.root / CORRECTIONS)
    stored = StoredRows(rows.folder / "rows.jsonl")
    rated = rows.record.made_by != "files" or any(one.n_rated for one in rows.record.sources)
    labels, disliked = _labels(cases, stored), disliked_answers(rows, stored) if rated else {}
    return BuildInputs(
        rows=rows,
        stored=stored,
        cases=cases,
        dev=split.dev if split is not None else (),
        labels=labels,
        rated=rated,
        notes=notes,
        first_checks=[
            *([corrections_check(corrections)] if corrections else []),
            *([held_out_check(held_out)] if held_out else []),
            *([rated_pairs_check(disliked)] if disliked else []),
        ],
        last_checks=[review_check(bad)] if bad else [],
        depends=Depends(
            rows=rows.record.sha256,
            cases=HashedCount(len(cases), cases_hash(cases)),
            labels=HashedCount(len(labels), content_hash(list(labels))),
            held_out=len({case.id for case in held_out.dev}) if held_out else 0,
            found_bad=content_hash(sorted(bad)) if bad else None,
            corrections=content_hash([asdict(corrections[row]) for row in sorted(corrections)])
            if corrections
            else None,
        ),
    )


def measured_cases(project: Project) -> tuple[list[Case], Split | None, list[str]]:
    """Return the cases that rows may not overlap (all, and dev where it is drawn from rows), the split, and notes.

    Raises:
        UserError: A file is wrong.
    """
    dataset = replace(read_dataset(project), with_shots=False)
    split, notes = _split(dataset)
    return [*dataset.cases, *(split.drawn_dev if split else ())], split, notes


def cases_hash(cases: Cases) -> str:
    """Return the hash of the cases that a build compares its rows with, as its recipe has it."""
    return content_hash(sorted(map(str, map(fingerprint, cases))))


def _split(dataset: Dataset) -> tuple[Split | None, list[str]]:
    """Return the stored split, or the split that the first run will draw; None and why if it cannot be drawn yet."""
    try:
        return dataset.split, []
    except UserError as error:
        if dataset.stored is not None:
            raise
        return None, [
            (
                f"Dev and test cannot be drawn yet: {error.message.rstrip('.')}. Until then, no row may overlap any "
                f"of the {len(dataset.cases)} cases."
            )
        ]


def _labels(cases: Cases, rows: StoredRows) -> NamedInts:
    """Return the labels of a task that has few, with their rows.

    Those that the cases expect, and answers that several rows have, but no refusals nor answers that say nothing.
    """
    expected = [case.expected for case in cases if case.labelled]
    answers = Counter(answer for row in rows if len(answer := row.answer.strip()) <= _LONGEST_LABEL)
    kind = guess_kind(expected)
    if kind.name == "short_answer":
        kind = guess_kind([*expected, *answers.elements()])
    if kind.name != "label":
        return {}
    usual = [answer for answer, n in answers.items() if n >= _MIN_OF_A_LABEL and answer and not is_degenerate(answer)]
    refusals = {usual[number] for number in find_refusals(usual)}
    return {label: answers[label] for label in sorted({*usual} - refusals | {*labels_of(cases)})}


def encoder_of(
    project: Project, store: Folder, say: Say = lambda _: None, *, labels: bool = False
) -> tuple[Encoder | None, str | None]:
    """Return the sentence encoder that `[data] encoder` asks for, and its name; None if nothing encodes.

    Args:
        project: Names it.
        store: Its folder; a file there has the vectors.
        say: Gets the name, or why nothing encodes.
        labels: Whether rows have labels, which `auto` encodes for.

    Raises:
        ModelError: Its file is not the one that is pinned.
        OutsideFault: It is asked for by name and cannot be fetched.
    """
    spec = project.data.encoder
    if spec == "off" or (spec == "auto" and not labels):
        return None, None
    try:
        encoder = load_encoder(SPEC if spec == "auto" else spec)
    except OutsideFault as error:
        if spec != "auto":
            raise
        say(f"No sentence encoder: {error.message}")
        return None, None
    spec = SPEC if spec == "auto" else spec
    say(f"Sentence encoder: {spec}")
    return CachedEncoder(encoder, store.path / "vectors" / f"{content_hash(spec)}.bin"), spec
