"""Planned comparisons on the test set, with the alpha that each may spend.

The chance of one or more false findings on a test set stays at or below `ALPHA`, however many comparisons are made:
`SHARED` is divided equally among those planned first, `RESERVE` is for those added later; each takes half of
the rest. Planning again adds comparisons and never resets them.

One that found a gain has spent nothing, and one that is never made neither: each passes its alpha on to the next in the
order of the plan, with all that was passed to it, and the last to the reserve. Alpha that was passed on is never taken
back. A comparison that is made while an earlier one is still open gets nothing passed by that one or by any before it:
out of order, as in a run of single rungs, alpha is the same or smaller.

Source: Wiens and Dmitrienko 2005 (J. Biopharm. Stat. 15:929), the fallback procedure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from math import fsum

ALPHA = 0.05
SHARED = 0.04
RESERVE = 0.01
# Below it no comparison is made: 100 test cases could then show only gains above 30 points and 300 only above 14
# (`power.detectable_gain`), 16 cases that differ would have to differ all one way, and a swap test takes ten million
# draws.
LEAST_ALPHA = 1e-5


class UsedUp(ValueError):
    """A comparison has too little alpha left to show anything: the test set is used up."""


@dataclass(frozen=True)
class ComparisonPlan:
    """The comparisons on one test set: an immutable value; every change returns a new plan.

    A *slot* is the right to one comparison, under a name ("prompt"). A comparison that was made has an id
    ("prompt:3fa1 vs 09bc") and uses one slot for good.

    Attributes:
        planned: Slots of the first planning in the order of the comparisons, which share `SHARED` equally.
        added: Alpha by slot that was added later.
        spent: Slot by the id of the comparison that used it.
        passed: Slots that pass their alpha on.

    >>> plan = ComparisonPlan().plan(["prompt", "model"]).take("prompt:a", "prompt")
    >>> plan.alpha_for("prompt:a"), plan.take("prompt:b", "prompt").alpha_for("prompt:b")
    (0.02, 0.005)
    >>> plan.pass_on("prompt:a").alpha_for("model")
    0.04
    """

    planned: tuple[str, ...] = ()
    added: Mapping[str, float] = field(default_factory=dict)
    spent: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.planned)) < len(self.planned) or set(self.planned) & set(self.added):
            raise ValueError("the slots of a plan must have different names")
        if min(self.added.values(), default=0.0) < 0 or self.total_alpha > ALPHA + 1e-15:
            raise ValueError(f"the comparisons on one test set may spend {ALPHA} in all, got {self.total_alpha}")
        unknown = {*self.spent.values(), *self.passed} - set(self.planned) - set(self.added)
        if unknown or len(set(self.spent.values())) < len(self.spent):
            raise ValueError("every comparison needs a slot of its own in the plan")

    def _chain(self) -> tuple[dict[str, float], float]:
        chain, carried = dict[str, float](), 0.0
        for name in self.planned:
            chain[name] = SHARED / len(self.planned) + carried
            carried = chain[name] if name in self.passed else 0.0
        return chain, carried

    @property
    def slots(self) -> dict[str, float]:
        """Every slot ever granted -> its alpha, in the order of granting."""
        return self._chain()[0] | dict(self.added)

    @property
    def total_alpha(self) -> float:
        """Total alpha of the slots that pass nothing on; never above `ALPHA`."""
        return fsum(alpha for name, alpha in self.slots.items() if name not in self.passed)

    @property
    def reserve(self) -> float:
        """Alpha for comparisons added later."""
        # The second term guards against the rounding of SHARED / n.
        granted = fsum(alpha for name, alpha in self.added.items() if name not in self.passed)
        return max(0.0, min(RESERVE + self._chain()[1] - granted, ALPHA - self.total_alpha))

    @property
    def open_slots(self) -> dict[str, float]:
        """Slots that no comparison used yet -> their alpha; if all are used, the next part of the reserve."""
        closed = {*self.spent.values(), *self.passed}
        slots = {name: alpha for name, alpha in self.slots.items() if name not in closed and alpha > 0}
        return slots or {"reserve": self.reserve / 2}

    def plan(self, names: Iterable[str]) -> ComparisonPlan:
        """Plan comparisons: the first call shares `SHARED`; later calls add the names that are new."""
        new = [name for name in dict.fromkeys(names) if name not in self.slots]
        if not self.planned:
            return replace(self, planned=tuple(new))
        result = self
        for name in new:
            result = result.share([name])
        return result

    def share(self, names: Iterable[str]) -> ComparisonPlan:
        """Add slots that share half of the reserve equally, as those of all rungs once cases were added.

        A name that has a slot changes nothing.

        >>> plan = ComparisonPlan().plan(["prompt", "model"]).share(["prompt+1", "model+1"])
        >>> plan.alpha_for("model+1"), plan.reserve
        (0.0025, 0.005)
        """
        new = [name for name in dict.fromkeys(names) if name not in self.slots]
        return replace(self, added={**self.added, **dict.fromkeys(new, self.reserve / 2 / max(1, len(new)))})

    def take(self, comparison_id: str, name: str) -> ComparisonPlan:
        """Make a comparison under slot `name`: the same id is the same one; if the slot is used or passed on, add one.

        Raises:
            UsedUp: the slot would have less than `LEAST_ALPHA`.
        """
        if comparison_id in self.spent:
            return self
        used = {*self.spent.values(), *self.passed}
        slot = next(one for one in chain([name], (f"{name}#{n}" for n in count(2))) if one not in used)
        result = self.share([slot])
        if result.slots[slot] < LEAST_ALPHA:
            raise UsedUp(
                f"Another comparison would have an alpha of only {result.slots[slot]:.2g}, but at least "
                f"{LEAST_ALPHA:g} is needed."
            )
        return replace(result, spent={**result.spent, comparison_id: slot})

    def pass_on(self, key: str) -> ComparisonPlan:
        """Let a comparison that found a gain, or a slot that nothing is compared under, pass its alpha on, for good.

        Args:
            key: Id of the comparison, or name of the slot; a used slot keeps its alpha.
        """
        slot = self.spent.get(key, key)
        is_used = key not in self.spent and slot in self.spent.values()
        keeps = is_used or slot in self.passed or slot not in self.slots
        return self if keeps else replace(self, passed=(*self.passed, slot))

    def note_first(self, comparison_id: str, name: str) -> ComparisonPlan:
        """Note a measurement that compares nothing: the first of its name costs nothing, any other is a comparison.

        Raises:
            UsedUp: as `take`.

        >>> plan = ComparisonPlan().plan(["prompt"]).note_first("baseline:a", "baseline")
        >>> plan.alpha_for("baseline:a"), plan.note_first("baseline:b", "baseline").alpha_for("baseline:b")
        (0.0, 0.005)
        """
        if name in self.slots:
            return self.take(comparison_id, name)
        return replace(self, added={**self.added, name: 0.0}, spent={**self.spent, comparison_id: name})

    @property
    def n_taken(self) -> int:
        """Comparisons that were made; planned comparisons do not count."""
        return sum(self.slots[slot] > 0 for slot in self.spent.values())

    def alpha_for(self, comparison_id: str) -> float:
        """Alpha of a comparison that was made, or of a slot.

        Raises:
            KeyError: if there is neither.
        """
        slot = self.spent.get(comparison_id, comparison_id)
        if slot not in self.slots:
            raise KeyError(f"no comparison or slot {comparison_id!r}; plan, add or take it first")
        return self.slots[slot]
