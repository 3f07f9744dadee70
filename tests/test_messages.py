"""Every sentence that a person reads is in a messages module, is called with its fields, and follows the style."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.sentences import calls_of, catalogues, error_classes, fields, folder_of, modules, names_said
from scripts.structure import VOICE

from tuneworthy.catalogue import Catalogue

SOURCE = Path(__file__).parent.parent / "src" / "tuneworthy"
NOT_DONE: frozenset[str] = frozenset()
"""Folders whose sentences have not all moved into their messages; may only shrink."""
PRINTERS = frozenset({"click.echo", "click.confirm", "note", "click.UsageError", "click.BadParameter"})
WORD = re.compile(r"(?<!\S)[A-Za-z]{2,}(?=[.,:;?!]?(?:\s|$))")


def wrong_calls(root: Path) -> Iterator[str]:
    """Yield calls whose sentence is not in the catalogue, or whose arguments are not its fields."""
    sentences = catalogues(root)
    for path, tree in modules(root).items():
        for folder, call in calls_of(path, tree, root):
            place = f"{path.relative_to(root)}:{call.lineno}"
            passed = {keyword.arg for keyword in call.keywords if keyword.arg}
            is_open = len(passed) < len(call.keywords)
            for name in names_said(call.args[0]) if call.args else {""}:
                text = sentences[folder].get(name)
                wanted = fields(text) if text is not None and (passed or is_open) else set()
                if text is None or (passed - wanted if is_open else passed != wanted):
                    yield f"{place}: {name!r} takes {sorted(wanted)}, not {sorted(passed)}"


def unused(root: Path) -> Iterator[str]:
    """Yield sentences whose name occurs nowhere in their folder's code as a string."""
    sentences = catalogues(root)
    said: dict[str, set[str]] = {folder: set() for folder in sentences}
    for path, tree in modules(root).items():
        for folder, call in calls_of(path, tree, root):
            said[folder] |= names_said(call.args[0]) if call.args else set()
            if call.args and not names_said(call.args[0]):
                said[folder] |= sentences[folder].keys() & {
                    node.value
                    for node in ast.walk(tree)
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    for folder, texts_of_folder in sentences.items():
        yield from (f"{folder}: {name}" for name in texts_of_folder if name not in said[folder])


def is_sentence(node: ast.expr) -> bool:
    """Whether an expression holds a literal of three words or more."""
    texts: list[str] = []
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            texts.append(" ".join(str(one.value) for one in part.values if isinstance(one, ast.Constant)))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            texts.append(part.value)
    return any(len(WORD.findall(text)) >= 3 for text in texts)


def literals(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (folder, place) of sentences in errors, hints and prints outside the messages modules."""
    trees = modules(root)
    errors = error_classes(trees)
    for path, tree in trees.items():
        if path.name == "messages.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                spoken = [one.value for one in node.keywords if one.arg == "hint"]
                if name in errors | PRINTERS:
                    spoken += [*node.args, *(one.value for one in node.keywords if one.arg == "message")]
                if any(is_sentence(one) for one in spoken):
                    yield folder_of(path, root), f"{path.relative_to(root)}:{node.lineno}: {name}"


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of every string in a messages module but its docstrings."""
    for path, tree in modules(root).items():
        if path.name != "messages.py":
            continue
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
                yield f"{path.relative_to(root)}:{node.lineno}", node.value


def badly_worded(root: Path) -> Iterator[str]:
    classes = {
        node.name
        for tree in modules(root).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.search(r"[a-z][A-Z]", node.name)
    } - {"LlamaCpp", "OpenAI"}
    class_name = re.compile(rf"(?<![`\w.])({'|'.join(map(re.escape, sorted(classes)))})\b") if classes else None
    for place, text in texts(root):
        banned = [word for word, pattern in VOICE.items() if pattern.search(text)]
        banned += ["doubled full stop"] if re.search(r"(?<!\.)\.\.(?!\.)", text) else []
        banned += ["path into docs/"] if re.search(r"\bdocs/\w", text) else []
        banned += [match[1]] if class_name and (match := class_name.search(text)) else []
        if banned:
            yield f"{place}: {', '.join(banned)}: {text[:80]}"


@pytest.mark.parametrize(("n", "text"), [(0, "0 cases are left."), (1, "1 case is left."), (2, "2 cases are left.")])
def test_a_count_chooses_between_two_words(n: int, text: str) -> None:
    assert Catalogue(__name__, {"left": "{n} {n:case is|cases are} left."}).say("left", n=n) == text


def test_every_message_is_called_with_its_fields() -> None:
    assert list(wrong_calls(SOURCE)) == []


def test_every_sentence_is_said_somewhere() -> None:
    assert list(unused(SOURCE)) == []


def test_errors_hints_and_prints_hold_no_sentence_of_their_own() -> None:
    found = [place for folder, place in literals(SOURCE) if folder not in NOT_DONE]
    assert found == [], "\n".join(found)


def test_the_list_of_folders_that_are_not_done_shrinks() -> None:
    assert {folder for folder, _ in literals(SOURCE)} >= NOT_DONE


def test_messages_keep_to_the_style_guide() -> None:
    assert list(badly_worded(SOURCE)) == []


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    (tmp_path / "errors.py").write_text(
        "class TuneworthyError(Exception): ...\nclass UserError(TuneworthyError): ...\n"
    )
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "messages.py").write_text(
        '"""Mend it."""\nSENTENCES = Catalogue(__name__, {"a": "No {x} yet."})\nsay = SENTENCES.say\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("call", "wrong"),
    [('"a", x=1', False), ('"a", **y', False), ('"a", x=1, y=2', True), ('"a", y=2', True), ('"b", x=1', True),
     ('"a" if x else "b"', True)],
)  # fmt: skip
def test_a_wrong_call_is_found(planted: Path, call: str, wrong: bool) -> None:
    (planted / "cli" / "run.py").write_text(f"from tuneworthy.cli import messages\nz = messages.say({call})\n")
    assert bool(list(wrong_calls(planted))) is wrong


def test_a_sentence_that_nobody_says_is_found(planted: Path) -> None:
    assert list(unused(planted)) == ["cli: a"]
    (planted / "cli" / "run.py").write_text('from tuneworthy.cli import messages\nz = messages.say("a", x=1)\n')
    assert list(unused(planted)) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [("raise UserError(messages.say('a'))", False), ("raise UserError(f'{a}: {b}')", False),
     ("raise UserError('no such file here')", True), ("raise UserError(messages.say('a'), hint='put it back')", True),
     ("click.echo(f'{x} is not there')", True), ("click.option('--x', help='A long help text.')", False)],
)  # fmt: skip
def test_a_sentence_outside_messages_is_found(planted: Path, line: str, wrong: bool) -> None:
    (planted / "cli" / "run.py").write_text(f"from tuneworthy.cli import messages\ndef f():\n    {line}\n")
    assert bool(list(literals(planted))) is wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("Fix the row.", False), ("Mend the row.", True), ("Look anew.", True), ("Done..", True), ("Wait ...", False),
     ("See docs/limits.md.", True), ("UserError: no.", True)],
)  # fmt: skip
def test_bad_wording_is_found(planted: Path, text: str, wrong: bool) -> None:
    (planted / "cli" / "messages.py").write_text(f'SENTENCES = Catalogue(__name__, {{"a": "{text}"}})\n')
    assert bool(list(badly_worded(planted))) is wrong
