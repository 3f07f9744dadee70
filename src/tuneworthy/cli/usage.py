"""What click refuses on the command line, as errors of ours: a sentence, the nearest valid name, a code."""

import re
from collections.abc import Mapping
from typing import Final

import click

from tuneworthy.errors import UsageError, did_you_mean, join_sentences

_VENDOR: Final = (
    "Jobs at vendors were removed. Run `tuneworthy train` on this machine, or write a run for another trainer with "
    "`tuneworthy plan --emit trl`. To train at a vendor, export the rows with `tuneworthy data export --format openai`."
)

_ENGINE: Final = (
    "tuneworthy does not start vLLM. Run the command that `tuneworthy serve --what merged --print` shows, then "
    "`tuneworthy parity --url URL --served-model tuned`."
)

# Command; command and option; or command, option and value, to the replacement.
REMOVED: Final[Mapping[tuple[str, ...], str]] = {
    ("decide", "--what-if", "train_big_serve_small"): (
        "The assumption was removed. Set `train_hours` and `hours_engineering` in [economics] to both trainings' hours."
    ),
    ("decide", "--what-if", "open_7b_matches_api"): (
        "The assumption was removed. Add the open model to [models], and measure it with `tuneworthy run --rung model`."
    ),
    ("models probe",): "Run `tuneworthy check`, which calls the servers of the project file.",
    ("decode explain", "--logits"): "Write the probabilities with `--probs`.",
    ("decode explain", "--picture"): "Write a page with `--out page.html`.",
    ("data distill", "--add"): (
        "Import the distilled rows together with your other files: run `tuneworthy data import` with rows.jsonl of the "
        "import that `data distill` prints."
    ),
    ("data curve", "--sample"): "Only random subsets are measured. Omit the option.",
    ("data review rejected",): "Read the dropped rows, with their reasons, in the page of `tuneworthy data card`.",
    ("serve", "--engine"): _ENGINE,
    ("serve", "--vllm"): _ENGINE,
    ("serve", "--max-lora-rank"): _ENGINE,
    ("serve", "--check"): _ENGINE,
    ("serve", "--json"): "Only --check printed JSON. Run `tuneworthy parity --url URL --served-model tuned --json`.",
    ("export mirror",): "Send the traffic through `tuneworthy shadow proxy URL`, or replay LiteLLM's own log.",
    ("train", "--on"): _VENDOR,
    ("train", "--base"): _VENDOR,
    ("train", "--usd-per-mtok"): _VENDOR,
    ("train", "--personal-data"): _VENDOR,
    ("train", "--cancel"): _VENDOR,
    ("train", "--max-usd"): _VENDOR,
    ("train", "--yes"): _VENDOR,
    ("merge", "--share"): "Set [train] rehearsal, which forgets less and scores more than a weaker adapter.",
    ("parity", "--fact"): "Facts are the training answers that the adapter gives word by word and the base does not.",
    ("plan", "--emit", "accelerate"): (
        "The format was removed. Write `--emit trl`, and start that script on several GPUs with `accelerate launch`."
    ),
    ("plan", "--emit", "grpo"): (
        "The format was removed. Write `--emit trl`, and replace its trainer with TRL's GRPOTrainer and your grader as "
        "the reward function."
    ),
}


def replacement(*place: str) -> str:
    """Return the replacement of a removed option or choice; "" if it never existed."""
    return REMOVED.get(place, "")


def usage_error(error: click.ClickException) -> UsageError:
    """Return the error of a wrong command line, with the `--help` to read."""
    context, near = getattr(error, "ctx", None), ""
    message = error.format_message()
    command = context.command_path.partition(" ")[2] if context else ""
    match error:
        case click.NoSuchOption(option_name=name):
            message = f"Unknown option: {name!r}."
            parameters = context.command.get_params(context) if context else []
            near = replacement(command, name) or did_you_mean(name, [opt for one in parameters for opt in one.opts])
        case click.BadParameter(param=click.Parameter(type=click.Choice(choices=choices), opts=opts)):
            if value := re.match("'(.*?)' is not one of", error.message):
                near = replacement(command, opts[0], value[1]) or did_you_mean(value[1], list(map(str, choices)))
    help_line = f"Run `{context.command_path} --help` for the options." if context else ""
    return UsageError(message, hint=join_sentences(near, help_line))
