"""The groups of recorded calls as a table of 80 columns: three lines each, the most expensive group first."""

from tuneworthy.calls.groups import CallGroup, RecordedCalls
from tuneworthy.report.text import clean
from tuneworthy.text import count, plural

WIDTH = 80


def group_lines(calls: RecordedCalls) -> list[str]:
    """Return the table, with the calls that belong to no group, masked values, and calls that were left out."""
    span = f" from {calls.first:%Y-%m-%d} to {calls.last:%Y-%m-%d}" if calls.first and calls.last else ""
    lines = [f"{calls.n_calls:,} calls{span}, in {count(len(calls.groups), 'group')}: which can be cheaper?"]
    for number, group in enumerate(calls.groups, 1):
        lines += _lines(number, group)
    if calls.others:
        verb = plural(calls.others, "call belongs", "calls belong")
        lines.append(f"    {calls.others:,} other {verb} to no group.")
    if calls.masked:
        lines.append(f"    Masked: {', '.join(f'{kind} ({n:,})' for kind, n in calls.masked.items())}.")
    return lines + [clean(f"    {n:,} left out: {reason}.", WIDTH) for reason, n in calls.skipped.items()]


def _lines(number: int, group: CallGroup) -> list[str]:
    month = group.calls_a_month
    traffic = f"{group.calls:,.0f} calls" if month is None else f"{month:,.0f} a month"
    money = "no price"
    if group.usd is not None:
        usd = group.usd if month is None else group.usd * month / group.calls
        about = "~" if any(one.estimated for one in group.replies) else ""
        money = f"{about}${usd:,.0f}" if usd >= 10 else f"{about}${usd:,.2f}"
    late = "" if group.p95_s is None else f"p95 {group.p95_s:.1f} s"
    model, *others = group.models
    model = f"{model or 'model unknown'}{f' +{len(others)}' if others else ''}"
    kind = "tool calls" if group.uses_tools else group.kind.name.replace("_", " ")
    kind += f", {count(len(group.kind.labels), 'label')}" if group.kind.name == "label" else ""
    facts = [kind, f"{group.repeated:.0%} repeated"]
    facts += [f"{group.differing:.0%} of these answered otherwise"] if group.differing else []
    return [
        f"{number:3} {clean(group.name, 18):18} {traffic:>16} {money:>9} {late:>11}  {clean(model, 17)}".rstrip(),
        f"    {'; '.join(facts)}: {group.remark}",
        f"    {clean(group.opening or group.prompts[0].user, WIDTH - 4)}",
    ]
