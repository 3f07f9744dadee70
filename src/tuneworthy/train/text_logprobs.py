"""The log-probability of plain texts under a base, each behind a line break, as `transformers` computes it."""

from collections.abc import Sequence
from pathlib import Path

from tuneworthy.providers.base import PLAIN_START
from tuneworthy.train.base_model import load_model, load_tokenizer


def text_logprobs(folder: Path, texts: Sequence[str]) -> list[float]:
    """Return the natural log-probability of each text: a sum over its tokens.

    Args:
        folder: Of a base that was checked.
        texts: Of at most a few sentences: each is read in one go.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, model = load_tokenizer(folder), load_model(folder, "bfloat16").to(device).eval()
    start = len(tokenizer.encode(PLAIN_START))
    sums = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor(tokenizer.encode(PLAIN_START + text), device=device)
            logprobs = model(ids[None]).logits[0, start - 1 : -1].float().log_softmax(-1)
            sums.append(float(logprobs.gather(1, ids[start:, None]).sum()))
    return sums
