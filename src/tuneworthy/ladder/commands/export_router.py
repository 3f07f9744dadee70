"""A router: the classical winner answers where it is sure, and a large model elsewhere.

Invariants: the threshold is chosen on dev alone; the router is compared with the large model on test once, and nothing
is written unless it is non-inferior.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.errors import GateFailed, UserError
from tuneworthy.ladder import messages
from tuneworthy.ladder.commands.export_classifier import RUNG, export_classifier
from tuneworthy.ladder.commands.export_variant import export_variant
from tuneworthy.ladder.comparisons import take_comparison
from tuneworthy.ladder.measurement import repeats_of
from tuneworthy.ladder.record import read_record
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.stats.paired import PairedResult, compare, non_inferior
from tuneworthy.store import write_atomic
from tuneworthy.types import MOST_UNSCORED, Case, Variant

ROUTER: Final = '''"""Answer with the classifier where it is sure, and ask a large model elsewhere. Needs NumPy."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "classifier"))

from classifier import probabilities

# Probability of its answer from which the classifier is sure.
THRESHOLD = {threshold!r}


def sure_answer(text: str) -> str | None:
    """Return the answer of the classifier; None where it is not sure."""
    shares = probabilities(text)
    label = max(shares, key=shares.__getitem__)
    return label if shares[label] >= THRESHOLD else None


def answer(text: str, ask: Callable[[str], str]) -> str:
    """Return the answer; `ask` asks the large model, as `ask` of `large/client.py` does."""
    label = sure_answer(text)
    return ask(text) if label is None else label
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterExport:
    """What was exported, and what it scores and costs on test.

    Attributes:
        large: Name of the variant that answers where the classifier is not sure.
        threshold: Probability from which the classifier is sure.
        sent: Share of the test cases that the large model answers.
        paired: The router against the large model.
        lower: One-sided 95% lower bound of the difference.
        usd_per_1k: A thousand answers of the router.
        large_usd_per_1k: Of the large model alone.
        paths: The files.
    """

    large: str
    threshold: float
    sent: float
    paired: PairedResult
    lower: float
    usd_per_1k: float
    large_usd_per_1k: float
    paths: Sequence[Path]


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Both variants on the same cases, `(n_cases,)` each: NaN where a case could not be scored."""

    sure: NDArray[np.float64]
    own: NDArray[np.float64]
    large: NDArray[np.float64]
    usd: NDArray[np.float64]


async def export_router(session: Session, which: str, folder: Path) -> RouterExport:
    """Choose the threshold, prove the router on test, and write it into `folder`.

    Raises:
        UserError: The classical winner gives no probabilities, or `which` names no variant of a model.
        GateFailed: No threshold keeps the score on dev, or the router is not shown to be non-inferior on test.
    """
    last = read_record(session.folder)
    rung = last.rung(RUNG) if last else None
    if rung is None or rung.variant is None:
        raise UserError(messages.say("no_classical_winner"), hint=messages.say("no_classical_winner_hint"))
    classical, large = resolve(session, RUNG), resolve(session, which)
    if classical.model == large.model or session.judging:
        raise UserError(
            messages.say("router_needs_model", name=large.name), hint=messages.say("router_needs_model_hint")
        )
    hint = messages.say("router_hint", name=large.name)
    dev = await _outcomes(session, classical, large, session.split.dev)
    threshold = choose_threshold(dev.sure, dev.own, dev.large)
    if not isfinite(threshold):
        raise GateFailed(messages.say("no_threshold", n=len(dev.sure), name=large.name), hint=hint)
    test = await _outcomes(session, classical, large, session.split.test)
    routed = np.where(test.sure >= threshold, test.own, test.large)
    both = ~(np.isnan(routed) | np.isnan(test.large))
    identity = {"classical": classical.id, "large": large.id, "threshold": threshold}
    alpha = take_comparison(session, "compare", large, replace(large, model="router", model_identity=identity))
    groups, ones = session.groups(session.split.test), np.ones(int(both.sum()))
    sides = (test.large[both], ones, routed[both], ones)
    own_groups = None if groups is None else groups[both]
    paired = compare(*sides, own_groups, alpha=alpha, seed=session.project.split.seed)
    bound = non_inferior(*sides, own_groups, margin=session.project.task.margin)
    sent = test.sure < threshold
    if not bound.holds or (~both).mean() > MOST_UNSCORED:
        raise GateFailed(
            messages.say(
                "router_worse", name=large.name, delta=100 * paired.delta, lower=100 * bound.lower,
                margin=100 * session.project.task.margin, n=paired.n,
            ),
            hint=hint,
        )  # fmt: skip
    export = await export_classifier(session, folder / "classifier")
    paths = [folder / "router.py", *export.paths, *export_variant(session, large, folder / "large")]
    write_atomic(paths[0], ROUTER.format(threshold=threshold).encode())
    return RouterExport(
        large=large.name,
        threshold=threshold,
        sent=float(sent.mean()),
        paired=paired,
        lower=bound.lower,
        usd_per_1k=1000 * float(np.where(sent, test.usd, 0.0).mean()),
        large_usd_per_1k=1000 * float(test.usd.mean()),
        paths=paths,
    )


def choose_threshold(sure: NDArray[np.float64], own: NDArray[np.float64], large: NDArray[np.float64]) -> float:
    """Return the lowest threshold that keeps the score of the large model; infinite if none does.

    Args:
        sure: Probability of the classifier's answer, `(n_cases,)`, like the next two.
        own: Score of that answer.
        large: Score of the large model's answer; NaN where it has none.

    >>> choose_threshold(np.array([0.9, 0.8, 0.3]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0]))
    0.55
    """
    scored = ~(np.isnan(own) | np.isnan(large))
    sure, own, large = sure[scored], own[scored], large[scored]
    steps = np.unique(sure)
    for threshold in (0.0, *((steps[1:] + steps[:-1]) / 2).round(6).tolist()):
        if np.where(sure >= threshold, own, large).sum() >= large.sum():
            return float(threshold)
    return float("inf")


async def _outcomes(session: Session, classical: Variant, large: Variant, cases: Sequence[Case]) -> _Outcomes:
    repeats = repeats_of(session.project, large)
    own_traces = await session.ask(classical, cases)
    traces = await session.ask(large, cases, repeats=repeats)
    shares = [trace.response.label_logprobs if trace.response else None for trace in own_traces]
    if not all(shares):
        raise UserError(
            messages.say("no_shares", name=classical.name), hint=messages.say("router_hint", name=large.name)
        )
    (own, own_den, _), (num, den, _) = await session.score(own_traces, cases), await session.score(traces, cases)
    return _Outcomes(
        np.array([exp(max(values.values())) for values in shares if values]),
        own / own_den,
        num / den,
        np.array([trace.cost_usd for trace in traces]).reshape(len(cases), repeats).mean(axis=1),
    )
