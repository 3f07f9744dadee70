"""What may be loaded: a bad file of each kind is refused with its reason, in bounded time; a good one is not."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.errors import ModelError
from tuneworthy.providers import model_safety, weights
from tuneworthy.providers.model_safety import check_model, check_numbers, files_of, template_of, tensors_of
from tuneworthy.providers.weights import from_float32, read_tensors, to_float32, write_tensors

BOUND_S = 120.0
"""Far above what a refusal takes on a busy machine, far below what a loop that never ends would."""


def header(document: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def tensor(begin: int, end: int, *, dtype: str = "F32", shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": [begin, end]}


def good(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_tensors(folder / "model.safetensors", [("a", "F32", (2, 2)), ("b", "BF16", (3,))],
                  lambda name: bytes(16 if name == "a" else 6))  # fmt: skip
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "trust_remote_code": false}')
    return folder


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "pickle": (pickle.dumps({"a": 1}, protocol=2) + bytes(64), "a pickle"),
    "zip": (b"PK\x03\x04" + bytes(64), "a pickle"),
    "empty": (b"", "does not start with a safetensors header"),
    "false header length": (
        header({}, length=2**40),
        "the header has 1099511627776 bytes, more than the limit of 2\\.",
    ),
    "header past the end": (header({}, length=900), "the header has 900 bytes, more than the limit of 2\\."),
    "no JSON": (header(b"{nonsense"), "JSON"),
    "no object": (header([1, 2]), "object"),
    "deep": (header(b"[" * 200_000), "JSON"),
    "false length": (header({"a": tensor(0, 4)}, bytes(4)), "has 4 bytes, but its shape and dtype need 8"),
    "past the end": (header({"a": tensor(0, 8)}, bytes(4)), "bytes"),
    "overlap": (header({"a": tensor(0, 8), "b": tensor(0, 8)}, bytes(8)), "starts at byte"),
    "hole": (header({"a": tensor(8, 16)}, bytes(16)), "starts at byte"),
    "trailing": (header({"a": tensor(0, 8)}, bytes(9)), "bytes"),
    "negative": (header({"a": tensor(0, 8, shape=(-2,))}, bytes(8)), "from 0 to"),
    "huge shape": (
        header({"a": tensor(0, 8, shape=(2**48, 2**48, 2**48))}, bytes(8)),
        "has 8 bytes, but its shape and dtype need",
    ),
    "not a shape": (header({"a": tensor(0, 8, shape="x")}, bytes(8)), "dimensions"),
    "header cut short": (header({"a": tensor(0, 8)}, bytes(8), length=5), "JSON"),
    "unknown type": (header({"a": tensor(0, 8, dtype="Q4")}, bytes(8)), "unknown type Q4"),
    "no offsets": (header({"a": {"dtype": "F32"}}), "data_offsets"),
}


@pytest.mark.parametrize(("data", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_safetensors_file_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    started = time.monotonic()
    with pytest.raises(ModelError, match=reason):
        read_tensors(path)
    assert time.monotonic() - started < BOUND_S


def test_a_header_of_too_many_tensors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_TENSORS", 1)
    with pytest.raises(ModelError, match="tensors, more than the limit of 1"):
        tensors_of(good(tmp_path))


@given(data=st.binary(max_size=200), at=st.integers(0, 250), filler=st.binary(max_size=8))
@settings(max_examples=300, deadline=None)
def test_no_bytes_at_all_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int,
                                             filler: bytes) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    whole = header({"a": tensor(0, 8), "b": tensor(8, 16)}, bytes(16))
    for content in (data, whole[:at] + filler + whole[at + len(filler) :]):
        path.write_bytes(content)
        try:
            found = list(read_tensors(path).values())
        except ModelError:
            assert content != whole
            continue
        ends = [8 + int.from_bytes(content[:8], "little"), *(one.end for one in found)]
        assert [one.start for one in found] == ends[:-1] and ends[-1] == len(content)


def test_a_good_folder_is_read(tmp_path: Path) -> None:
    check_model(good(tmp_path))
    found = tensors_of(tmp_path)
    assert {name: place.shape for name, place in found.items()} == {"a": (2, 2), "b": (3,)}
    assert found["b"].read().tolist() == [0.0, 0.0, 0.0]


def test_weights_that_are_only_a_pickle_are_refused(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps([1]))
    with pytest.raises(ModelError, match="can run code"):
        check_model(tmp_path)
    with pytest.raises(ModelError, match="can run code"):
        check_model(tmp_path / "pytorch_model.bin")


PLANTED: dict[str, tuple[str, Any]] = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "modeling.Evil"}}),
    "nested auto_map": ("config.json", {"text_config": [{"vision": {"auto_map": {"AutoConfig": "x.Y"}}}]}),
    "nested trust_remote_code": ("config.json", {"keypoint_detector_config": {"trust_remote_code": True}}),
    "tokenizer's auto_map": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}}),
    "attention of a repository": ("config.json", {"text_config": {"_attn_implementation": "flash|evil/kernel"}}),
    "attention by part": ("config.json", {"attn_implementation": {"": "evil/kernel"}}),
    "adapter's library": ("adapter_config.json", {"auto_mapping": {"parent_library": "evil.module"}}),
    "adapter's odd library": ("adapter_config.json", {"auto_mapping": ["evil"]}),
    "no object": ("generation_config.json", [1]),
}


@pytest.mark.parametrize("check", [check_model, files_of])
@pytest.mark.parametrize(("name", "content"), PLANTED.values(), ids=PLANTED)
def test_a_config_that_would_run_code_is_refused(
    tmp_path: Path, name: str, content: Any, check: Callable[[Path], Any]
) -> None:
    good(tmp_path)
    (tmp_path / name).write_bytes(orjson.dumps(content))
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        check(tmp_path)


def test_a_folder_gives_what_may_be_loaded_and_leaves_pickles_and_programs(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(b"pickle")
    (tmp_path / "modeling_own.py").write_text("import os")
    (tmp_path / "vocab.json").write_text('{"auto_map": 7}')  # a word like any other
    (tmp_path / "further.json").write_text('{"trust_remote_code": false}')
    names = ["config.json", "further.json", "model.safetensors", "vocab.json"]
    assert [path.name for path in files_of(tmp_path)] == names


def test_an_adapter_next_to_the_weights_is_refused(tmp_path: Path) -> None:
    (good(tmp_path) / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    check_model(tmp_path)
    with pytest.raises(ModelError, match="would load an adapter"):
        files_of(tmp_path)


@pytest.mark.parametrize(("dtype", "number", "refusal"), [
    ("BF16", b"\xc0\x7f", "NaN or infinite"), ("F16", b"\x00\x7c", "NaN or infinite"), ("F16", b"\xff\x7b", None),
    ("F32", b"\x00\x00\x80\xff", "NaN or infinite"), ("I16", b"\x01\x00", "weights of dtype I16"),
    ("I32", b"\xff" * 4, None),
])  # fmt: skip
def test_weights_that_are_no_finite_floats_are_refused(
    tmp_path: Path, dtype: str, number: bytes, refusal: str | None
) -> None:
    write_tensors(tmp_path / "model.safetensors", [("a", dtype, (2,))], lambda _: bytes(len(number)) + number)
    with pytest.raises(ModelError, match=refusal) if refusal else nullcontext():
        check_numbers(tmp_path)


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    (good(tmp_path) / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        files_of(tmp_path)


def test_a_folder_whose_weights_are_only_a_pickle_gives_nothing(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can run code"):
        files_of(tmp_path)


def test_a_further_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (good(tmp_path) / "further.json").write_text('[{"auto_map": {}}]')
    with pytest.raises(ModelError, match=r"further\.json"):
        files_of(tmp_path)


def test_weights_that_the_index_leaves_out_are_looked_through_too(tmp_path: Path) -> None:
    (good(tmp_path) / model_safety.INDEX).write_text('{"weight_map": {"a": "model.safetensors"}}')
    (tmp_path / "spare.safetensors").write_bytes(header({}, length=900))
    with pytest.raises(ModelError, match=r"spare\.safetensors"):
        files_of(tmp_path)


@pytest.mark.parametrize("target", ["../elsewhere", "/etc/hostname", "../gone"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "elsewhere").write_text("secret")
    folder = good(tmp_path / "folder")
    (folder / "vocab.txt").symlink_to(target)
    with pytest.raises(ModelError, match=r"the link vocab\.txt"):
        files_of(folder)


def test_a_link_inside_the_folder_is_taken(tmp_path: Path) -> None:
    (good(tmp_path) / "same.json").symlink_to("config.json")
    assert tmp_path / "same.json" in files_of(tmp_path)


def test_a_config_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_safety, "MAX_JSON_BYTES", 10)
    with pytest.raises(ModelError, match="more than the limit of 10"):
        check_model(good(tmp_path))


def test_an_index_that_names_what_is_not_there_is_refused(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / model_safety.INDEX).write_text('{"weight_map": {"a": "../elsewhere.safetensors"}}')
    with pytest.raises(ModelError, match="but the file is missing"):
        check_model(tmp_path)


def test_a_gguf_file_with_a_false_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (2**60).to_bytes(8, "little"))
    with pytest.raises(ModelError, match="keys, more than the limit of 4096"):
        check_model(path)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_numbers_are_rounded_to_the_nearest_with_halves_to_even(dtype: str) -> None:
    np = pytest.importorskip("numpy")
    numbers = np.float32([0.0, -0.0, 1.0, 1.00390625, 1.01171875, 3.14159265, 1e-30, 65000.0, -2.5])
    stored = to_float32(from_float32(numbers, dtype), dtype)
    if dtype == "BF16":
        assert stored[3] == 1.0  # a half, to even
        assert stored[4] == np.float32(1.015625)  # a half, to even
    assert np.array_equal(to_float32(from_float32(stored, dtype), dtype), stored)
    width = {"F32": 24, "F16": 11, "BF16": 8}[dtype]
    normal = np.abs(numbers) > 1e-4
    assert np.all(np.abs(stored - numbers)[normal] <= np.abs(numbers[normal]) * 2.0**-width)
    assert np.isinf(to_float32(from_float32(np.float32([np.inf]), dtype), dtype))[0]
    assert np.isnan(to_float32(from_float32(np.float32([np.nan]), dtype), dtype))[0]


def test_rounding_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="pip install 'tuneworthy[train]'")
    torch.manual_seed(0)
    numbers = torch.randn(10_000) * torch.logspace(-20, 20, 10_000)
    ours = to_float32(from_float32(numbers.numpy(), "BF16"), "BF16")
    assert torch.equal(torch.from_numpy(ours.copy()), numbers.bfloat16().float())


FOLDER_TEMPLATES: list[tuple[Callable[[Path], Any], str | None]] = [
    (lambda folder: None, None),
    (lambda folder: (folder / "chat_template.jinja").write_text("A"), "A"),
    (lambda folder: (folder / "tokenizer_config.json").write_text('{"chat_template": "B"}'), "B"),
    (lambda folder: (folder / "tokenizer_config.json").write_text(
        '{"chat_template": [{"name": "tools", "template": "C"}, {"name": "default", "template": "D"}]}'), "D"),
]  # fmt: skip


@pytest.mark.parametrize(("write", "expected"), FOLDER_TEMPLATES)
def test_the_template_of_a_folder_is_found(tmp_path: Path, write: Callable[[Path], Any], expected: str | None) -> None:
    write(tmp_path)
    assert template_of(tmp_path) == expected
