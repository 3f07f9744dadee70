"""Removed commands, options and choices, each with its replacement."""

from collections.abc import Mapping
from typing import Final

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
    ("shadow proxy", "--canary"): (
        "The canary returns once it rolls back on invalid answers. Run `tuneworthy shadow proxy` without --canary."
    ),
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
