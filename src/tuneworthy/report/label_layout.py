"""Where the labels of a scatter chart stand so that they hide neither each other nor a point: pure geometry, pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# From a point to its label.
GAP = 10.0
# A label further away than this needs a line to its point.
FAR = 18.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    @property
    def area(self) -> float:
        """Return the area."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True, slots=True)
class Placed:
    """A label: its left end and its middle height, and whether it stands so far off that it needs a line."""

    x: float
    y: float
    far: bool


def place(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    height: float,
    canvas: Box,
    obstacles: Sequence[Box] = (),
) -> list[Placed]:
    """Place a label beside each point, the cheapest free place first.

    Args:
        points: `(x, y)` of each point.
        widths: Of each label. height: of all.
        canvas: What no label may leave.
        obstacles: What labels should not cover: whiskers, lines. Points are added.

    Returns:
        In the order of `points`.
    """
    taken = [*obstacles, *(Box(x - 6, y - 6, x + 6, y + 6) for x, y in points)]
    placed: list[Placed] = []
    for (x, y), width in zip(points, widths, strict=True):
        best, best_cost = Placed(x + GAP, y, False), float("inf")
        for left, middle, distance in _places(x, y, width, height):
            box = Box(left, middle - height / 2, left + width, middle + height / 2)
            outside = box.area - box.overlap(canvas)
            cost = 8 * outside + 4 * sum(box.overlap(other) for other in taken) + distance
            if cost < best_cost:
                best, best_cost = Placed(left, middle, distance > FAR), cost
        placed.append(best)
        taken.append(Box(best.x - 2, best.y - height / 2, best.x + width + 2, best.y + height / 2))
    return placed


def _places(x: float, y: float, width: float, height: float) -> Iterator[tuple[float, float, float]]:
    """Yield left end, middle and distance of places around a point, near ones first."""
    for step in range(9):
        for sign in (-1, 1) if step else (1,):
            rise = sign * step * height * 0.6
            distance = abs(rise) + GAP
            yield x + GAP, y + rise, distance
            yield x - GAP - width, y + rise, distance + 1
            if step >= 2:
                yield x - width / 2, y + rise, distance + 2
