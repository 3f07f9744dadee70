"""Fuzz what reads strangers' text: `python -m scripts.fuzz --seconds 1800` ends with status 1 at the first traceback.

Every reader, the project file, the store files and every pattern, template and schema get mutated seeds and random
bytes. An error of our own tree is an answer; any other exception is a bug, and hypothesis prints the smallest input.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneworthy.cases import read_cases, read_examples
from tuneworthy.cases.labelling import read_labels
from tuneworthy.cases.sampling import sample_cases
from tuneworthy.config import load
from tuneworthy.errors import TuneworthyError
from tuneworthy.graders.json_schema import first_error, load_schema
from tuneworthy.graders.json_text import find_json
from tuneworthy.graders.pattern import search
from tuneworthy.prompts.templates import question
from tuneworthy.providers.gguf import read_header
from tuneworthy.providers.weights import read_tensors
from tuneworthy.retrieval.documents import read_documents
from tuneworthy.train.lints.trainer_config import read as read_trainer_config

PROJECT: Final = b"""[task]
name = "t"
target = 0.9
[[graders]]
type = "exact"
[models.m]
provider = "openai"
model = "gpt-x"
base_url = "http://127.0.0.1:9/v1"
[ladder]
baseline = "m"
"""
ROW: Final = b'{"id": "a", "input": "q", "expected": ["x", 1, null], "messages": [{"role": "user", "content": "q"}]}\n'
TENSORS: Final = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
SEEDS: Final = (
    ROW,
    b"input,expected\nq,a\n",
    b"tests:\n- vars: {a: &a [1]}\n  assert: [{type: equals, value: *a}]\n",
    PROJECT,
    b"GGUF\3\0\0\0",
    len(TENSORS).to_bytes(8, "little") + TENSORS + b"\0\0\0\0",
    b'{"anyOf": [{"pattern": "(a+)+$"}, {"$ref": "#/anyOf/0"}]}',
    b"<h1>a</h1><p>b",
    b"# a\n\n    b\n",
    b"{{ input }}{% for i in range(9) %}{{ i }}{% endfor %}",
    b"(?P<a>x+)+$",
    b'{"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}',
)
ENDINGS: Final = (
    ".jsonl",
    ".json",
    ".csv",
    ".tsv",
    ".yaml",
    ".txt",
    ".md",
    ".html",
    ".gguf",
    ".safetensors",
    ".toml",
    "",
)
READERS: Final[tuple[Callable[[Path], Any], ...]] = (
    read_cases,
    read_examples,
    lambda path: sample_cases(path, 5, 1),
    read_labels,
    read_documents,
    read_header,
    read_tensors,
    lambda path: read_trainer_config(path.rename(path.with_suffix(".yaml"))),
    lambda path: load(path.rename(path.with_suffix(".toml"))),
)
ODD: Final = (
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"[" * 300,
    b"9" * 5000,
    b"1e999",
    b"\\ud800",
    b"*a",
    b"&a",
    b"{",
    b"}",
    b'"',
    b"\n",
)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Return a seed with pieces cut out, repeated, and odd bytes put in."""
    content = draw(st.sampled_from(SEEDS) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 20)))
        content = (
            content[:at]
            + draw(st.sampled_from(ODD) | st.binary(max_size=8))
            + content[end:] * draw(st.sampled_from([1, 1, 1, 2]))
        )
    return content


def texts(text: str) -> None:
    """Hand a text to what is no reader: templates, patterns, answers, schemas."""
    for use in (
        lambda: question(text, "x"),
        lambda: search(text[:100], "aaaa!"),
        lambda: find_json(text),
        lambda: first_error(orjson.dumps(load_schema(text.encode(), "s")).decode(), {"a": 1}),
    ):
        try:
            use()
        except TuneworthyError:
            pass
        except (UnicodeEncodeError, RecursionError):
            if use.__code__.co_names[0] != "first_error":  # it runs in the limited child
                raise


def fuzz(seconds: float, seed: int = 0) -> int:
    """Fuzz for `seconds`; return how many inputs were tried."""
    end, n = time.monotonic() + seconds, 0

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(contents(), st.sampled_from(ENDINGS), st.sampled_from(READERS))
    def once(content: bytes, ending: str, reader: Callable[[Path], Any]) -> None:
        nonlocal n
        if time.monotonic() > end:
            return
        n += 1
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / f"a{ending}"
            path.write_bytes(content)
            with suppress(TuneworthyError):
                reader(path)
        texts(content.decode(errors="replace"))

    while time.monotonic() < end:
        once()
    return n


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0)
    print(f"{fuzz(parser.parse_args().seconds):,} inputs, no traceback")
