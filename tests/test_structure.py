"""The structure of the package stays within its limits, and each figure of scripts/structure.py reacts to a fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import structure
from scripts.structure import Figure, Measurement, Source

RECORD = "class RunRecord:\n    rungs: list\n    best: dict\n    score: float\n    name: str\n"
REGISTERED = """RULES = {}

def {name}(code):
    def add(entry):
        RULES[code] = entry
        return entry
    return add
"""
WITHIN_LIMITS = ("circles", "arrows_upward", "duplicate_classes", "voice")

Write = Callable[..., Source]


@pytest.fixture(scope="module")
def current() -> Measurement:
    return structure.measure(structure.ROOT)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files of a package (or of its repository, for a path that starts with `../../`) and read them."""

    def package(files: dict[str, str]) -> Source:
        root = tmp_path / "src" / "planted"
        root.mkdir(parents=True)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return Source(root)

    return package


def texts(figure: Figure) -> list[str]:
    return [str(place) for place in figure.places]


@pytest.mark.parametrize("name", WITHIN_LIMITS)
def test_the_package_stays_within_the_limit(current: Measurement, name: str) -> None:
    figure = next(figure for figure in current.figures if figure.name == name)
    assert not figure.is_exceeded, "\n".join(texts(figure))


def test_every_file_and_folder_of_the_package_has_a_layer_and_can_be_measured(current: Measurement) -> None:
    assert [str(problem) for problem in current.problems] == []


def test_every_limit_belongs_to_a_figure(current: Measurement) -> None:
    assert [figure.name for figure in current.figures] == list(structure.LIMITS)


def test_statements_are_counted_and_lines_without_any_are_not(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write({"types.py": "# a comment\n\nx = (\n    1\n)\n", "stats/mean.py": "def f():\n    return 1\n"})
    figure = structure.statements(source)
    assert figure.value == 3
    assert texts(figure) == ["stats: statements: 2", "types: statements: 1"]
    assert not figure.is_exceeded
    monkeypatch.setitem(structure.LIMITS, "statements", 2)
    assert structure.statements(source).is_exceeded


@pytest.mark.parametrize(
    "text",
    [
        REGISTERED.replace("{name}", "lint"),
        REGISTERED.replace("{name}", "parity_check"),
        REGISTERED.replace("{name}", "entry") + "\nclass _Finding:\n    pass\n",
        "from planted.registry import Registry\n\nGATES: Registry[int] = Registry('gates', {})\n",
        "from planted import registry\n\nFaces = registry.Registry[int]('x')\nFinding = tuple[str, str]\n",
        "def gate(name):\n    return ENTRIES.register(name)\n",
    ],
)
def test_a_second_rule_framework_exceeds_the_limit(write: Write, text: str) -> None:
    first = REGISTERED.replace("{name}", "rule") + "\nclass Finding:\n    pass\n"
    figure = structure.rule_frameworks(write({"rules.py": first, "train/lints/base.py": text}))
    assert figure.is_exceeded
    assert [place.path for place in figure.places] == ["rules.py", "train/lints/base.py"]


@pytest.mark.parametrize(
    "text",
    [
        "from planted.rules import rule\n\n@rule('code')\ndef check(rows):\n    yield 1\n",
        "class Finding:\n    pass\n",
        "from planted.registry import Registry\n\nGRADERS = Registry('graders', {})\n",
        REGISTERED.replace("{name}", "grader"),
        "def run_checks(rows):\n    def add(row):\n        out[row] = 1\n    return [add(row) for row in rows]\n",
    ],
)
def test_what_only_uses_rules_or_registers_other_things_is_no_rule_framework(write: Write, text: str) -> None:
    assert structure.rule_frameworks(write({"graders/base.py": text})).value == 0


@pytest.mark.parametrize(
    "text",
    [
        "import aiohttp\n\nasync def f():\n    async with aiohttp.ClientSession() as s:\n        pass\n",
        "import urllib.request as web\n\nweb.urlopen('x')\n",
        "from urllib import request\n\nrequest.build_opener()\n",
        "def f():\n    from http.client import HTTPSConnection as H\n    return H('x')\n",
        "import httpx\n\nclient = httpx.AsyncClient()\n",
        "import requests\n\nrequests.get('x')\n",
    ],
)
def test_a_second_http_client_exceeds_the_limit(write: Write, text: str) -> None:
    first = "import aiohttp\n\nsession = aiohttp.ClientSession()\n"
    figure = structure.http_clients(write({"providers/http.py": first, "ship/serve.py": text}))
    assert figure.is_exceeded
    assert [place.path for place in figure.places] == ["providers/http.py", "ship/serve.py"]


@pytest.mark.parametrize(
    "text",
    [
        "import aiohttp\n\ndef f(session: aiohttp.ClientSession) -> None:\n    session.get('x')\n",
        "from urllib.request import getproxies, Request\n\ngetproxies(), Request('x')\n",
        "from urllib.parse import urlsplit\n\nurlsplit('x')\n",
        "from http.client import HTTPException\n\nHTTPException()\n",
        "def urlopen(x):\n    return x\n\nurlopen('x')\n",
    ],
)
def test_what_opens_no_connection_is_no_http_client(write: Write, text: str) -> None:
    assert structure.http_clients(write({"providers/prices.py": text})).value == 0


@pytest.mark.parametrize(
    ("back", "line"),
    [
        ("from planted.ship.merge import f\n", 1),
        ("from planted.ship import merge\n", 1),
        ("import planted.ship.merge\n", 1),
        ("from . import merge\n", 1),
        ("from .merge import f\n", 1),
        ("def g():\n    from planted.ship.merge import f\n", 2),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from planted.ship.merge import f\n", 3),
    ],
)
def test_a_circle_of_imports_exceeds_the_limit(write: Write, back: str, line: int) -> None:
    files = {"ship/__init__.py": "", "ship/merge.py": "from planted.ship.nf4 import g\n", "ship/nf4.py": back}
    source = write(files)
    figure = structure.circles(source)
    assert figure.is_exceeded
    assert texts(figure) == ["ship/merge.py:1: circle of 2 modules: ship.merge -> ship.nf4 -> ship.merge"]
    assert next(arrow.line for arrow in source.arrows if arrow.source == "ship.nf4") == line


def test_a_circle_through_a_package_is_reported_with_all_its_members(write: Write) -> None:
    files = {
        "ladder/__init__.py": "from planted.ladder.run import walk\n",
        "ladder/run.py": "from planted.ladder import walk\nfrom planted.ladder.task import Task\n",
        "ladder/task.py": "from planted.ladder.record import x\n",
        "ladder/record.py": "from planted.ladder.run import walk\n",
    }
    figure = structure.circles(write(files))
    assert figure.value == 1
    assert "circle of 4 modules: ladder -> ladder.run -> ladder" in figure.places[0].text
    assert "also ladder.record, ladder.task" in figure.places[0].text


def test_a_package_that_exports_its_modules_is_no_circle(write: Write) -> None:
    files = {
        "__init__.py": "__version__ = '1'\ndef run():\n    from planted.ladder.run import walk\n",
        "ladder/__init__.py": "from planted.ladder.run import walk\nfrom planted.ladder import task\n",
        "ladder/run.py": "from planted import __version__\nimport planted.ladder.task as task\n",
        "ladder/task.py": "import ladder.run\nfrom planted_elsewhere.ladder import run\n",
    }
    assert structure.circles(write(files)).places == ()


def test_a_name_that_hides_a_module_is_taken_from_the_package(write: Write) -> None:
    files = {
        "ladder/__init__.py": "from planted.ladder.climb import climb\n",
        "ladder/climb.py": "def climb(): ...\n",
        "cli/run.py": "from planted.ladder import climb\n",
    }
    arrows = {(arrow.source, arrow.target) for arrow in write(files).arrows}
    assert arrows == {("ladder", "ladder.climb"), ("cli.run", "ladder")}


@pytest.mark.parametrize("place", ["", "def f():\n    "])
def test_an_import_from_a_later_layer_exceeds_the_limit(write: Write, place: str) -> None:
    files = {"stats/planted.py": f"{place}from planted.ladder import climb\n", "ladder/climb.py": ""}
    figure = structure.arrows_upward(write(files))
    assert figure.is_exceeded
    assert texts(figure) == [
        f"stats/planted.py:{2 if place else 1}: stats imports from the later layer ladder: ladder.climb"
    ]


def test_an_import_from_above_or_from_the_own_folder_points_downward(write: Write) -> None:
    files = {
        "__init__.py": "from planted.ladder.climb import run\n\n__version__ = '1'\n",
        "types.py": "import json\n",
        "floor/linear.py": "from planted.types import Case\n",
        "ladder/climb.py": "from planted import __version__\nfrom .task import t\nimport planted.floor.linear\n",
        "ladder/task.py": "from ..types import Case\n",
    }
    source = write(files)
    assert len(source.arrows) == 5
    assert structure.arrows_upward(source).places == ()


def test_former_and_new_folder_names_share_a_layer() -> None:
    for former, new in [("floor", "classical"), ("grade", "graders"), ("curate", "dataset")]:
        assert any({former, new} <= set(row) for row in structure.LAYERS)
    flat = [name for row in structure.LAYERS for name in row]
    assert len(flat) == len(set(flat))


def test_a_class_name_that_is_used_twice_exceeds_the_limit(write: Write) -> None:
    files = {"types.py": "class Case:\n    pass\n", "verdict/decide.py": "def f():\n    class _Case:\n        pass\n"}
    figure = structure.duplicate_classes(write(files))
    assert figure.value == 1 and figure.is_exceeded
    assert texts(figure) == ["types.py:1: class Case", "verdict/decide.py:2: class _Case"]


def test_class_names_that_differ_are_no_duplicates(write: Write) -> None:
    files = {
        "types.py": "class Case:\n    pass\n",
        "verdict/decide.py": "class Cases:\n    Case = 1\n\ndef Case2(): ...\n",
    }
    assert structure.duplicate_classes(write(files)).value == 0


def test_a_record_read_as_a_dictionary_is_counted_read_by_read(write: Write) -> None:
    reads = [
        "def f(record):\n    return [row.get('rungs', 1) for row in record['rungs'] if row['score']]\n",
        "def g(climb):\n    return climb['best']['best']\n",
        "last = load()\nprint(last['rungs'])\n",
    ]
    figure = structure.record_key_reads(write({"ladder/record.py": RECORD, "verdict/seen.py": "\n".join(reads)}))
    assert [(place.line, place.text) for place in figure.places] == [
        (2, "record['rungs']"),
        (2, "row.get('rungs', 1)"),
        (2, "row['score']"),
        (5, "climb['best']"),
        (5, "climb['best']['best']"),
        (8, "last['rungs']"),
    ]


@pytest.mark.parametrize(("reads", "is_exceeded"), [(10, False), (11, True)])
def test_ten_reads_of_the_record_are_allowed(write: Write, reads: int, is_exceeded: bool) -> None:
    text = "def f(record):\n" + "    record['best']\n" * reads
    figure = structure.record_key_reads(write({"ladder/record.py": RECORD, "cli/run.py": text}))
    assert figure.value == reads and figure.is_exceeded == is_exceeded


def test_other_dictionaries_are_no_records(write: Write) -> None:
    others = [
        "def common(row):\n    return row['score'], row.get('name')\n",
        "def foreign(point):\n    return point['best'], point['p50']\n",
        "def store(out, record):\n    out['best'] = record.best\n    del out['rungs']\n",
        "def typed(record, key):\n    return record.best, record.rungs[0], record[key]\n",
    ]
    files = {
        "ladder/record.py": RECORD + "\ndef read(document):\n    return document['rungs']\n",
        "store/files.py": "def read(document):\n    return document['rungs']\n",
        "verdict/seen.py": "\n".join(others),
    }
    assert structure.record_key_reads(write(files)).places == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("mended", "mend"),
        ("Mend the file", "mend"),
        ("it heeds the limit", "heed"),
        ("read anew", "anew"),
        ("It is so that nothing is lost", "it is so that"),
        ("what was put to test", "put to test"),
        ("gives the case away", "give away"),
        ("given away", "give away"),
        ("there are none", "is none"),
        ("by\nitself", "by itself"),
    ],
)
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("stats/mean.py", '"""A docstring.\n\n{}."""\n'),
        ("stats/mean.py", 'def f(x):\n\n    raise ValueError(f"""{}: {{x}}""")\n'),
        ("../../README.md", "# Title\n\n{}\n"),
        ("../../docs/page.md", "# Title\n\n{}\n"),
        ("../../CHANGELOG.md", "## Unreleased\n\n{}\n"),
    ],
)
def test_a_banned_word_exceeds_the_limit(write: Write, text: str, word: str, path: str, form: str) -> None:
    figure = structure.voice(write({path: form.format(text)}))
    assert figure.value == 1 and figure.is_exceeded
    shown = str(figure.places[0])
    assert shown.startswith(f"{path.removeprefix('../../')}:3: ") and shown.endswith(f"({word})")


def test_other_words_comments_code_and_history_are_allowed(write: Write) -> None:
    files = {
        "stats/mean.py": '"""Amend: None if x is None, away, give a test."""\nmend = anew = None  # mend\n',
        "../../CHANGELOG.md": "# Changelog\n\n## 0.2\n\nFix.\n\n## 0.1\n\nMend.\n",
        "../../notes.md": "anew\n",
    }
    assert structure.voice(write(files)).places == ()


def test_an_f_string_is_read_as_a_whole_and_its_values_too(write: Write) -> None:
    text = "x = f'{y} is none, {\"anew\"}'\n"
    assert [place.text for place in structure.voice(write({"types.py": text})).places] == [
        '"anew" (anew)',
        '"is none" (is none)',
    ]


def test_vague_names_are_counted_by_word_and_exact_names_only(write: Write) -> None:
    text = "class Seen:\n    _seen: int\n\ndef f(found, *, founder):\n    for one in found:\n        self.told = one\n"
    files = {"verdict/seen.py": text, "types.py": "import seen\nx.words, seen_in = seen, 1\n"}
    figures = structure.names(write(files))
    counts = {figure.name: figure.value for figure in figures}
    assert {name: count for name, count in counts.items() if count} == {
        "name seen": 3,
        "name found": 1,
        "name one": 1,
        "name told": 1,
        "name words": 1,
    }
    assert len(counts) == len(structure.VAGUE_NAMES)
    assert all(figure.limit is None for figure in figures)


def test_what_cannot_be_measured_is_reported_and_fails_the_check(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write({"elsewhere/new.py": "x = 1\n", "types.py": "def broken(:\n"})
    reported = [str(problem) for problem in structure.problems(source)]
    assert reported[0].startswith("types.py:1: cannot be parsed")
    assert reported[1].startswith("elsewhere: has no place in LAYERS")
    assert reported[2].startswith("planted: no class ")
    assert structure.main(["--root", str(source.root)]) == 0
    assert structure.main(["--root", str(source.root), "--check"]) == 1
    assert "problem: elsewhere" in capsys.readouterr().out


def test_the_check_lists_every_place_and_exits_1_above_a_limit(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"ladder/record.py": RECORD, "types.py": "x = 'anew'\ny = 'mended'\n"}
    root = str(write(files).root)
    assert structure.main(["--root", root]) == 0
    assert "types.py" not in capsys.readouterr().out
    assert structure.main(["--root", root, "--check"]) == 1
    printed = capsys.readouterr().out
    assert "voice: 2, the limit is 0" in printed
    assert 'types.py:1: "anew" (anew)' in printed and 'types.py:2: "mended" (mend)' in printed


def test_json_holds_every_figure_with_its_places(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(write({"ladder/record.py": RECORD, "types.py": "x = 'none'\n"}).root)
    assert structure.main(["--root", root, "--check", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passes"] and document["files"] == 2 and document["problems"] == []
    assert {figure["name"]: figure["limit"] for figure in document["figures"] if figure["limit"] is not None} == dict(
        structure.LIMITS
    )


def test_a_folder_without_python_files_is_an_error_that_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        structure.main(["--root", str(tmp_path)])
    assert stop.value.code == 2
    assert "Pass the folder of the package as --root." in capsys.readouterr().err
