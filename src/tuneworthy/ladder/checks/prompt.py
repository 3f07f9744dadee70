"""Checks of the prompt: its files, its templates, its variables, and whether an answer fits."""

from functools import partial

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.ladder import messages
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts, attempt
from tuneworthy.ladder.estimate import BYTES_A_TOKEN, prompt_tokens
from tuneworthy.ladder.rungs.prompt import why_not_optimised
from tuneworthy.ladder.task_data import shuffled
from tuneworthy.prompts.templates import check_template, own_system, question, render, with_variables
from tuneworthy.rules import Finding, Findings, Sentences
from tuneworthy.text import count, plural
from tuneworthy.types import Variant


@check()
def prompt_file(facts: Facts) -> Findings:
    """A template file that `[prompt]` names is not there, or is not UTF-8.

    A value that ends in `.md`, `.txt` or `.j2` is read as the name of a file in the project.
    """
    for key in ("system", "user"):
        value = getattr(facts.project.prompt, key)
        try:
            facts.project.text(value)
        except UserError as error:
            yield Finding(message=f"prompt.{key}: {error.message}", fix=error.hint)
        except UnicodeDecodeError:
            yield Finding(message=f"prompt.{key}: {value} is not valid UTF-8.", fix="Save the file as UTF-8.")


@check(fix="Fix the template.")
def prompt_template(facts: Facts) -> Sentences:
    """A template of `[prompt]` is not Jinja (a brace or tag is not closed), or does not end."""
    for key, text in facts.prompt_texts.items():
        if error := attempt(UserError, partial(check_template, text))[1]:
            yield f"prompt.{key} is not a valid Jinja template: {error.message}."


@check(fix="Use only variables that every case has, or add the missing variables to the cases.")
def prompt_variables(facts: Facts) -> Sentences:
    """The prompt uses a variable that some cases do not have.

    If `input` is an object, its keys are the variables. If `input` is text, the variables are `input` and the lines of
    the form `name: value` in the text. A user template with a single variable gets the whole text. Dev cases that come
    from the examples are text.
    """
    cases = {case.id: case for case in (*facts.cases, *(facts.data.split.dev if facts.data else ()))}
    texts = facts.prompt_texts.items()
    sources = {key: text for key, text in texts if not attempt(UserError, partial(check_template, text))[1]}
    asks = partial(with_variables, sources.get("system"), sources.get("user", ""))
    for key, text in sources.items():
        fill = question if key == "user" else render
        lacking: list[str] = []
        reason = ""
        for one in cases.values():
            if own_system(one) or (key == "user" and one.messages):
                continue
            try:
                fill(text, asks(one.input if one.input is not None else ""))
            except UserError as error:
                lacking.append(one.id)
                reason = reason or join_sentences(error.message, "")
        if lacking:
            yield f"prompt.{key}: {reason} This affects {count(len(lacking), 'case')}, starting with {lacking[0]}."


@check(severity="warning", fix="Put {{ input }} where the question belongs.")
def no_input(facts: Facts) -> str:
    """The user template does not use the case at all: every question would be the same."""
    plain = [case for case in facts.cases if not case.messages]
    user = facts.prompt_texts.get("user")
    return (
        f"prompt.user ({user[:40]!r}) uses no variable, so the user message is the same for every case."
        if plain and user is not None and "{{" not in user and "{%" not in user
        else ""
    )


@check(severity="warning", fix=messages.say("raise_max_tokens"))
def answer_limit(facts: Facts) -> str:
    """`prompt.max_tokens` is shorter than some right answers, so they would be cut off and count as wrong.

    Tokens are estimated as bytes / 4.
    """
    limit = facts.project.prompt.max_tokens
    longer = [
        size
        for case in facts.labelled
        if case.expected is not None and (size := len(answer_text(case.expected).encode()) / BYTES_A_TOKEN) > limit
    ]
    return (
        (
            f"prompt.max_tokens is {limit}, but {len(longer)} of {len(facts.labelled)} expected answers "
            f"{plural(len(longer), 'is', 'are')} longer. The longest has about {round(max(longer))} tokens."
        )
        if longer
        else ""
    )


@check(severity="warning", fix="Raise the context length, or lower few_shot.k or prompt.max_tokens.")
def context(facts: Facts) -> Sentences:
    """Prompt and answer may not fit the context of an embedded model: the call would be refused.

    Shots are counted with their largest number.
    """
    split, texts, prompt = facts.run_data.split, facts.prompt_texts, facts.project.prompt
    variant = Variant(
        name="today",
        model="",
        model_identity={},
        system=texts.get("system"),
        user=texts.get("user", "{{ input }}"),
    )
    _, longest = prompt_tokens(variant, [*split.dev, *split.test])
    shots = split.pool[:1000]
    size = sum(len((shot.question + shot.answer).encode()) for shot in shots) / max(1, len(shots)) / BYTES_A_TOKEN + 8
    most = longest + prompt.max_tokens + (max(facts.project.few_shot.k, default=0) * size if shots else 0)
    for name, model in facts.project.models.items():
        if model.slot_context is not None and most > model.slot_context:
            yield (
                f"models.{name}.context is {model.slot_context} tokens, but the longest case needs about "
                f"{round(most)}, including few-shot examples and the answer."
            )


@check(severity="warning", fix="Fix the cause, or remove [reflection].")
def nothing_searched(facts: Facts) -> str:
    """A run skips `[reflection]`.

    Reasons: GEPA is not installed, dev has fewer than 50 cases or groups that are too large, the cases have their own
    system turn, or the model is your own pipeline.
    """
    project, split = facts.project, facts.run_data.split
    why = why_not_optimised(
        project, project.ladder.baseline, shuffled(split.dev, project.split.seed), searched=split.explore
    )
    return why[:1].upper() + why[1:]
