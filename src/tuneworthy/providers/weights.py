"""Reads and writes safetensors files without trusting them, a tensor at a time.

Invariant: whatever the bytes are, `read_tensors` returns or raises `ModelError` within a time and a memory that depend
on the caps below. Before a tensor is read, its place is checked against its shape, its type, the other tensors and
the size of the file.

Source: huggingface/safetensors README.md, "Format".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tuneworthy.input_files import open_input
from tuneworthy.providers.gguf import header_fault, model_fault, unreadable
from tuneworthy.types import JsonObject, positional

if TYPE_CHECKING:
    from tuneworthy.arrays import Floats32

# A model of 100,000 tensors has a header of about 10 MB.
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 200_000
MAX_DIMS = 8
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4,
}  # fmt: skip
# Least share of the bytes that numbers take in a model whose weights are not packed several to a number.
PLAIN = 0.9
# Types that weights are computed in here.
FLOATS = ("F32", "F16", "BF16")
_PICKLE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@positional
class Place:
    """Where a tensor lies.

    Attributes:
        path: The file.
        dtype: As safetensors calls it, e.g. `BF16`.
        shape: Rows first.
        start: Its first byte in the file.
        end: The byte after its last one.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def read(self) -> Floats32:
        """Return the tensor in 32 bit.

        Raises:
            ModelError: Weights are not computed in its type.
        """
        if self.dtype not in FLOATS:
            raise model_fault(
                f"{self.path} has weights of dtype {self.dtype}. Supported dtypes are {', '.join(FLOATS)}."
            )
        return to_float32(self.raw(), self.dtype).reshape(self.shape)

    def raw(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.end - self.start)


def read_tensors(path: Path) -> dict[str, Place]:
    """Return the tensors of the file `path` by name, in the order in which they lie there.

    Raises:
        ModelError: It cannot be opened, is not safetensors, or holds a length that cannot be true.
    """
    try:
        with open_input(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = _header_length(path, file.read(8), size)
            text = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        header = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise header_fault(path, f"its header is not valid JSON ({str(error)[:120]})") from None
    if not isinstance(header, dict):
        raise header_fault(path, "its header is not a JSON object")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise header_fault(path, f"it declares {len(header)} tensors, more than the limit of {MAX_TENSORS}")
    places = {name: _place(path, name, entry, 8 + length, size) for name, entry in header.items()}
    ordered = dict(sorted(places.items(), key=lambda item: (item[1].start, item[1].end)))
    end = 8 + length
    for name, place in ordered.items():
        if place.start != end:
            raise header_fault(path, f"{name[:60]!r} starts at byte {place.start} instead of {end}")
        end = place.end
    if end != size:
        raise header_fault(path, f"it has {size} bytes, but its header declares {end}")
    return ordered


def count_weights(folder: Path) -> int | None:
    """Return how many weights the model of a folder has; None without safetensors, or where most bytes are packed.

    Other files next to it are not counted: adapters, or the same weights in one file (``consolidated.safetensors``).

    Raises:
        ModelError: As `read_tensors`.
    """
    places = [place for path in sorted(folder.glob("model*.safetensors")) for place in read_tensors(path).values()]
    plain = [place for place in places if place.dtype.startswith(("F", "BF"))]
    size = sum(place.end - place.start for place in places)
    whole = bool(places) and sum(place.end - place.start for place in plain) >= PLAIN * size
    return sum(prod(place.shape) for place in plain) if whole else None


def _header_length(path: Path, first: bytes, size: int) -> int:
    if first.startswith(_PICKLE):
        raise header_fault(path, "it is a pickle, which can run code when it is loaded")
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length < 2:
        raise header_fault(path, "it does not start with a safetensors header")
    if length > (most := min(MAX_HEADER_BYTES, size - 8)):
        raise header_fault(path, f"the header has {length} bytes, more than the limit of {most}")
    return length


def _place(path: Path, name: str, entry: Any, base: int, size: int) -> Place:
    short = name[:60]
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise header_fault(path, f"{short!r} lacks a dtype, a shape or data_offsets: {str(entry)[:80]}") from None
    if not isinstance(dtype, str) or dtype not in BITS:
        raise header_fault(path, f"{short!r} has the unknown type {str(dtype)[:40]}")
    counts = [begin, end, *shape] if isinstance(shape, list) else [None]
    if len(counts) > MAX_DIMS + 2 or any(type(count) is not int or not 0 <= count <= 2**48 for count in counts):
        raise header_fault(
            path, f"{short!r} needs at most {MAX_DIMS} dimensions, each from 0 to 2^48: {str(entry)[:120]}"
        )
    needed = -(-prod(shape) * BITS[dtype] // 8)
    if end - begin != needed:
        raise header_fault(path, f"{short!r} has {end - begin} bytes, but its shape and dtype need {needed}")
    if base + end > size:
        raise header_fault(path, f"{short!r} ends at byte {base + end}, but the file has {size} bytes")
    return Place(path, dtype, tuple(shape), base + begin, base + end)


def write_tensors(
    path: Path, tensors: Iterable[tuple[str, str, tuple[int, ...]]], content: Callable[[str], bytes]
) -> None:
    """Write a safetensors file; one tensor at a time is in memory.

    Args:
        path: The file.
        tensors: Names, types and shapes, in the order of the file.
        content: Returns the bytes of a tensor by its name.

    Raises:
        ValueError: `content` returned another number of bytes than the shape says.
    """
    header: JsonObject = {"__metadata__": {"format": "pt"}}
    sizes, place = {}, 0
    for name, dtype, shape in tensors:
        sizes[name] = -(-prod(shape) * BITS[dtype] // 8)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + sizes[name]]}
        place += sizes[name]
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name, n_bytes in sizes.items():
            data = content(name)
            if len(data) != n_bytes:
                raise ValueError(f"The content of {name} has {len(data)} bytes instead of {n_bytes}.")
            file.write(data)


def to_float32(raw: bytes, dtype: str) -> Floats32:
    """Return the numbers in `raw`, flat, in 32 bit (exact)."""
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, np.float16 if dtype == "F16" else np.float32).astype(np.float32)


def from_float32(numbers: Floats32, dtype: str) -> bytes:
    """Return `numbers` in `dtype`, rounded to the nearest, halves to even.

    >>> import numpy as np
    >>> to_float32(from_float32(np.float32([1.0, 1.00390625, -3.0]), "BF16"), "BF16").tolist()
    [1.0, 1.0, -3.0]
    """
    import numpy as np

    numbers = np.ascontiguousarray(numbers, np.float32)
    if dtype == "BF16":
        bits = numbers.view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        rounded[np.isnan(numbers)] = 0x7FC0  # adding must not carry a NaN into infinity
        return rounded.tobytes()
    with np.errstate(over="ignore"):  # infinity, which the caller can see
        return numbers.astype(np.float16 if dtype == "F16" else np.float32).tobytes()
