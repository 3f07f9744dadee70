"""The gate of a pull request: a change is judged by the base's files, whatever the change does to its judge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import chdir
from itertools import cycle
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from tests.ladder.simulations import write_simulation
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.engine import change as gate
from tuneworthy.engine.models import Models
from tuneworthy.ladder.variant_lookup import resolve
from tuneworthy.types import Case, Example

GRADER = """
from pathlib import Path

from helper import same

RIGHT = Path("right.txt").read_text().split()


def score(answer, expected, case):
    return same(answer, expected) or float(answer in [*RIGHT, *Path("right.txt").read_text().split()])
"""
RULE = "answer(request, 0.95 if 'colour' in system(request) else 0.3)"
MODEL = '[models.small]\nprovider = "scripted"\nfunction = "world.py:small"\n'


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    root = write_simulation(folder / "base", {"small": RULE}, n_cases=60, n_examples=210, rungs=["baseline"])
    edit(root, "target = 0.9", "target = 0.9\nmargin = 0.2")
    (root / "prompts").mkdir()
    (root / "prompts" / "system.md").write_text("Name the colour.\n")
    edit(root, 'system = "Name the colour."', 'system = "prompts/system.md"')
    edit(root, 'type = "exact"', 'type = "python"\nfunction = "grader.py:score"')
    (root / "grader.py").write_text(GRADER)
    (root / "helper.py").write_text("def same(a, b):\n    return float(a.strip() == b)\n")
    (root / "right.txt").write_text("none\n")
    shutil.copytree(root, folder / "change")
    return folder


def edit(root: Path, old: str, new: str, name: str = "tuneworthy.toml") -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def prompt(root: Path, text: str) -> None:
    (root / "prompts" / "system.md").write_text(text)


@pytest.fixture
def change(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original / "change", tmp_path / "change"))


def judge(original: Path, change: Path) -> int:
    """Run the gate in the folder of the change."""
    with chdir(change):
        return invoke(
            ["compare", "current", ".", "--gate", "--project", str(original / "base"), "--out", "../comment.md"]
        )


def lookup(root: Path, key: str, value: str) -> str:
    rows = [orjson.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    return "\n".join(f"{key.format(**row)}{value.format(**row)}" for row in rows[:20])


def good(root: Path, text: str) -> None:
    """A prompt with which the model is right, so that nothing but a refusal stops it."""
    prompt(root, f"{text}\nName the colour.")


def own_tree(root: Path) -> None:
    """A project file that names a folder with a grader and cases of its own."""
    edit(root, "grader.py:score", "easy/grader.py:score")
    (root / "easy").mkdir()
    (root / "easy" / "grader.py").write_text("def score(answer, expected, case):\n    return 1.0\n")


def link(root: Path, target: Path | str) -> None:
    (root / "prompts" / "system.md").unlink()
    (root / "prompts" / "system.md").symlink_to(target)


TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "the grader": lambda root: (root / "grader.py").write_text("def score(answer, expected, case):\n    return 1.0\n"),
    "a file that the grader imports": lambda root: (root / "helper.py").write_text("def same(a, b):\n    return 1.0\n"),
    "another grader": lambda root: edit(root, 'type = "python"\nfunction = "grader.py:score"',
                                        'type = "contains"\nmode = "any"\nvalues = ["e"]'),
    "a grader in another folder": own_tree,
    "a file that the grader opens": lambda root: (root / "right.txt").write_text("red green blue\n"),
    "a package in the place of the grader's module": lambda root: (
        (root / "helper").mkdir(), (root / "helper" / "__init__.py").write_text("def same(a, b):\n    return 1.0\n")),
    "a module json.py": lambda root: (root / "json.py").write_text("raise SystemExit(0)\n"),
    "sitecustomize.py": lambda root: (root / "sitecustomize.py").write_text("import os\nos._exit(0)\n"),
    "the cases": lambda root: edit(root, "red", "blue", "cases.jsonl"),
    "fewer cases": lambda root: (root / "cases.jsonl").write_text(
        "\n".join((root / "cases.jsonl").read_text().splitlines()[:12])),
    "other cases": lambda root: (edit(root, "[task]", '[cases]\npath = "easy.jsonl"\n[task]'),
                                 shutil.copy(root / "cases.jsonl", root / "easy.jsonl")),
    "the margin": lambda root: edit(root, "margin = 0.2", "margin = 0.9"),
    "the seed of the split": lambda root: edit(root, "[task]", "[split]\nseed = 1\ndev = 8\n[task]"),
    "a waiver": lambda root: edit(root, "[ladder]", '[[waivers]]\ngate = "power"\nreason = "x"\n[ladder]'),
    "a store of its own": lambda root: (shutil.copytree(root.parents[0] / "change" / "prompts", root / ".tuneworthy"),
                                        (root / ".tuneworthy" / "responses.sqlite").write_bytes(b"forged")),
    "another function": lambda root: (edit(root, "world.py:small", "easy.py:small"),
                                      shutil.copy(root / "world.py", root / "easy.py")),
    "the function's file": lambda root: edit(root, "0.3", "1.0", "world.py"),
    "another provider": lambda root: edit(root, MODEL, '[models.small]\nprovider = "http"\nurl = "http://127.0.0.1:9/"\n'),
    "another host": lambda root: edit(
        root, MODEL, '[models.small]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
        'input_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n'),
    "a model under another name": lambda root: (
        edit(root, MODEL, MODEL + MODEL.replace("small]", "other]").replace("world.py", "easy.py")),
        edit(root, 'baseline = "small"', 'baseline = "other"'), shutil.copy(root / "world.py", root / "easy.py")),
    "a model file of its own": lambda root: edit(
        root, MODEL, '[models.small]\nprovider = "llama_cpp"\nmodel = "answers.gguf"\n'),
    "its retries": lambda root: edit(root, MODEL, MODEL + "retries = 0\n"),
    "a table of the answers": lambda root: good(root, lookup(root, "{input}", " -> {expected}")),
    "questions in capitals": lambda root: good(root, lookup(root, "{input}", " = {expected}").upper()),
    "questions with points": lambda root: good(root, lookup(root, "{input}", "").replace(" ", " . ")),
    "five questions": lambda root: good(root, "\n".join(lookup(root, "{input}", ": {expected}").splitlines()[:5])),
    "answers among the parameters": lambda root: edit(
        root, "[prompt]", "[prompt]\nparameters = { note = '''" + lookup(root, "{input}", " {expected}") + "''' }"),
    "answers among the stop texts": lambda root: edit(
        root, "[prompt]", "[prompt]\nstop = ['''" + lookup(root, "{input}", " {expected}") + "''']"),
    "a lookup in Jinja": lambda root: good(root, "{% if 'item 3 ' in input %}Name the colour.{% endif %}"),
    "a table in Jinja": lambda root: good(root, "{{ {'item 3': 'red'}.get(input[:6], input) }}"),
    "a comment in Jinja": lambda root: good(root, "Name it. {# colour #}"),
    "an include": lambda root: good(root, "{% include 'cases.jsonl' %}"),
    "a link to the cases": lambda root: link(root, "../cases.jsonl"),
    "a link to another prompt": lambda root: (prompt(root, "Name the colour."),
        shutil.copy(root / "prompts" / "system.md", root / "prompts" / "other.md"), link(root, "other.md")),
    "a link out of the folder": lambda root: link(root, "/etc/hostname"),
    "a pointer of LFS": lambda root: good(root, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "a path out of the folder": lambda root: edit(root, "prompts/system.md", "../../base/prompts/system.md"),
    "no project file": lambda root: (root / "tuneworthy.toml").unlink(),
    "a project file of faults": lambda root: edit(root, "[task]", "[task]\nname = 3\n[task]"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_worse_change_that_tampers_with_its_judge_fails(
    what: str, original: Path, change: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the refusal of edited files, which a model that is no function lacks."""
    if what != "the function's file":
        monkeypatch.setattr(gate, "_files", lambda project: {})
    prompt(change, "Name the shape.\n")
    TAMPERINGS[what](change)
    assert judge(original, change) in {2, 3}
    assert not (original / "base" / ".tuneworthy" / "easy").exists()


@pytest.mark.parametrize(
    ("text", "status"),
    [("Name the colour.\n", 0), ("Name the colour, please: red, green or blue.\n", 0), ("Name the shape.\n", 3)],
)
def test_an_honest_change_is_judged_by_its_answers(text: str, status: int, original: Path, change: Path) -> None:
    prompt(change, text)
    assert judge(original, change) == status
    prompts = [len(one) + len("{{ input }}") for one in ("Name the colour.", text.strip())]
    rows = (change.parent / "comment.md").read_text().splitlines()[4:6]
    assert text == "Name the colour.\n" or [int(row.split("|")[3]) for row in rows] == prompts


def test_the_answers_of_both_sides_are_shown_where_they_were_compared(
    original: Path, change: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt(change, "Name the shape.")
    base = shutil.copytree(original / "base", tmp_path / "base")
    monkeypatch.chdir(base)
    assert invoke(["compare", "current", str(change), "--json"]) == 0
    case = orjson.loads(capsys.readouterr().out)["losses"][0]
    scores = []
    for word in ("current", str(change)):
        assert invoke(["cases", "show", case, "--variant", word, "--json"]) == 0
        scores += [answer["score"] for answer in orjson.loads(capsys.readouterr().out)["answers"]]
    assert scores == [1.0, 0.0]
    assert invoke(["cases", "show", case]) == 2


def test_a_refused_change_has_a_next_step(original: Path, change: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(change, MODEL, MODEL + "retries = 0\n")
    assert invoke(["compare", "current", str(change), "--gate", "--project", str(original / "base"), "--json"]) == 3
    error = orjson.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "E-GATE-01" and error["hint"]


def test_a_changed_model_is_named_by_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = MODEL.replace("scripted", "openai").replace('function = "world.py:small"', 'model = "old"')
    model += 'base_url = "http://127.0.0.1:9/v1"\n'
    for name in ("base", "change"):
        root = write_simulation(tmp_path / name, {"small": RULE}, n_cases=60, n_examples=210, rungs=["baseline"])
        edit(root, MODEL, model)
    edit(root, '"old"', '"new"')
    session = SimpleNamespace(project=load(tmp_path / "base"), data=SimpleNamespace(cases=[]),
                              split=SimpleNamespace(dev=[], shots=[]),
                              models=Models(load(tmp_path / "base")))  # fmt: skip
    assert resolve(cast(Any, session), str(root)).model == "change/new"


def test_a_function_is_not_judged_where_files_changed_that_it_may_read(original: Path, change: Path) -> None:
    (change / "words.txt").write_text("new")
    assert judge(original, change) == 3


PRICE = "input_usd_per_mtok = 1\noutput_usd_per_mtok = 1"


@pytest.mark.parametrize(
    ("old", "new", "fails"),
    [
        ("", 'model = "b"', False),
        ("", 'model = "a"\nbase_url = "http://127.0.0.1:2/v1"', True),
        ("", 'model = "a"\nconcurrency = 2', True),
        (PRICE, 'model = "a"\n' + PRICE, False),
        (PRICE, 'model = "b"\n' + PRICE, True),
        (PRICE, 'model = "a"\n' + PRICE.replace("1", "0"), True),
    ],
)  # fmt: skip
def test_of_a_model_only_its_id_may_change(old: str, new: str, fails: bool) -> None:
    from tomllib import loads

    from tuneworthy.config.models import OpenAI
    from tuneworthy.config.project import Project

    start = 'provider = "openai"\n'
    base = OpenAI.model_validate(loads(f'{start}model = "a"\n{old}'))
    project = Project.model_construct(models={"small": base})
    assert bool([*gate._model_faults(OpenAI.model_validate(loads(start + new)), project)]) is fails


THINGS = [
    "lamp",
    "river",
    "stone",
    "basket",
    "winter",
    "letter",
    "garden",
    "copper",
    "engine",
    "velvet",
    "harbor",
    "gold",
]
QUESTIONS = [f"Please name the queue for {' '.join(Random(i).choices(THINGS, k=8))}." for i in range(100)]
LABELS = [f"{a}_{b}_is_not_on_our_list_of_things" for a in THINGS for b in THINGS[:3]]
ANSWERS = [f"The {' '.join(Random(i).choices(THINGS, k=6))} was sold." for i in range(100)]


def quoted(prompt: str, questions: Sequence[str] = QUESTIONS, answers: Sequence[str] = ("refund", "delivery")) -> bool:
    """Whether the prompt quotes cases, whose answers go round."""
    cases = [Case(id=text, input=text, expected=one) for text, one in zip(questions, cycle(answers), strict=False)]
    return any(gate._count_quotes(prompt, "Name it.", some, one) for some in gate._texts(cases) for one in gate.FILLERS)


def joined(gap: str) -> Callable[[str], str]:
    return lambda text: gap.join(text.split())


def spelled_from(first: int) -> Callable[[str], str]:
    return lambda text: "".join(chr(first + ord(one) - 97) if one.isalpha() else one for one in text.lower())


DISGUISES: dict[str, Callable[[str], str]] = {
    **{f"words joined by {gap!r}": joined(gap) for gap in [
        "", "|", "+", "=", "$", "~", "^", "<", "`", "<b> </b>", "<!-- -->", " 1 ", "&nbsp;", "%20", "\u2800",
        "\u02bc", "{{ x }}", " 1a ", " [x] ", " other ", " \u2167 ", "\u00aa", "\u24d0", "\U0001f170"]},
    **{f"letters joined by {gap!r}": gap.join for gap in [
        " ", "\x07", "\u0301", "\u0363", "\U000e0041", "\u20dd", "\U000e0100", "\u17b4", "\u3164", "\U0001f600"]},
    "tags of Unicode": spelled_from(0xE0061), "negative squares": spelled_from(0x1F170), "bold": spelled_from(0x1D41A),
    "small capitals": lambda text: text.translate(str.maketrans("abcdegijklmnoptuv", "ᴀʙᴄᴅᴇɢɪᴊᴋʟᴍɴᴏᴘᴛᴜᴠ")),
    "strokes": lambda text: text.translate(str.maketrans("bdhlot", "ƀđħłøŧ")),
    "other words": lambda text: " ".join(f"{word} k{i}" for i, word in enumerate(text.split())),
    "numbers": lambda text: " ".join(f"{i} {word}" for i, word in enumerate(text.split())),
    "five of the eight words": lambda text: " ".join(text.split()[5:10]),
    "the last five words": lambda text: " ".join(text.split()[-5:]),
    "halves": lambda text: " ".join([*text.split()[5:9], "X", *text.split()[9:]]),
}  # fmt: skip


@pytest.mark.parametrize("what", DISGUISES)
def test_quotes_are_found_however_they_are_written(what: str) -> None:
    assert quoted("\n".join(f"{DISGUISES[what](text)} = refund" for text in QUESTIONS))


def test_one_long_question_or_answer_is_a_quote() -> None:
    assert quoted(QUESTIONS[3]) and not quoted(QUESTIONS[3], QUESTIONS[4:])
    assert quoted(ANSWERS[3], answers=ANSWERS) and not quoted(ANSWERS[3], answers=ANSWERS[4:])


@pytest.mark.parametrize("ends", [["", "!", " please"], ["", "!", "?", "."], ["", " please", " now", " thanks"]])
def test_a_question_of_several_variants_is_quoted(ends: list[str]) -> None:
    """Each of its words is in as many texts as the language of the task."""
    assert quoted(QUESTIONS[0], [text + end for text in QUESTIONS for end in ends])


@pytest.mark.parametrize("n_words", [2, 3, 4])
def test_few_short_questions_as_a_whole_are_quotes(n_words: int) -> None:
    texts = [" ".join(Random(i).sample(THINGS, 1) + [f"{chr(97 + i // 26)}{chr(97 + i % 26)}kept"] * (n_words - 1))
             for i in range(100)]  # fmt: skip
    assert quoted("\n".join(f"{text} = refund" for text in texts[:5]), texts)
    assert not quoted("\n".join(f"{text} = refund" for text in texts[:4]), texts)


SEEN = [f"Please name the queue for {' '.join(Random(i).choices(THINGS, k=8))}." for i in range(200, 400)]


@pytest.mark.parametrize(
    ("added", "fails"), [([], False), (QUESTIONS[:1], True), ([" ".join(QUESTIONS[0].split()[5:])] * 5, False)]
)
def test_shots_of_the_base_are_no_quotes(added: list[str], fails: bool) -> None:
    """Even if they have word sequences of cases."""
    chats = [({"role": "user", "content": text}, {"role": "assistant", "content": "refund"}) for text in SEEN]
    shots = [Example(id=str(i), messages=chat) for i, chat in enumerate(chats)]
    new = "\n".join([*(f"Q: {text.upper()}\nA: refund" for text in SEEN), *added])
    texts = [*QUESTIONS, *(f"{text[:-1]} and a lamp" for text in SEEN[:50])]
    assert quoted(new, texts)
    assert (
        any(gate._count_quotes(new, "\n".join(gate._quoted_shots(new, shots)), texts, one) for one in gate.FILLERS)
        is fails
    )


def test_a_prompt_may_share_a_few_words_with_each_long_text() -> None:
    """But no passage, and no question behind a long text."""
    words = [f"{a}{b}{c}" for a in "bcdfg" for b in "aeiou" for c in ("lan", "mor", "nit", "sub", "ren", "tok")]
    texts = [" ".join(Random(i).choices(words, k=800)) for i in range(48)]
    parts = [text.split()[start : start + 3] for text in texts for start in range(0, 500, 100)]
    assert not quoted("\n\n".join(f"{' '.join(part)} or" for part in parts), texts)
    assert quoted("\n".join(" ".join(text.split()[-8:]) for text in texts[:5]), texts)


@pytest.mark.parametrize(
    ("prompt", "questions", "answers"),
    [
        (f"Answer with one of: {', '.join(LABELS)}.", QUESTIONS, LABELS),
        ("\n".join(f"{i}. Step" for i in range(1, 9)), QUESTIONS, [str(i) for i in range(100)]),
        ("No, they know: say yes or no, hello, thanks.", [*QUESTIONS, "yes", "no", "hello", "thanks", "say"], ["a"]),
        ("Please name the queue for a lamp, a river or a garden.", QUESTIONS, ["a"]),
        ("the garden copper, a velvet harbor, winter letter", QUESTIONS, ["a"]),
        (
            '{"from": 7, "to": 9, "a": {"from": 8, "to": 11}}',
            QUESTIONS,
            [str({"from": i, "to": i + 1, "a": {"from": i, "to": 99}}) for i in range(100)],
        ),
        ('Answer as {"name": "...", "city": "..."}', QUESTIONS, [str({"name": i, "city": i}) for i in range(100)]),
    ],
)
def test_labels_steps_and_the_language_of_a_task_are_no_quotes(
    prompt: str, questions: list[str], answers: list[str]
) -> None:
    assert not quoted(prompt, questions, answers)
