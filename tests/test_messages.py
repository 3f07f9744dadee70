"""Every sentence that a person reads is in a messages module, is called with its fields, and keeps to the style guide."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter

import pytest
from scripts.structure import VOICE

SOURCE = Path(__file__).parent.parent / "src" / "tuneworthy"
NOT_DONE: frozenset[str] = frozenset({"providers"})
"""Folders whose sentences have not all moved into their messages; may only shrink."""
PRINTERS = frozenset({"click.echo", "click.confirm", "note", "click.UsageError", "click.BadParameter"})
WORD = re.compile(r"(?<!\S)[A-Za-z]{2,}(?=[.,:;?!]?(?:\s|$))")


def modules(root: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


def folder_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else "."


def constants(root: Path) -> dict[str, dict[str, str]]:
    """The constants of each messages module, by folder ("." for the top)."""
    found: dict[str, dict[str, str]] = {}
    for path, tree in modules(root).items():
        if path.name == "messages.py":
            names = found.setdefault(folder_of(path, root), {})
            for node in tree.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                    parts = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                    names[node.target.id] = "".join(part for part in parts if isinstance(part, str))
    return found


def fields(text: str) -> set[str]:
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(text) if name}


def imported_from(tree: ast.Module) -> str | None:
    """The folder that a module takes `messages` from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and any(one.name == "messages" for one in node.names):
            return node.module.removeprefix("tuneworthy").removeprefix(".").split(".")[0] or "."
    return None


def wrong_calls(root: Path) -> Iterator[str]:
    """Yield calls of `messages.NAME.format` whose arguments are not the fields of the constant, and unknown names."""
    known = constants(root)
    for path, tree in modules(root).items():
        folder = imported_from(tree)
        if folder is None or folder not in known:
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Attribute(ast.Attribute(ast.Name("messages"), name), "format"), args, keywords):
                    given = {one.arg for one in keywords if one.arg}
                    wanted = fields(known[folder].get(name, ""))
                    open_ended = len(given) < len(keywords)
                    if name not in known[folder] or args or (given - wanted if open_ended else given != wanted):
                        yield f"{path.relative_to(root)}:{node.lineno}: {name} takes {sorted(wanted)}, not {sorted(given)}"


def error_classes(trees: Mapping[Path, ast.Module]) -> set[str]:
    """The names of all classes below `TuneworthyError`."""
    names = {"TuneworthyError"}
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    while more := {name for name, parents in bases.items() if parents & names} - names:
        names |= more
    return names


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


def test_every_message_is_called_with_its_fields() -> None:
    assert list(wrong_calls(SOURCE)) == []


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
        '"""Mend it."""\nfrom typing import Final\nA: Final = "No {x} yet."\n'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("call", "wrong"),
    [("A.format(x=1)", False), ("A.format(**y)", False), ("A.format()", True), ("A.format(x=1, y=2)", True),
     ("A.format(1)", True), ("B.format(x=1)", True)],
)  # fmt: skip
def test_a_wrong_call_is_found(planted: Path, call: str, wrong: bool) -> None:
    (planted / "cli" / "run.py").write_text(f"from tuneworthy.cli import messages\nz = messages.{call}\n")
    assert bool(list(wrong_calls(planted))) is wrong


@pytest.mark.parametrize(
    ("line", "wrong"),
    [("raise UserError(messages.A)", False), ("raise UserError(f'{a}: {b}')", False),
     ("raise UserError('no such file here')", True), ("raise UserError(messages.A, hint='put it back')", True),
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
    (planted / "cli" / "messages.py").write_text(f'from typing import Final\nA: Final = "{text}"\n')
    assert bool(list(badly_worded(planted))) is wrong
