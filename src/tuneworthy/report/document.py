"""A page before it has a form: what terminal, Markdown and HTML all show, in the order in which a manager reads it.

Invariant: the first screen answers, and shows each fact once; every line chart is also a table.
"""

from collections.abc import Sequence

from tuneworthy.report.answers import Diff
from tuneworthy.report.chart import LineChart
from tuneworthy.report.table import Table
from tuneworthy.types import Texts, frozen, positional

Block = str | Table | LineChart | Diff


@positional
class Card:
    """One of the three numbers of the first screen.

    Attributes:
        label: Its subject.
        value: The number.
        name: Its subject.
        details: Its evidence, and its cost.
        status: A word that marks it, such as `met`; "" without one.
        mark: The status as it is shown.
    """

    label: str
    value: str
    name: str = ""
    details: Texts = ()
    status: str = ""
    mark: str = ""


@positional
class NextStep:
    """What to do next: a command, if there is one, and why."""

    command: str
    why: str


@positional
class PagePart:
    """A part of the page below the first screen.

    Attributes:
        name: Of its address in the page.
        title: Its heading.
        blocks: Sentences, tables, charts, in order.
        folded: Whether the page shows only its heading until a reader opens it.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False


@frozen
class Document:
    """A page.

    Attributes:
        title: Its subject.
        kind: What kind of page it is.
        outcome: For styles.
        answer: The answer.
        sentence: Why.
        basis: The evidence, and its end of validity.
        cards: The three numbers.
        chart: The chart of the first screen, or None.
        next_step: What to do, or None.
        paragraph: To paste; "" without one.
        warnings: What to know before using the numbers.
        sections: All the rest.
        made: The last line.
    """

    title: str
    kind: str
    outcome: str
    answer: str
    sentence: str
    basis: str = ""
    cards: Sequence[Card] = ()
    chart: Table | LineChart | None = None
    next_step: NextStep | None = None
    paragraph: str = ""
    warnings: Texts
    sections: Sequence[PagePart]
    made: str = ""
