"""One position seen through several engines: what each keeps, step by step, and how they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneworthy.decoding.engines import NAMES, Sampling, engine_of
from tuneworthy.decoding.samplers import PENALTIES, Trail, explain, min_p_at_one, penalty_by_offset, ranked
from tuneworthy.errors import UserError

MOST_SHARED = 150_000
"""Tokens that a mass which was not told is spread over, at most."""
OFFSETS = (-12.0, 0.0, 12.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The distribution at one position.

    Attributes:
        logits: `(vocabulary,)`. labels: Of the first tokens; the others are named by their number.
        exact: Whether all tokens are told; if not, what lies behind them is spread evenly (see `with_rest`).
        has_offset: Whether these are logits; of probabilities the offset is lost, and penalties depend on it.
    """

    logits: np.ndarray
    labels: Sequence[str] = ()
    exact: bool = True
    has_offset: bool = False

    def label(self, token: int) -> str:
        """Return the name of a token."""
        return self.labels[token] if token < len(self.labels) else f"#{token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same parameters on several engines.

    Attributes:
        position: What they see. sampling: What is set. trails: By engine.
        notes: What a reader must know.
    """

    position: Position
    sampling: Sampling
    trails: Mapping[str, Trail]
    notes: Sequence[str] = ()

    def shown(self, most: int) -> list[int]:
        """Return the likeliest tokens, at most `most`."""
        first = next(iter(self.trails.values()))
        return [int(token) for token in first.steps[0].left.ids[:most]]

    def apart(self) -> dict[tuple[str, str], float]:
        """Return for each pair of engines the share of draws that would have to change (total variation, 0 to 1)."""
        full = {name: trail.distribution for name, trail in self.trails.items()}
        names = list(full)
        return {
            (a, b): 0.5 * float(np.abs(full[a] - full[b]).sum()) for at, a in enumerate(names) for b in names[at + 1 :]
        }

    def to_dict(self, most: int = 20) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "set": self.sampling.given(),
            "tokens": [self.position.label(token) for token in self.shown(most)],
            "engines": {name: _trail(trail, self.shown(most)) for name, trail in self.trails.items()},
            "apart": [{"a": a, "b": b, "total_variation": apart} for (a, b), apart in self.apart().items()],
            "exact": self.position.exact,
            "notes": list(self.notes),
        }


def _trail(trail: Trail, tokens: Sequence[int]) -> dict[str, Any]:
    resolved = trail.resolved
    return {
        "order": list(trail.engine.order),
        "values": dict(resolved.values),
        "origins": dict(resolved.origins),
        "greedy": resolved.greedy,
        "ignored": list(resolved.ignored),
        "steps": [
            {"name": name, "value": value, "origin": origin, "kept": kept, "probabilities": shares}
            for name, value, origin, kept, shares in steps_of(trail, tokens)
        ],
    }


def steps_of(trail: Trail, tokens: Sequence[int]) -> Iterator[tuple[str, float, str, int, list[float]]]:
    """Yield name, value, origin, number of tokens kept, and the probabilities of `tokens`, for each step."""
    for step in trail.steps:
        shares = step.left.distribution[list(tokens)].tolist()
        yield step.name, step.value, step.origin, len(step.left), shares


def compare_engines(
    position: Position,
    sampling: Sampling,
    engines: Sequence[str] = NAMES,
    *,
    prompt: Sequence[int] = (),
    written: Sequence[int] = (),
    generation_config: Mapping[str, Any] | None = None,
) -> Comparison:
    """Return what each of `engines` does with `sampling` at `position` (see `samplers.explain`)."""
    start = ranked(position.logits)
    trails = {
        name: explain(
            start, sampling, engine_of(name), prompt=prompt, written=written, generation_config=generation_config
        )
        for name in engines
    }
    notes = [*_unset(trails), *_relations(sampling, position, [*prompt, *written], trails)]
    return Comparison(position=position, sampling=sampling, trails=trails, notes=notes)


def _unset(trails: Mapping[str, Trail]) -> Iterator[str]:
    """Say which parameters act although nobody set them, which are ignored, and which values were changed."""
    for trail in trails.values():
        resolved, label = trail.resolved, trail.engine.label
        acting = {step.name: step for step in trail.steps[1:]}
        unset = [f"{name} {step.value:g}" for name, step in acting.items() if step.origin in {"default", "model"}]
        if unset:
            yield f"{label}: not set, and acting all the same: {', '.join(unset)}"
        if resolved.ignored:
            yield f"{label} has no {', '.join(resolved.ignored)}: ignored"
        for name, origin in resolved.origins.items():
            if origin == "raised":
                yield f"{label} raises {name} to {resolved.values[name]:g}"


def _relations(
    sampling: Sampling, position: Position, seen: Sequence[int], trails: Mapping[str, Trail]
) -> Iterator[str]:
    """Say what the parameters do to one another."""
    temperature, min_p = sampling.temperature, sampling.min_p
    after = any(one.engine.order.index("temperature") < one.engine.order.index("min_p") for one in trails.values())
    if temperature and min_p and temperature != 1 and after:
        yield (
            f"min_p {min_p:g} after temperature {temperature:g} cuts like min_p "
            f"{min_p_at_one(min_p, temperature):.3f} at temperature 1 (m^T); llama.cpp cuts before the temperature"
        )
    penalty = sampling.repetition_penalty
    if penalty is not None and penalty != 1 and seen:
        token = seen[-1]
        found = penalty_by_offset(position.logits, penalty, token, OFFSETS)
        shares = ", ".join(f"{share:.2f} at {offset:+g}" for offset, share in found)
        words = "" if position.has_offset else "; the offset of these logits is not known"
        yield (
            f"repetition_penalty {penalty:g} depends on an offset of the logits that changes no probability: "
            f"{position.label(token)} gets {shares}{words}"
        )
    if not position.exact:
        yield "tokens behind the last one shown are an assumption: their mass is known, its spread is not"


def with_rest(probabilities: Sequence[float], labels: Sequence[str] = ()) -> Position:
    """Return the position of which only the likeliest tokens are told (top_logprobs).

    The mass that is missing is spread evenly over as few tokens as keep each of them at most as likely as the last
    one that is told.

    >>> len(with_rest([0.6, 0.2]).logits)
    3
    """
    told = np.asarray(probabilities, dtype=float)
    if not len(told) or not np.isfinite(told).all() or told.min() < 0 or told.sum() <= 0:
        raise UserError("expected probabilities of the likeliest tokens, got none that can be used")
    rest = 1.0 - float(told.sum())
    least = float(told[told > 0].min())
    if rest > 1e-6:
        n = min(MOST_SHARED, max(1, math.ceil(rest / least - 1e-9)))
        told = np.append(told, np.full(n, rest / n))
    with np.errstate(divide="ignore"):
        logits = np.log(told / told.sum())
    return Position(logits=logits, labels=list(labels), exact=rest <= 1e-6)


__all__ = ["PENALTIES", "Comparison", "Position", "compare_engines", "steps_of", "with_rest"]
