"""From a variant and a case to the chat that is sent. Templates are Jinja in a sandbox, in the limited child."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from tuneworthy import limited
from tuneworthy.cases.normalize import read_variables
from tuneworthy.errors import UserError
from tuneworthy.prompts.passages import with_passages
from tuneworthy.prompts.prompt_child import fill, variables_of
from tuneworthy.types import (
    Case,
    Example,
    Examples,
    JsonMapping,
    JsonObject,
    Message,
    Passage,
    Texts,
    Turns,
    Variant,
    role_of,
    text_of,
)

# Of one template, seconds of processor time; far above the need of a prompt.
LIMIT_S = 2.0


_VARIABLE = re.compile(r"\{\{ *([A-Za-z_]\w*) *\}\}")
# Names that have a meaning of their own in Jinja.
_OWN_NAMES = frozenset(
    ["true", "false", "none", "True", "False", "None", "range", "dict", "lipsum", "cycler", "joiner", "namespace"]
)


@lru_cache(maxsize=256)
def named_variables(source: str) -> frozenset[str]:
    """Return the names of the variables in a template."""
    return frozenset(plain_pieces(source)[1::2] or _in_child(variables_of, source))


@lru_cache(maxsize=256)
def plain_pieces(source: str) -> Texts:
    """Return a template that only writes variables as text, variable, text, ...; nothing of any other one.

    Nearly all are such, and those need no child: it costs 0.06 ms a prompt.

    >>> plain_pieces("Q: {{ question }}"), plain_pieces("{{ question | upper }}")
    (['Q: ', 'question', ''], [])
    """
    pieces = _VARIABLE.split(source.removesuffix("\n"))
    text = "".join(pieces[::2])
    plain = (
        "{{{" not in source
        and not any(mark in text for mark in ("{{", "{%", "{#", "\r"))
        and not _OWN_NAMES & set(pieces[1::2])
    )
    return pieces if plain else []


def _in_child(function: Callable[..., JsonObject], source: str, *arguments: Any) -> Any:
    """Return the `value` that `function` makes of a template.

    Raises:
        UserError: The template is not Jinja, meets a limit, or raises.
    """
    try:
        answer = limited.call(function, source, *arguments, limit_s=LIMIT_S)
    except limited.OverLimit as error:
        answer = {"fault": error.reason}
    if "value" in answer:
        return answer["value"]
    if "line" in answer:
        raise UserError(
            f"The template {source[:60]!r} has a Jinja syntax error on line {answer['line']}: "
            f"{answer['fault'].rstrip('.')}.",
            hint="Fix the template in [prompt].",
        )
    names = ", ".join(sorted(arguments[0])) if arguments else "input"
    raise UserError(
        (f"The template {source[:60]!r} cannot be rendered: {answer['fault']}. The case has these variables: {names}."),
        hint="Fix the template in [prompt], or add the variable to the cases.",
    )


def check_template(source: str) -> None:
    """Compile a template.

    Raises:
        UserError: It is not Jinja, or meets a limit.
    """
    named_variables(source)


def render(source: str, case_input: str | JsonMapping) -> str:
    """Fill the template `source` with a case's input: `{{ input }}`, or its own variables.

    Of a text, variables are those that appear in it as `cases.normalize.variables_text` writes them.

    Raises:
        UserError: Bad template, one that meets a limit, or a variable that the case does not have.
    """
    own = case_input if isinstance(case_input, Mapping) else _read(source, case_input)
    variables = {"input": case_input, **own}
    pieces = plain_pieces(source)
    if pieces and all(name in variables for name in pieces[1::2]):
        return "".join(str(variables[piece]) if at % 2 else piece for at, piece in enumerate(pieces))
    return str(_in_child(fill, source, variables))


def question(user: str, case_input: str | JsonMapping) -> str:
    """Return the user's turn that asks `case_input` by the template `user`.

    Where the template names variables and not `input`, a text may be these (see `render`), the template filled already
    (as in a log, or where a teacher answered), or else the only variable.

    Raises:
        UserError: See `render`; or a text does not fit the template.

    >>> question("Q: {{ question }}", "Why?"), question("Q: {{ question }}", "Q: Why?")
    ('Q: Why?', 'Q: Why?')
    >>> question("{{ text }} in {{ language }}?", "text: Why\\nlanguage: Latin")
    'Why in Latin?'
    """
    if isinstance(case_input, str):
        names = named_variables(user)
        if names and "input" not in names and _read(user, case_input).keys() != names:
            if _is_filled(user, case_input):
                return case_input
            if len(names) == 1:
                return render(user, dict.fromkeys(names, case_input))
    return render(user, case_input)


def _read(source: str, text: str) -> JsonObject:
    names = named_variables(source) - {"input"}
    return read_variables(text, names) if names else {}


def _is_filled(source: str, text: str) -> bool:
    """Whether the text around the variables of a template appears in `text`, in its order."""
    try:
        first, *rest = render(source, dict.fromkeys(named_variables(source), "\0")).split("\0")
    except UserError:  # it does more than write its variables
        return False
    if not any((first, *rest)) or not rest or not text.startswith(first):
        return False
    at = len(first)
    for piece in rest[:-1]:
        place = text.find(piece, at)
        if place < 0:
            return False
        at = place + len(piece)
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) >= at


def own_system(case: Case) -> bool:
    """Whether a case brings a system turn of its own, so that the prompt of no variant is sent."""
    return bool(case.messages) and role_of(case.messages[0]) == "system"


def chat(variant: Variant, case: Case, shots: Examples, passages: Sequence[Passage] = ()) -> Turns:
    """Return the messages that ask `case` of `variant`, with `shots` as earlier turns and `passages` in the last.

    All documents are in the first turn, the system's, before its text: prompts then share a start that can be cached.
    """
    turns: list[Message] = []
    asked = with_variables(variant.system, variant.user, case.input if case.input is not None else "")
    if (variant.system or variant.documents_first) and not own_system(case):
        turns.append({"role": "system", "content": render(variant.system or "", asked)})
    for shot in shots:
        turns += shot_turns(shot, variant)
    if case.messages:
        turns = list(case.messages) if own_system(case) else [*turns, *case.messages]
    else:
        turns.append({"role": "user", "content": question(variant.user, asked)})
    if passages:
        place = 0 if variant.documents_first else -1
        turns[place] = with_passages(
            turns[place], passages, cite=variant.retrieval is not None and variant.retrieval.cite
        )
    return tuple(turns)


def with_variables(system: str | None, user: str, asked: str | JsonMapping) -> str | JsonMapping:
    """Return the variables that a text is made of, if it has those of both templates: read by the names of one
    template, a value would include the other's lines."""
    names = (named_variables(user) | named_variables(system or "")) - {"input"}
    found = read_variables(asked, names) if names and isinstance(asked, str) else {}
    return {"input": asked, **found} if found and found.keys() == names else asked


def shot_turns(shot: Example, variant: Variant) -> list[Message]:
    """Return an example as turns; its own system message is left out, and a plain question gets the user template.

    A question that lacks the template's variables stays as it is. Where the variant thinks aloud, the shown answer
    carries the marker, so that its form is shown too.
    """
    turns = [dict(message) for message in shot.messages if role_of(message) != "system"]
    if len(turns) == 2 and isinstance(turns[0].get("content"), str) and named_variables(variant.user):
        with suppress(UserError):
            turns[0]["content"] = question(
                variant.user, with_variables(variant.system, variant.user, turns[0]["content"])
            )
    if variant.answer_after and turns and role_of(turns[-1]) == "assistant":
        turns[-1]["content"] = f"{variant.answer_after} {text_of(turns[-1])}"
    return turns


def split_answer(text: str, marker: str | None) -> tuple[str, str]:
    """Return (thinking, answer): the answer is what follows the last `marker`, or all of `text`."""
    if not marker or marker not in text:
        return "", text
    thinking, _, answer = text.rpartition(marker)
    return thinking, answer.strip()
