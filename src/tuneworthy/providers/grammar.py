"""GBNF grammars for llama.cpp: one of several fixed answers, and nothing before or after it.

The choices are written as a tree of their common beginnings: llama.cpp keeps one stack for each alternative that
is still open and tests candidate tokens against all of them, so the fewer the better. (With 77 labels and 8 slots
the difference to flat alternatives was within the noise of a busy machine: 0.96 to 1.24 times their speed.)

Source: llama.cpp grammars/README.md (escapes, grouping); src/llama-grammar.cpp (stacks).
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from os.path import commonprefix

from tuneworthy.errors import UserError
from tuneworthy.providers import messages

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def choice_grammar(choices: Sequence[str]) -> str:
    r"""Return a grammar whose only sentences are `choices`.

    A grammar is over characters, not tokens: every tokenisation of a choice is accepted, and after its last
    character only the end of the answer is.

    Args:
        choices: At least one; not empty, without NUL. Copies count once.

    Raises:
        UserError: There is no choice, or one that cannot be written.

    >>> print(choice_grammar(["card_lost", "card", 'say "hi"']))
    root ::= ("card" ("_lost")? | "say \"hi\"")
    """
    wanted = sorted(set(choices))
    if not wanted or not wanted[0]:
        raise UserError(
            "A constrained answer needs at least one label, and no label may be empty.", hint=messages.say("fix_labels")
        )
    if any("\0" in choice for choice in wanted):
        raise UserError("A label contains a NUL character.", hint=messages.say("fix_labels"))
    return f"root ::= {_alternatives(wanted)}"


def quoted(text: str) -> str:
    r"""Return `text` as a GBNF literal.

    >>> print(quoted('a "b"\n'))
    "a \"b\"\n"
    """
    letters = [_ESCAPES.get(one) or (one if one.isprintable() else f"\\U{ord(one):08X}") for one in text]
    return '"' + "".join(letters) + '"'


def _alternatives(endings: Sequence[str]) -> str:
    """Return a group that reads one of `endings` (sorted, different; only the first may be empty)."""
    optional = "?" if not endings[0] else ""
    full = endings[1:] if optional else endings
    return "(" + " | ".join(_branch(list(group)) for _, group in groupby(full, key=itemgetter(0))) + ")" + optional


def _branch(group: Sequence[str]) -> str:
    """Return what reads one of `group`, all of which begin with the same character."""
    start = commonprefix(group)  # noqa: RUF071 (characters are compared, as wanted)
    if len(group) == 1:
        return quoted(start)
    return f"{quoted(start)} {_alternatives([word[len(start) :] for word in group])}"
