"""`decode uncertainty` over a project: where a model is unsure, and whether that predicts wrong answers.

One signal is chosen beforehand and decides: that of the log-probabilities, or of a model without them how much sampled
answers disagree. The others are shown, at an alpha that is shared among them. A threshold is given only where that
signal separates wrong from right answers on graded dev cases; else it is refused with the reason. The effect of a
threshold is cross-validated: each fifth of the cases by a threshold from the others. Cases of one group vary together,
so intervals and folds go by groups.

Source: docs/evidence/facts.md#decoding.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from tuneworthy.decoding.confidence import DISAGREEMENT, PRIMARY, SIGNALS, Token, disagreement, signals, tokens_of
from tuneworthy.errors import Undecided
from tuneworthy.ladder import messages
from tuneworthy.ladder.session import Session
from tuneworthy.stats.auroc import Auroc, roc_area
from tuneworthy.stats.intervals import Interval, score_interval
from tuneworthy.text import plural
from tuneworthy.types import Case, Cases, JsonObject, NamedFloats, Score, Texts, Trace, Variant, frozen, grouped

# `.tuneworthy/uncertainty.json`.
DOCUMENT = "uncertainty"
ALPHA = 0.05
# Groups with wrong and with right answers, at least, for a threshold; a case without a group is one of its own.
FEWEST_OF_A_KIND = 10
FOLDS, BINS = 5, 5
ALTERNATIVES = 20
SAMPLED_AT = 1.0
MOST_SPOTS = 12


@frozen
class AnswerSignals:
    """One answer: its tokens and signals, whether it is wrong (None if not graded), how much its repeats disagree.

    Attributes:
        group: Of the case; one without a group is a group of its own.
    """

    case: str
    group: str
    question: str
    text: str
    tokens: Sequence[Token]
    signals: NamedFloats
    wrong: bool | None
    reason: str
    disagreement: float | None = None

    def value(self, signal: str) -> float:
        return (self.disagreement or 0.0) if signal == DISAGREEMENT else self.signals[signal]


@frozen
class Threshold:
    """A bound on a signal, with its cross-validated effect.

    Attributes:
        signal: Its name.
        value: Answers above it are flagged.
        above: Share of these answers above `value`, not cross-validated: what to expect of other answers that it flags.
        flagged: Share of answers that are flagged.
        recall: Share of the wrong answers that are flagged.
        false_alarms: Share of the right answers that are flagged.
        wrong_flagged: Share of the flagged answers that are wrong.
        wrong_others: Share of the other answers that are wrong.
    """

    signal: str
    value: float
    above: Interval
    flagged: float
    recall: float
    false_alarms: float
    wrong_flagged: Interval
    wrong_others: Interval


@frozen
class Calibration:
    """Whether signals predict wrong answers.

    Attributes:
        areas: AUROC by signal; the primary at `ALPHA`, the others at a share.
        threshold: None where it is refused.
        refused: Why it is refused.
        reliability: Bins of the primary signal, rising: (mean, share wrong, n).
        n: Graded answers.
        n_wrong: Wrong answers among them.
        n_groups: Groups that they come from.
        signal: The primary one.
    """

    areas: Mapping[str, Auroc]
    threshold: Threshold | None
    refused: str
    reliability: Sequence[tuple[float, float, int]]
    n: int
    n_wrong: int
    n_groups: int
    signal: str = PRIMARY


@frozen
class Spot:
    """A text at which a model is unsure: how often in wrong and in right answers, and the alternatives."""

    text: str
    in_wrong: int
    in_right: int
    entropy: float
    instead: Texts
    cases: Texts


@frozen
class UncertaintyReport:
    """The result of `decode uncertainty`; the variant by its name and its ID."""

    variant: str
    answers: Sequence[AnswerSignals]
    calibration: Calibration
    spots: Sequence[Spot]
    samples: int
    unscored: int
    variant_id: str = ""

    def to_dict(self) -> JsonObject:
        return asdict(replace(self, answers=())) | {"answers": [_answer(answer) for answer in self.answers]}


@dataclass(frozen=True)
class StoredUncertainty:
    """Contents of `uncertainty.json` that other commands read."""

    variant: str
    variant_id: str
    samples: int
    calibration: Calibration


def _answer(one: AnswerSignals) -> JsonObject:
    tokens = [
        {
            "token": token.text, "surprise": token.surprise, "entropy": token.entropy, "margin": token.margin,
            "top": [[text, float(np.log(max(share, 1e-300)))] for text, share in token.top],
        }
        for token in one.tokens
    ]  # fmt: skip
    return {
        "case": one.case, "text": one.text, "signals": dict(one.signals), "wrong": one.wrong, "reason": one.reason,
        "disagreement": one.disagreement, "tokens": tokens,
    }  # fmt: skip


async def measure_uncertainty(session: Session, variant: Variant, *, samples: int = 0) -> UncertaintyReport:
    """Answer dev with log-probabilities, grade the answers, and calibrate the signals.

    Args:
        session: The opened project.
        variant: The variant that answers.
        samples: Further answers to each case at temperature 1, at least 2: their disagreement is the second signal, or
            and the only one for a model without log-probabilities; 0 for no further answers.

    Raises:
        Undecided: The model gives no log-probabilities, and no further answers are wanted.
        UserError: `[models]` names another model now than the one that the variant was measured with.
    """
    cases = session.split.dev
    supported = gives_logprobs(session, variant)
    if not (supported or samples):
        raise Undecided(
            messages.say("no_logprobs", model=variant.model),
            hint="Add --samples 3 to compare sampled answers, or choose a variant that uses a different model.",
        )
    traces = await session.ask(variant, cases, logprobs=ALTERNATIVES if supported else None)
    _, _, scores = await session.score(traces, cases)
    repeats = await sampled_answers(session, variant, cases, samples) if samples else {}
    signal = PRIMARY if any(trace.response and trace.response.logprobs for trace in traces) else DISAGREEMENT
    if signal == DISAGREEMENT and not samples:
        raise Undecided(
            messages.say("no_logprobs", model=variant.model),
            hint="Use a model that returns log-probabilities, such as one in llama_cpp.",
        )
    if signal == DISAGREEMENT:  # answers that are missing do not agree
        repeats = {case: texts for case, texts in repeats.items() if len(texts) == samples}
    answers = [
        _watched(case, trace, score, repeats.get(case.id), signal)
        for case, trace, score in zip(cases, traces, scores, strict=True)
    ]
    report = UncertaintyReport(
        variant=variant.name,
        answers=answers,
        calibration=calibrate(answers, seed=session.project.split.seed, signal=signal),
        spots=hot_spots(answers),
        samples=samples,
        unscored=sum(one.wrong is None for one in answers),
        variant_id=variant.id,
    )
    session.folder.write(DOCUMENT, report.to_dict())
    return report


def gives_logprobs(session: Session, variant: Variant) -> bool:
    return "logprobs" in session.models[variant.model].provider.supports


async def sampled_answers(session: Session, variant: Variant, cases: Cases, samples: int) -> dict[str, list[str]]:
    """Return further answers to each case, sampled; a seed would make them all alike."""
    free = {name: value for name, value in variant.decoding.items() if name != "seed"}
    traces = await session.ask(
        replace(variant, name=f"{variant.name}/sampled", by_tag={}, decoding={**free, "temperature": SAMPLED_AT}),
        cases,
        repeats=samples,
    )
    return grouped((trace.case_id, trace.text) for trace in traces if trace.response)


def _watched(case: Case, trace: Trace, score: Score, repeats: Texts | None, signal: str) -> AnswerSignals:
    tokens = tokens_of(trace.response.logprobs or ()) if trace.response else []
    return AnswerSignals(
        case=case.id,
        group=case.source,
        question=case.text,
        text=trace.text,
        tokens=tokens,
        signals=signals(tokens),
        wrong=None if score.value is None or not (repeats if signal == DISAGREEMENT else tokens) else score.value < 0.5,
        reason=score.reason,
        disagreement=disagreement(repeats) if repeats else None,
    )


def calibrate(answers: Sequence[AnswerSignals], *, seed: int = 0, signal: str = PRIMARY) -> Calibration:
    """Return whether signals separate wrong from right answers, and a threshold if the primary signal does.

    Args:
        answers: Those that were graded count.
        seed: Of the folds.
        signal: The primary one.
    """
    graded = [one for one in answers if one.wrong is not None]
    _, groups = np.unique(np.array([one.group for one in graded], dtype=object), return_inverse=True)
    wrong = np.array([one.wrong is True for one in graded], dtype=bool)
    n_wrong = int(wrong.sum())
    found = Calibration(areas={}, threshold=None, refused="", reliability=(), n=len(graded), n_wrong=n_wrong,
                        n_groups=len(np.unique(groups)), signal=signal)  # fmt: skip
    few = [len(np.unique(groups[kind])) for kind in (wrong, ~wrong)]
    if min(few) < FEWEST_OF_A_KIND:
        refused = (
            f"a threshold needs at least {FEWEST_OF_A_KIND} wrong and {FEWEST_OF_A_KIND} correct answers, and "
            f"{n_wrong} of {len(graded)} {plural(n_wrong, 'is', 'are')} wrong"
        )
        if found.n_groups < len(graded):
            refused += f" (each group counts once: {few[0]} with wrong answers, {few[1]} with correct answers)"
        return replace(found, refused=refused)
    names = [*SIGNALS] if signal == PRIMARY else []
    names += [DISAGREEMENT] if all(one.disagreement is not None for one in graded) else []
    columns = {name: np.array([one.value(name) for one in graded]) for name in names}
    others = ALPHA / max(1, len(columns) - 1)
    areas = {
        name: roc_area(column, wrong, groups=groups, alpha=ALPHA if name == signal else others)
        for name, column in columns.items()
    }
    main, values = areas[signal], columns[signal]
    found = replace(found, areas=areas, reliability=reliability(values, wrong))
    if main.lo > 0.5:
        return replace(found, threshold=fitted_threshold(values, wrong, groups, seed, signal))
    return replace(
        found,
        refused=(
            f"the signal {signal} does not separate wrong answers from correct ones (AUROC {main.area:.2f} "
            f"[{main.lo:.2f}, {main.hi:.2f}], {n_wrong} of {len(graded)} answers wrong)"
        ),
    )


def best_bound(values: np.ndarray, wrong: np.ndarray) -> float:
    """Return the bound with the largest difference of recall and false-alarm rate (Youden's J)."""
    ranked = np.unique(values)
    bounds = (ranked[1:] + ranked[:-1]) / 2
    if not len(bounds):
        return float(ranked[0])
    gains = [(values[wrong] > bound).mean() - (values[~wrong] > bound).mean() for bound in bounds]
    return float(bounds[int(np.argmax(gains))])


def fitted_threshold(
    values: np.ndarray, wrong: np.ndarray, groups: np.ndarray, seed: int, signal: str = PRIMARY
) -> Threshold:
    """Return the bound of all cases, with what bounds of four fifths of the groups do on the last fifth."""
    folds = (np.random.default_rng(seed).permutation(int(groups.max()) + 1) % FOLDS)[groups]
    flagged = np.zeros(len(values), dtype=bool)
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        if wrong[train].any() and not wrong[train].all():
            flagged[test] = values[test] > best_bound(values[train], wrong[train])
    value = best_bound(values, wrong)
    return Threshold(
        signal=signal,
        value=value,
        above=_share(values > value, groups),
        flagged=float(flagged.mean()),
        recall=float(flagged[wrong].mean()),
        false_alarms=float(flagged[~wrong].mean()),
        wrong_flagged=_share(wrong[flagged], groups[flagged]),
        wrong_others=_share(wrong[~flagged], groups[~flagged]),
    )


def _share(hits: np.ndarray, groups: np.ndarray) -> Interval:
    return (
        Interval(0.0, 0.0, 1.0, 0, 0, ALPHA, "wilson")
        if not len(hits)
        else score_interval(hits.astype(float), np.ones(len(hits)), groups, alpha=ALPHA)
    )


def reliability(values: np.ndarray, wrong: np.ndarray) -> list[tuple[float, float, int]]:
    """Return bins of as many cases each by rising value: mean value, share wrong, n."""
    parts = [part for part in np.array_split(np.argsort(values, kind="stable"), BINS) if len(part)]
    return [(float(values[part].mean()), float(wrong[part].mean()), len(part)) for part in parts]


def hot_spots(answers: Sequence[AnswerSignals]) -> list[Spot]:
    """Return the texts at which the model is least sure, those in wrong answers first.

    A token is hot if its entropy is among the highest tenth of all tokens.
    """
    every = [token.entropy for one in answers for token in one.tokens]
    if not every:
        return []
    bound = float(np.quantile(every, 0.9))
    places = grouped(
        (token.text.strip().lower() or token.text, (answer, token))
        for answer in answers
        for token in answer.tokens
        if token.entropy >= bound and token.entropy > 0
    )
    spots = []
    for text, hits in places.items():
        instead = Counter(other for _, token in hits for other, _ in token.top if other != token.text)
        spots.append(
            Spot(
                text=text,
                in_wrong=sum(answer.wrong is True for answer, _ in hits),
                in_right=sum(answer.wrong is False for answer, _ in hits),
                entropy=float(np.mean([token.entropy for _, token in hits])),
                instead=[other for other, _ in instead.most_common(3)],
                cases=list(dict.fromkeys(answer.case for answer, _ in hits if answer.wrong))[:5],
            )
        )
    return sorted(spots, key=lambda spot: (-spot.in_wrong, -spot.entropy))[:MOST_SPOTS]
