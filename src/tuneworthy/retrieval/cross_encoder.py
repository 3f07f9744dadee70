"""A reranker that reads question and chunk together: a sequence classifier of one label, in this process.

Invariant: the folder is checked before transformers reads it, and its code never runs. A pair is scored on its own, so
that its score depends on nothing else.

Source: Nogueira, Cho, "Passage re-ranking with BERT", arXiv 1901.04085.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tuneworthy.config.retrieval import CrossEncoderReranker
from tuneworthy.errors import ModelError
from tuneworthy.providers.model_safety import files_of
from tuneworthy.providers.models import find, pull, sha256_of_files
from tuneworthy.types import JsonMapping, Texts

# Tokens of question and chunk together, at most.
MAX_TOKENS = 512


def cross_encoder_missing() -> str:
    """Return why nothing can be scored, and the command that helps; "" if torch and transformers are installed."""
    installed = all(find_spec(name) for name in ("torch", "transformers"))
    return "" if installed else 'The cross-encoder needs torch and transformers. Run `pip install "tuneworthy[train]"`.'


def cross_encoder_identity(config: CrossEncoderReranker, root: Path) -> JsonMapping:
    """Return what determines the scores; the hash of a model that was not pulled yet is "".

    Raises:
        ModelError: The folder contains files that may not be loaded.
    """
    path = find(config.model, root)
    return {**config.model_dump(), "sha256": sha256_of_files(files_of(path)) if path else ""}


class CrossEncoder:
    """Scores of a model on the CPU.

    Args:
        config: The model.
        root: The project folder.

    Raises:
        ModelError: It is not there, may not be loaded, or is not a classifier of one label.
    """

    def __init__(self, config: CrossEncoderReranker, root: Path) -> None:
        if missing := cross_encoder_missing():
            raise ModelError(missing)
        self._spec = config.model
        folder = pull(config.model, root)
        if not folder.is_dir():
            raise self._odd(f"the file {folder.name}")
        files_of(folder)
        self._model, self._tokenizer = self._load(folder)
        room = getattr(self._model.config, "max_position_embeddings", MAX_TOKENS)
        self._longest = min(MAX_TOKENS, self._tokenizer.model_max_length, room)

    async def score(self, question: str, texts: Texts, repeat: int = 0) -> list[float]:
        import torch

        scores = []
        for text in texts:
            pair = self._tokenizer(question, text, truncation=True, max_length=self._longest, return_tensors="pt")
            with torch.inference_mode():
                scores.append(float(self._model(**pair).logits[0, 0]))
        if not np.isfinite(scores).all():
            raise self._odd("scores with NaN or infinite values")
        return scores

    def _load(self, folder: Path) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        safely = {"trust_remote_code": False, "local_files_only": True}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
            model, loading = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **safely
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise self._odd(f"{error!r:.80}") from None
        if model.config.num_labels != 1:
            raise self._odd(f"one of {model.config.num_labels} labels")
        if missing := sorted(loading["missing_keys"]):  # they would be drawn at random
            raise self._odd(f"one without {missing[0]}")
        return model.eval(), tokenizer

    def _odd(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._spec} is not a cross-encoder with a single label: {reason}.",
            hint="Set model in [retrieval.reranker] to a folder that contains a cross-encoder.",
        )
