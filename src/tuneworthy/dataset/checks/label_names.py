"""Answers that are no label of the cases: another spelling, an old name, a label of its own, or no label at all."""

import re
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

import numpy as np

from tuneworthy.cases.normalize import normalise, signed
from tuneworthy.cases.splits import labels_of
from tuneworthy.cases.task_kind import guess_kind, parse_object
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, as_rows, data_check, with_turns
from tuneworthy.dataset.checks.label_errors import cosines, vectors_of
from tuneworthy.types import Example, Examples, NamedTexts, Texts, calls_of, grouped

# Separators of several labels, and words of a label.
_SEVERAL = re.compile(r"[,;|\n]")
_WORD = re.compile(r"[^\W_]+")
# Area under the curve up to which questions of two labels cannot be told apart; questions of a label that this takes,
# and that are compared at most.
_SAME, _MIN_QUESTIONS, _MOST_QUESTIONS = 0.7, 2, 200
# Characters of a label from which it can be told where it is cut.
_LEAST_CUT = 4
_SHOWN = 10


@data_check("label_names", whole=True, version=2, asks={"renamed_label": 0.0, "outside_labels": MANY})
def label_names(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers that are no label of the cases, where the cases expect labels.

    Another spelling (case, underscores, hyphens, quotation marks, Unicode) becomes the cases' spelling, and so does an
    answer that is cut within a word, if one label begins so. An old name is recognised if its questions are nearest to
    those of one label of the cases and cannot be told from them. The build asks whether to rename it; the policy
    `"renamed_label:OLD NAME" = "report"` or `"mask"` in [data] decides on one name. Any other answer with the form of a
    label is kept and named, as cases do not contain every label. Other answers are dropped. `findings.jsonl` lists
    each change.

    Bad: "Card arrival" or "I think it is card_arrival.", where the cases expect `card_arrival`.
    """
    if guess_kind(case.expected for case in context.cases).name != "label":
        return
    names = {*labels_of(context.cases)}
    places, turned = _places(rows, names)
    yield from (RowFinding(row=n, code="outside_labels", message="the question is a label") for n in turned)
    other = sorted(places.keys() - names, key=lambda answer: (len(places[answer]), answer))
    spelled, new, outside = _sorted_out(other, names)
    old = _old_names(rows, new, names, context)
    yield from (
        RowFinding(
            code="renamed_label",
            subject=answer,
            message=f"{answer} (n = {len(places[answer])}) looks like an old name of {name}.",
            action="mask",
        )
        for answer, name in old.items()
    )
    for code, renamed in (("label_spelling", spelled), ("renamed_label", old)):
        for answer, name in renamed.items():
            yield from (_renamed(number, rows[number], code, name) for number in places[answer])
    unlike = sorted(number for answer in outside for number in places[answer])
    yield from (RowFinding(row=number, code="outside_labels") for number in unlike)
    if kept := sorted(new - old.keys(), key=lambda answer: (-len(places[answer]), answer)):
        listed = ", ".join(f"{answer} ({len(places[answer])})" for answer in kept[:_SHOWN])
        more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
        yield RowFinding(code="new_label", message=f"Labels that no case expects are kept: {listed}{more}.")


def _places(rows: Examples, names: Collection[str]) -> tuple[dict[str, list[int]], list[int]]:
    """Return the rows of each answer, and rows whose question is a label while their answer is not."""
    answers = (row.answer.strip() if row.messages and not calls_of(row.messages[-1]) else "" for row in rows)
    numbered = [(answer, number) for number, answer in enumerate(answers) if answer]
    turned = [n for answer, n in numbered if answer not in names and rows[n].question.strip() in names]
    left = {*turned}
    return grouped(pair for pair in numbered if pair[1] not in left), turned


def _sorted_out(answers: Texts, names: Collection[str]) -> tuple[NamedTexts, set[str], list[str]]:
    """Return the label that each misspelled answer means, answers with the form of a label, and all other answers.

    Of the spellings of a label that no case has, the last stays: `answers` begin with the rarest.
    """
    folds = grouped((_folded(name), name) for name in sorted(names))
    cut = {answer: [name for name in sorted(names) if _is_cut(answer, name)] for answer in answers}
    meant = {answer: folds.get(_folded(answer)) or cut[answer] for answer in answers}
    spelled = {answer: found[0] for answer, found in meant.items() if len(found) == 1}
    others = [answer for answer in answers if answer not in spelled and not _are_labels(answer, folds)]
    forms, longest = set(map(_form, names)), max(map(_n_words, names))
    new = {_folded(answer): answer for answer in others if _form(answer) in forms and _n_words(answer) <= longest}
    spelled |= {answer: name for answer in others if (name := new.get(_folded(answer), answer)) != answer}
    return spelled, {*new.values()}, [answer for answer in others if _folded(answer) not in new]


def _is_cut(answer: str, name: str) -> bool:
    """Whether an answer is a label that breaks off within a word.

    >>> _is_cut("card_arr", "card_arrival"), _is_cut("card", "card_arrival"), _is_cut("ca", "card_arrival")
    (True, False, False)
    """
    ends_within = len(answer) >= _LEAST_CUT and name[len(answer) - 1 : len(answer) + 1].isalnum()
    return ends_within and len(answer) < len(name) and name.casefold().startswith(answer.casefold())


def _n_words(label: str) -> int:
    return len(_WORD.findall(label))


def _folded(label: str) -> str:
    return normalise(signed(label))


def _are_labels(answer: str, folds: Mapping[str, object]) -> bool:
    several = parse_object(answer)
    parts = several if isinstance(several, list) else _SEVERAL.split(answer)
    return all(_folded(str(part)) in folds for part in parts)


def _form(label: str) -> tuple[frozenset[str], str]:
    """Return what labels of one scheme have in common: the characters between words, and the case of letters.

    >>> _form("card_arrival") == _form("lost_or_stolen_card"), _form("card_arrival") == _form("It is card_arrival.")
    (True, False)
    """
    letters = "".join(_WORD.findall(label))
    case = (
        "lower" if letters.islower() else "upper" if letters.isupper() else "digits" if letters.isdigit() else "mixed"
    )
    return frozenset(_WORD.sub("", label)), case


def _renamed(number: int, row: Example, code: str, name: str) -> RowFinding:
    subject = row.answer.strip()
    return RowFinding(
        row=number,
        code=code,
        subject=subject,
        message=f"{subject!r} becomes {name!r}",
        action="mask",
        changed=with_turns(row, (*row.messages[:-1], {**row.messages[-1], "content": name})),
    )


def _old_names(rows: Examples, new: Collection[str], names: Collection[str], context: CheckContext) -> NamedTexts:
    """Return the label of the cases that each old name is for: that with the most similar questions.

    If the questions of the two can be told apart, the name is a label of its own.
    """
    once = {  # copies say nothing new
        (row.answer.strip(), normalise(row.question)): row.question for row in chain(as_rows(context.cases), rows)
    }
    groups = {
        label: own[:_MOST_QUESTIONS]
        for label, own in grouped((label, question) for (label, _), question in once.items()).items()
        if len(own) >= _MIN_QUESTIONS
    }
    old, present = ([label for label in groups if label in some] for some in (new, names))
    if not old or not present:
        return {}
    vectors = vectors_of([text for label in (*old, *present) for text in groups[label]], context.encoder)
    ends = np.cumsum([len(groups[label]) for label in (*old, *present)])
    places = np.split(np.arange(ends[-1]), ends[:-1])
    means = np.stack([np.asarray(vectors[own].mean(axis=0)).ravel() for own in places])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest = (means[: len(old)] @ means[len(old) :].T).argmax(axis=1).tolist()
    return {
        label: present[other]
        for label, own, other in zip(old, places, nearest, strict=False)
        if _area(vectors[np.concatenate([own, places[len(old) + other]])], len(own)) <= _SAME
    }


def _area(vectors: Any, n: int) -> float:
    """Return the area under the curve of mean cosines that tell the first `n` texts from the others."""
    from sklearn.metrics import roc_auc_score

    alike = cosines(vectors, vectors)
    np.fill_diagonal(alike, 0)
    is_own = np.arange(len(alike)) < n
    to_own, to_others = (alike[:, some].sum(axis=1) / (some.sum() - some) for some in (is_own, ~is_own))
    return float(roc_auc_score(is_own, to_own - to_others))
