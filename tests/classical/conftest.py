"""A tiny encoder with random weights instead of the one that is downloaded."""

from __future__ import annotations

import string
from collections.abc import Iterator

import numpy as np
import pytest

from tuneworthy.classical import embedding, objects
from tuneworthy.retrieval import encoder as retrieval_encoder
from tuneworthy.retrieval.encoder import VectorEncoder

WIDTH = 32


def tiny_encoder() -> VectorEncoder:
    """Return a BERT of one layer whose pieces are characters."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{one}" for one in letters)]
    rng = np.random.default_rng(0)
    shapes = {"embeddings.word_embeddings": (len(pieces), WIDTH), "embeddings.position_embeddings": (256, WIDTH),
              "embeddings.token_type_embeddings": (2, WIDTH)}  # fmt: skip
    at = "encoder.layer.0."
    linear = {f"{at}attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
    linear |= {f"{at}attention.output.dense": (WIDTH, WIDTH), f"{at}intermediate.dense": (4 * WIDTH, WIDTH),
               f"{at}output.dense": (WIDTH, 4 * WIDTH)}  # fmt: skip
    weights = {f"{name}.weight": rng.normal(size=shape) for name, shape in (shapes | linear).items()}
    weights |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in linear.items()}
    for name in ("embeddings.LayerNorm", f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"):
        weights |= {f"{name}.weight": np.ones(WIDTH), f"{name}.bias": np.zeros(WIDTH)}
    return VectorEncoder(vocabulary=pieces, weights={name: one.astype(np.float16) for name, one in weights.items()})


@pytest.fixture(autouse=True, scope="session")
def small_encoder() -> Iterator[VectorEncoder]:
    encoder = tiny_encoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "load_encoder", lambda: encoder)
        patch.setattr(retrieval_encoder, "load_encoder", lambda *_: encoder)
        patch.setattr(objects, "load_encoder", lambda: encoder)
        patch.setattr(retrieval_encoder, "_VECTORS", {})
        yield encoder
