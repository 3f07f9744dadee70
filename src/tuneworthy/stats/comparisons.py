"""Planned looks at the test set: how much error each comparison may spend.

The chance of one or more false findings on a test set stays at or below `ALPHA`, however often it is looked at:
`SHARED` is divided equally among the looks planned first, `RESERVE` is held back for looks added later, each of
which takes half of what is left. Planning again adds looks and never resets them (Bonferroni over all looks).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import fsum
from types import MappingProxyType
from typing import Any

ALPHA = 0.05
SHARED = 0.04
RESERVE = 0.01
LEAST_ALPHA = 1e-5
"""Below it no look is taken: 100 test cases could then show only gains above 32 points and 300 only above 15 (see
`power.detectable`), 18 cases that differ would have to differ all one way, and a swap test takes ten million draws."""


class UsedUp(ValueError):
    """A look has too little alpha left to show anything: the test set is used up."""


@dataclass(frozen=True)
class ComparisonPlan:
    """The looks of one test set: an immutable value; every change returns a new plan.

    A *slot* is the right to look once, under a name ("prompt"). A *look* is one comparison that was made, under an
    id ("prompt:3fa1 vs 09bc"); it uses one slot for good.

    Attributes:
        planned: slots of the first planning, which share `SHARED` equally.
        added: slots added later -> alpha.
        spent: id of a look taken -> its slot.

    >>> plan = ComparisonPlan().plan(["prompt", "model"]).take("prompt:a", "prompt")
    >>> plan.alpha_for("prompt:a"), plan.take("prompt:b", "prompt").alpha_for("prompt:b")
    (0.02, 0.005)
    """

    planned: tuple[str, ...] = ()
    added: Mapping[str, float] = field(default_factory=dict)
    spent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "planned", tuple(self.planned))
        object.__setattr__(self, "added", MappingProxyType(dict(self.added)))
        object.__setattr__(self, "spent", MappingProxyType(dict(self.spent)))
        if len(set(self.planned)) < len(self.planned) or set(self.planned) & set(self.added):
            raise ValueError("the slots of a look plan must have different names")
        if min(self.added.values(), default=0.0) < 0 or self.total_alpha > ALPHA + 1e-15:
            raise ValueError(f"the looks of one test set may spend {ALPHA} in all, got {self.total_alpha}")
        unknown = set(self.spent.values()) - set(self.planned) - set(self.added)
        if unknown or len(set(self.spent.values())) < len(self.spent):
            raise ValueError("every look taken needs a slot of its own in the plan")

    @property
    def slots(self) -> dict[str, float]:
        """Every slot ever granted -> its alpha, in the order of granting."""
        return {name: SHARED / len(self.planned) for name in self.planned} | dict(self.added)

    @property
    def total_alpha(self) -> float:
        """What all slots may spend together; never above `ALPHA`."""
        return fsum(self.slots.values())

    @property
    def reserve(self) -> float:
        """What is left for looks added later."""
        in_all = ALPHA - self.total_alpha  # a guard against the rounding of SHARED / n
        return max(0.0, min(RESERVE - fsum(self.added.values()), in_all))

    def plan(self, names: Iterable[str]) -> ComparisonPlan:
        """Plan looks: the first call shares `SHARED`; later calls add the names that are new."""
        new = [name for name in dict.fromkeys(names) if name not in self.slots]
        if not self.planned:
            return replace(self, planned=tuple(new))
        result = self
        for name in new:
            result = result.add(name)
        return result

    def add(self, name: str) -> ComparisonPlan:
        """Add one slot with half of the reserve; a name that has a slot changes nothing."""
        if name in self.slots:
            return self
        return replace(self, added={**self.added, name: self.reserve / 2})

    def take(self, comparison_id: str, name: str) -> ComparisonPlan:
        """Take a look under slot `name`: the same id is the same look; a used or unplanned slot adds one.

        Raises:
            UsedUp: the slot would have less than `LEAST_ALPHA`.
        """
        if comparison_id in self.spent:
            return self
        slot, used, count = name, set(self.spent.values()), 1
        while slot in used:
            count += 1
            slot = f"{name}#{count}"
        result = self.add(slot)
        if result.slots[slot] < LEAST_ALPHA:
            raise UsedUp(f"expected at least {LEAST_ALPHA:g} of alpha for a look, {result.slots[slot]:.2g} is left")
        return replace(result, spent={**result.spent, comparison_id: slot})

    def note_first(self, comparison_id: str, name: str) -> ComparisonPlan:
        """Note a measurement that compares nothing: the first of its name costs nothing, any other is a look.

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
        """Looks that were taken: what was only noted is none."""
        return sum(self.slots[slot] > 0 for slot in self.spent.values())

    def alpha_for(self, comparison_id: str) -> float:
        """Alpha of a look that was taken, or of a slot.

        Raises:
            KeyError: if there is neither.
        """
        slot = self.spent.get(comparison_id, comparison_id)
        if slot not in self.slots:
            raise KeyError(f"no look or slot {comparison_id!r}; plan, add or take it first")
        return self.slots[slot]

    def to_dict(self) -> dict[str, Any]:
        """Give plain data for JSON."""
        return {"planned": list(self.planned), "added": dict(self.added), "spent": dict(self.spent)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ComparisonPlan:
        """Read what `to_dict` gave."""
        return cls(tuple(data["planned"]), dict(data["added"]), dict(data["spent"]))
