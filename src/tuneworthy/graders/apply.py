"""Running a grader over traces: the rules of `base`, and the sums that statistics need.

Build a grader with `make_grader`, judge with `grade_all`, sum up with `aggregate`.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuneworthy.arrays import FloatPair
from tuneworthy.config.graders import ToolCall
from tuneworthy.errors import ProviderError, UserError
from tuneworthy.graders.base import GRADERS, Grader, GradingContext, accepted
from tuneworthy.graders.declining import built_in
from tuneworthy.graders.tool_call import ToolCallGrader
from tuneworthy.types import UNLABELLED, Case, Cases, NamedTexts, Response, Score, Texts, Trace, Traces

# Traces graded before other tasks of the event loop get their turn.
_TURN = 512
FIX_GRADER = "Fix this grader in [[graders]]. It must score every answer, a wrong one too."
# Types of graders that are not tried: one calls a model, the other reads no text.
_UNTRIED = frozenset({"judge", "tool_call"})
# Compares the calls of a case, whichever grader has the words.
_CALLS = ToolCallGrader(ToolCall(type="tool_call"))


def make_grader(config: Any, context: GradingContext | None = None) -> Grader:
    """Build the grader of a section of `[[graders]]`.

    Args:
        config: A section; its `type` names the grader.
        context: What graders may be built from.

    Raises:
        UserError: The section cannot be used (file missing, bad pattern, too few texts).
    """
    context = context or GradingContext()
    grader: Grader = GRADERS.get(config.type, context.root)(config, context)
    return grader


def _of_case(grader: Grader, case: Case) -> Grader:
    """Return the grader of a case: that of calls where the case expects calls, whichever grader has the words."""
    if grader.takes_calls or not (case.expects_calls and grader.needs_expected):
        return grader
    return _CALLS


def label_faults(grader: Grader, cases: Iterable[Case]) -> NamedTexts:
    """Return the cases whose label this grader cannot use: case id to the fault.

    For checks before money is spent; in `grade_all` such cases are unscored.
    """
    if not grader.needs_expected:
        return {}
    return {case.id: fault for case in cases if case.has_answer and (fault := _of_case(grader, case).case_fault(case))}


def try_grader(grader: Grader, cases: Iterable[Case]) -> dict[str, Score]:
    """Return the scores of a right, a nearly right and a wrong answer to one case; empty if the grader is not tried."""
    case, answers = answers_to_try(grader, cases)
    trace = Trace(case_id="", variant_id="", repeat=0, messages=(), response=None)
    rules = _Rules(grader)
    results = {name: rules.judge(replace(trace, response=Response(text=text)), case) for name, text in answers.items()}
    return {name: score for name, score in results.items() if isinstance(score, Score)}


def answers_to_try(grader: Grader, cases: Iterable[Case]) -> tuple[Case | None, dict[str, str]]:
    """Return a right, a nearly right and a wrong answer, and their case; None if the grader is not tried.

    Args:
        grader: It; no model is called.
        cases: The first with a usable label is answered, by its label and by another one.
    """
    usable = [
        case for case in cases if case.has_answer and not case.expects_calls and not grader.label_fault(case.expected)
    ]
    if not usable or grader.identity.get("type") in _UNTRIED:
        return None, {}
    right, *more = accepted(usable[0].expected)
    others = (accepted(case.expected)[0] for case in usable)
    wrong = next((text for text in others if text not in {right, *more}), "?")
    return usable[0], {"right": right, "nearly right": f"The answer is {right}.", "wrong": wrong}


def grading_fault(scores: Mapping[str, Score]) -> str:
    """Return why an answer that was tried has no score, as a clause; "" if all have one."""
    return next((f"{score.unscored} for a {name} answer" for name, score in scores.items() if score.unscored), "")


def refuse_faulty(graders: Mapping[str, Grader], cases: Cases) -> None:
    """Raise `UserError` for the first grader that cannot score an answer (see `try_grader`)."""
    for name, grader in graders.items():
        if fault := grading_fault(try_grader(grader, cases)):
            raise UserError(f"The grader {name} cannot be used: {fault}.", hint=FIX_GRADER)


async def grade_all(grader: Grader, traces: Traces, cases: Iterable[Case] | Mapping[str, Case]) -> list[Score]:
    """Judge all traces; one that cannot be judged is unscored and never stops the others.

    Args:
        grader: Answers at once or gives an awaitable (a judge that asks a provider); awaitables run together.
        traces: In any order, with any number of repeats.
        cases: The cases of the traces, or case id to case.

    Returns:
        One score a trace, in their order.

    Raises:
        TuneworthyError: What ends a run as a whole (budget spent, key refused), from a judge.
    """
    by_id = cases if isinstance(cases, Mapping) else {case.id: case for case in cases}
    judge = _Rules(grader).judge
    results = []
    for start in range(0, len(traces), _TURN):
        results += [judge(trace, by_id.get(trace.case_id)) for trace in traces[start : start + _TURN]]
        await asyncio.sleep(0)
    waiting = [result for result in results if not isinstance(result, Score)]
    answered = iter(await _all(waiting) if waiting else ())
    return [result if isinstance(result, Score) else next(answered) for result in results]


def aggregate(scores: Sequence[Score], case_ids: Texts | None = None, *, order: Texts | None = None) -> FloatPair:
    """Sum scores up to one numerator and denominator a case; repeats of a case are averaged.

    Args:
        scores: In any order.
        case_ids: Case per score; without it every score is a case of its own.
        order: Case ids in the order that is wanted; the order of first mention if None.

    Returns:
        `num`, `den`, each `(n_cases,)`; both NaN where every repeat is unscored or no score exists, so that
        `np.isfinite(num)` marks scored cases.

    >>> aggregate([Score(num=1.0), Score(), Score.failed("timeout")], ["a", "a", "b"])
    (array([0.5, nan]), array([ 1., nan]))
    """
    ids = range(len(scores)) if case_ids is None else case_ids
    position = {case_id: index for index, case_id in enumerate(dict.fromkeys(ids if order is None else order))}
    counted = [
        (position[i], score.num, score.den)
        for i, score in zip(ids, scores, strict=True)
        if not score.unscored and i in position
    ]
    where, num, den = np.array(counted, dtype=np.float64).reshape(-1, 3).T
    index, size = where.astype(np.intp), len(position)
    repeats = np.bincount(index, minlength=size)
    with np.errstate(invalid="ignore"):
        mean_num, mean_den = (np.bincount(index, weights=column, minlength=size) / repeats for column in (num, den))
    return mean_num, mean_den


class _Rules:
    def __init__(self, grader: Grader) -> None:
        self._grader = grader
        self._declines = built_in()
        self._right = Score(num=grader.unit, den=grader.unit)
        self._answered = Score(reason="answered_unanswerable", den=grader.unit)

    def judge(self, trace: Trace, case: Case | None) -> Score | Awaitable[Score]:
        response = trace.response
        if trace.error is not None:
            return Score.failed(f"{trace.error.code}: {trace.error.message}")
        if response is None:
            return Score.failed("the trace has no response")
        if case is None:
            return Score.failed("the trace belongs to none of the cases")
        if self._grader.needs_expected:
            if case.expected is None:
                return self._right if self._declines(response) else self._answered
            if case.expected is UNLABELLED:
                return Score.failed("the case has no label")
        grader, unit = _of_case(self._grader, case), self._grader.unit
        if case.tools and response.tool_calls and grader.needs_expected and not grader.takes_calls:
            return Score(reason="wrong_tool", den=unit)
        try:
            score = grader(trace, case)
        except ProviderError as error:
            return _failed(error)
        if not isinstance(score, Score):
            return self._later(score, response)
        if grader is not self._grader:
            score = replace(score, num=score.num * unit, den=score.den * unit)
        return self._explain(score, response)

    async def _later(self, waiting: Awaitable[Score], response: Response) -> Score:
        try:
            return self._explain(await waiting, response)
        except ProviderError as error:
            return _failed(error)

    def _explain(self, score: Score, response: Response) -> Score:
        if score.unscored or score.num == score.den:
            return score
        reasons = self._grader.declined_reasons
        may_decline = reasons is None or score.reason in reasons
        if may_decline and self._grader.needs_expected and self._declines(response):
            return replace(score, reason="refused")
        if score.reason == "format" and response.finish_reason == "length":
            return replace(score, reason="truncated")
        return score


def _failed(error: ProviderError) -> Score:
    """Turn a failed call of a grader into an unscored result; any other exception is a bug, or ends the run."""
    return Score.failed(f"{error.code}: {error.message}"[:500])


async def _all(waiting: Sequence[Awaitable[Score]]) -> list[Score]:
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
