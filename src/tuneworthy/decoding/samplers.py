"""The distribution after every sampler of an engine: exact, step by step, for one token.

The state is the list of tokens by falling logit, with the number of those that are still in: every cut keeps a head of
it, so a vocabulary of 150,000 is sorted once. The formulas are those of the engines, in their order of summation; a
token that ties with the last one is kept where the engine keeps it.

Source: transformers 5.24.0 generation/logits_process.py; vllm 0.33.0 v1/sample; llama.cpp src/llama-sampler.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuneworthy.decoding.engines import Resolved, Sampling, SamplingEngine, resolve
from tuneworthy.errors import UserError
from tuneworthy.types import Tokens, frozen

PENALTIES = ("repetition_penalty", "frequency_penalty", "presence_penalty")
NEUTRAL = {
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tokens that are still in.

    Attributes:
        ids: `(n,)` token numbers by falling logit.
        logits: `(n,)`.
        size: Size of the vocabulary.
    """

    ids: np.ndarray
    logits: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probabilities(self) -> np.ndarray:
        return softmax(self.logits)

    @property
    def distribution(self) -> np.ndarray:
        """`(vocabulary,)` probabilities; 0 for the tokens that are out."""
        full = np.zeros(self.size)
        full[self.ids] = self.probabilities
        return full

    def head(self, n: int) -> Candidates:
        return Candidates(self.ids[:n], self.logits[:n], self.size)


@dataclass(frozen=True, slots=True)
class SamplingStep:
    """One sampler, and the tokens that remain after it.

    Attributes:
        name: The parameter, or `start` and `greedy`.
        value: Its value.
        origin: `given`, `default` or `raised`.
        left: The remaining tokens.
    """

    name: str
    value: float
    origin: str
    left: Candidates


@frozen
class Trail:
    """All steps of one engine.

    Attributes:
        engine: The engine.
        resolved: The parameters that it runs.
        steps: `start` first; samplers that do nothing are left out.
    """

    engine: SamplingEngine
    resolved: Resolved
    steps: Sequence[SamplingStep]

    @property
    def left(self) -> Candidates:
        """The final distribution of the token."""
        return self.steps[-1].left

    @property
    def distribution(self) -> np.ndarray:
        """`(vocabulary,)` probabilities of the draw."""
        return self.left.distribution

    @property
    def removed_by(self) -> np.ndarray:
        """`(vocabulary,)` index of the step that removed a token; 0 if it stayed, -1 if it was never in."""
        found = np.full(self.left.size, -1, dtype=np.int16)
        found[self.steps[0].left.ids] = 0
        for number, (before, after) in enumerate(zip(self.steps, self.steps[1:], strict=False), start=1):
            found[before.left.ids] = number
            found[after.left.ids] = 0  # not always the head: of tokens that tie, greedy takes the smallest number
        return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return `(n,)` probabilities of `(n,)` logits."""
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Return logits of a distribution, `(n,)`: its logarithm. Their offset is not known: penalties depend on it.

    Raises:
        UserError: These are no probabilities.
    """
    masses = np.asarray(probabilities, dtype=float)
    if masses.ndim != 1 or not len(masses) or not np.isfinite(masses).all() or masses.min() < 0 or masses.sum() <= 0:
        raise UserError("Probabilities must be non-negative numbers, and at least one must be positive.")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(masses / masses.sum()))


def ranked(logits: np.ndarray) -> Candidates:
    """Return all tokens of a finite logit by falling logit: what every trail starts with.

    Of tokens that tie, the one with the larger number comes first, as in an upward sort read backwards.

    Raises:
        UserError: No logit is finite.
    """
    start = np.asarray(logits, dtype=np.float64)
    if start.ndim != 1 or not len(start) or np.isnan(start).any() or not np.isfinite(start.max()):
        raise UserError(
            "The logits contain NaN, or the largest of them is not finite.",
            hint="Pass the logits of one position as a one-dimensional array.",
        )
    order = np.argsort(start, kind="stable")[::-1][: int(np.isfinite(start).sum())]
    return Candidates(order, start[order], len(start))


def explain(
    logits: np.ndarray | Candidates,
    sampling: Sampling,
    engine: SamplingEngine,
    *,
    written: Tokens = (),
) -> Trail:
    """Apply the samplers of `engine` to the logits of one position.

    Args:
        logits: `(vocabulary,)`, -inf is allowed; or the result of `ranked`, if several engines see the same.
        sampling: The set parameters.
        engine: Whose order, defaults and formulas.
        written: Tokens that were written so far, which penalties count.

    Returns:
        The steps.

    Raises:
        UserError: A value is refused, or no logit is finite.
    """
    start = logits if isinstance(logits, Candidates) else ranked(logits)
    resolved = resolve(sampling, engine)
    counts = Counter(written if engine.repetition_window == "all" else written[-engine.repetition_window :])
    if any(token < 0 or token >= start.size for token in counts):
        raise UserError(f"The context contains token IDs outside the vocabulary (0 to {start.size - 1}).")
    steps = [SamplingStep("start", 0.0, "", start)]
    for name in engine.order:
        value, now = resolved.values[name], steps[-1].left
        if _acts(name, value, resolved.greedy, engine, counts):
            steps.append(SamplingStep(name, value, resolved.origins[name], _apply(name, value, now, counts, engine)))
    if resolved.greedy:
        left = steps[-1].left
        first = int(np.argmin(left.ids[: _top_k(left.logits, 1, ties=True)]))  # of those that tie, the smallest number
        likeliest = Candidates(left.ids[first : first + 1], left.logits[first : first + 1], left.size)
        steps.append(SamplingStep("greedy", resolved.values["temperature"], "", likeliest))
    return Trail(engine=engine, resolved=resolved, steps=steps)


def _acts(name: str, value: float, greedy: bool, engine: SamplingEngine, counts: Mapping[int, int]) -> bool:
    """Whether a sampler can change anything. vLLM resets the cuts of a greedy request, and HF never runs them."""
    if name in PENALTIES:
        return value != NEUTRAL[name] and bool(counts)
    if greedy and (name == "temperature" or engine.engine != "llama_cpp"):
        return False
    return value > 0 if name == "top_k" else value != NEUTRAL[name]


def _apply(name: str, value: float, now: Candidates, counts: Mapping[int, int], engine: SamplingEngine) -> Candidates:
    if name in PENALTIES:
        return _penalised(name, value, now, counts)
    if name == "temperature":
        with np.errstate(over="ignore"):
            cooled = now.logits / value
            if not np.isfinite(cooled[[0, -1]]).all():  # a temperature of almost 0: only the gaps matter
                cooled = np.maximum((now.logits - now.logits[0]) / value, -1e300)
        return Candidates(now.ids, cooled, now.size)
    if name == "top_k":
        return now.head(_top_k(now.logits, int(value), ties=engine.keeps_ties))
    likely = now.probabilities
    if name == "min_p":  # all that are at least `value` times as likely as the first
        kept = np.searchsorted(-likely, -value * likely[0], side="right")
    elif engine.keeps_ties:  # top_p of HF and vLLM, summed from the unlikeliest up: those above a mass of 1 - p
        kept = len(now) - np.searchsorted(np.cumsum(likely[::-1]), 1 - value, side="right")
    else:  # of llama.cpp, summed from the likeliest down: the first to reach p is the last
        kept = np.searchsorted(np.cumsum(likely), value, side="left") + 1
    return now.head(max(1, int(kept)))


def _penalised(name: str, value: float, now: Candidates, counts: Mapping[int, int]) -> Candidates:
    place = np.full(now.size, -1)
    place[now.ids] = np.arange(len(now))
    tokens = np.fromiter(counts, dtype=np.int64, count=len(counts))
    times = np.fromiter(counts.values(), dtype=float, count=len(counts))
    at, times = place[tokens], times[place[tokens] >= 0]
    at = at[at >= 0]
    hit = now.logits[at]
    if name == "repetition_penalty":
        hit = np.where(hit < 0, hit * value, hit / value)
    else:
        hit = hit - value * (times if name == "frequency_penalty" else 1.0)
    logits = now.logits.copy()
    logits[at] = hit
    order = np.lexsort((-now.ids, -logits))  # ties go by number
    return Candidates(now.ids[order], logits[order], now.size)


def _top_k(logits: np.ndarray, k: int, *, ties: bool) -> int:
    """Return how many of the falling `logits` top_k keeps; with `ties`, all that equal the last one."""
    if k >= len(logits):
        return len(logits)
    return int(np.searchsorted(-logits, -logits[k - 1], side="right")) if ties else k


# --- relations between parameters -------------------------------------------------------------------------------


def min_p_at_one(min_p: float, temperature: float) -> float:
    """Return the min_p that cuts at temperature 1 what `min_p` cuts after `temperature`: m^T.

    After a temperature the cut keeps logits within T ln(1 / m) of the first one: the two are not independent.

    >>> round(min_p_at_one(0.05, 0.7), 3)
    0.123
    """
    return float(min_p**temperature)


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return `(n,)` probabilities after a temperature.

    >>> at_temperature(np.array([0.85, 0.05, 0.03, *[0.007] * 10]), 0.7)[1].round(3).item()
    0.017
    """
    return softmax(logits_of(probabilities) / temperature)
