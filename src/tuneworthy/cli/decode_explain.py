"""`tuneworthy decode explain`: one position after the samplers, a table per engine, a row per token."""

from dataclasses import fields, replace
from math import exp
from pathlib import Path
from typing import Any

import click
import numpy as np

from tuneworthy.cli.interruption import run_async
from tuneworthy.cli.options import FiniteFloat, json_option, note, print_result, project_option, say
from tuneworthy.cli.run import agree_to_spend
from tuneworthy.cli.tables import show_tables
from tuneworthy.config import load
from tuneworthy.decoding.engines import Sampling
from tuneworthy.decoding.presets import preset_of
from tuneworthy.decoding.samplers import Trail, logits_of
from tuneworthy.decoding.view import Comparison, Position, compare_engines, with_rest
from tuneworthy.errors import Undecided, UnknownName, UserError
from tuneworthy.ladder.commands.uncertainty import ALTERNATIVES
from tuneworthy.ladder.session import open_session
from tuneworthy.report.text import Column, Table, clean, name_column, percent, text_column
from tuneworthy.text import count
from tuneworthy.types import Case, JsonMapping, Texts, Variant

ENGINES = ("hf", "vllm", "llama_cpp")
# Tokens to show.
MOST = 12
# Words that are no sampling parameters, with the type of their values: lists of numbers, or a name.
WORDS = {"probs": float, "seen": int, "preset": str, "model": str}


@click.command("explain")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--prompt", help="Text whose next token a model predicts.")
@project_option
@json_option
def command(words: Texts, prompt: str | None, root: Path) -> None:
    """Show which tokens survive each sampler, engine by engine.

    Shows the probabilities after each sampler of HF, vLLM and llama.cpp. The distribution comes from you
    (probs=85,5,3) or from a model (--prompt). Each engine has its own sampler order and defaults.

    NAME=VALUE sets temperature, top_k, top_p, min_p, repetition_penalty, frequency_penalty or presence_penalty, or
    their preset, which other values override. The penalties apply to the tokens that seen=0,0,4 lists by number.
    model=NAME names the model of --prompt in [models] (default: the baseline).

    \b
    Example:
      tuneworthy decode explain probs=85,5,3 temperature=0.7 top_p=0.9
      tuneworthy decode explain --prompt "The capital of France is" preset=chat
    """
    given = _settings(words)
    probs, tokens, preset, model = (given.pop(name, None) for name in WORDS)
    if (probs is None) is (prompt is None):
        raise UserError("Use either probs=… or --prompt.", hint="Try probs=85,5,3.")
    if probs is not None:
        position = Position(logits=logits_of(np.array(probs)), labels=[])
    else:
        position = run_async(_ask(root, prompt or "", model))
    parts = [
        compare_engines(position, _sampling(given, preset, name), [name], written=tokens or ()) for name in ENGINES
    ]
    trails = {name: trail for part in parts for name, trail in part.trails.items()}
    shown = replace(parts[0], trails=trails, notes=list(dict.fromkeys(line for part in parts for line in part.notes)))
    print_result(shown.to_dict(MOST), _show, shown)


def _settings(words: Texts) -> dict[str, Any]:
    """Return the values of `NAME=VALUE` words.

    Raises:
        UnknownName: There is no such parameter.
        UserError: A value is no number.
    """
    names, found = [*(one.name for one in fields(Sampling)), *WORDS], dict[str, Any]()
    for word in words:
        name, _, text = word.partition("=")
        name = name.replace("-", "_")
        if name not in names:
            raise UnknownName("sampling parameter", name, names)
        if name in WORDS:
            found[name] = _numbers(text, name, WORDS[name]) if WORDS[name] is not str else text
            continue
        value = FiniteFloat().convert(text, None, None)
        if name == "top_k" and (value != int(value) or value < -1):
            raise UserError(f"top_k must be a whole number from -1, not {text}.")
        found[name] = int(value) if name == "top_k" else value
    return found


def _sampling(given: JsonMapping, preset: str | None, engine: str) -> Sampling:
    base = preset_of(preset).decoding(engine, given.get("temperature")) if preset else {}
    return Sampling.of({**base, **given})


def _numbers(text: str, option: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UserError(f"{option} needs numbers such as 85,5,3, not {text!r}.") from None


async def _ask(root: Path, prompt: str, name: str | None) -> Position:
    """Ask a model for one token with its alternatives; stored answers are reused."""
    project = load(root)
    name = name or project.ladder.baseline
    agree_to_spend(project, None, False, {name})
    async with open_session(project, waiting=note) as session:
        model = session.models[name]
        variant = Variant(
            name="decode explain", model=name, model_identity=model.provider.identity, system=None,
            user="{{ input }}", decoding={"temperature": 0}, max_tokens=1,
        )  # fmt: skip
        (trace,) = await session.runner.run(
            variant, model, [Case(id=Case.make_id(prompt), input=prompt)], logprobs=ALTERNATIVES
        )
    top = trace.response.logprobs[0]["top"] if trace.response and trace.response.logprobs else ()
    if not top:
        problem = f"did not answer: {trace.error.message}" if trace.error else "returns no log-probabilities"
        raise Undecided(
            f"{name} {problem.rstrip('.')}.",
            hint="Use a model that returns log-probabilities, such as one in llama_cpp.",
        )
    return with_rest([exp(share) for _, share in top], [str(token) for token, _ in top])


def _show(comparison: Comparison) -> None:
    show_tables(
        [*(engine_table(comparison, trail, MOST) for trail in comparison.trails.values()), steps_table(comparison)]
    )
    for (a, b), distance in comparison.apart().items():
        same = f"total variation distance {distance:.1%}" if distance > 1e-9 else "identical"
        say(f"{a} and {b}: {same}")
    for line in comparison.notes:
        say(f"- {clean(line, 0)}")


SETTLED = frozenset({"start", "greedy"})  # steps without a value


def engine_table(comparison: Comparison, trail: Trail, most: int) -> Table:
    """Return the likeliest tokens of an engine before and after its samplers."""
    before, after, gone = trail.steps[0].left.distribution.tolist(), trail.distribution.tolist(), trail.removed_by
    columns = [
        name_column("token", "token", lambda token: clean(comparison.position.label(token), 20) or "(blank)"),
        Column("model", "model", percent, value=before.__getitem__),
        Column("after", "after all samplers", percent, value=after.__getitem__),
        text_column("removed", "removed by", lambda token: trail.steps[gone[token]].name if gone[token] > 0 else ""),
    ]
    title = f"{trail.engine.label} {trail.engine.version}: {count(len(trail.left), 'token')} kept"
    return Table.of(title, columns, comparison.shown(most))


def steps_table(comparison: Comparison) -> Table:
    """Return the steps as a table: sampler, value, who set it, tokens kept, probability of the likeliest token."""
    rows = [(trail, step) for trail in comparison.trails.values() for step in trail.steps]
    columns = [
        text_column("engine", "engine", lambda row: row[0].engine.label),
        name_column("step", "step", lambda row: row[1].name),
        Column("value", "value", value=lambda row: "" if row[1].name in SETTLED else f"{row[1].value:g}"),
        text_column("origin", "set by", lambda row: row[1].origin),
        Column("kept", "tokens kept", value=lambda row: f"{len(row[1].left):,}"),
        Column("top", "top probability", percent, value=lambda row: row[1].left.probabilities[0]),
    ]
    return Table.of("Sampling steps", columns, rows)
