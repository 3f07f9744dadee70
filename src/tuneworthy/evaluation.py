"""`evaluate` and `compare`: score a model on rows of data, and two lists of scores, without a project.

Invariant: a row that cannot be answered or graded is unscored with its reason, and never stops another row.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from tuneworthy.arrays import Floats
from tuneworthy.cli.progress import RunProgress
from tuneworthy.cli.run import fetch
from tuneworthy.config.graders import Grader as GraderTable
from tuneworthy.config.models import Model as ModelTable
from tuneworthy.engine.budget import Budget
from tuneworthy.engine.models import OpenModel, open_model
from tuneworthy.engine.runner import Runner
from tuneworthy.errors import BudgetSpent, OutsideFault, UserError, join_sentences
from tuneworthy.extras import require
from tuneworthy.functions import plain, whole
from tuneworthy.graders.apply import grade_all, make_grader
from tuneworthy.graders.base import Grader, GradingContext, accepted
from tuneworthy.graders.python import FunctionGrader
from tuneworthy.ladder.commands.compare import DEV_ALPHA, ComparisonOutcome, outcome_of
from tuneworthy.prompts.shots import ShotPool
from tuneworthy.providers.capabilities import takes_temperature
from tuneworthy.providers.http_client import blocking
from tuneworthy.providers.model_names import read_model_name
from tuneworthy.providers.python import CallableProvider
from tuneworthy.report.text import percent, percent_range, points, points_range
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import NonInferiority, PairedResult, non_inferior, p_value
from tuneworthy.stats.paired import compare as compare_sums
from tuneworthy.store import ResponseStore
from tuneworthy.text import Shown, Summary, count
from tuneworthy.trust import TYPED_FOLDERS
from tuneworthy.types import (
    MAX_AMOUNT,
    MOST_UNSCORED,
    Bounds,
    Case,
    Failure,
    JsonMapping,
    JsonObject,
    Score,
    Trace,
    Variant,
    frozen,
)

if TYPE_CHECKING:
    import pandas as pd

# The rows of a result have the reasons of their faults: nothing is printed unless the user sets logging up.
logging.getLogger("tuneworthy").addHandler(logging.NullHandler())

_ROWS = "Pass a pandas DataFrame, a list of dicts, or one split of a `datasets.DatasetDict`."
_MODEL = "Pass a function, such as `lambda text: classifier.predict([text])[0]`, or a name such as 'openai:gpt-6-luna'."
# Words for yes and no.
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_GRADER = "Pass a grader's name such as 'exact', a table of `[[graders]]`, or a function `(answer, expected)`."


@frozen
class Evaluation(Shown):
    """The score of a model on rows.

    Attributes:
        model: Its name.
        grader: Name of the grader.
        score: Share of right answers, or the grader's mean, between 0 and 1.
        interval: 95% interval of the score; robust to rows that share a group or an input.
        n: Scored rows.
        unscored: Rows without a score: the call or the grader failed. `rows` has the reasons.
        cost_usd: Cost of the answers, US dollars.
        rows: A dict per row: `row` (its label), input, expected and actual answer, score, reason, seconds and cost.
        sums: Numerators and denominators of the scores, `(n_rows, 2)`, NaN where unscored.
        groups: Groups of the rows.
        warning: Why the score is probably wrong, with the fix; else empty.
    """

    model: str
    grader: str
    score: float
    interval: Bounds
    n: int
    unscored: int
    cost_usd: float
    rows: list[JsonObject]
    sums: Floats
    groups: list[str]
    warning: str = ""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a DataFrame with the index of the data.

        Raises:
            UserError: pandas is not installed.
        """
        require("pandas")
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("row")

    def summary(self) -> Summary:
        parts = [
            f"{self.model}, {self.grader}: {percent(self.score)} {percent_range(self.interval)}, n = {self.n}",
            self.unscored and f"{self.unscored} without a score",
            self.cost_usd and f"${self.cost_usd:,.4f}",
        ]
        names = ("row", "input", "expected", "answer", "reason")
        wrong = [[row[name] for name in names] for row in self.rows if row["score"] is None or row["score"] < 1]
        return [", ".join(map(str, filter(None, parts))), self.warning], [names, *wrong] if wrong else []


@frozen
class ScoreComparison(Shown):
    """The scores of B against those of A on the same rows.

    Attributes:
        outcome: `better`, `worse`, `no_worse` (by less than the margin) or `unresolved`.
        paired: Scores `a` and `b`, `delta` (B less A), its 95% interval `ci`, the one-sided `p_value` and others.
            The interval allows for a rare large loss that these rows do not show, so it is wider than that of a t-test,
            and may include 0 where graded scores are `better`.
        bound: `lower`, the one-sided 95% lower bound of the difference, and `margin`.
        unscored: Rows without one of the scores; above 2%, nothing is decided.
    """

    outcome: ComparisonOutcome
    paired: PairedResult
    bound: NonInferiority
    unscored: int

    def summary(self) -> Summary:
        one, outcome = self.paired, self.outcome.replace("_", " ")
        if self.unscored > MOST_UNSCORED * (self.unscored + one.n):
            outcome += f", because over {MOST_UNSCORED:.0%} of the rows lack a score"
        more = f", {self.unscored} without both scores" if self.unscored else ""
        more = f"margin {points(self.bound.margin)[1:]}{more}"
        p = p_value(one.p_value if one.delta >= 0 else one.p_worse)
        return [
            f"B against A: {outcome}. {percent(one.b)} against {percent(one.a)}, {points(one.delta)} points "
            f"{points_range(one.ci)}, one-sided {p}, n = {one.n}, {more}"
        ], []


def evaluate(
    rows: Any,
    model: Callable[[str], Any] | str | JsonMapping,
    grader: Callable[[str, Any], Any] | str | JsonMapping,
    *,
    input: str = "input",
    expected: str = "expected",
    group: str | None = None,
    prompt: str = "{{ input }}",
    max_tokens: int = 256,
    concurrency: int | None = None,
    timeout_s: float | None = None,
    max_usd: float | None = None,
) -> Evaluation:
    """Score a model on rows of data; no project is needed.

    Equal inputs are asked once. No answer is kept: a second call asks and pays again. A row whose call or grading fails
    is unscored with the reason, and the others go on. So are the rows that are left when `max_usd` is spent or the
    provider is down.

    Args:
        rows: A pandas DataFrame, a list of dicts or a `datasets.Dataset`.
        model: A function of the input, sync (called in threads) or async, which returns the answer. Or
            `provider:name`, as `tuneworthy init --model` takes it, or a table of `[models]`.
        grader: Name of a grader, a table of `[[graders]]`, or a function `(answer, expected) -> bool | float`. `answer`
            is text; `expected` has the type of its column: compare `json.loads(answer) == expected`.
        input: Column of the question.
        expected: Column of the expected answer. An integral float counts as an integer, a date as ISO 8601, and a
            `ClassLabel` as its name.
        group: Column of the source that rows share, for the interval; `group` if there is one.
        prompt: Template of the question, with `{{ input }}`.
        max_tokens: Limit of an answer, tokens.
        concurrency: Calls in flight, at most; by default 8 of a function.
        timeout_s: Limit of a call, seconds; 60 by default, 300 of an embedded model.
        max_usd: Most that may be spent.

    Raises:
        UserError: The rows, the model or the grader cannot be used, or no row has a score.

    >>> import tuneworthy
    >>> rows = [{"input": "paris", "expected": "Paris"}, {"input": "york", "expected": "York"}]
    >>> tuneworthy.evaluate(rows, str.title, "exact").score
    1.0
    """
    _check_limits(max_tokens=max_tokens, concurrency=concurrency, timeout_s=timeout_s, max_usd=max_usd)
    if "input" not in prompt:
        raise UserError("The prompt does not contain {{ input }}, so every row would ask the same question.")
    labels, cases = read_rows(rows, input, expected, group)
    judge, grader_name = _grader(grader, cases)

    async def answered() -> tuple[str, list[Trace], list[Score], float]:
        with TemporaryDirectory() as folder:
            TYPED_FOLDERS.add(root := Path(folder).resolve())
            opened, store = _opened(model, root, timeout_s), ResponseStore(root / "responses.sqlite")
            runner = Runner(store, Budget(max_usd), ShotPool(()), RunProgress())
            capabilities = getattr(opened.provider, "capabilities", None)
            variant = Variant(
                name=opened.name,
                model=opened.name,
                model_identity=opened.provider.identity,
                system=None,
                user=prompt,
                decoding={"temperature": 0} if capabilities and takes_temperature(capabilities) else {},
                max_tokens=max_tokens,
            )
            try:
                traces = await runner.run(variant, opened, cases, concurrency=concurrency)
            except (BudgetSpent, OutsideFault) as error:  # the answers so far are paid for
                stored = {trace.case_id: trace for trace in runner.stored(variant, cases)}
                fault = Failure(code="stopped", message=error.message)
                traces = [
                    stored.get(case.id)
                    or Trace(case_id=case.id, variant_id="", repeat=0, messages=(), response=None, error=fault)
                    for case in cases
                ]
            finally:
                await opened.provider.close()
                store.close()
        return opened.name, traces, await grade_all(judge, traces, cases), runner.spending.usd

    model_name, traces, scores, usd = blocking(answered())
    shown = list(map(_row, labels, cases, traces, scores))
    scored = np.array([score.value is not None for score in scores])
    sums = np.where(scored[:, None], [[score.num, score.den] for score in scores], np.nan)
    if not scored.any():
        raise UserError(
            f"No row has a score. Row {labels[0]}: {shown[0]['reason'].rstrip('.')}.",
            hint="Fix the model or the grader, or raise `max_usd` where it is spent.",
        )
    groups = np.array([case.group or f"#{case.text}" for case in cases])
    interval = score_interval(sums[scored, 0], sums[scored, 1], groups[scored])
    warning = join_sentences(_type_fault(shown, grader, _class_names(rows, expected)), _holes(shown))
    if warning:
        warnings.warn(warning, stacklevel=2)
    return Evaluation(
        model=model_name,
        grader=grader_name,
        score=interval.value,
        interval=(interval.lo, interval.hi),
        n=interval.n,
        unscored=len(cases) - interval.n,
        cost_usd=usd,
        rows=shown,
        sums=sums,
        groups=groups.tolist(),
        warning=warning,
    )


def _check_limits(**limits: Any) -> None:
    for name, value in limits.items():
        kind, noun = (Integral, "whole number") if name in {"max_tokens", "concurrency"} else (Real, "number")
        if value is not None and not (isinstance(value, kind) and 0 < float(value) < MAX_AMOUNT):
            raise UserError(f"{name} must be a {noun} above 0, but it is {value!r}.")


def _type_fault(rows: Sequence[JsonMapping], grader: Any, names: Sequence[str]) -> str:
    """Return a warning if answers that count as wrong have the value of the expected answer in another form."""
    wrong = [(row["answer"], row["expected"]) for row in rows if row["answer"] is not None and row["score"] == 0]
    alike = [pair for pair in wrong if _alike(*pair, names)]
    if not alike:
        return ""
    (answer, expected), n = alike[0], count(len(alike), "answer that counts", "answers that count")
    name = grader if isinstance(grader, str) else None if callable(grader) else grader.get("type")
    other = "use the grader json_fields" if isinstance(expected, dict) else "use the grader numeric"
    fix = (
        "In the grader, compare `json.loads(answer) == expected`, or convert the column."
        if callable(grader)
        else "Convert the answers or the column of the expected answers, or "
        f"{'change `decimal_comma` of the grader' if name == 'numeric' else other}."
    )
    return (
        f"{n} as wrong may be right in another form: the answer {answer!r:.40}, where {expected!r:.40} "
        f"({type(expected).__name__}) is expected. {fix}"
    )


def _alike(answer: str, expected: Any, names: Sequence[str]) -> bool:
    """Whether an answer is the expected value as JSON, number, truth value, date, list of one, or number of a class."""
    if isinstance(expected, list) and expected:
        return any(_alike(answer, one, names) for one in expected)
    value, text = _json(answer), str(expected)
    if isinstance(value, int) and 0 <= value < len(names):
        return bool(names[value] == expected)
    return bool(
        (not isinstance(expected, str) and expected in (value, answer))
        or (answer != expected and _number(answer) == _number(text))
        or (answer != expected and TRUTH.get(answer.casefold(), answer) == TRUTH.get(text.casefold(), text))
        or (isinstance(value, dict | list) and value == _json(text))
        or f"{answer}T00:00:00" == expected
        or value == [expected]
    )


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _number(text: str) -> float:
    """Return the number that a text is; else NaN, which equals no number."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("nan")


def _holes(rows: Sequence[JsonMapping]) -> str:
    """Return a warning if more rows than may be left out have no score."""
    missing = [row for row in rows if row["score"] is None]
    if len(missing) <= MOST_UNSCORED * len(rows):
        return ""
    reason = f"row {missing[0]['row']}: {missing[0]['reason'].rstrip('.'):.200}"
    return f"The score excludes {count(len(missing), 'row')} without a score, such as {reason}."


def _row(label: Any, case: Case, trace: Trace, score: Score) -> JsonObject:
    response = trace.response
    return {
        "row": label,
        "input": case.input,
        "expected": case.expected,
        "answer": response.text if response else None,
        "score": score.value,
        "reason": trace.error.message if trace.error else score.unscored or score.reason,
        "seconds": response.seconds if response else None,
        "cost_usd": trace.cost_usd,
    }


def read_rows(rows: Any, question: str, answer: str, group: str | None) -> tuple[list[Any], list[Case]]:
    """Return the labels of the rows (the index of a DataFrame, else their numbers), and their cases.

    Raises:
        UserError: They cannot be used.
    """
    records = _records(rows)
    labels = rows.index.tolist() if _is_frame(rows) else list(range(len(records)))
    names = list(dict.fromkeys(name for row in records for name in row))
    if missing := [name for name in (question, answer, group) if name is not None and name not in names]:
        raise UserError(
            f"There is no column {missing[0]!r}. The columns are: {', '.join(map(str, names))}.",
            hint="Name the columns with `input=` and `expected=`, and that of groups with `group=`.",
        )
    class_names = _class_names(rows, answer)
    records = [{**row, answer: _label(row.get(answer), class_names)} for row in records]
    for name, kind, fits in ((question, "text", _is_text), (answer, "an expected answer", _is_there)):
        faults = [(label, row.get(name)) for label, row in zip(labels, records, strict=True) if not fits(row.get(name))]
        for label, value in faults[:1]:
            more = f" So are {len(faults) - 1} more." if len(faults) > 1 else ""
            raise UserError(
                f"{name!r} of row {label} is {value!r:.60} ({type(value).__name__}), not {kind}.{more}",
                hint=f"Convert the column, for example with `rows[{name!r}].astype(str)`."
                if _is_there(value)
                else f"Drop these rows, for example with `rows.dropna(subset=[{name!r}])`.",
            )
    sources = [row.get(group or "group") for row in records]
    return labels, [
        Case(id=str(place), input=row[question], expected=row[answer], group=str(one) if _is_there(one) else None)
        for place, (row, one) in enumerate(zip(records, sources, strict=True))
    ]


def _records(rows: Any) -> list[JsonMapping]:
    is_list = isinstance(rows, Sequence) and not isinstance(rows, str)
    is_table = is_list or (hasattr(rows, "column_names") and not isinstance(rows, Mapping))
    records = rows.to_dict("records") if _is_frame(rows) else list(rows) if is_table else []
    kinds = [
        f"Row {place} is of type {type(row).__name__}, not a dict."
        for place, row in enumerate(records)
        if not isinstance(row, Mapping)
    ]
    if kinds or not records:
        kind = "empty" if hasattr(rows, "__len__") and not len(rows) else f"of type {type(rows).__name__}"
        raise UserError(kinds[0] if kinds else f"The rows are {kind}.", hint=_ROWS)
    return records


def _class_names(rows: Any, answer: str) -> Sequence[str]:
    return getattr((getattr(rows, "features", None) or {}).get(answer), "names", [])


def _label(value: Any, names: Sequence[str]) -> Any:
    """Return an expected answer as JSON, and a class number as its name."""
    if not names or not isinstance(value, int):
        return whole(plain(value))
    return names[value] if value >= 0 else None  # -1: `datasets` has no label of the row


def _is_frame(data: Any) -> bool:
    return hasattr(data, "to_dict") and hasattr(data, "index")


def _is_there(value: Any) -> bool:
    value = plain(value)
    return not (value is None or (isinstance(value, float) and isnan(value)))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value


def _opened(model: Any, root: Path, timeout_s: float | None) -> OpenModel:
    if callable(model):
        name = getattr(model, "__name__", type(model).__name__).strip("<>")
        limit = timeout_s or 60.0
        return OpenModel(
            name,
            CallableProvider(model, identity={"provider": "python", "function": name}, timeout_s=limit),
            None,
            hosted=False,
            concurrency=8,
            timeout_s=2 * limit,
            retries=0,
        )
    section = read_model_name(model).section if isinstance(model, str) else model
    config = _table(ModelTable, section, "model", _MODEL)
    if timeout_s is not None:
        config = config.model_copy(update={"timeout_s": timeout_s})
    name = Path(str(getattr(config, "model", config.provider))).name
    fetch(root, {name: config.local_file})
    return open_model(name, config, root)


def _grader(grader: Any, cases: Sequence[Case]) -> tuple[Grader, str]:
    if callable(grader):
        return FunctionGrader(grader), getattr(grader, "__name__", type(grader).__name__).strip("<>")
    table = {"type": grader} if isinstance(grader, str) else grader
    if isinstance(table, Mapping) and table.get("type") == "judge":
        raise UserError("The grader judge needs a project.", hint="Use `tuneworthy.create`, or pass a function.")
    config = _table(GraderTable, table, "grader", _GRADER)
    counts = Counter(text for case in cases for text in accepted(case.expected))
    return make_grader(config, GradingContext(labels=list(counts), label_counts=counts)), config.type


def _table(form: Any, table: Any, kind: str, hint: str) -> Any:
    try:
        return TypeAdapter(form).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
        raise UserError(f"The {kind} cannot be used: {reason}", hint=hint) from None


def compare(a: Any, b: Any, *, groups: Any = None, margin: float = 0.05) -> ScoreComparison:
    """Compare the scores of B with those of A on the same rows.

    Args:
        a: Scores of A, `(n_rows,)`, each between 0 and 1, NaN where unscored; or a result of `evaluate`.
        b: Scores of B on the same rows in the same order.
        groups: Groups of the rows, `(n_rows,)`, where some share a source; by default those of a result of `evaluate`.
        margin: Largest loss that does not matter, in (0, 1).

    Raises:
        UserError: The scores do not fit, or no row has both.

    >>> import tuneworthy
    >>> result = tuneworthy.compare([1, 0, 0, 0] * 15, [1, 1, 0, 0] * 15)
    >>> result.outcome.value, result.paired.delta
    ('better', 0.25)
    """
    labels = [_labels(one) for one in (a, b)]
    if None not in labels and labels[0] != labels[1]:
        raise UserError(
            "A and B are not scores of the same rows in the same order, with the same expected answers.",
            hint="Evaluate both on the same rows.",
        )
    graders = {one.grader for one in (a, b) if isinstance(one, Evaluation)}
    if len(graders) > 1:
        raise UserError(f"A and B have two graders: {', '.join(sorted(graders))}.", hint="Use one grader for both.")
    if groups is None:
        groups = next((one.groups for one in (a, b) if isinstance(one, Evaluation)), None)
    try:
        before, after = _sums(a), _sums(b)
        if len({len(before), len(after), len(before if groups is None else groups)}) > 1:
            raise ValueError("A, B and the groups must have the same length")
        both = ~np.isnan(before[:, 0] + after[:, 0])
        kept = None if groups is None else np.asarray(groups)[both]
        (a_num, a_den), (b_num, b_den) = before[both].T, after[both].T
        paired = compare_sums(a_num, a_den, b_num, b_den, kept, alpha=DEV_ALPHA)
        bound = non_inferior(a_num, a_den, b_num, b_den, kept, margin=margin)
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"The scores cannot be compared: {error}.", hint="Pass two lists of numbers between 0 and 1, one per row."
        ) from None
    unscored = int((~both).sum())
    decides = unscored <= MOST_UNSCORED * len(both)
    outcome = outcome_of(paired, bound.holds) if decides else ComparisonOutcome.UNRESOLVED
    return ScoreComparison(outcome=outcome, paired=paired, bound=bound, unscored=unscored)


def _labels(scores: Any) -> list[Any] | None:
    if isinstance(scores, Evaluation):
        return [(row["row"], row["input"], row["expected"]) for row in scores.rows]
    return list(scores.index) if _is_frame(scores) else None


def _sums(scores: Any) -> Floats:
    if isinstance(scores, Evaluation):
        return scores.sums
    values = np.asarray(scores, dtype=np.float64)
    return np.stack([values, np.where(np.isnan(values), np.nan, 1.0)], axis=1)
