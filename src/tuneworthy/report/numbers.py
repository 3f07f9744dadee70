"""Numbers as people read them: one way for terminal, Markdown, HTML and the paragraph to paste.

>>> score(0.96), signed(0.05), percent(0.345), integer(12345), percent(None)
('0.960', '+0.050', '34.5%', '12,345', '–')
>>> interval((0.9231, 0.9796)), percent_range((0.9231, 0.9796)), points_range((0.31, 0.45)), interval(None)
('[0.923, 0.980]', '[92.3%, 98.0%]', '[+31.0, +45.0]', '–')
"""

from collections.abc import Callable, Sequence

from tuneworthy.money.serving import YOURS, RunningCost

# Sign for a missing number.
NONE = "–"


def text(value: object) -> str:
    return NONE if value is None else str(value)


def _format(shape: str) -> Callable[[float | None], str]:
    return lambda value: NONE if value is None else format(value, shape)


# A score as a share of 1, a difference of scores, a share in percent, a whole number; a dash for None.
score, signed, percent, integer = _format(".3f"), _format("+.3f"), _format(".1%"), _format(",.0f")


def points(value: float | None) -> str:
    """Return a difference of shares in percentage points, or a dash; a difference that rounds to 0 has no minus.

    >>> points(0.38), points(-0.0001)
    ('+38.0', '+0.0')
    """
    return NONE if value is None else f"{round(100 * value, 1) + 0.0:+.1f}"


def _range(form: Callable[[float], str]) -> Callable[[Sequence[float] | None], str]:
    return lambda bounds: NONE if bounds is None else f"[{form(bounds[0])}, {form(bounds[1])}]"


# An interval of scores, of shares in percent, of differences in percentage points; a dash for None.
interval, percent_range, points_range = map(_range, (score, percent, points))


def dollars(value: float | None) -> str:
    """Return an amount of US dollars, with three significant digits below 1.

    >>> dollars(1234.5), dollars(420.0), dollars(2.5), dollars(0.5), dollars(0.04217), dollars(0.0)
    ('$1,234', '$420', '$2.50', '$0.50', '$0.0422', '$0')
    >>> dollars(0.9996), dollars(-0.5)
    ('$1.00', '-$0.50')
    """
    if value is None:
        return NONE
    if value == 0:
        return "$0"
    if value < 0:
        return f"-{dollars(-value)}"
    if value >= 100:
        return f"${value:,.0f}"
    if value >= 0.9995:  # it rounds to 1.00 with three digits
        return f"${value:.2f}"
    return f"${value:.3g}".ljust(5, "0") if value >= 1e-4 else f"${value:.1e}"


def amount(value: float | None) -> str:
    """Return US dollars without the sign, for a column whose heading has it."""
    return dollars(value).removeprefix("$")


def billed(usd: float | None, running: RunningCost | None) -> str:
    """Return a cost, or the words for the user's own server, and for one whose traffic is unknown."""
    ways = running.ways if running else ()
    if not usd and YOURS in ways:
        return "your server"
    return "server" if usd is None and ways else amount(usd)


def difference(delta: float | None, bounds: Sequence[float] | None) -> str:
    """Return a paired difference of scores with its interval.

    >>> difference(0.15, (0.08, 0.22)), difference(None, None)
    ('+0.150 [+0.080, +0.220]', '–')
    """
    return NONE if delta is None or bounds is None else f"{delta:+.3f} {_range(signed)(bounds)}"


def milliseconds(value: float | None) -> str:
    """Return a time, milliseconds.

    >>> milliseconds(812.4), milliseconds(0.0034), milliseconds(4.26)
    ('812', '<0.1', '4.3')
    """
    if value is None:
        return NONE
    if value < 0.1:
        return "<0.1"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def short(value: float) -> str:
    """Return a round number for an axis.

    >>> short(1_000.0), short(250_000.0), short(10_000_000.0), short(62.0), short(0.1), short(1e13)
    ('1k', '250k', '10M', '62', '0.1', '10,000B')
    """
    value = float(f"{value:.3g}")
    size, name = next(((size, name) for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= size), (1, ""))
    return f"{value / size:,.10g}{name}"


def p_value(value: float | None) -> str:
    """Return a p-value.

    >>> p_value(1e-9), p_value(0.0312)
    ('<0.0001', '0.0312')
    """
    if value is None:
        return NONE
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"
