"""Checks of the prompt: its files, its templates, its variables, and whether an answer fits."""

from __future__ import annotations

from collections.abc import Iterator

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.errors import UserError
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.ladder.dev_scores import shuffled
from tuneworthy.ladder.estimate import BYTES_A_TOKEN, prompt_tokens
from tuneworthy.ladder.rungs.prompt_search import why_not_ablated, why_not_optimised
from tuneworthy.ladder.rungs.shot_sets import why_no_sets
from tuneworthy.prompts.templates import question, render
from tuneworthy.types import Variant


def _broken(text: str) -> str:
    """Say what is wrong with a template's syntax; "" if nothing is."""
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment().parse(text)
    except TemplateSyntaxError as error:
        return f"{error.message}, line {error.lineno}"
    return ""


@check("prompt_file", "error")
def prompt_file(facts: Facts) -> Iterator[Fault]:
    """A template file that `[prompt]` names is not there, or is not UTF-8.

    A value that ends in `.md`, `.txt` or `.j2` is taken for the name of a file below the project.
    """
    for key in ("system", "user"):
        value = getattr(facts.project.prompt, key)
        try:
            facts.project.text(value)
        except UserError as error:
            yield Fault(f"prompt.{key}: {error.message}", error.hint)
        except UnicodeDecodeError:
            yield Fault(f"prompt.{key}: expected UTF-8 in {value}, got other bytes", "save the file as UTF-8")


@check("prompt_template", "error")
def prompt_template(facts: Facts) -> Iterator[Fault]:
    """A template of `[prompt]` is not Jinja: a brace or tag is not closed."""
    for key, text in facts.prompt_texts.items():
        if words := _broken(text):
            yield Fault(f"prompt.{key}: expected a Jinja template, got {words}", "mend the template")


@check("prompt_variables", "error")
def prompt_variables(facts: Facts) -> Iterator[Fault]:
    """The prompt uses a variable that some cases do not have.

    A case whose `input` is an object has its keys. One whose `input` is text has the variable `input`, and those that
    stand in it a line each, `name: value`; the only variable of the user template is the text itself. Where dev is
    taken from the examples, its cases are text.
    """
    dev = facts.data.split.dev if facts.data else ()
    for key, text in facts.prompt_texts.items():
        if _broken(text):
            continue
        fill = question if key == "user" else render
        lacking: list[str] = []
        words = ""
        for one in {c.id: c for c in (*facts.cases, *dev)}.values():
            if key == "user" and one.messages:
                continue
            try:
                fill(text, one.input if one.input is not None else "")
            except UserError as error:
                lacking.append(one.id)
                words = words or error.message
        if lacking:
            yield Fault(
                f"prompt.{key}: {words}; so in {len(lacking)} cases ({lacking[0]}, ...)",
                "name variables that every case has, or mend the cases",
            )


@check("no_input", "warning")
def no_input(facts: Facts) -> Iterator[Fault]:
    """The user template does not use the case at all: every question would be the same."""
    plain = [case for case in facts.cases if not case.messages]
    user = facts.prompt_texts.get("user")
    if plain and user is not None and "{{" not in user and "{%" not in user:
        yield Fault(
            f"prompt.user: expected a template such as {{{{ input }}}}, got {user[:40]!r}, the same for every case",
            "write {{ input }} where the question belongs",
        )


@check("answer_limit", "warning")
def answer_limit(facts: Facts) -> Iterator[Fault]:
    """`prompt.max_tokens` is shorter than some right answers, so they would be cut off and count as wrong.

    Tokens are estimated as bytes / 4.
    """
    limit = facts.project.prompt.max_tokens
    longer = [
        size
        for case in facts.labelled
        if case.expected is not None and (size := len(answer_text(case.expected).encode()) / BYTES_A_TOKEN) > limit
    ]
    if longer:
        yield Fault(
            f"prompt.max_tokens: expected room for every right answer, got {limit} tokens, which {len(longer)} of "
            f"{len(facts.labelled)} exceed (the longest has about {max(longer):.0f})",
            "raise prompt.max_tokens",
        )


@check("context", "warning")
def context(facts: Facts) -> Iterator[Fault]:
    """Prompt and answer may not fit the context of an embedded model: the call would be refused.

    Shots are counted with their largest number.
    """
    if facts.data is None:
        return
    written = facts.prompt_texts
    prompt = facts.project.prompt
    variant = Variant(
        name="today", model="", model_identity={}, system=written.get("system"), user=written.get("user", "{{ input }}")
    )
    _, longest = prompt_tokens(variant, [*facts.data.split.dev, *facts.data.split.test])
    shots = facts.data.split.shots[:1000]
    size = sum(len((shot.question + shot.answer).encode()) for shot in shots) / max(1, len(shots)) / BYTES_A_TOKEN + 8
    most = longest + prompt.max_tokens + (max(facts.project.few_shot.k, default=0) * size if shots else 0)
    for name, model in facts.project.models.items():
        if model.provider == "llama_cpp" and most > model.context:
            yield Fault(
                f"models.{name}.context: expected about {most:.0f} tokens for the longest case with its shots and "
                f"answer, got {model.context}",
                "raise context, or lower few_shot.k or prompt.max_tokens",
            )


@check("nothing_searched", "warning")
def nothing_searched(facts: Facts) -> Iterator[Fault]:
    """What `[reflection]`, `prompt.ablate` or `few_shot.sets` asks for cannot be done: a run would leave it out.

    GEPA is not installed, dev has fewer than 50 cases or too large groups, the cases have a system turn of their own,
    the model is a pipeline of your own, the prompt has one paragraph, or there are too few examples.
    """
    if facts.data is None:
        return
    project, split = facts.project, facts.data.split
    model, system, searched = project.ladder.baseline, facts.prompt_texts.get("system"), split.explore
    dev = shuffled(split.dev, project.split.seed)
    for why in (
        why_not_optimised(project, model, dev, searched=searched),
        why_not_ablated(project, model, system, dev, searched=searched),
        why_no_sets(project, len(split.shots), searched=searched),
    ):
        if why:
            yield Fault(why, "mend that, or take the key out of the project file")
