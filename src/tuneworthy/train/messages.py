"""Every sentence about training that a person reads."""

from collections.abc import Mapping
from typing import Final

PROJECT_FILE: Final = "project file"
THE_ROWS: Final = "the rows"
SET_BASE: Final = "Set [train] base to a model whose weights are on this machine."
LOWER_RATE: Final = "Lower [train] learning_rate."
USE_LORA: Final = 'Set [train] method to "lora", "qlora" or "full".'
IMPORT_ROWS: Final = "Run `tuneworthy data import FILE` and `tuneworthy data build`, or set [examples]."
ANSWERS_ONLY: Final = "The pilot and the check of the learning rate train on answers, not on pairs."
CHECK_TEMPLATE: Final = "Check the rows and the chat template of [train] base."
SHAPE_HINT: Final = "Specify a GGUF file, or a folder with the config.json of a decoder-only text model."


# What a run generates before and between its steps.
COUNTED: Final[Mapping[str, str]] = {
    "questions": "Rehearsal questions",
    "answers": "Rehearsal answers",
    "held_out": "Evaluation, held-out answers",
}

# Rows
LEFT_OUT_REASONS: Final[Mapping[str, str]] = {
    "too_long": "longer than max_length",
    "refused": "rejected by the chat template",
    "no_answer": "not ending with an assistant answer",
    "control_tokens": "containing the model's control tokens",
    "prompt_differs": "with a prompt that renders differently without its answer",
    "no_end": "without an end-of-turn token, so the model would not learn to stop",
}


def evaluated(step: int, metric: float, best: float) -> str:
    """Report an evaluation."""
    return f"Step {step}: the task metric on held-out rows is {metric:.1%} (best so far: {best:.1%})."


def pairs_start(n: int, start: str | None) -> str:
    """Say how many pairs are trained on, and from where."""
    return f"Training on {n} pairs, starting from {f'adapter {start}' if start else 'the base model'}."


def memory_after(sentence: str) -> str:
    """Compare the memory of a run with its estimate."""
    if not sentence:
        return "Memory use was not compared with the estimate, because this process had already used as much memory."
    return f"{sentence}."


def dtype_reason(*, has_bf16: bool) -> str:
    """Say whether the device computes in bfloat16."""
    return "This device supports bfloat16." if has_bf16 else "This device does not support bfloat16."


def targets_reason(n_experts: int, mlp_share: float) -> str:
    """Say what adapters on all linear layers reach."""
    if n_experts:
        return f"The setting all-linear does not cover the {n_experts} experts. List them in target_parameters."
    return (
        f"The MLP has {mlp_share:.1%} of the linear weights. Adapting attention alone performs worse, "
        "even with the same number of parameters."
    )


def length_reason(longest: int, median: int, p99: int, length: int, *, counted: bool) -> str:
    """Say how long the rows are, which of them are dropped, and what TRL's default would cut."""
    how = "counted by the model's tokenizer" if counted else "estimated from byte lengths"
    dropped = (
        "No row is dropped." if length >= longest else f"Rows of more than {length} tokens are dropped (p99 is {p99})."
    )
    default = " TRL's default would truncate rows at 1024 tokens." if length > 1024 else ""
    return f"The longest row has {longest} tokens and the median row {median} ({how}). {dropped}{default}"


def rank_reason(n: int, share: float, supervised: int) -> str:
    """Compare the parameters of the adapters with the tokens that they learn from."""
    binds = "enough capacity" if n >= supervised else "more tokens than the largest recommended adapter can learn"
    return f"{n / 1e6:.1f}M parameters ({share:.1%} of the model) for {supervised} supervised tokens: {binds}."


def rate_reason(formula: str, times: int, capped: float | None, steps: int | None) -> str:
    """Say how the learning rate follows from the fit."""
    cap = f", capped at {capped:g} because the fit does not cover models this small" if capped else ""
    short = f" and applies to short runs (here {steps} steps)" if steps is not None else ""
    factor = f" The factor {times} is relative to full fine-tuning{short}." if times > 1 else ""
    return f"{formula}{cap}.{factor}"


def micro_batch_reason(needed: float, most: float, available: float, accumulated: int, *, fits: bool) -> str:
    """Say how much of the memory the largest batch takes; memory in GiB."""
    rows = "The largest batch that fits needs" if fits else "Even one row does not fit: it needs"
    room = f" of the {available:.1f} GiB available" if fits else f", but {available:.1f} GiB is available"
    return f"{rows} {needed:.1f} GiB (at most {most:.1f} GiB){room}. Gradient accumulation steps: {accumulated}."


# Memory
# Part of the peak to what it is.
PARTS: Final[Mapping[str, str]] = {
    "weights": "{n:.3f}B weights, {bytes} bytes each",
    "weights_nf4": "linear layers, {bits:.3f} bits per weight",
    "weights_rest": "embeddings, output head and norms, {bytes} bytes per weight",
    "adapters": "{what}, {bytes} bytes each",
    "copies": "16-bit copies of trained weights for matrix products",
    "optimizer": "two Adam moments for {what}, {bytes} bytes per parameter",
    "gradients": "gradients of {what}",
    "checkpoints": "stored inputs of all layers",
    "live_layer": "backward pass of one layer",
    "freed_layer": "what one layer frees, which the C library keeps for later",
    "activations": "values that {n} layers store for the backward pass",
    "logits": "output head and its gradient, one tile at a time",
    "fixed": "libraries, context and fragmentation",
}


def reconciliation(measured: float, estimated: float, low: float, high: float, error: float, *, inside: bool) -> str:
    """Compare a measured peak with the estimate and its band; memory in GiB."""
    where = "inside" if inside else "outside"
    return (
        f"Peak memory: {measured:.2f} GiB measured, {estimated:.2f} GiB estimated ({error:+.1%}), "
        f"{where} the band {low:.2f} to {high:.2f} GiB"
    )
