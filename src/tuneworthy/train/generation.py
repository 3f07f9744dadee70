"""Answers of a model: greedy or drawn, in batches of prompts of like length, with the prompt as served."""

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import ERROR, getLogger
from typing import Any

from tuneworthy.train.batch_layout import common_prefix
from tuneworthy.train.phases import phase
from tuneworthy.types import Texts, TokenLists, Tokens, positional

BATCH = 32
# Most tokens of all prompts and answers of a batch: the cache per token (at 7B up to 0.5 MiB) has to fit.
MOST_TOKENS = 16_384
# Fewest tokens that all prompts begin with for them to be read once instead of with each prompt.
SHARED = 16
# Share of the probability that the tokens to draw from hold.
NUCLEUS = 0.95
# Ids per answer, and the token that ended it; None where it was cut off.
AnswerIds = list[tuple[list[int], int | None]]
Advance = Callable[[int], None]
# Text per answer, and why it ended.
Answers = list[tuple[str, str]]


def quiet() -> None:
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, by the next line at the earliest
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    getLogger("bitsandbytes").setLevel(ERROR)  # it warns that it downloads no kernel
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl|peft|torch)\.")


def inner_model(model: Any) -> Any:
    """Return the model of transformers that adapters are on, or the model itself without any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def answering_mode(model: Any) -> Iterator[None]:
    """Put `model` into the state that answers are computed in, and back: plain attention, no dropout, a cache."""
    inner = inner_model(model)
    before, training, cache = inner.config._attn_implementation, model.training, inner.config.use_cache
    inner.set_attn_implementation("sdpa")
    inner.config.use_cache = True
    model.eval()
    try:
        yield
    finally:
        inner.set_attn_implementation(before)
        inner.config.use_cache = cache
        model.train(training)


@positional
class Evaluator:
    """Scores a model by its answers to prompts.

    Attributes:
        ids: Token ids per prompt, ready to be answered.
        ends: Ids that end a turn.
        max_tokens: Limit of an answer.
        stop: Texts that end an answer.
        tokenizer: Tokenizer of the model, of transformers.
        score: From the answers, in the order of the prompts, to the task metric, 0..1.
    """

    ids: TokenLists
    ends: Tokens
    max_tokens: int
    stop: Texts
    tokenizer: Any
    score: Callable[[Answers], float]

    def __call__(self, model: Any) -> float:
        return self.score(self.answers(model))

    def answers(self, model: Any) -> Answers:
        """Return the greedy answer per prompt, and why it ended: `stop` or `length`."""
        filler = self.ends[0] if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        with answering_mode(model), phase("score held-out rows", len(self.ids)) as advance:
            rows = answer_ids(
                model, self.ids, ends=self.ends, filler=filler, max_tokens=self.max_tokens, advance=advance
            )
        answers = []
        for ids, end in rows:
            text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            cuts = [place for mark in self.stop if (place := text.find(mark)) >= 0]
            answers.append((text[: min(cuts)] if cuts else text, "stop" if cuts or end is not None else "length"))
        return answers


def answer_ids(
    model: Any,
    prompts: TokenLists,
    *,
    ends: Tokens,
    filler: int,
    max_tokens: int,
    draw: bool = False,
    advance: Advance = lambda _: None,
) -> AnswerIds:
    """Return the ids per answer without its end token, and the end token; None if the answer was cut off.

    The model's own generation configuration is ignored. Tokens that all prompts begin with, such as the system prompt,
    are read once.

    Args:
        model: Of transformers, in `answering_mode` or ready to answer.
        prompts: Token ids, in the order of the result.
        ends: Ids that end a turn.
        filler: Id that fills the start of a shorter prompt, and is not read.
        max_tokens: Limit of an answer.
        draw: Whether tokens are drawn, at temperature 1 from the nucleus `NUCLEUS`, by torch's seed; else greedily.
        advance: Gets the number of answers per batch.
    """
    import torch
    from transformers import GenerationConfig

    config = GenerationConfig(
        do_sample=draw,
        max_new_tokens=max_tokens,
        eos_token_id=list(ends),
        pad_token_id=filler,
        use_cache=True,
        **{"temperature": 1.0, "top_p": NUCLEUS, "top_k": 0} if draw else {},
    )
    answers_of: AnswerIds = [([], None)] * len(prompts)
    device = model.device
    start, cache = shared_start(model, prompts)
    for chosen in batches([len(ids) for ids in prompts], max_tokens):
        width = max(len(prompts[at]) for at in chosen)
        rows = [(width - len(prompts[at]), list(prompts[at])) for at in chosen]
        ids = torch.tensor([row[:start] + [filler] * gap + row[start:] for gap, row in rows], device=device)
        mask = torch.tensor([[1] * start + [0] * gap + [1] * len(row[start:]) for gap, row in rows], device=device)
        past = repeated(cache, len(chosen))
        with torch.no_grad(), _neutral(model):
            written = model.generate(input_ids=ids, attention_mask=mask, past_key_values=past, generation_config=config)
        for at, row in zip(chosen, written[:, width:].tolist(), strict=True):
            place = next((place for place, token in enumerate(row) if token in ends), None)
            answers_of[at] = (row[:place], None if place is None else row[place])
        advance(len(chosen))
    return answers_of


def shared_start(model: Any, prompts: TokenLists) -> tuple[int, Any]:
    """Return how many tokens all prompts begin with, and their cache; 0 and None where it does not pay.

    Nor is it taken where the cache of a layer is of another kind than all keys and values (a window, a state).
    """
    import torch
    from transformers.cache_utils import DynamicLayer

    start = prompts[0][: common_prefix([ids[:-1] for ids in prompts])] if len(prompts) > 1 else []
    if len(start) < SHARED:
        return 0, None
    with torch.no_grad():
        cache = model(input_ids=torch.tensor([start], device=model.device), use_cache=True).past_key_values
    whole = all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", [None]))
    return (len(start), cache) if whole else (0, None)


def repeated(cache: Any, n: int) -> Any:
    """Return a copy of the cache of `shared_start` for `n` texts; None stays None."""
    past = copy.deepcopy(cache)
    if past is not None:
        past.batch_repeat_interleave(n)
    return past


@contextmanager
def _neutral(model: Any) -> Iterator[None]:
    """Take the model's own generation configuration away, which would fill in what ours leaves open, and back."""
    from transformers import GenerationConfig

    before, model.generation_config = model.generation_config, GenerationConfig()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`past_key_values` is deprecated")  # `cache` is not in older versions
            yield
    finally:
        model.generation_config = before


def batches(lengths: Sequence[int], max_tokens: int, batch: int = BATCH) -> Iterator[list[int]]:
    """Yield the places of prompts of like length, as many at once as there is room for.

    Args:
        lengths: Tokens per prompt, ``(n,)``.
        max_tokens: Limit of an answer.
        batch: Most prompts at once.
    """
    order = sorted(range(len(lengths)), key=lambda at: lengths[at])
    while order:
        size = min(batch, len(order))
        while size > 1 and size * (lengths[order[size - 1]] + max_tokens) > MOST_TOKENS:
            size -= 1
        yield order[:size]
        order = order[size:]
