"""Odd bytes and odd values, and how they get into what a reader knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

ODD: Final = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"[" * 300, b"9" * 5000, b"1e999", b"\\ud800", b"*a", b"&a", b"{", b"}", b'"',
    b"\n", b"\r", b"\xe2\x80\xae", b"<!--", b"</script>", b"\xef\xbb\xbf", b"-" * 2000,
)  # fmt: skip
# How deep a value stands at the place of the text: no encoder writes what a stranger may.
DEEP: Final = {"@list 100@": 100, "@list 180@": 180, "@list 250@": 250, "@list 900@": 900, "@object 100@": 100,
               "@object 250@": 250, "@object 900@": 900}  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 7, 1e308, -5e-324, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, "", " ", "\0", "\u202e", "a", "-",
    "1e400", "NaN", "null", "{", "[1", '{"a": 1}', '{"name": "f", "arguments": "{"}', "[[]]", "\ufdfa" * 300,
    "x" * 30_000, "9" * 5000, "(a+)+$", "{{ 1/0 }}", "\U0001f468\u200d" * 200, "../x", "/dev/zero", [], {}, [None],
    [[]], {"": ""}, {"a": {"b": [1, "x", None]}}, [{"role": "user", "content": "q"}], ["a"] * 300,
    '{"a":' * 300 + "1" + "}" * 300, '{"a":' * 900 + "1" + "}" * 900, "[" * 900 + "]" * 900, *DEEP,
)  # fmt: skip


def as_json(value: Any) -> bytes:
    """Write a mutated value, with what stands for a deep one."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    for name, depth in DEEP.items():
        deep = b"[" * depth + b"]" * depth if "list" in name else b'{"a":' * depth + b"1" + b"}" * depth
        text = text.replace(b'"%s"' % name.encode(), deep)
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key or index) of all that appears in `value`."""
    stack = [value]
    while stack:
        holder = stack.pop()
        keys: Sequence[Any] = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                stack.append(holder[key])


@st.composite
def values(draw: st.DrawFn, seeds: Sequence[Any]) -> Any:
    """Return a seed in which up to four values are replaced, left out, renamed or repeated."""
    value = deepcopy(draw(st.sampled_from(seeds)))
    if not isinstance(value, dict | list):
        return draw(st.sampled_from([value, *VALUES]))
    for _ in range(draw(st.integers(0, 4))):
        found = list(places(value))
        if not found:
            break
        holder, key = found[draw(st.integers(0, len(found) - 1))]
        change = draw(st.sampled_from(["replace", "replace", "replace", "leave out", "rename", "repeat"]))
        if change == "replace":
            holder[key] = draw(
                st.sampled_from(VALUES).map(deepcopy) | st.text(max_size=20) | st.integers(-(2**63), 2**63 - 1)
            )
        elif change == "leave out":
            del holder[key]
        elif isinstance(holder, dict):
            other = draw(st.sampled_from([name for one, name in found if isinstance(one, dict)]) | st.text(max_size=5))
            holder[other] = deepcopy(holder[key])
        else:
            holder.append(deepcopy(holder[key]))
    return value


@st.composite
def contents(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with pieces cut out, repeated, and odd bytes put in."""
    content = draw(st.sampled_from(seeds) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 20)))
        content = (
            content[:at]
            + draw(st.sampled_from(ODD) | st.binary(max_size=8))
            + content[end:] * draw(st.sampled_from([1, 1, 1, 2]))
        )
    return content
