"""Draw cases to label from logs: each question once, near-duplicates thinned out, all kinds represented.

The result depends on the content of the file, `n` and `seed`, not on the order of the rows.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.cases.readers.faults import Journal, Rejects
from tuneworthy.cases.readers.files import decoded_lines
from tuneworthy.cases.readers.reader import read_cases, stream_examples
from tuneworthy.cases.splits import example_case
from tuneworthy.cases.stratified import quotas, rank
from tuneworthy.cases.task_kind import answer_text, guess_kind
from tuneworthy.errors import DataError, UserError
from tuneworthy.input_files import open_input
from tuneworthy.text import count, plural
from tuneworthy.types import (
    UNLABELLED,
    Case,
    Cases,
    CaseTuple,
    Example,
    Texts,
    TextTuple,
    content_hash,
    grouped,
    positional,
)

NEAR = 0.8
MIN_CLUSTERED = 50
MAX_FITTED = 20_000
_TABLES_AND_JSON = frozenset(
    {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".xls", ".parquet", ".pq", ".yaml", ".yml"}
)
_NUMBER = re.compile(r"\d+")


@positional
class Sample:
    """Cases drawn from logs, unlabelled.

    Attributes:
        cases: In the order in which they are to be labelled.
        n_read: Questions in the file.
        n_cases: Questions left out because they are cases already, but for case and punctuation.
        n_exact: Questions left out because an earlier one is the same but for case and punctuation.
        n_near: Questions passed over because one that was drawn is nearly the same.
        strata: Number of drawn cases by stratum.
        stratified_by: `label`, `tag`, `cluster` or `length`.
        notes: Of the reader, and of the draw.
    """

    cases: CaseTuple
    n_read: int
    n_cases: int
    n_exact: int
    n_near: int
    strata: dict[str, int]
    stratified_by: str
    notes: TextTuple = ()


def sample_cases(path: Path | str, n: int, seed: int, *, present: Iterable[Case] = ()) -> Sample:
    """Draw `n` unlabelled cases from the logs or the data at `path`.

    Args:
        path: Any format of examples or cases, or a text file with one question a line.
        n: How many; fewer if the file has fewer questions that differ.
        seed: Of the draw.
        present: The project's cases: their questions are not drawn.

    Raises:
        UserError: `n` is below 1, every question is a case already, or the file cannot be read.
    """
    if n < 1:
        raise UserError(f"The number of cases to draw must be at least 1, not {n}.")
    read, notes = _questions(Path(path))
    taken = {normalise(question_of(case)) for case in present}
    new = [case for case in read if normalise(question_of(case)) not in taken]
    if not new:
        raise UserError(
            f"Each of the {count(len(read), 'question')} in {path} is a case already.",
            hint="Draw from a file with other questions.",
        )
    distinct: dict[str, Case] = {}
    for case in sorted(new, key=lambda case: case.id):
        distinct.setdefault(normalise(question_of(case)), case)
    cases = list(distinct.values())
    by, strata = _strata(cases, seed)
    chosen, n_near = _draw(cases, strata, n, seed)
    if len(chosen) < n:
        questions = plural(len(chosen), "question", "questions")
        notes += (f"only {len(chosen)} distinct {questions} could be drawn, but {n} were requested",)
    return Sample(
        cases=tuple(replace(cases[i], expected=UNLABELLED) for i in chosen),
        n_read=len(read),
        n_cases=len(read) - len(new),
        n_exact=len(new) - len(cases),
        n_near=n_near,
        strata=dict(sorted(Counter(strata[i] for i in chosen).items())),
        stratified_by=by,
        notes=notes,
    )


def _questions(path: Path) -> tuple[list[Case], TextTuple]:
    """Read the file as examples, else as bare questions, whose faults are then raised.

    Rows of logs that are no examples are skipped: `data build` reports the reasons.
    """
    if is_text(path):
        return bare_questions(path)
    journal = Rejects(path)
    cases: dict[str, Case] = {}
    n_skipped = 0
    try:
        for line, fields in stream_examples(path, journal).rows:
            n_skipped += len(list(journal.take(line)))
            if fields is not None and (case := example_case(Example(id="", **fields))) is not None:
                cases.setdefault(content_hash(fields["messages"]), case)
    except DataError:
        cases = {}
    if not cases:
        return bare_questions(path)
    notes = journal.notes()
    if n_skipped:
        notes += (f"{count(n_skipped, 'row is', 'rows are')} passed over, because no answered question could be read",)
    return list(cases.values()), notes


def bare_questions(path: Path, columns: Texts = ()) -> tuple[list[Case], TextTuple]:
    """Read a file as cases, else (if its name says nothing) as lines of text.

    Args:
        path: The file.
        columns: Columns of the question; guessed if empty.

    Raises:
        UserError: It cannot be read so.
    """
    if is_text(path):
        return _lines(path), ("read as one question per line",)
    cases = read_cases(path, input_column=columns)
    return list(cases.cases), cases.notes


def is_text(path: Path) -> bool:
    """Whether a file is taken as one question a line: neither its name nor its beginning says otherwise."""
    if path.suffix.lower() in _TABLES_AND_JSON:
        return False
    try:
        with open_input(path) as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in {b"{", b"["}
    except (OSError, ValueError):
        return True


def _lines(path: Path) -> list[Case]:
    journal = Journal(path)
    texts = [line.strip() for line in decoded_lines(path, journal)]
    journal.raise_faults()
    cases = {text: Case(id=Case.make_id(text), input=text) for text in texts if text}
    if not cases:
        raise DataError(path, None, "at least one line of text", "an empty file")
    return list(cases.values())


def _strata(cases: Cases, seed: int) -> tuple[str, list[str]]:
    labels = guess_kind(case.expected for case in cases)
    if labels.name == "label" and sum(case.labelled for case in cases) >= len(cases) / 2:
        return "label", [answer_text(case.expected) if case.labelled else "none" for case in cases]
    if sum(bool(case.tags) for case in cases) >= len(cases) / 2:
        return "tag", [case.tags[0] if case.tags else "none" for case in cases]
    if len(cases) >= MIN_CLUSTERED and (clusters := _clusters([question_of(case) for case in cases], seed)):
        return "cluster", clusters
    lengths = [len(question_of(case)) for case in cases]
    bounds = [sorted(lengths)[len(lengths) * quarter // 4] for quarter in (1, 2, 3)]
    return "length", [f"length {1 + sum(length >= bound for bound in bounds)} of 4" for length in lengths]


def _clusters(texts: Texts, seed: int) -> list[str]:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits

    try:
        vectors = TfidfVectorizer(tokenizer=words, token_pattern=None, max_features=5000).fit_transform(texts)
    except ValueError:  # an empty vocabulary
        return []
    means = MiniBatchKMeans(
        n_clusters=min(20, max(2, round(len(texts) ** 0.5 / 2))),
        random_state=seed % 2**32,
        n_init=1,
        batch_size=1024,
    )
    with threadpool_limits(1):  # batches are small: threads only wait for one another
        means.fit(vectors[:MAX_FITTED])
    return [f"cluster {label:02d}" for label in means.predict(vectors)]


def _draw(cases: Cases, strata: Texts, n: int, seed: int) -> tuple[list[int], int]:
    """Draw `n` cases, in shares of their strata, without near-duplicates.

    Where a stratum runs out, the others fill up; near-duplicates are not used even then.
    """
    order = {case.id: rank(seed, case.id) for case in cases}
    last_first = sorted(range(len(cases)), key=lambda i: order[cases[i].id], reverse=True)
    queues = grouped((strata[i], i) for i in last_first)
    left = quotas(Counter(strata), min(n, len(cases)), seed)
    near = NearDuplicateFilter()
    chosen: list[int] = []
    while len(chosen) < n and any(queues.values()):
        before = len(chosen)
        for name in sorted(queues):
            while left[name] > 0 and queues[name]:
                i = queues[name].pop()
                if near.add(question_of(cases[i])):
                    chosen.append(i)
                    left[name] -= 1
        if len(chosen) == before:  # nothing more is owed to strata that have rows: the fullest fill up
            filled = sorted((-len(queue), name) for name, queue in queues.items() if queue)
            for _, name in filled[: n - len(chosen)]:
                left[name] += 1
    return sorted(chosen[:n], key=lambda i: order[cases[i].id]), near.n_refused


class NearDuplicateFilter:
    """The questions drawn so far, as sets of words with numbers masked; refuses one that is nearly among them."""

    def __init__(self) -> None:
        self.sets: list[frozenset[str]] = []
        self.by_word: dict[str, list[int]] = defaultdict(list)
        self.n_refused = 0

    def add(self, text: str) -> bool:
        new = _words_of(text)
        if self._is_near(new):
            self.n_refused += 1
            return False
        for word in new:
            self.by_word[word].append(len(self.sets))
        self.sets.append(new)
        return True

    def holds(self, text: str) -> bool:
        """Whether `text` or nearly the same is remembered."""
        return self._is_near(_words_of(text))

    def _is_near(self, new: frozenset[str]) -> bool:
        common: Counter[int] = Counter()
        for word in new:
            common.update(self.by_word[word])
        return any(shared >= NEAR * (len(new) + len(self.sets[k]) - shared) for k, shared in common.items())


def _words_of(text: str) -> frozenset[str]:
    return frozenset(_NUMBER.sub("0", word) for word in words(text))
