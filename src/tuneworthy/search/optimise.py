"""Prompt optimisation: GEPA selects rewrites; our graders judge, within a number of calls.

A model sees a few answers with their scores and faults, and rewrites the prompt. Rewrites that are better on
these cases run on all cases of the other side, where the best is chosen.

Everything that is asked goes through two functions of the caller, who keeps every answer; all else comes from the
seed. So an interrupted search that runs again makes only the missing calls and ends the same. GEPA's
own checkpoints are pickles, and are not used.

Source: Agrawal et al., "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning", arXiv 2507.19457.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from tuneworthy.cases.stratified import units_of
from tuneworthy.stats.intervals import score_interval
from tuneworthy.types import Bounds, Case, Cases, NamedTexts, Texts, frozen

# Answers that the rewriting model sees at a time, as in the paper.
MINIBATCH = 3
FEWEST_TRAIN = 2 * MINIBATCH
# Attempts at a rewrite, at most: a second if the first was empty.
ATTEMPTS = 2
# Share of the calls that one round of all cases of the choosing side takes, at most.
VALIDATION_SHARE = 0.1
# Name of the rewritten component in GEPA.
PART = "system"
ASK = """An assistant got these instructions:
```
<curr_param>
```

Here are questions that it was asked, what it answered, and what was said of each answer:
```
<side_info>
```

Write new instructions for the assistant. Read the questions to see what the task is, and the remarks to see what it
must know and do; put everything of that into the instructions which also helps with other questions of this kind, but
none of these questions itself. Keep what was right. Placeholders in double braces stay as they are, and you add none.

Give the new instructions within ``` blocks."""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One answer as the rewriting model sees it; `score` is 0..1, and what follows are words.

    Attributes:
        sent: Whether the case was sent; not if the prompt cannot be filled in.
        unscored: Whether the answer has no score; `score` is then a substitute.
    """

    score: float
    question: str
    answer: str
    feedback: str
    sent: bool = True
    unscored: bool = False


# Takes a prompt and cases, returns one `ScoredAnswer` a case.
Evaluate = Callable[[str, Cases], Awaitable[Sequence[ScoredAnswer]]]
# Maps a request to the rewriting model's answer; None without one.
Reflect = Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A prompt that GEPA retained.

    Attributes:
        parent: Its source: a place in the list; None for the first.
        score, ci95: Mean on the cases that choose, and its interval.
        unscored: How many of these answers had no score of their own.
    """

    text: str
    parent: int | None
    score: float
    ci95: Bounds
    unscored: int


@frozen
class Optimised:
    """What came of a search.

    Attributes:
        prompts: The prompt itself, then each rewrite that was better than its parent on what both were shown.
        best: Place of the best rewrite on the choosing side; of equals the first.
        calls: Different answers to cases.
        reflections: Rewrites asked for.
        failed: Of these, without an answer.
        unscored: Answers without a score.
        budget: Calls and rewrites together, at most.
        n_train: Cases that rewrites are made from.
        n_val: Cases that choose.
    """

    prompts: Sequence[Rewrite]
    best: int
    calls: int
    reflections: int
    failed: int
    unscored: int
    budget: int
    n_train: int
    n_val: int

    @property
    def before(self) -> float:
        return self.prompts[0].score

    @property
    def score(self) -> float:
        return self.prompts[self.best].score


def sides(cases: Cases, budget: int) -> tuple[list[Case], list[Case]]:
    """Return the cases that rewrites are made from, and those that choose: at most half, and a tenth of the calls.

    A group is on one side; if no group is small enough, no case remains to choose.

    >>> cases = [Case(id=str(number), input=str(number)) for number in range(40)]
    >>> [[len(side) for side in sides(cases, budget)] for budget in (500, 50)]
    [[20, 20], [35, 5]]
    """
    val, train = part(cases, max(1, min(len(cases) // 2, int(budget * VALIDATION_SHARE))))
    return train, val


def part(cases: Cases, n: int) -> tuple[list[Case], list[Case]]:
    """Return at most `n` cases from the head of `cases`, and the rest; a group, or one question, is on one side."""
    taken: set[int] = set()
    for unit in units_of(cases):
        if len(taken) + len(unit.members) <= n:
            taken.update(unit.members)
    return (
        [case for place, case in enumerate(cases) if place in taken],
        [case for place, case in enumerate(cases) if place not in taken],
    )


def why_no_sides(cases: Cases, budget: int) -> str:
    train, val = sides(cases, budget)
    if val and len(train) >= FEWEST_TRAIN:
        return ""
    return (
        f"GEPA needs at least {FEWEST_TRAIN} cases for rewriting and 1 for selection, but splitting {len(cases)} "
        f"cases by group gives only {len(train)} and {len(val)}"
    )


async def optimise(
    prompt: str, cases: Cases, *, evaluate: Evaluate, reflect: Reflect, budget: int, seed: int
) -> Optimised:
    """Search for a better `prompt` on `cases`.

    Args:
        prompt: Where the search starts.
        cases: In random order; `why_no_sides` must have nothing against them.
        evaluate: Answers cases with a prompt and scores the answers, in this event loop.
        reflect: Asks for a rewrite, never at the same time.
        budget: Calls of both together, at most.
        seed: Of the choice of cases and parents.

    Raises:
        TuneworthyError: What `evaluate` or `reflect` raised; the search has then ended.
    """
    train, val = sides(cases, budget)
    adapter = _GepaAdapter(evaluate, reflect, budget=budget, round_calls=2 * MINIBATCH + ATTEMPTS + len(val))
    import gepa

    search = partial(
        gepa.optimize,
        seed_candidate={PART: prompt},
        trainset=train,
        valset=val,
        adapter=adapter,
        reflection_lm=adapter.reflect,
        reflection_prompt_template=ASK,
        reflection_minibatch_size=MINIBATCH,
        stop_callbacks=[adapter.enough],
        logger=SimpleNamespace(log=lambda message: None),  # what came of the search is in the result
        run_dir=None,
        track_best_outputs=False,
        raise_on_exception=True,
        seed=seed,
    )
    result = await adapter.in_thread(search)  # it writes nothing (no `run_dir`) and sends nothing
    prompts = _prompts(result, val, adapter.unscored)
    return Optimised(
        prompts=prompts,
        best=max(range(len(prompts)), key=lambda place: (prompts[place].score, -place)),
        calls=adapter.calls,
        reflections=adapter.reflections,
        failed=adapter.failed,
        unscored=len(adapter.unscored),
        budget=budget,
        n_train=len(train),
        n_val=len(val),
    )


def _prompts(result: Any, val: Cases, unscored: Collection[tuple[str, str]]) -> list[Rewrite]:
    prompts = []
    rows = zip(result.candidates, result.parents, result.val_aggregate_scores, result.val_subscores, strict=True)
    for candidate, parents, score, parts in rows:
        text = candidate[PART]
        interval = score_interval(list(parts.values()), [1.0] * len(parts), [val[place].source for place in parts])
        without = sum((text, case.id) in unscored for case in val)
        prompts.append(Rewrite(text, parents[0], float(score), (interval.lo, interval.hi), without))
    return prompts


class _GepaAdapter:
    """What GEPA calls, from a thread of its own: every question is asked in the event loop that waits for it.

    Args:
        evaluate: See `optimise`.
        reflect: See `optimise`.
        budget: Calls, at most.
        round_calls: Most calls of one round: parent and child on a few cases, the rewrite with a second attempt at
            it, the child on all that choose.
    """

    propose_new_texts = None

    def __init__(self, evaluate: Evaluate, reflect: Reflect, *, budget: int, round_calls: int) -> None:
        self._evaluate, self._reflect = evaluate, reflect
        self._budget, self._round = budget, round_calls
        self._loop = asyncio.get_running_loop()
        self._asking: asyncio.Task[Any] | None = None
        self._ended: BaseException | None = None
        self._answered: set[tuple[str, str]] = set()
        self.unscored: set[tuple[str, str]] = set()
        self.reflections = self.failed = 0

    @property
    def calls(self) -> int:
        """Answers so far; a repeated request is stored, and counts once."""
        return len(self._answered)

    async def in_thread(self, search: Callable[[], Any]) -> Any:
        """Run `search` in a thread, and end it if this task is cancelled.

        Raises:
            Exception: What ended it, whatever GEPA made of that.
        """
        thread = asyncio.ensure_future(asyncio.to_thread(search))
        try:
            await asyncio.wait([thread])
        except asyncio.CancelledError as error:
            self._ended = error
            if self._asking:
                self._asking.cancel()
            await asyncio.wait([thread])
            thread.exception()
            raise
        if self._ended is not None:
            thread.exception()  # read, so that asyncio does not log it
            raise self._ended
        return thread.result()

    def evaluate(self, batch: list[Case], candidate: NamedTexts, capture_traces: bool = False) -> Any:
        from gepa import EvaluationBatch

        judged = self._wait(lambda: self._evaluate(candidate[PART], batch))
        self._answered |= {(candidate[PART], case.id) for case, one in zip(batch, judged, strict=True) if one.sent}
        self.unscored |= {(candidate[PART], case.id) for case, one in zip(batch, judged, strict=True) if one.unscored}
        return EvaluationBatch(
            outputs=[one.answer for one in judged],
            scores=[one.score for one in judged],
            trajectories=list(judged) if capture_traces else None,
        )

    def make_reflective_dataset(
        self, candidate: NamedTexts, eval_batch: Any, components_to_update: Texts
    ) -> dict[str, list[dict[str, str]]]:
        """Return the view of the answers for the rewriting model."""
        rows = [
            {"Question": one.question, "Answer": one.answer, "What was said of it": one.feedback}
            for one in eval_batch.trajectories
        ]
        return dict.fromkeys(components_to_update, rows)

    def reflect(self, prompt: str) -> str:
        """Ask for a rewrite.

        Raises:
            ValueError: It did not come; GEPA asks once more, and then goes on without.
        """
        self.reflections += 1
        rewrite: str | None = self._wait(lambda: self._reflect(prompt))
        if not rewrite:
            self.failed += 1
            raise ValueError("The model returned no rewrite of the prompt.")
        return rewrite

    def enough(self, state: Any) -> bool:
        """Whether another round could exceed the budget, nothing is left to gain, or there were many rounds."""
        spent = self.calls + self.reflections + self._round > self._budget or state.i >= self._budget // MINIBATCH
        return self._ended is not None or spent or max(state.program_full_scores_val_set) >= 1.0

    def _wait(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask in the event loop, and wait; what goes wrong there ends the search, though GEPA would go on."""
        if self._ended is not None:
            raise self._ended
        try:
            return asyncio.run_coroutine_threadsafe(self._in_loop(ask), self._loop).result()
        except BaseException as error:
            self._ended = self._ended or error
            raise

    async def _in_loop(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        self._asking = asyncio.current_task()
        if self._ended is not None:
            raise self._ended
        return await ask()
