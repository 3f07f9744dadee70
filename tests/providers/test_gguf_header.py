"""The GGUF header: what is read of a good file, and that no bytes at all raise anything but ModelError, soon."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.errors import ModelError
from tuneworthy.providers import gguf
from tuneworthy.providers.gguf import read_header


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, value: Any) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, bool):
        return text(key) + struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def tensor(name: str, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


VALUES: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 3,
    "llama.context_length": 512,
    "tokenizer.ggml.tokens": ["a", "b", "ü"],
    "tokenizer.chat_template": "{{ messages }}",
}


def make_gguf(values: dict[str, Any] | None = None, tensors: tuple[bytes, ...] = (), weights: int = 0) -> bytes:
    """Write a small GGUF file; `weights` zero bytes follow its header."""
    values = VALUES if values is None else values
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(entry(key, value) for key, value in values.items()) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(weights)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def test_a_header_tells_what_the_model_is(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, make_gguf(tensors=(tensor("w", (32, 2), 3, 0),), weights=40)))
    assert (header.architecture, header.name, header.context_length, header.vocab_size) == ("llama", "Tiny", 512, 3)
    assert (header.chat_template, header.file_type, header.version) == (True, "Q4_1", 3)


def test_what_is_not_told_is_none(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, make_gguf({"general.architecture": "x"})))
    assert (header.context_length, header.vocab_size, header.chat_template) == (None, None, False)
    assert (header.file_type, header.name) == ("unknown", "")


def test_the_weights_are_counted_from_the_shapes_where_the_file_holds_them_all(tmp_path: Path) -> None:
    two = (tensor("a", (32, 2), 3, 0), tensor("b", (32,), 3, 64))
    assert read_header(write(tmp_path, make_gguf(tensors=two, weights=96))).n_params == 96
    split = VALUES | {"split.count": 2}
    assert read_header(write(tmp_path, make_gguf(split, tensors=two, weights=96))).n_params is None
    odd = (tensor("a", (2**31, 2**31), 99, 0),)  # of a type that is not known, so that no place contradicts the shape
    assert read_header(write(tmp_path, make_gguf(tensors=odd, weights=96))).n_params is None
    assert read_header(write(tmp_path, make_gguf())).n_params is None


HUGE = 2**63 - 1
BAD = {
    "empty": b"",
    "another format": b"PK\3\4" + bytes(100),
    "big-endian version": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "version 1": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "cut in the counts": b"GGUF" + struct.pack("<I", 3) + b"\0\0\0",
    "more keys than bytes": b"GGUF" + struct.pack("<IQQ", 3, 0, 4000),
    "absurd key count": b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE) + bytes(100),
    "absurd tensor count": b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0) + bytes(100),
    "absurd key length": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, HUGE) + bytes(100),
    "absurd string length": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IQ", 8, HUGE) + b"x" * 9,
    "string past the end": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IQ", 8, 50) + b"x" * 9,
    "absurd array length": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 4, HUGE) + b"x",
    "array of arrays": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(40),
    "unknown type": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 99) + bytes(40),
    "a key twice": b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + entry("k", 1) * 2,
    "no architecture": make_gguf({"general.name": "x"}),
    "five dimensions": make_gguf(tensors=(tensor("w", (1, 1, 1, 1, 1), 0, 0),), weights=64),
    "weights cut off": make_gguf(tensors=(tensor("w", (32, 2), 3, 0),), weights=39),
    "weights far outside": make_gguf(tensors=(tensor("w", (32,), 0, HUGE),), weights=64),
    "absurd shape": make_gguf(tensors=(tensor("w", (HUGE, HUGE, HUGE, HUGE), 0, 0),), weights=64),
    "absurd alignment": make_gguf({**VALUES, "general.alignment": 2**31}),
    "zero alignment": make_gguf({**VALUES, "general.alignment": 0}),
    "cut in a key": make_gguf()[:60],
}


@pytest.mark.parametrize("name", BAD)
def test_a_planted_bad_file_is_a_model_error_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"model\.gguf is not a valid model file: \S") as caught:
        read_header(write(tmp_path, BAD[name]))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_model_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ModelError, match="Cannot read"):
            read_header(path)


def test_the_cap_on_strings_bounds_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MAX_STRINGS", 5)
    with pytest.raises(ModelError, match="more than 5 strings"):
        read_header(write(tmp_path, make_gguf({**VALUES, "a": ["x"] * 3, "b": ["x"] * 3})))


def judge(path: Path) -> None:
    started = time.monotonic()
    with suppress(ModelError):
        read_header(path)
    assert time.monotonic() - started < 60


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"GGUF", b"GGUF\3\0\0\0"]))
def test_garbage_raises_nothing_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes
) -> None:
    judge(write(tmp_path_factory.mktemp("g"), start + data))


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=12),
    end=st.integers(0, 700),
)
def test_a_damaged_file_raises_nothing_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(make_gguf(tensors=(tensor("w", (32, 2), 3, 0), tensor("v", (32,), 0, 64)), weights=200))
    for place, value in edits:
        data[place % len(data)] = value
    judge(write(tmp_path_factory.mktemp("g"), bytes(data[:end] if end % 3 == 0 else data)))
