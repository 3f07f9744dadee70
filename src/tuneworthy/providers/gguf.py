"""Reads the header of a GGUF file without trusting it.

Invariant: whatever the bytes are, `read_header` returns or raises `ModelError` within a time and a memory that
depend on the caps below, never on a length that appears in the file. Each length is held against the cap and
against the bytes that are left before anything is read by it.

`gguf.GGUFReader` is no substitute: its package belongs to the extra `train`, while `check` reads headers in a core
install, and it builds every array in memory by lengths that the file states.

Source: ggml docs/gguf.md (version 3), ggml/include/gguf.h.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import BinaryIO, TypeGuard

from tuneworthy.errors import ModelError
from tuneworthy.input_files import open_input
from tuneworthy.types import NamedInts, frozen

MAGIC = b"GGUF"
MAX_KEYS = 4096
MAX_TENSORS = 200_000
MAX_KEY_BYTES = 4096
# Longest string value; chat templates of real models stay below 100 kB.
MAX_STRING_BYTES = 4 * 2**20
# Longest array; the largest vocabulary in use has 262,144 entries and as many merges again.
MAX_ELEMENTS = 2_000_000
# Strings in all arrays together: what bounds the time.
MAX_STRINGS = 8_000_000
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {
    kind: struct.Struct("<" + letter)
    for kind, letter in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True)
}
# Weights and bytes per block, by tensor type; a type that is not here counts as one byte at least.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 20: (32, 18),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip

DOWNLOAD_AGAIN = (
    "Specify a different model, or delete the file and download it again with `tuneworthy models pull MODEL`."
)
Scalar = int | float | bool | str


@frozen
class GgufHeader:
    """Metadata of a GGUF file.

    Attributes:
        version: Of the format, 2 or 3.
        architecture: e.g. `llama`.
        name: The model's name, or "".
        context_length: Context that it was trained on, tokens; None if unknown.
        vocab_size: Tokens in the vocabulary; None if unknown.
        chat_template: Whether it carries one.
        takes_tools: Whether that shows tools to the model.
        file_type: Quantisation, e.g. `Q4_1`; `unknown` without the key.
        n_params: Weights in all tensors; None if the model has further files, or the sizes cannot be true.
        tied: Whether embeddings and output head are one: there is no tensor for the head.
        values: All keys with a single value (strings over 1 kB are shortened).
    """

    version: int
    architecture: str
    name: str
    context_length: int | None
    vocab_size: int | None
    chat_template: bool
    file_type: str
    n_params: int | None
    tied: bool
    values: Mapping[str, Scalar] = field(repr=False)
    takes_tools: bool = False


def read_header(path: Path) -> GgufHeader:
    """Read the header of the GGUF file `path`.

    Raises:
        ModelError: It cannot be opened, is not GGUF, is cut off, or holds a length that cannot be true.
    """
    try:
        with open_input(path) as file:
            return _Reader(path, file, os.fstat(file.fileno()).st_size).header()
    except OSError as error:
        raise unreadable(path, error) from None


class _Reader:
    """Walks the header; `_rest` counts the bytes that follow."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path, self._file, self._size, self._rest = path, file, size, size
        self._strings = 0
        self._weights = 0
        self._has_head = self._takes_tools = False

    def header(self) -> GgufHeader:
        if self._take(4, "the magic") != MAGIC:
            raise header_fault(self.path, "it does not start with a GGUF header")
        version = self._number(4, "the version")
        if version not in {2, 3}:
            raise header_fault(
                self.path, f"its GGUF version is {version}, but only versions 2 and 3 (little-endian) are supported"
            )
        n_tensors = self._capped(self._number(10, "tensor count"), MAX_TENSORS, "tensors", least=24)
        n_keys = self._capped(self._number(10, "key count"), MAX_KEYS, "keys", least=13)
        values = {}
        lengths = {}
        for _ in range(n_keys):
            key = self._text(MAX_KEY_BYTES, "a key")
            if key in values or key in lengths:
                raise header_fault(self.path, f"it contains the key {key[:60]!r} twice")
            kind = self._number(4, f"the type of {key[:60]!r}")
            if kind == _ARRAY:
                lengths[key] = self._skip_array(key)
            else:
                values[key] = self._value(kind, key)
        self._check_tensors(n_tensors, values.get("general.alignment", 32))
        return self._summary(version, n_tensors, values, lengths)

    def _check_tensors(self, n_tensors: int, alignment: object) -> None:
        if not _is_count(alignment) or alignment > 2**20:
            raise header_fault(self.path, f"general.alignment is {alignment}, not a number from 1 to {2**20}")
        needed = 0
        for _ in range(n_tensors):
            name = self._text(MAX_KEY_BYTES, "the name of a tensor")[:60]
            self._has_head |= name == "output.weight"
            n_dims = self._number(4, f"the shape of {name!r}")
            if n_dims > 4:
                raise header_fault(self.path, f"{name!r} has {n_dims} dimensions, more than the limit of {4}")
            weights = 1
            for _ in range(n_dims):
                weights *= self._number(10, f"the shape of {name!r}")
            self._weights += weights
            block, width = _BLOCKS.get(self._number(4, f"the type of {name!r}"), (weights or 1, 1))
            needed = max(needed, self._number(10, f"the place of {name!r}") + -(-weights // block) * width)
        gap = -(self._size - self._rest) % alignment
        if n_tensors and needed > self._rest - gap:
            raise header_fault(
                self.path, f"the weights need {needed} bytes, but only {max(0, self._rest - gap)} follow"
            )

    def _summary(self, version: int, n_tensors: int, values: dict[str, Scalar], lengths: NamedInts) -> GgufHeader:
        architecture = values.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise header_fault(self.path, "it has no key general.architecture")
        context, vocab = values.get(f"{architecture}.context_length"), values.get(f"{architecture}.vocab_size")
        kind, name = values.get("general.file_type"), values.get("general.name", "")
        whole = values.get("split.count", 1) in {0, 1} and 0 < self._weights <= 8 * self._size
        return GgufHeader(
            version=version,
            architecture=architecture,
            name=name if isinstance(name, str) else "",
            context_length=context if _is_count(context) else None,
            vocab_size=lengths.get("tokenizer.ggml.tokens") or (vocab if _is_count(vocab) else None),
            chat_template=bool(values.get("tokenizer.chat_template")),
            file_type=_FILE_TYPES.get(kind, f"type {kind}") if isinstance(kind, int) else "unknown",
            n_params=self._weights if whole else None,
            tied=n_tensors > 0 and not self._has_head,
            values=values,
            takes_tools=self._takes_tools,
        )

    def _value(self, kind: int, key: str) -> Scalar:
        if kind == _STRING:
            text = self._text(MAX_STRING_BYTES, f"the value of {key[:60]!r}")
            self._takes_tools |= key == "tokenizer.chat_template" and "tools" in text
            return text if len(text) <= 1024 else text[:1024] + "…"
        value = self._number(kind, f"the value of {key[:60]!r}")
        return bool(value) if kind == _BOOL else value

    def _skip_array(self, key: str) -> int:
        """Skip an array and return its length. Arrays of arrays do not occur in models and are refused."""
        what = f"the array {key[:60]!r}"
        kind, count = self._number(4, what), self._number(10, what)
        if kind == _STRING:
            self._capped(count, MAX_ELEMENTS, f"elements of {what}", least=8)
            self._strings += count
            if self._strings > MAX_STRINGS:
                raise header_fault(self.path, f"it contains more than {MAX_STRINGS} strings")
            for _ in range(count):
                self._skip(self._number(10, what), what)
        elif kind in _SCALARS:
            width = _SCALARS[kind].size
            self._capped(count, MAX_ELEMENTS, f"elements of {what}", least=width)
            self._skip(count * width, what)
        else:
            raise header_fault(
                self.path, f"{what} has elements of type {kind}, but only numbers and strings are supported"
            )
        return count

    def _number(self, kind: int, what: str) -> int:
        layout = _SCALARS.get(kind)
        if layout is None:
            raise header_fault(self.path, f"{what} has the unknown type {kind}")
        number: int = layout.unpack(self._take(layout.size, what))[0]
        return number

    def _text(self, cap: int, what: str) -> str:
        length = self._number(10, what)
        if length > cap:
            raise header_fault(self.path, f"{what} has {length} bytes, more than the limit of {cap}")
        return self._take(length, what).decode("utf-8", "replace")

    def _capped(self, count: int, cap: int, what: str, *, least: int) -> int:
        """Return `count` if it is at most `cap` and that many (of `least` bytes each) can still follow."""
        if count > cap:
            raise header_fault(self.path, f"it declares {count} {what}, more than the limit of {cap}")
        if count * least > self._rest:
            raise header_fault(self.path, f"it declares {count} {what}, but only {self._rest} bytes follow")
        return count

    def _take(self, length: int, what: str) -> bytes:
        data = self._file.read(length) if length <= self._rest else b""
        if len(data) != length:
            raise header_fault(self.path, f"{what} needs {length} bytes, but only {self._rest} follow")
        self._rest -= length
        return data

    def _skip(self, length: int, what: str) -> None:
        if length > self._rest:
            raise header_fault(self.path, f"{what} needs {length} bytes, but only {self._rest} follow")
        self._file.seek(length, os.SEEK_CUR)
        self._rest -= length


def model_fault(message: str) -> ModelError:
    return ModelError(message, hint=DOWNLOAD_AGAIN)


def unreadable(path: Path, error: OSError) -> ModelError:
    return model_fault(f"Cannot read {path}: {error.strerror or error}.")


def header_fault(path: Path, reason: str) -> ModelError:
    return model_fault(f"{path} is not a valid model file: {reason}.")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
