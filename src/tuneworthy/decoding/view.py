"""One position seen through several engines: their kept tokens, step by step, and differences."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tuneworthy.decoding.engines import NAMES, Sampling, engine_of
from tuneworthy.decoding.samplers import Trail, explain, logits_of, min_p_at_one, ranked
from tuneworthy.types import JsonObject, Texts, Tokens, frozen

# Tokens that the unknown mass is spread over, at most.
MOST_SHARED = 150_000


@frozen
class Position:
    """The distribution at one position.

    Attributes:
        logits: `(vocabulary,)`.
        labels: Names of the first tokens; the others are named by their number.
        exact: Whether all tokens are known; if not, the rest of the mass is spread evenly (see `with_rest`).
    """

    logits: np.ndarray
    labels: Texts = ()
    exact: bool = True

    def label(self, token: int) -> str:
        return self.labels[token] if token < len(self.labels) else f"#{token}"


@frozen
class Comparison:
    """The same parameters on several engines.

    Attributes:
        position: The distribution.
        sampling: The parameters that are set.
        trails: Trail per engine.
        notes: For the reader.
    """

    position: Position
    sampling: Sampling
    trails: Mapping[str, Trail]
    notes: Texts = ()

    def shown(self, most: int) -> list[int]:
        return [int(token) for token in next(iter(self.trails.values())).steps[0].left.ids[:most]]

    def apart(self) -> dict[tuple[str, str], float]:
        """Return for each pair of engines the share of draws that would have to change (total variation, 0 to 1)."""
        full = {name: trail.distribution for name, trail in self.trails.items()}
        names = list(full)
        return {
            (a, b): 0.5 * float(np.abs(full[a] - full[b]).sum()) for at, a in enumerate(names) for b in names[at + 1 :]
        }

    def to_dict(self, most: int = 20) -> JsonObject:
        return {
            "set": self.sampling.set_values(),
            "tokens": [self.position.label(token) for token in self.shown(most)],
            "engines": {name: _trail(trail, self.shown(most)) for name, trail in self.trails.items()},
            "apart": [{"a": a, "b": b, "total_variation": apart} for (a, b), apart in self.apart().items()],
            "exact": self.position.exact,
            "notes": list(self.notes),
        }


def _trail(trail: Trail, tokens: Tokens) -> JsonObject:
    resolved = trail.resolved
    return {
        "order": list(trail.engine.order),
        "values": dict(resolved.values),
        "origins": dict(resolved.origins),
        "greedy": resolved.greedy,
        "ignored": list(resolved.ignored),
        "steps": [
            {
                "name": step.name,
                "value": step.value,
                "origin": step.origin,
                "kept": len(step.left),
                "probabilities": step.left.distribution[list(tokens)].tolist(),
            }
            for step in trail.steps
        ],
    }


def compare_engines(
    position: Position,
    sampling: Sampling,
    engines: Texts = NAMES,
    *,
    written: Tokens = (),
) -> Comparison:
    start = ranked(position.logits)
    trails = {name: explain(start, sampling, engine_of(name), written=written) for name in engines}
    return Comparison(
        position=position,
        sampling=sampling,
        trails=trails,
        notes=[*_unset(trails), *_relations(sampling, position, written, trails)],
    )


def _unset(trails: Mapping[str, Trail]) -> Iterator[str]:
    for trail in trails.values():
        resolved, label = trail.resolved, trail.engine.label
        acting = {step.name: step for step in trail.steps[1:]}
        unset = [f"{name} {step.value:g}" for name, step in acting.items() if step.origin == "default"]
        if unset:
            yield f"{label} applies its defaults: {', '.join(unset)}."
        if resolved.ignored:
            yield f"{label} does not support {', '.join(resolved.ignored)} and ignores them."
        for name, origin in resolved.origins.items():
            if origin == "raised":
                yield f"{label} raises {name} to {resolved.values[name]:g}."


def _relations(sampling: Sampling, position: Position, context: Tokens, trails: Mapping[str, Trail]) -> Iterator[str]:
    temperature, min_p = sampling.temperature, sampling.min_p
    after = any(one.engine.order.index("temperature") < one.engine.order.index("min_p") for one in trails.values())
    if temperature and min_p and temperature != 1 and after:
        at_one = min_p_at_one(min_p, temperature)
        yield (
            f"After temperature {temperature:g}, min_p {min_p:g} has the effect of min_p {at_one:.3f} at "
            f"temperature 1 ({min_p:g}^{temperature:g}). llama.cpp applies min_p before the temperature."
        )
    penalty = sampling.repetition_penalty
    if penalty is not None and penalty != 1 and context:
        yield (
            f"The effect of repetition_penalty {penalty:g} depends on a constant offset of all logits, which otherwise "
            "changes no probability. The offset of these logits is unknown."
        )
    if not position.exact:
        yield "The total probability of the hidden tail tokens is known, but its distribution over them is assumed."


def with_rest(probabilities: Sequence[float], labels: Texts = ()) -> Position:
    """Return a position with only its likeliest tokens (top_logprobs).

    The missing mass is spread evenly over as few tokens as keep each at most as likely as the
    last known token.

    >>> len(with_rest([0.6, 0.2]).logits)
    3
    """
    masses = np.asarray(probabilities, dtype=float)
    logits, rest = logits_of(masses), 1.0 - float(masses.sum())
    if rest > 1e-6:
        n = min(MOST_SHARED, max(1, math.ceil(rest / float(masses[masses > 0].min()) - 1e-9)))
        logits = logits_of(np.append(masses, np.full(n, rest / n)))
    return Position(logits=logits, labels=list(labels), exact=rest <= 1e-6)
