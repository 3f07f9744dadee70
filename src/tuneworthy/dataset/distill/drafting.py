"""Drafts of cases where nothing exists: a model writes them from a description and documents, by a grid of situations.

Invariants: every call goes through the store and the budget of the project, so a stopped run resumes; the result
depends on the description, the documents and the stored answers; near-duplicates are dropped and counted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from math import ceil

from tuneworthy.cases.near_duplicates import group_near_duplicates
from tuneworthy.cases.normalize import question_of, words
from tuneworthy.cases.sampling import NearDuplicateFilter
from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import UserError
from tuneworthy.types import (
    Case,
    Cases,
    CaseTuple,
    JsonMapping,
    JsonObject,
    NamedInts,
    TextPair,
    Texts,
    Variant,
    content_hash,
    positional,
)

SITUATIONS = {
    "common": "frequent, ordinary requests, as most users send them",
    "rare": "unusual but real requests: edge cases, odd formats, very short or very long texts, two topics at once",
    "adversarial": (
        "requests that mislead: a false premise, a near miss between two answers, an instruction to ignore the rules"
    ),
    "unanswerable": (
        'requests that seem in scope but have no right answer here, so that the application should decline; "expected" '
        "is null"
    ),
}
VOICES = (
    "a new user",
    "an expert",
    "someone in a hurry",
    "a frustrated user",
    "a careful user who adds details",
    "a user who writes in a second language",
)
SYSTEM = (
    "You write test cases for an application that is built on a language model: the text that a user sends, and the "
    "right answer."
)
# Cases in one call, calls in a row of rounds, characters of a document in a prompt, questions that are not to be
# repeated, and tokens of an answer.
BATCH, MAX_ROUNDS, MAX_CHARACTERS, MAX_SHOWN, MAX_TOKENS = 5, 6, 6_000, 20, 2_048


@positional
class DraftBrief:
    """What a model drafts from.

    Attributes:
        about: The description.
        instructions: System prompt of the project; "" without one.
        guideline: How people label; "" without one.
        variables: Variables of a question; empty if it is one text.
        documents: Id and text of parts of documents.
    """

    about: str
    instructions: str = ""
    guideline: str = ""
    variables: Texts = ()
    documents: Sequence[TextPair] = ()


@positional
class Drafts:
    """Drafted cases with suggested answers.

    Attributes:
        cases: The drafts; the first tag is the situation.
        n_read: Drafts in the answers.
        n_near: Drafts dropped as near-duplicates of a case or of an earlier draft.
        situations: Number of drafts by situation.
        spread: Share of distinct pairs of neighbouring words among all pairs in the questions, 0..1.
    """

    cases: CaseTuple
    n_read: int
    n_near: int
    situations: NamedInts
    spread: float


async def draft_cases(
    runner: Runner, model: OpenModel, brief: DraftBrief, n: int, *, parameters: JsonMapping, present: Cases = ()
) -> Drafts:
    """Let a model draft `n` cases, in equal shares of the situations.

    Args:
        runner: With the project's store, budget and mask.
        model: The model.
        brief: What it drafts from.
        n: Number of drafts.
        parameters: Its sampling parameters.
        present: Cases that no draft may repeat.

    Raises:
        UserError: No answer contains a draft.
        TuneworthyError: As in `Runner.run`; the answers so far are stored.
    """
    variant = Variant(
        name="draft",
        model=model.name,
        model_identity=model.provider.identity,
        system=SYSTEM,
        user="{{ input }}",
        decoding=parameters,
        max_tokens=MAX_TOKENS,
    )
    near, found, n_read = NearDuplicateFilter(), {name: list[Case]() for name in SITUATIONS}, 0
    for case in present:
        near.add(question_of(case))
    wanted = {name: (n + at) // len(SITUATIONS) for at, name in enumerate(reversed(SITUATIONS))}
    near.n_refused = n_copies = 0
    for turn in range(MAX_ROUNDS):
        asked = {case.id: (case, name) for case, name in _requests(brief, wanted, found, turn)}
        n_before = sum(map(len, found.values()))
        traces = await runner.run(variant, model, [case for case, _ in asked.values()], repeats=range(1))
        for trace in traces:
            request, name = asked[trace.case_id]
            for question, expected in read_answer(trace.text if trace.response else "", brief.variables):
                n_read += 1
                if len(found[name]) < wanted[name] and near.add(question_of(Case(id="", input=question))):
                    found[name].append(
                        Case(
                            id=Case.make_id(question),
                            input=question,
                            expected=expected,
                            tags=(name,),
                            documents=() if name == "unanswerable" else request.documents,
                            drafted=True,
                        )
                    )
        n_copies += _drop_copies(found, present)
        n_now = sum(map(len, found.values()))
        if n_now in {n, n_before}:
            break
    if not n_now:
        raise UserError(
            f"The model {model.name} drafted no case that can be read.",
            hint="Set a stronger model in [teacher], or describe the task in more detail.",
        )
    cases = tuple(chain.from_iterable(found.values()))
    return Drafts(
        cases, n_read, near.n_refused + n_copies, {name: len(some) for name, some in found.items()}, spread(cases)
    )


def _requests(
    brief: DraftBrief, wanted: NamedInts, found: dict[str, list[Case]], turn: int
) -> Iterator[tuple[Case, str]]:
    """Yield the prompts of a round with their situations; they differ in user, document and earlier drafts."""
    at, names = turn, ", ".join(f'"{one}": "..."' for one in brief.variables)
    question = f"{{{names}}}" if names else '"..."'
    for name, text in SITUATIONS.items():
        missing, knows = wanted[name] - len(found[name]), "no" if name == "unanswerable" else "the"
        for batch in range(ceil(missing / BATCH)):
            document = brief.documents[at % len(brief.documents)] if brief.documents else None
            earlier = [f"- {question_of(case)[:200]}" for case in found[name][-MAX_SHOWN:]]
            parts = [
                f"The application: {brief.about}",
                brief.instructions and f"Its instructions:\n{brief.instructions}",
                brief.guideline and f"Guideline for right answers:\n{brief.guideline}",
                f"The document {document[0]} has {knows} right answer:\n{document[1]}" if document else "",
                "Already written, so write about other things:\n" + "\n".join(earlier) if earlier else "",
                f"Situation: {text}.\nUser: {VOICES[(at + batch) % len(VOICES)]}.",
                f"Part {turn + 1}.{batch + 1}. Write {min(BATCH, missing - batch * BATCH)} different test cases as "
                f'JSON objects, one a line, without other text: {{"input": {question}, "expected": ...}}',
            ]
            prompt = "\n\n".join(filter(None, parts))
            yield Case(id=content_hash(prompt), input=prompt, documents=(document[0],) if document else ()), name
            at += 1


def read_answer(text: str, variables: Texts = ()) -> Iterator[tuple[str | JsonObject, object]]:
    """Yield question and suggested answer of each draft in an answer; other text and broken objects are passed over.

    >>> list(read_answer('1. {"input": "Hi", "expected": "greeting"} {"input": "", "expected": 1} {"input": "a"}'))
    [('Hi', 'greeting')]
    """
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            row, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            row, end = {}, at + 1
        question = row.get("input")
        if isinstance(question, dict):
            is_whole = {*question} == {*variables} and all(isinstance(one, str) for one in question.values())
        else:
            is_whole = isinstance(question, str) and bool(question.strip()) and not variables
        if is_whole and row.get("expected", "") != "":
            yield question, row["expected"]
        at = text.find("{", end)


def _drop_copies(found: dict[str, list[Case]], present: Cases) -> int:
    """Drop drafts that copy a case or an earlier draft, as `group_near_duplicates` finds them; return their number."""
    drafts = [replace(case, group=None) for case in chain.from_iterable(found.values())]
    groups: set[str] = set()
    dropped: set[str] = set()
    for case in group_near_duplicates([*(replace(case, group=None) for case in present), *drafts])[0]:
        if case.group and case.group in groups and case.drafted:
            dropped.add(case.id)
        groups.add(case.group or "")
    for name, cases in found.items():
        found[name] = [case for case in cases if case.id not in dropped]
    return len(dropped)


def spread(cases: Cases) -> float:
    """Return the share of distinct pairs of neighbouring words in the questions, 0..1.

    >>> spread([Case(id="1", input="red car here"), Case(id="2", input="red car there")])
    0.75
    """
    pairs = Counter(pair for case in cases for pair in pairwise(words(question_of(case))))
    return len(pairs) / pairs.total() if pairs else 1.0
