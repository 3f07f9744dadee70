"""Answers that are no label of the cases: another spelling, an old name, a label of its own, or no label at all."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from tuneworthy.cases.normalize import normalise, signed
from tuneworthy.cases.splits import labels_of
from tuneworthy.cases.task_kind import guess_kind, parse_object
from tuneworthy.classical.features import TextFeatures
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, as_rows, data_check, with_turns
from tuneworthy.dataset.checks.label_errors import MIN_OF_A_LABEL, MOST_LEARNED, out_of_fold
from tuneworthy.types import Example, Examples, NamedTexts, Texts, calls_of, grouped

# Separators of several labels, and words of a label.
_SEVERAL = re.compile(r"[,;|\n]")
_WORD = re.compile(r"[^\W_]+")
# Labels of the cases with the most similar questions that an old name may stand for.
_NEAREST = 3
# Area under the curve up to which the questions of two labels cannot be told apart, and questions needed to say so.
_SAME, _MIN_QUESTIONS = 0.7, 10
# Similarity of names from which, with fewer questions, one is another spelling of the other.
_ALIKE = 0.9
# Characters of a label from which it can be told where it is cut.
_LEAST_CUT = 4
_SHOWN = 10


@data_check("label_names", whole=True, asks={"renamed_label": 0.0, "outside_labels": MANY})
def label_names(rows: Examples, context: CheckContext) -> RowFindings:
    """Answers that are no label of the cases, where the cases expect labels.

    Another spelling (case, underscores, hyphens, quotation marks, Unicode) becomes the cases' spelling, and so does an
    answer that is cut within a word, if one label begins so. An old name is
    recognised if a classifier cannot tell its questions from those of one label of the cases, or if the name is
    similar and so are the questions; the build asks whether to rename it. Any other answer with the form of a label is
    kept and named, as cases do not contain every label. Other answers are dropped. `findings.jsonl` lists each change.

    Bad: "Card arrival" or "I think it is card_arrival.", where the cases expect `card_arrival`.
    """
    kind = guess_kind(case.expected for case in context.cases)
    names = {*labels_of(context.cases)} if kind.name == "label" else set()
    if not names:
        return
    places, turned = _places(rows, names)
    yield from (RowFinding(row=n, code="outside_labels", message="the question is a label") for n in turned)
    other = sorted(places.keys() - names, key=lambda answer: (len(places[answer]), answer))
    spelled, new, outside = _sorted_out(other, names)
    old = _old_names(rows, {answer: places[answer] for answer in new}, context)
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
    changed = with_turns(row, (*row.messages[:-1], {**row.messages[-1], "content": name}))
    message = f"{row.answer.strip()!r} becomes {name!r}"
    return RowFinding(row=number, code=code, message=message, action="mask", changed=changed)


def _old_names(rows: Examples, old: Mapping[str, Sequence[int]], context: CheckContext) -> NamedTexts:
    """Return the label of the cases that each frequent old name stands for, one to one."""
    frequent = {label: own for label, own in old.items() if len(own) >= MIN_OF_A_LABEL}
    if not frequent:
        return {}
    texts = {label: [rows[number].question for number in own] for label, own in frequent.items()}
    cases = [(row.answer.strip(), row.question) for row in as_rows(context.cases)]
    names = dict.fromkeys(label for label, _ in cases)
    answers = ((row.answer.strip(), row.question) for row in rows)
    of_names = grouped([*cases, *(pair for pair in answers if pair[0] in names)])
    found = sorted(_twins(texts, of_names, {row.answer.strip() for row in rows}, context.seed))
    renamed: dict[str, str] = {}
    for _, label, name in found:
        if label not in renamed and name not in renamed.values():
            renamed[label] = name
    return renamed


def _twins(
    old: Mapping[str, Texts], names: Mapping[str, Texts], rated: Collection[str], seed: int
) -> Iterator[tuple[float, str, str]]:
    """Yield how well the questions of an old and a present label can be told apart, where that is hardly possible.

    Args:
        old: Questions by the label that no case has.
        names: Questions by the label of the cases, of rows and cases.
        rated: Labels that rows have.
        seed: Of the folds.
    """
    from sklearn.metrics import roc_auc_score

    limit = max(MIN_OF_A_LABEL, MOST_LEARNED // (len(old) + len(names)))
    groups = [list(texts)[:limit] for texts in (*old.values(), *names.values())]
    matrix = TextFeatures().fit_transform([text for group in groups for text in group])
    ends = np.cumsum([0, *map(len, groups)])
    means = np.stack([np.asarray(matrix[a:b].mean(axis=0)).ravel() for a, b in pairwise(ends.tolist())])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means.T
    nearest = np.argsort(-alike[: len(old), len(old) :], axis=1)[:, :_NEAREST]
    np.fill_diagonal(alike, -1)
    nearest_of_all = alike.argmax(axis=1)[len(old) :]
    present = list(names)
    for number, label in enumerate(old):
        for place in nearest[number].tolist():
            name, others = present[place], groups[len(old) + place]
            own = groups[number]
            words = [" ".join(sorted(_WORD.findall(each.lower()))) for each in (label, name)]
            same_words = SequenceMatcher(None, words[0], words[1]).ratio()
            if name not in rated and place == nearest[number, 0] and nearest_of_all[place] == number:
                yield _SAME, label, name  # only cases have the label, and each is nearest to the other
            elif min(len(own), len(others)) >= _MIN_QUESTIONS:
                is_old = [True] * len(own) + [False] * len(others)
                _, chances = out_of_fold([*own, *others], [str(one) for one in is_old], None, seed)
                area = float(roc_auc_score(is_old, chances.mean(axis=0)[:, 1]))
                if area <= _SAME:
                    yield area, label, name
            elif same_words >= _ALIKE:
                yield 1 - same_words, label, name
