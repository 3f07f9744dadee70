"""Metrics of two answers to one turn: production's and the candidate's.

A metric is 0..1 for either answer. `latency` and `cost` are about the candidate's limits only: their
other side is the limit. A call that the candidate failed is a comparison that it lost: it scores 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuneworthy.cases.task_kind import parse_object
from tuneworthy.config.graders import SquadF1
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.graders.choice import LabelFinder
from tuneworthy.graders.declining import built_in
from tuneworthy.graders.json_text import NOTHING, find_json
from tuneworthy.graders.tool_call import read_call
from tuneworthy.ladder.session import Session
from tuneworthy.shadow.recording import RecordedTurn, TrafficSession
from tuneworthy.text import has_text
from tuneworthy.types import UNLABELLED, Case, Failure, JsonMapping, OutputFormat, Response, Trace, Traces, positional

# Answer to a turn: production's, candidate's.
Scores = tuple[float, float]


@positional
class AnswerPair:
    """A turn with both answers.

    Attributes:
        session: Of traffic.
        turn: The recorded turn.
        production: Its answer, recorded or given again.
        candidate: Its answer; either trace may be a failure.
        scores: Metric to both scores, of the metrics that could be computed.
        judged: Scores of the judge, where one grades.
        truth: Scores by right answers, or by people's verdicts on both answers.
    """

    session: TrafficSession
    turn: RecordedTurn
    production: Trace
    candidate: Trace
    scores: Mapping[str, Scores]
    judged: Scores | None = None
    truth: Scores | None = None

    @property
    def answered(self) -> bool:
        return self.production.response is not None and self.candidate.response is not None


AnswerPairs = Sequence[AnswerPair]


def recorded(turn: RecordedTurn) -> Trace:
    return Trace(case_id=turn.case.id, variant_id="recorded", repeat=0, messages=(), response=turn.answer, stored=True)


def failed(turn: RecordedTurn) -> Trace:
    return replace(recorded(turn), response=None, error=Failure(code="provider", message="The copy had no answer."))


def is_well_formed(response: Response, recorded_answer: Response, output: OutputFormat) -> bool:
    """Whether an answer has the form that the task wants, or else the form that was recorded.

    A call must be readable; a label must be the only one that the answer names; JSON must fit the task's schema, or be
    the kind of JSON that was recorded. An empty or truncated answer has no valid form.
    """
    if response.finish_reason == "length" or not (has_text(response.text) or response.tool_calls):
        return False
    if response.tool_calls:
        return all(read_call(call) for call in response.tool_calls)
    if built_in()(response):
        return True  # another metric counts it
    if recorded_answer.tool_calls:
        return False
    if output.kind == "choice":
        return len(LabelFinder(output.choices)(response.text)) == 1
    value, wanted = find_json(response.text), find_json(recorded_answer.text, strict=True)
    if output.kind == "json_schema" and output.schema:
        from jsonschema import Draft202012Validator

        return value is not NOTHING and Draft202012Validator(output.schema).is_valid(value)
    return not isinstance(wanted, dict | list) or isinstance(value, type(wanted))


class PairJudge:
    """Computes all metrics of pairs.

    Args:
        session: The opened project, with its primary grader.
        truth: ID of a turn's case to the right answer, by people.
    """

    def __init__(self, session: Session, truth: JsonMapping) -> None:
        self.session, self.truth = session, truth
        self.output = session.task.structured
        primary = session.primary
        fixed = primary.needs_expected and session.judging is None
        self._agreement = primary if fixed else make_grader(SquadF1(type="squad_f1"))

    async def pairs(
        self,
        asked: Sequence[tuple[TrafficSession, RecordedTurn]],
        production: Traces,
        candidate: Traces,
    ) -> list[AnswerPair]:
        """Return the pairs of `asked`, in order; a judge that is the primary grader is called, through the store."""
        agreed = await self._agreed(asked, production, candidate)
        cases = {t.case.id: replace(t.case, expected=self.truth.get(t.case.id, t.case.expected)) for _, t in asked}
        primary = self.session.primary
        a, b = [[score.value for score in await grade_all(primary, side, cases)] for side in (production, candidate)]
        graded = _both(a, b, candidate)
        people, judging = graded, self.session.judging
        if judging is not None:
            a, b = ([judging.verdict(cases[one.case_id], one.text) for one in side] for side in (production, candidate))
            people = _both(a, b, candidate)
        return [
            AnswerPair(
                session=session,
                turn=turn,
                production=production[n],
                candidate=candidate[n],
                scores=self._scores(turn, production[n], candidate[n], agreed[n]),
                judged=graded[n] if judging else None,
                truth=people[n],
            )
            for n, (session, turn) in enumerate(asked)
        ]

    def _scores(
        self, turn: RecordedTurn, production: Trace, candidate: Trace, agreement: float | None
    ) -> dict[str, Scores]:
        a, b = production.response, candidate.response or Response(text="")
        if a is None:
            return {}
        declines, limits = built_in(), self.session.project.constraints
        forms = [float(is_well_formed(one, turn.answer, self.output)) for one in (a, b)]
        answers = 1.0 - declines(b) if candidate.response else 0.0
        scores = {"format": (forms[0], forms[1]), "refusal": (1.0 - declines(a), answers)}
        if agreement is not None:
            scores["agreement"] = (1.0, agreement)
        if limits.p95_ms:
            scores["latency"] = (1.0, float(bool(candidate.response) and 1000 * b.seconds <= limits.p95_ms))
        if limits.usd_per_1k and candidate.response:  # capped above: a mean below 0 is one whose cost exceeds the limit
            scores["cost"] = (0.0, max(-1.0, 1 - 1000 * candidate.cost_usd / limits.usd_per_1k))
        return scores

    async def _agreed(
        self,
        asked: Sequence[tuple[TrafficSession, RecordedTurn]],
        production: Traces,
        candidate: Traces,
    ) -> list[float | None]:
        """Return how far each answer of the candidate is production's, 0..1, as the project's grader compares them."""
        known = [n for n, trace in enumerate(production) if trace.response]
        scores = await grade_all(
            self._agreement,
            [candidate[n] for n in known],
            {asked[n][1].case.id: self._expecting(asked[n][1].case, production[n].response) for n in known},
        )
        found = {n: score.value for n, score in zip(known, scores, strict=True)}
        return [found.get(n) for n in range(len(asked))]

    def _expecting(self, case: Case, answer: Response | None) -> Case:
        text = answer.text if answer else ""
        value = parse_object(text) if self.session.task.kind == "json" else UNLABELLED
        calls = list(answer.tool_calls) if answer else []
        return replace(case, expected=calls or (text if value is UNLABELLED else value))


def _both(a: Sequence[float | None], b: Sequence[float | None], candidate: Traces) -> list[Scores | None]:
    second = [value if trace.response else 0.0 for value, trace in zip(b, candidate, strict=True)]
    return [None if one is None or two is None else (one, two) for one, two in zip(a, second, strict=True)]
