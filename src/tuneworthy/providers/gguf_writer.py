"""Writes the tensors of a GGUF file, and a GGUF file again in fewer bits. A tensor at a time is in memory.

Source: llama.cpp src/llama-quant.cpp.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tuneworthy.arrays import Floats32
from tuneworthy.errors import ModelError, UserError
from tuneworthy.extras import require
from tuneworthy.providers.gguf import read_header
from tuneworthy.types import positional

USE_Q8 = "Pass --type q8_0."
# Types that are written here, with the number of each in `general.file_type`.
WRITTEN = {"f16": 1, "q8_0": 7, "q5_0": 8, "q4_0": 2}
_FLOATS = {"F32": np.float32, "F16": np.float16}
# Weights that llama-quantize leaves as they are: small, and without kernels for quantised ones.
_KEPT = re.compile(
    r"_norm|ffn_gate_inp|altup|laurel|per_layer_model_proj|position_embd|token_types|ssm_conv1d|shortconv\.conv"
    r"|time_mix_(first|lerp|decay_w|[wvag]\d)|attn_rel_b"
)
_LEFT_OUT = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


@positional
class Tensor:
    """One tensor of the file to be written.

    Attributes:
        name: In the file.
        shape: Rows first.
        read: Returns it in 32 bits.
        stored: Type in the source; a small matrix that must not be quantised keeps it.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Floats32]
    stored: str = "F16"


def write_tensors(writer: Any, target: Path, tensors: Sequence[Tensor], file_type: str) -> None:
    """Write the file `target` with the keys that `writer` has.

    Args:
        writer: Of the package gguf.
        target: The file.
        tensors: All of the model's.
        file_type: One of `WRITTEN`.

    Raises:
        UserError: A weight does not fit into 16 bits.
    """
    gguf = library()
    writer.add_file_type(WRITTEN[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    output = "token_embd.weight" if all(tensor.name != "output.weight" for tensor in tensors) else "output.weight"
    typed = [(tensor, _type_of(tensor, file_type, output)) for tensor in tensors]
    for tensor, kind in typed:
        dtype = np.dtype(_FLOATS.get(kind.name, np.uint8))
        shape = tensor.shape if kind.name in _FLOATS else gguf.quant_shape_to_byte_shape(tensor.shape, kind)
        writer.add_tensor_info(tensor.name, shape, dtype, prod(shape) * dtype.itemsize, raw_dtype=kind)
    with closing(writer):
        writer.write_header_to_file(target)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in typed:
            writer.write_tensor_data(_converted(tensor, kind))
    read_header(target)


def library() -> Any:
    require("gguf")
    import gguf

    return gguf


def copy_keys(writer: Any, reader: Any, left_out: tuple[str, ...] = ()) -> None:
    """Copy the keys of a file, without those that start with `left_out` or that describe the file."""
    for field in reader.fields.values():
        if not field.name.startswith((*_LEFT_OUT, *left_out)):
            kind = field.types[0]
            part = field.types[-1] if kind == library().GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=part)


def quantise(source: Path, target: Path, file_type: str) -> None:
    """Write the GGUF file `source` again as `target`, in fewer bits.

    Raises:
        ModelError: `source` is not a GGUF file, or has weights of a type that the package gguf cannot read.
    """
    gguf, header = library(), read_header(source)
    writer = gguf.GGUFWriter(None, header.architecture)
    try:
        reader = gguf.GGUFReader(source)
        copy_keys(writer, reader)
        write_tensors(writer, target, [
            Tensor(one.name, tuple(map(int, one.shape[::-1])),
                   partial(library().quants.dequantize, one.data, one.tensor_type), one.tensor_type.name)
            for one in reader.tensors
        ], file_type)  # fmt: skip
    except (NotImplementedError, ValueError, KeyError, IndexError) as error:
        raise ModelError(f"{source} cannot be quantised: {error!r}.") from None


def _type_of(tensor: Tensor, file_type: str, output: str) -> Any:
    """Return the type to write a tensor in: vectors in 32 bits, matrices as `file_type` where blocks of 32 fit.

    As in llama-quantize, routers, convolutions, positions and matrices that are no weights keep their type, and the
    layer `output` has more bits: q8_0, for Q6_K there.
    """
    kinds = library().GGMLQuantizationType
    if len(tensor.shape) < 2:
        return kinds.F32
    if not tensor.name.endswith("weight") or _KEPT.search(tensor.name):
        return kinds[tensor.stored if tensor.stored in _FLOATS else "F32"]
    if file_type == "f16" or tensor.shape[-1] % 32:
        return kinds.F16
    return kinds.Q8_0 if tensor.name == output else kinds[file_type.upper()]


def _converted(tensor: Tensor, kind: Any) -> np.ndarray:

    weights = tensor.read()
    if kind.name not in _FLOATS:
        quantised: np.ndarray = library().quants.quantize(weights, kind)
        return quantised
    stored = weights.astype(_FLOATS[kind.name])
    if not np.isfinite(stored).all():
        raise UserError(f"{tensor.name} has values that a 16-bit float cannot represent.", hint=USE_Q8)
    return np.ascontiguousarray(stored)
