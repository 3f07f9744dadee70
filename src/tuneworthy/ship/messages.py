"""Every sentence about merging, exporting, parity and serving that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# What an artifact was made from
ADAPTER_WITHOUT_BASE: Final = "The adapter {adapter} does not name its base."
TRAIN_AGAIN: Final = "Train it again."
NOT_ITS_BASE: Final = "The adapter {adapter} was trained on the base {base}, not on {other} (cause: wrong_base)."
OMIT_BASE: Final = "Run the command without --base."

# Reading adapters
NOT_LORA: Final = "{folder} holds an adapter of PEFT type {kind}, not LORA."
NOT_MERGEABLE: Final = "The adapter in {folder} cannot be merged: it {why} ({key})."
UNMERGEABLE_SETTINGS: Final[Mapping[str, str]] = {
    "layer_replication": "repeats layers of the base",
    "target_parameters": "adapts fused parameters of experts",
    "megatron_config": "was trained with Megatron",
    "trainable_token_indices": "trains single rows of the embeddings",
    "lora_bias": "adds biases inside the adapter",
    "alora_invocation_tokens": "acts on a part of the prompt only",
    "arrow_config": "routes between several adapters",
}
FAN_IN: Final = "stores weights with inputs first, as GPT-2 does"
UNKNOWN_TENSOR: Final = "The adapter in {folder} holds {name}, which is no tensor of LoRA."
NO_FACTORS: Final = "The adapter in {folder} does not hold two factors of one rank for {module}."
OTHER_RANK: Final = "The adapter in {folder} has rank {rank} in {module}; its config says {config}."
BAD_PATTERN: Final = "A pattern in {key} cannot be used: {pattern!r} ({reason})."
TOO_SLOW: Final = "matching takes too long"

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

# GGUF files
NO_FILE_TYPE: Final = "There is no GGUF type {file_type}."
FILE_TYPES: Final = "Use one of {types}."
NO_SOURCE_FILE: Final = "The file of {spec}, whose tokenizer the GGUF file takes over, is not on this machine."
OTHER_SOURCE_FILE: Final = "{path} is not the file that the base was made from."
PULL: Final = "Run `tuneworthy models pull {spec}`."
NO_QUANTISER: Final = "{program} is not on the PATH; K-quants need it."
INSTALL_LLAMA_CPP: Final = "Install llama.cpp, or use q8_0."
QUANTISER_FAILED: Final = "{program} failed: {reason}."
NO_GGUF_PACKAGE: Final = "The package gguf is not installed."
INSTALL_TRAIN: Final = "Run `pip install 'tuneworthy[train]'`."
NOT_IN_F16: Final = "{name} has numbers that 16 bits cannot hold."
USE_Q8: Final = "Use --type q8_0."
OTHER_KEY: Final = "{source} has {key} = {stored}, the model has {value} (cause: wrong_base)."
OTHER_TOKEN: Final = "Token {number} is {token!r} in the model's tokenizer and {base!r} in the base's GGUF file."
TOO_FEW_ROWS: Final = "The tokenizer has {tokens} tokens, the embeddings have {rows} rows (cause: added_token_lost)."
RESIZE_EMBEDDINGS: Final = "Train again with the embeddings resized to the tokenizer."
USE_CONVERTER: Final = "Convert the model with llama.cpp's convert_hf_to_gguf.py."
NO_GGUF_ARCHITECTURE: Final = "{name} cannot be written as GGUF here; {known} can."
NO_PLACE_IN_GGUF: Final = "A GGUF file of {architecture} has no place for {name}."
LOST_IN_GGUF: Final = "The model cannot be written as GGUF: {setting}."
ROPE_SCALING: Final = "the file cannot hold the rotary scaling {kind}"
SLIDING_WINDOW: Final = "the file cannot hold its sliding window (use_sliding_window)"
QUANTISED: Final = "it is quantised"
ACTIVATION: Final = "the file cannot hold the activation {kind}"
NOT_BPE: Final = "{folder}: a tokenizer of type {kind} cannot be written as GGUF, only BPE."
NO_TOKENIZER: Final = "There is no {path}."
SAVE_TOKENIZER: Final = "Save it with transformers' fast tokenizer."
NORMALISER: Final = "A tokenizer with the normalizer {kind} cannot be written as GGUF."
PRE_TOKENISER: Final = "llama.cpp has no name for the pre-tokenizer {kinds}."

# Ollama
NOT_FOR_OLLAMA: Final = "Ollama's template language cannot hold the chat template: {reason}."
SERVE_WITH_LLAMA_CPP: Final = "Serve the GGUF file with llama.cpp, which reads the template itself."
WRITES_TWICE: Final = "it does not write each text exactly once"
FRAMES_DIFFER: Final = "it writes different text around messages of one role"
QUOTES: Final = "it has three quotes in a row, or a quote at its end"
QUOTED_STOP: Final = "the token {stop!r}, which ends an answer, has a quote or a line end"
NO_CHAT_TEMPLATE: Final = "The model in {folder} has no chat template."
ADD_TEMPLATE: Final = "Add a chat_template.jinja to the folder."
NOT_A_NUMBER: Final = "generation_config.json: {key} must be a number, not {value!r}."

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

OTHER_COUNT: Final = "llama.cpp reads {counted} tokens of a prompt of {n}."
NO_LLAMA_CPP: Final = "xllamacpp is not installed."
INSTALL_LOCAL: Final = "Run `pip install 'tuneworthy[local]'`."
NO_TORCH: Final = "torch and transformers are not installed."

# Serving
WRONG_ENGINE: Final = "{engine} does not serve {what}."
RIGHT_ENGINE: Final = "llama_cpp serves gguf; vllm serves merged or adapter."
OMIT_MAX_RANK: Final = "Run the command without --max-lora-rank (cause: rank_above_server_limit)."
STARTS: Final = "Starting {line}"
STILL_ANSWERS: Final = "The server at {address} was stopped and still answers."
SERVER_ENDED: Final = "The server has ended."

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


def writes_gguf(folder: object, file_type: str, source: object) -> str:
    """Say what is written, and whose keys it takes over."""
    return f"Writing {folder} as {file_type}" + (f", with the keys of {source}." if source else ".")


def serving(cause: str | None, detail: str) -> str:
    """Say whether a server serves what was trained."""
    return f"Parity failed: {cause}." if cause else detail or "It serves what was trained."


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
