"""Strangers' text meets a limit: each input runs in a child with an outside bound of time and memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.hostile.table import tried
from tuneworthy import limited, patterns, yaml_text
from tuneworthy.errors import UserError
from tuneworthy.prompts import templates

CPU_S = 60
"""Of one input, from outside, seconds of processor time: only what does not end would reach it."""
WALL_S = 900.0
"""The same for what waits; far above it, as other work may fill the machine."""
MEMORY = 4 * 2**30

PROJECT = """[task]
name = "limits"
target = 0.9
[cases]
path = "{cases}"
{prompt}
[[graders]]
{grader}
[models.small]
{model}
[ladder]
baseline = "small"
rungs = ["baseline"]
"""
CASES = "".join(
    json.dumps({"id": f"c{n}", "input": f"question {n}", "expected": f"a{n % 3}"}) + "\n" for n in range(60)
)
SCRIPT = 'provider = "python"\nfunction = "pipeline.py:answer"'


def command(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command line under the bounds; its status is negative if it met them."""
    limits = {resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CPU: CPU_S}
    done = forked.run([*arguments], cwd=folder, limits=limits, timeout=WALL_S)
    return done.returncode, done.stdout + done.stderr


def project(
    folder: Path, *, cases: str = "cases.jsonl", prompt: str = "", grader: str = 'type = "exact"', model: str = SCRIPT
) -> Path:
    (folder / "cases.jsonl").write_text(CASES)
    (folder / "pipeline.py").write_text("def answer(case):\n    return 'a0'\n")
    (folder / "tuneworthy.toml").write_text(PROJECT.format(cases=cases, prompt=prompt, grader=grader, model=model))
    return folder


def survived(kind: str, what: str, folder: Path, *arguments: str, status: frozenset[int] = frozenset({0, 2, 4})) -> str:
    code, output = command(folder, *arguments)
    tried(kind, what, code in status and "Traceback" not in output, (code, output[-800:]))
    return output


SLOW = {
    "wide YAML", "one line", "gzip of one element", "gzip of long rows", "gzip of one CSV row", "gzip of nothing",
    "Parquet dictionary", "Parquet list", "a million paragraphs", "attributes", "references", "headings", "wide rows",
    "PDF bomb", "PDF bomb in a bomb", "entities", "NUL in HTML", "open quote", "gzip bomb", "tables", "alternatives",
    "unique", "lipsum", "doubling", "join", "huge",
}  # fmt: skip
"""Inputs that take seconds of processor time; those of each kind that take less stay in the default suite."""


def inputs(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


# --- templates ------------------------------------------------------------------------------------------------------

TEMPLATES = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'a' * 2000000000 }}",
    "divides": "{{ 1/0 }}",
    "adds": "{{ input + 1 }}",
    "includes": "{% include 'x' %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "extends": "{% extends input %}",
    "imports": "{% import 'os' as o %}{{ o }}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "open": "{{ (" * 3000,
    "power": "{{ 9**9**9 }}",
    "attribute": "{{ input.x.y }}",
    "range": "{{ range(10**9)|list }}",
    "lipsum": "{{ lipsum(n=99999999) }}",
    "format": "{{ '%999999999d' % 1 }}",
    "format2": "{{ '{:>2000000000}'.format(1) }}",
    "join": "{{ (['a' * 100000] * 100000)|join }}",
    "center": "{{ 'a'|center(2000000000) }}",
    "indent": "{{ 'a'|indent(2000000000, true) }}",
    "batch": "{{ [1]|batch(1000000000, 0)|list }}",
    "doubling": "{% set n = namespace(v='a') %}{% for i in range(60) %}{% set n.v = n.v ~ n.v %}{% endfor %}",
    "block": "{% block a %}{{ self.a() }}{% endblock %}",
    "class": "{{ ''.__class__.__mro__ }}",
    "int": "{{ '9' * 5000|int }}",
    "call": "{{ input() }}",
    "unknown": "{{ nobody }}",
    "tag": "{% nobody %}",
    "null": "\\u0000{{ input }}",
}


@pytest.mark.parametrize("name", inputs(TEMPLATES))
def test_a_template_is_filled_or_refused_in_bounded_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "LIMIT_S", 0.2)
    try:
        templates.render(TEMPLATES[name], "x")
        templates.question(TEMPLATES[name], "x")
    except UserError as error:
        tried("template", name, "\n" not in str(error)[:60], error)
    else:
        tried("template", name, True)


@pytest.mark.parametrize(
    "name", ["divides", "adds", "includes", "recursion", "deep", pytest.param("memory", marks=pytest.mark.slow)]
)
def test_check_reports_a_template_that_fails(name: str, tmp_path: Path) -> None:
    folder = project(tmp_path, prompt=f"[prompt]\nuser = {json.dumps(TEMPLATES[name])}")
    output = survived("template in check", name, folder, "check", "--offline", status=frozenset({2}))
    assert "prompt.user" in output


def test_a_child_without_its_memory_limit_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "{{ input * 300000000 }}"
    monkeypatch.setattr(limited, "MAX_MEMORY", 2**28)
    limited.close()
    with pytest.raises(UserError, match="too much memory"):
        templates.render(source, "x")
    monkeypatch.setattr(limited, "MAX_MEMORY", 2**32)
    limited.close()
    with pytest.raises(UserError, match="characters"):
        templates.render(source, "x")
    limited.close()


def test_a_child_without_its_time_limit_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "{% for i in range(12000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}"
    monkeypatch.setattr(templates, "LIMIT_S", 0.1)
    with pytest.raises(UserError, match="takes longer than"):
        templates.render(source, "x")
    monkeypatch.setattr(templates, "LIMIT_S", 600.0)
    assert templates.render(source, "x") == ""


# --- patterns and schemas -------------------------------------------------------------------------------------------

PATTERNS = {
    "words": "|".join(f"word{n}" for n in range(100_000)),
    "open": "(" * 5000,
    "deep": "(" * 5000 + ")" * 5000,
    "range": "a{1,99999999999}",
    "nested": "((a{1,500}){1,500}){1,500}",
    "stars": "(a*)*" * 2000,
    "class": "[" + "a-z" * 50000 + "]",
    "look": "(?=" * 3000 + ")" * 3000,
    "names": "".join(f"(?P<g{n}>a)" for n in range(5000)),
    "back": r"(a)\2",
    "flags": "(?z)",
    "surrogate": "\ud800",
    "null": "\0",
    "sets": "[[a]--[b]]",
    "huge": "a" * 1_000_000,
}


@pytest.mark.parametrize("name", inputs(PATTERNS))
def test_a_pattern_is_compiled_or_refused_in_bounded_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "COMPILE_S", 0.2)
    try:
        patterns.compile_pattern(PATTERNS[name])
    except UserError as error:
        tried("pattern", name, bool(error.hint), error)
    else:
        tried("pattern", name, True)


def test_without_the_child_a_pattern_compiles_for_longer_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "|".join(f"other{n}" for n in range(100_000))
    monkeypatch.setattr(patterns, "COMPILE_S", 0.1)
    with pytest.raises(UserError, match="takes longer than"):
        patterns.compile_pattern(words)
    monkeypatch.setattr(limited, "call", lambda *_, **__: "")  # the guard is off: nothing is tried before
    monkeypatch.setattr(patterns.regex, "compile", lambda *_: "compiled here")
    assert patterns.compile_pattern(words) == "compiled here"


NEST = '{"a":' * 150 + "1" + "}" * 150
SCHEMAS = {
    "pattern": ({"properties": {"a": {"pattern": "(a+)+$"}}}, {"a": "a" * 40 + "!"}),
    "alternatives": ({"anyOf": [{"const": n} for n in range(20_000)]}, {"a": 1}),
    "circle": ({"$ref": "#"}, {}),
    "nowhere": ({"$ref": "#/$defs/x"}, {}),
    "false": (False, {}),
    "circles": ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 9}}}, {}),
    "names": ({"patternProperties": {"(x+)+$": {}}}, {"x" * 40 + "!": 1}),
    "unique": ({"properties": {"a": {"uniqueItems": True}}}, {"a": [{"b": n} for n in range(3000)]}),
    "multiple": ({"properties": {"a": {"multipleOf": 1e-300}}}, {"a": 1e300}),
    "deep": ({"$ref": "#/$defs/n", "$defs": {"n": {"additionalProperties": {"$ref": "#/$defs/n"}}}}, json.loads(NEST)),
    "format": ({"properties": {"a": {"format": "regex"}}}, {"a": "("}),
    "nested": (json.loads('{"not":' * 300 + "{}" + "}" * 300), {"a": 1}),
    "dynamic": ({"$dynamicRef": "#x", "$defs": {"a": {"$dynamicAnchor": "x", "$dynamicRef": "#x"}}}, {}),
}


@pytest.mark.parametrize("name", inputs(SCHEMAS))
def test_a_schema_judges_or_is_unscored_in_bounded_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneworthy.config.graders import JsonSchema
    from tuneworthy.graders import json_schema
    from tuneworthy.graders.base import GradingContext
    from tuneworthy.graders.json_schema import JsonSchemaGrader
    from tuneworthy.types import Case, Response, Trace

    monkeypatch.setattr(json_schema, "APPLY_S", 0.2)
    schema, value = SCHEMAS[name]
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    trace = Trace(case_id="c", variant_id="v", repeat=0, messages=(), response=Response(text=json.dumps(value)))
    try:
        grader = JsonSchemaGrader(JsonSchema(type="json_schema", path="schema.json"), GradingContext(root=tmp_path))
        scores = [grader(trace, Case(id="c", input="q")) for _ in range(2)]
    except UserError as error:
        tried("schema", name, bool(error.hint), error)
    else:
        tried("schema", name, all(0 <= score.num <= 1 for score in scores), scores)


# --- files ----------------------------------------------------------------------------------------------------------

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = (
    "b0: &b0 {x: 1}\n"
    + "".join(f"b{n}: &b{n} {{<<: [{','.join([f'*b{n - 1}'] * 9)}]}}\n" for n in range(1, 10))
    + "tests: [*b9]\n"
)


def long_row(number: int) -> bytes:
    return b'{"id": %d, "input": "' % number + b"x" * 10_000_000 + b'"}\n'


def packed_rows(values: list[str], indices: list[int]) -> bytes:
    """Write a Parquet file whose rows name their text by a number."""
    import pyarrow as pa
    from pyarrow import parquet

    texts = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(values))
    table = pa.table({"id": [str(n) for n in range(len(indices))], "input": texts})
    parquet.write_table(table, sink := io.BytesIO(), compression="zstd")
    return sink.getvalue()


def packed_list(size: int) -> bytes:
    """Write a Parquet file of one row, a list of zeros."""
    import pyarrow as pa
    from pyarrow import parquet

    zeros = pa.array([0], pa.int8()).take(pa.array([0] * 1000)).buffers()[1].to_pybytes() * (size // 1000)
    numbers = pa.Array.from_buffers(pa.int8(), size, [None, pa.py_buffer(zeros)])
    table = pa.table({"input": pa.ListArray.from_arrays(pa.array([0, size], pa.int32()), numbers)})
    parquet.write_table(table, sink := io.BytesIO(), compression="zstd")
    return sink.getvalue()


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "alias bomb": ("b.yaml", f"{BOMB}tests: *i\n".encode),
    "bomb in tests": ("b.yaml", f"{BOMB}tests:\n - vars: *i\n".encode),
    "merge bomb": ("b.yaml", MERGES.encode),
    "holds itself": ("b.yaml", lambda: b"tests: &a [*a]\n"),
    "deep YAML": ("b.yaml", lambda: b"tests: " + b"[" * 20_000),
    "wide YAML": ("b.yaml", lambda: b"tests: [" + b"1," * 2_000_000 + b"1]"),
    "Python tag": ("b.yaml", lambda: b"tests: !!python/object/apply:os.system [id]"),
    "YAML date": ("b.yaml", lambda: b"tests: [{vars: {a: 9999-99-99}}]"),
    "YAML number": ("b.yaml", lambda: b"tests: [{vars: {a: " + b"9" * 10_000 + b"}}]"),
    "columns": (
        "b.csv",
        lambda: ",".join(f"c{n}" for n in range(100_000)).encode() + b"\n" + (b"1," * 99_999 + b"1\n") * 3,
    ),
    "same columns": ("b.csv", lambda: b"a," * 99_999 + b"a\n"),
    "long cell": ("b.csv", lambda: b"input,expected\n" + b"x" * 40_000_000 + b",y\n"),
    "open quote": ("b.csv", lambda: b'input,expected\n"' + b"x\n" * 1_000_000),
    "NUL in CSV": ("b.csv", lambda: b"input,expected\n\0,\0\n" * 10),
    "deep JSON": ("b.json", lambda: b"[" * 1_000_000),
    "deep row": ("b.jsonl", lambda: b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
    "huge number": ("b.jsonl", lambda: b'{"input": "a", "expected": ' + b"9" * 100_000 + b"}\n"),
    "huge exponent": ("b.jsonl", lambda: b'{"input": "a", "expected": 1e999999999}\n'),
    "NaN": ("b.jsonl", lambda: b'{"input": "a", "expected": NaN}\n'),
    "surrogate": ("b.jsonl", lambda: b'{"input": "\\ud800", "expected": "a"}\n'),
    "NUL": ("b.jsonl", lambda: b'{"input": "\\u0000", "expected": "\\u0000"}\n'),
    "not UTF-8": ("b.jsonl", lambda: b'{"input": "\xff", "expected": "a"}\n'),
    "wide row": ("b.jsonl", lambda: json.dumps({f"k{n}": n for n in range(100_000)}).encode() + b"\n"),
    "one line": ("b.jsonl", lambda: b'{"input": "' + b"x" * 100_000_000 + b'"}\n'),
    "UTF-16": ("b.jsonl", lambda: '{"input": "a"}\n'.encode("utf-16")),
    "gzip bomb": ("b.jsonl.gz", lambda: gzip.compress(b"x" * 300_000_000, 1)),
    "gzip of one element": ("b.json.gz", lambda: gzip.compress(b'[{"input": "' + b"x" * 300_000_000 + b'"}]', 1)),
    "gzip of long rows": ("b.jsonl.gz", lambda: b"".join(gzip.compress(long_row(n), 1) for n in range(110))),
    "gzip of one CSV row": (
        "b.csv.gz",
        lambda: gzip.compress(b"a,b\n" + b",".join([b'"' + b"x\n" * 500_000 + b'"'] * 300), 1),
    ),
    "gzip of nothing": ("b.json.gz", lambda: gzip.compress(b" " * 300_000_000 + b"[]", 1)),
    "cut gzip": ("b.jsonl.gz", lambda: gzip.compress(b'{"input": "a"}\n' * 99)[:40]),
    "combinations": (
        "b.yaml",
        lambda: b"tests:\n- vars:\n" + b"".join(b"    v%d: [0,1,2,3,4,5,6,7,8,9]\n" % n for n in range(20)),
    ),
    "Parquet dictionary": ("b.parquet", lambda: packed_rows(["x" * 8_000_000], [0] * 200)),
    "Parquet list": ("b.parquet", lambda: packed_list(50_000_000)),
    "Parquet footer": ("b.parquet", lambda: b"PAR1" + b"\x15" * 100 + (2**31 - 1).to_bytes(4, "little") + b"PAR1"),
    "no Parquet": ("b.parquet", lambda: b"PAR1" + b"\xff" * 100 + b"PAR1"),
    "empty": ("b.jsonl", lambda: b""),
    "only NUL": ("b.jsonl", lambda: b"\0" * 1_000_000),
    "keys twice": ("b.jsonl", lambda: b'{"input": "a", "input": "b", "expected": "c"}\n'),
    "number as id": ("b.jsonl", lambda: b'{"id": ' + b"1" * 40 + b', "input": "a"}\n'),
}


@pytest.mark.parametrize("name", inputs(FILES))
def test_init_reads_or_refuses_a_file_in_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    file, content = FILES[name]
    (tmp_path / file).write_bytes(content())
    survived("file", name, tmp_path, "init", "new", "--data", file)


def pdf(*objects: bytes, root: bytes = b"1 0 R") -> bytes:
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, content) for number, content in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root " + root + b"/Size %d>>\n%%%%EOF" % (len(objects) + 1)


def page(stream: bytes, filters: bytes) -> tuple[bytes, ...]:
    """Return the objects of a PDF with one page."""
    return (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d/Filter[%s]>>stream\n%s\nendstream" % (len(stream), filters, stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )


DOCUMENTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a million tags": ("b.html", lambda: b"<div>" * 1_000_000),
    "a million paragraphs": ("b.html", lambda: b"<p>x" * 1_000_000),
    "tables in tables": ("b.html", lambda: b"<table><tr><td>" * 100_000),
    "attributes": ("b.html", lambda: b"<p " + b" ".join(b"a%d=1" % n for n in range(50_000)) + b">x"),
    "entities": ("b.html", lambda: b"&" * 3_000_000),
    "an endless comment": ("b.html", lambda: b"<!--" * 500_000),
    "entities of entities": (
        "b.html",
        lambda: b"<!DOCTYPE a [" + b"".join(b'<!ENTITY e%d "%s">' % (n + 1, b"&e%d;" % n * 10) for n in range(20)) + b"]>&e20;",
    ),
    "NUL in HTML": ("b.html", lambda: b"\0<p>\0</p>" * 100_000),
    "quotes in quotes": ("b.md", lambda: b"> " * 100_000 + b"x"),
    "lists in lists": ("b.md", lambda: b"".join(b" " * n + b"- a\n" for n in range(2000))),
    "open brackets": ("b.md", lambda: b"[" * 500_000),
    "references": ("b.md", lambda: b"".join(b"[a%d]: /x\n" % n for n in range(50_000))),
    "headings": ("b.md", lambda: b"# a\n" * 200_000),
    "PDF bomb": ("b.pdf", lambda: pdf(*page(zlib.compress(b"\0" * 2**28), b"/FlateDecode"))),
    "PDF bomb in a bomb": (
        "b.pdf",
        lambda: pdf(*page(zlib.compress(zlib.compress(b"\0" * 2**28)), b"/FlateDecode/FlateDecode")),
    ),
    "PDF run lengths": ("b.pdf", lambda: pdf(*page(b"\x81x" * 3_000_000, b"/RunLengthDecode"))),
    "PDF pages in a circle": (
        "b.pdf",
        lambda: pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"),
    ),
    "PDF of a page many times": (
        "b.pdf",
        lambda: pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count 99999>>" % (b"3 0 R " * 99999), *page(b"BT ET", b"")[2:]),
    ),
    "deep PDF": ("b.pdf", lambda: pdf(b"[" * 300_000)),
    "PDF text": ("b.pdf", lambda: pdf(*page(b"BT /F 9 Tf " + b"(x) Tj " * 300_000 + b"ET", b""))),
    "wide rows": ("b.jsonl", lambda: b'{"text": "a", "x": [' + b"[]," * 5_000_000 + b"[]]}\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", inputs(DOCUMENTS))
def test_a_document_is_read_or_left_out_in_bounded_time_and_memory(name: str, tmp_path: Path) -> None:
    file, content = DOCUMENTS[name]
    (tmp_path / file).write_bytes(content())
    folder = project(tmp_path, prompt=f'[documents]\npath = "{file}"')
    survived("document", name, folder, "check", "--offline")


def special(kind: str, path: Path) -> None:
    """Make what is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            here = Path.cwd()
            os.chdir(path.parent)
            server.bind(path.name)
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")


ROLES = {
    "cases": lambda name: {"cases": name},
    "prompt": lambda name: {"prompt": f'[prompt]\nsystem = "{name}"'},
    "schema": lambda name: {"grader": f'type = "json_schema"\npath = "{name}"'},
    "rubric": lambda name: {"grader": f'type = "judge"\nmodel = "small"\nrubric = "{name}"'},
    "examples": lambda name: {"prompt": f'[examples]\npath = "{name}"'},
    "documents": lambda name: {"prompt": f'[documents]\npath = "{name}"'},
    "model": lambda name: {"model": f'provider = "llama_cpp"\nmodel = "./{name}"'},
}
ENDINGS = {
    "cases": "jsonl",
    "prompt": "md",
    "schema": "json",
    "rubric": "md",
    "examples": "jsonl",
    "documents": "txt",
    "model": "gguf",
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_regular_file_is_refused_in_any_role(role: str, kind: str, tmp_path: Path) -> None:
    name = f"odd.{ENDINGS[role]}"
    special(kind, tmp_path / name)
    survived("not a regular file", f"{kind} as {role}", project(tmp_path, **ROLES[role](name)), "check", "--offline")


@pytest.mark.parametrize("name", ["\\u0000", "x" * 5000, "a/" * 3000], ids=["NUL", "long", "deep"])
@pytest.mark.parametrize("role", ["schema", "rubric", "prompt", "cases", "examples", "documents"])
def test_an_odd_name_of_a_file_is_one_line_in_any_role(role: str, name: str, tmp_path: Path) -> None:
    folder = project(tmp_path, **ROLES[role](name + ".md" * (role in {"rubric", "prompt"})))
    survived("name of a file", f"{name[:8]} as {role}", folder, "check", "--offline")


@pytest.mark.parametrize("name", ["\\u0000", "x" * 5000], ids=["NUL", "long"])
def test_an_odd_name_of_a_function_is_one_line(name: str, tmp_path: Path) -> None:
    folder = project(tmp_path, grader=f'type = "python"\nfunction = "{name}.py:judge"')
    survived("name of a file", f"{name[:8]} as function", folder, "check", "--offline")


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["tuneworthy.toml", "data.jsonl", "config.yaml"])
def test_what_is_no_regular_file_is_refused_by_the_verbs(kind: str, name: str, tmp_path: Path) -> None:
    special(kind, tmp_path / name)
    arguments = {
        "tuneworthy.toml": ["check"],
        "data.jsonl": ["init", "new", "--data", name],
        "config.yaml": ["plan", "--lint", name],
    }
    survived("not a regular file", f"{kind} as {name}", tmp_path, *arguments[name])


@pytest.mark.parametrize(
    "model",
    ["~nosuchuser/x", "x" * 5000, "a/" * 2000 + "b", "\\u0000", "/dev/zero", "hf:../../x", "pypi:" + "x" * 3000, "."],
    ids=lambda model: model[:16],
)
def test_an_odd_name_of_a_model_is_one_line(model: str, tmp_path: Path) -> None:
    folder = project(tmp_path, model=f'provider = "llama_cpp"\nmodel = "{model}"')
    survived("name of a model", model[:16], folder, "check", "--offline")


TOML = {
    "number": "x = " + "9" * 10_000,
    "deep": "x = " + "[" * 20_000,
    "tables": "".join(f"[a{n}]\n" for n in range(20_000)),
    "dotted": ".".join(["a"] * 5000) + " = 1",
    "large": "# " + "x" * 3_000_000,
    "not UTF-8": "\udcff",
    "NUL": "\0",
    "empty": "",
    "date": "x = 9999-99-99",
    "inf": "[task]\nname = 'a'\ntarget = inf",
    "nan": "[task]\nname = 'a'\ntarget = nan",
    "text": "]" * 1000,
    "repeats": PROJECT.format(cases="c", prompt="", grader='type = "exact"', model=SCRIPT) + "repeats = 1000000000\n",
}


@pytest.mark.parametrize("name", inputs(TOML))
def test_a_project_file_is_refused_in_bounded_time(name: str, tmp_path: Path) -> None:
    (tmp_path / "tuneworthy.toml").write_text(TOML[name], errors="surrogateescape")
    survived("project file", name, tmp_path, "check", "--offline", status=frozenset({2}))


# --- the guards -----------------------------------------------------------------------------------------------------


def test_without_the_count_an_alias_bomb_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml")
    small = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]"
    with pytest.raises(UserError, match="more than 30 values"):
        yaml_text.check_size(small, yaml.SafeLoader, 30)
    yaml_text.check_size(small, yaml.SafeLoader)


def test_without_the_bound_of_columns_all_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tuneworthy.cases import read_cases
    from tuneworthy.cases.readers import files

    path = tmp_path / "wide.csv"
    path.write_text(
        ",".join(["input", "expected", *(f"c{n}" for n in range(2500))]) + "\n" + "q,a" + ",x" * 2500 + "\n"
    )
    with pytest.raises(UserError, match="at most 2000 columns"):
        read_cases(path, input_column=["input"], expected_column="expected")
    monkeypatch.setattr(files, "MAX_COLUMNS", 10_000)
    assert len(read_cases(path, input_column=["input"], expected_column="expected").cases) == 1


def test_without_the_limit_a_schema_pattern_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.graders import json_schema

    schema, answer = json.dumps({"pattern": "(a+)+$"}), "a" * 24 + "!"
    with pytest.raises(limited.OverLimit, match="takes longer than"):
        limited.call(json_schema.first_error, schema, answer, limit_s=0.1)
    assert "does not match" in limited.call(json_schema.first_error, schema, answer, limit_s=600.0)


def test_without_the_depth_of_answers_a_score_cannot_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    import orjson

    from tuneworthy.config.graders import JsonFields
    from tuneworthy.graders import json_text
    from tuneworthy.graders.json_fields import JsonFieldsGrader
    from tuneworthy.types import Case, Response, Trace

    grader, case = JsonFieldsGrader(JsonFields(type="json_fields")), Case(id="c", input="q", expected={"a": 1})
    response = Response(text='{"a":' * 400 + "1" + "}" * 400)
    trace = Trace(case_id="c", variant_id="v", repeat=0, messages=(), response=response)
    score = grader(trace, case)
    tried("answer", "400 nested objects", score.reason == "format", score.reason)
    orjson.dumps(score.detail)
    monkeypatch.setattr(json_text, "MAX_DEPTH", 10_000)
    with pytest.raises(TypeError, match="Recursion"):
        orjson.dumps(grader(trace, case).detail)


def test_without_the_bound_of_combinations_all_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.cases import read_cases
    from tuneworthy.cases.formats import promptfoo

    path = tmp_path / "tests.jsonl"
    path.write_text('{"vars": {"a": [1, 2, 3], "b": [1, 2]}}\n')
    assert len(read_cases(path).cases) == 6
    monkeypatch.setattr(promptfoo, "MAX_COMBINATIONS", 5)
    with pytest.raises(UserError, match="1 to 5 combinations"):
        read_cases(path)


@pytest.mark.slow
def test_without_their_memory_limit_rows_of_parquet_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneworthy.cases import read_cases

    path = tmp_path / "list.parquet"
    path.write_bytes(packed_list(50_000_000))
    with pytest.raises(UserError, match="too much memory"):
        read_cases(path)
    monkeypatch.setattr(limited, "MAX_MEMORY", 2**33)
    limited.close()
    with pytest.raises(UserError) as unpacked:  # the row is too long, or Arrow dies of 8 GiB
        read_cases(path)
    assert "too much memory" not in str(unpacked.value)
    limited.close()


@pytest.mark.parametrize("kind", ["gzip", "Parquet"])
def test_without_their_bounds_few_bytes_are_unpacked_to_any_number_of_rows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuneworthy.cases import read_cases
    from tuneworthy.cases.readers import reader
    from tuneworthy.cases.readers.faults import Journal

    path = tmp_path / ("a.jsonl.gz" if kind == "gzip" else "a.parquet")
    lines = b"".join(b'{"id": %d, "input": "%s"}\n' % (n, b"x" * 200) for n in range(50))
    path.write_bytes(gzip.compress(lines) if kind == "gzip" else packed_rows(["x" * 200], [0] * 50))
    assert len(read_cases(path).cases) == 50
    monkeypatch.setattr(Journal, "MAX_UNPACKED", 2**12)
    with pytest.raises(UserError, match="unpacked rows, got more"):
        read_cases(path)
    (tmp_path / "plain.jsonl").write_bytes(lines)
    assert len(read_cases(tmp_path / "plain.jsonl").cases) == 50
    monkeypatch.setattr(reader, "MAX_ROWS", 49)
    with pytest.raises(UserError, match="at most 49 rows, got more"):
        read_cases(tmp_path / "plain.jsonl")


def test_without_the_limit_of_a_line_a_row_of_several_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.cases import read_cases
    from tuneworthy.cases.readers import files

    cells, element = tmp_path / "a.csv", tmp_path / "a.json"
    cells.write_text('input,expected\n"' + "q\n" * 50_000 + '",a\nb,c\n')
    element.write_text('[{"input": "b"}, {"input": "' + "q" * 200_000 + '"}]')
    assert [len(read_cases(path).cases) for path in (cells, element)] == [2, 2]
    monkeypatch.setattr(files, "MAX_LINE", 2**16)
    monkeypatch.setattr(files, "_MAX_WHOLE", 2**16)
    for path in (cells, element):
        with pytest.raises(UserError, match="MiB"):
            read_cases(path)


@pytest.mark.slow
def test_without_its_limit_a_document_is_parsed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lxml")
    from tuneworthy.retrieval import parsing
    from tuneworthy.retrieval.documents import read_documents

    path = tmp_path / "a.html"
    path.write_bytes(b"<p>x" * 400_000)
    monkeypatch.setattr(parsing, "LIMIT_S", 0.1)
    (left_out,) = read_documents(path).left_out
    assert "takes longer than" in left_out[1]
    monkeypatch.setattr(parsing, "LIMIT_S", 600.0)
    assert len(read_documents(path).documents) == 1


class Fault(ArithmeticError):
    """An error that is none of ours."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)


def test_without_the_table_of_faults_an_odd_name_of_a_model_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.providers import models

    with pytest.raises(UserError, match="too long"):
        models.find("x" * 5000, Path())
    monkeypatch.setattr(models, "ModelError", Fault)  # the guard is off: what it raises is none of ours
    with pytest.raises(Fault):
        models.find("x" * 5000, Path())


def test_without_a_word_for_odd_names_a_null_byte_is_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.graders.base import GradingContext

    with pytest.raises(UserError):
        GradingContext(root=tmp_path).file("\0", "a file")
    monkeypatch.setattr("builtins.ValueError", ArithmeticError)  # the guard is off: what the system raises passes
    with pytest.raises(Exception, match="null byte") as caught:
        GradingContext(root=tmp_path).file("\0", "a file")
    assert not isinstance(caught.value, UserError)


def test_without_the_limit_of_its_size_a_project_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuneworthy.config import load
    from tuneworthy.config import project as config

    file = project(tmp_path) / "tuneworthy.toml"
    file.write_text(file.read_text() + "# " + "x" * 3_000_000 + "\n")
    with pytest.raises(UserError, match="larger than"):
        load(file)
    monkeypatch.setattr(config, "MAX_PROJECT", 2**26)
    assert load(file).task.name == "limits"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    from tuneworthy.input_files import open_input

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        open_input(tmp_path / "pipe")
    code = f"open({str(tmp_path / 'pipe')!r}, 'rb')"  # the guard is off: opened as any file
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], timeout=2, check=False)
