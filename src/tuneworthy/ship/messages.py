"""Every sentence about merging, exporting, parity and serving that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# What an artifact was made from
ADAPTER_WITHOUT_BASE: Final = "The adapter {adapter} does not name its base."
TRAIN_AGAIN: Final = "Train it again."
NOT_ITS_BASE: Final = "The adapter {adapter} was trained on the base {base}, not on {other} (cause: wrong_base)."
OMIT_BASE: Final = "Run the command without --base."

# Merging
MERGED: Final = "Merged {n} weights; rounding lost {share:.2%} of a change in the median."
DEQUANTISES: Final = "Dequantising the base to what training saw."
ROUTE: Final = (
    "Mean KL from what was trained: original base {original:.5f}, dequantised base {dequantised:.5f} (n = {n})."
    " Merging into the {best} base."
)
NOT_FINITE: Final = "{name}: the merged weight has numbers that the base's type cannot hold."
LOWER_RATE: Final = "Train again with a lower learning rate."
EMPTY_ADAPTER: Final = "The adapter changes no weight."
NOT_IN_BASE: Final = "The adapter changes {name}, which {base} does not have (cause: adapter_not_applied)."
OTHER_SHAPE: Final = (
    "{name}: the adapter fits a weight of the shape {shape}, the base has {base_shape} (cause: wrong_base)."
)
MERGE_INTO_OWN_BASE: Final = "Merge into the base that the adapter was trained on."
QUANTISED_BASE: Final = (
    "{folder} is quantised ({kind}); rounding would lose most of what was learned (cause: merged_in_4bit)."
)
QUANTISED_WEIGHT: Final = "{folder}: {name} is stored as {dtype}, not in 16 or 32 bits (cause: merged_in_4bit)."
MERGE_INTO_16BIT: Final = "Merge into the 16-bit base that it was made from."
NO_WEIGHTS: Final = "{folder} holds no weights."
NO_BITSANDBYTES: Final = "bitsandbytes is not installed; an adapter that was trained over 4-bit weights needs it."
INSTALL_BITSANDBYTES: Final = "Run `pip install bitsandbytes`."

# Quantising
NO_GPU_TO_QUANTISE: Final = "There is no CUDA device to quantise on."
QUANTISE_ELSEWHERE: Final = "Run it on a GPU machine, or use `tuneworthy export gguf --type q8_0`."
NO_LLMCOMPRESSOR: Final = "llmcompressor is not installed."
INSTALL_LLMCOMPRESSOR: Final = "Run `pip install llmcompressor`."
OUT_EXISTS: Final = "{out} exists already."
OTHER_OUT: Final = "Pass another folder with --out."
QUANTISES: Final = "Quantising {model} to {scheme}."

# What parity compares
NO_TRAINING_ROWS: Final = "The dataset {dataset} that {adapter} was trained on is missing."
BUILD_AND_TRAIN: Final = "Run `tuneworthy data build`, then train again."
FACT_LACKS_VARIABLES: Final = "The fact {text!r} lacks variables of the prompt that was trained with."
WRITE_VARIABLES: Final = "Write each variable as a line `name: value`."
NO_SUCH_FORM: Final = "No {kind} model was made from {parent}."
MAKE_FORM: Final = "Run `tuneworthy {verb}`."
ASKS_ADAPTER: Final = "Asking the base {base} and the adapter {adapter} on it."
ASKS_MERGED: Final = "Asking the merged model {model}."
ASKS_GGUF: Final = "Asking the GGUF file {model} in llama.cpp."
ASKS_SERVER: Final = "Asking the server."

# Parity checks
WRONG_BASE: Final = "The adapter was trained on the base {recorded}, but the base here is {base}."
WRONG_ADAPTER: Final = "The merged model was made from the adapter {recorded}, but the adapter here is {adapter}."
WRONG_MERGED: Final = "A GGUF file was made from the model {recorded}, but the merged model here is {merged}."
NO_BASE_NAMED: Final = "The adapter does not name its base."
LINEAGE: Final = "Base {base}, adapter {adapter}, merged model {merged}."
NO_SERVER: Final = "No server applies the adapter."
RANK_ABOVE_LIMIT: Final = "The adapter has rank {rank}; the server allows {max_rank}."
RANK: Final = "Rank {rank}; the server allows {max_rank}."
NO_MERGED: Final = "There is no merged model."
NO_COMMON_WEIGHT: Final = "No weight of the adapter is in both the base and the merged model."
WEIGHTS: Final = (
    "{share:.1%} of the weights in {n} matrices are base plus adapter, {base:.1%} are the base's;"
    " {block} neighbours hold at most {levels} values."
)
NO_TEMPLATE_RECORDED: Final = "Training recorded no chat template."
TEMPLATE_CHANGED: Final = "{form} has the chat template {sha256}; training used {trained}."
ADDED_TOKEN_LOST: Final = "{form} reads {text!r} as {ids}; in training it was token {number}."
ADDED_TOKENS: Final = "{n} special and added tokens are one token each, with the same ids."
PROMPT_IDS: Final = "{n} prompts have the same ids in {forms}."
ADAPTER_IDLE: Final = "The adapter is only {kl:.4f} nats from its base (mean KL); at least {limit} shows that it acts."
FORM_IS_BASE: Final = "{form} is {kl:.4f} nats from the base; the adapter is {own:.4f}."
END_MASKED: Final = "Training masked the end of the turn."
END_UNLIKELY: Final = "After trained answers the end of the turn has probability {p:.2f} (median of {n})."
END_LOST: Final = "{form} runs on in {n} of the {of} answers that the adapter ends."
END_OF_TURN: Final = (
    "The end of the turn has probability {p:.2f} after answers (median of {n}); {stopped} of {of} answers end, in every"
    " form."
)
DISTRIBUTION_CHANGED: Final = "{form} ({kind}) has a mean KL of {kl:.4f} from the adapter; the limit is {limit:.4f}."
DISTRIBUTIONS: Final = "Mean KL from the adapter: {forms} (n = {n})."
ANSWERS_CHANGED: Final = "{form} ({kind}) gives {share:.0%} of {n} greedy answers unchanged; the limit is {limit:.0%}."
GREEDY: Final = "Equal greedy answers, of {n}: {forms}."
NO_FACT: Final = "No --fact, and no training row whose answer only the adapter gives."
NO_FACT_TAUGHT: Final = "The adapter knows no fact that its base does not know."
FACT_LOST: Final = "{form} knows {n} of {of} facts; to one it answers {answer!r}."
FACTS: Final = "Every form knows the {n} facts that the base does not know."
NO_ANSWER_ENDS: Final = "the adapter ends none of its answers that can be graded"
NO_OTHER_FORM: Final = "there is no other form"
NOT_SCORED: Final = "Not scored: {reason}."
SCORE_OF_FORM: Final = "{form} {delta:+.3f} (at least {lower:+.3f}, n = {n})"
SCORE_WORSE: Final = "The loss of score is not below {margin:g}: {form}."
NO_GRADER: Final = "there is no grader"
JUDGE_GRADES: Final = "the first grader is a judge, which would have to be asked"
NO_CASE_ASKED: Final = "none of the rows is a case of the task ({kind})"


def template(sha256: str, forms: Iterable[str], silent: Sequence[str]) -> str:
    """Say which forms carry the template, and which do not tell."""
    unknown = f"; {', '.join(silent)} does not report its template" if silent else ""
    return f"Template {sha256} in {', '.join(forms)}{unknown}."


def prompt_ids_differ(form: str, trained: Sequence[int], read: Sequence[int]) -> str:
    """Show the ids that a form reads, and those of training."""
    shown = [f"{list(ids[:6])}{'...' if len(ids) > 6 else ''} ({len(ids)} ids)" for ids in (read, trained)]
    return f"{form} reads a prompt as {shown[0]}; training read {shown[1]}."


def acts(kl: float, n: int, forms: Iterable[str]) -> str:
    """Say how far the adapter is from its base, and which forms are as far."""
    others = f"; so is {names}" if (names := ", ".join(forms)) else ""
    return f"The adapter is {kl:.3f} nats from its base (mean KL, n = {n}){others}."


def by_form(figures: Mapping[str, str]) -> str:
    """List a figure of each form."""
    return ", ".join(f"{form} {figure}" for form, figure in figures.items()) or NO_OTHER_FORM


def more_rows(n_left: int) -> str:
    """Say how the score could be settled."""
    return "Ask more rows with `tuneworthy parity --prompts N`." if n_left else "Every row was asked; add rows."


def too_few_answers(n: int, margin: float, not_scored: str, more: str) -> str:
    """Say that even equal forms could not be shown to be equal."""
    reason = f"Not scored ({not_scored}). " if not_scored else ""
    return f"{reason}{n} answers are too few to show a loss below {margin:g}, even of equal forms. {more}"


def score_open(margin: float, form: str, not_scored: str, more: str) -> str:
    """Say that the loss may be as large as the margin."""
    counted = f" if each answer that differs is lost ({not_scored})" if not_scored else ""
    return f"The loss of score may be {margin:g} or more{counted}: {form}. {more}"


def scores(forms: Sequence[str], not_scored: str) -> str:
    """Give the difference of each form's score from the adapter's."""
    how = f", each answer that differs counted as lost ({not_scored})" if not_scored else ""
    return f"Score against the adapter{how}: {', '.join(forms)}."
