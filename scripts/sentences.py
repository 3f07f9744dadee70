"""The sentences of the messages modules, and the codes of those that errors begin with.

`python scripts/sentences.py` gives each new error the next code of its folder in src/tuneworthy/error_codes.txt, which
only grows: a code once given stays what it is, also where its sentence has gone. It writes
docs/reference/errors.md too; `--check` exits 1 if either is stale.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Formatter

SOURCE = Path(__file__).parent.parent / "src" / "tuneworthy"
CODES = SOURCE / "error_codes.txt"
PAGE = SOURCE.parent.parent / "docs" / "reference" / "errors.md"
HEAD = """<!-- made by scripts/sentences.py: do not edit -->
# Error codes

Every error that you can fix has a code, such as `E-CONFIG-01`. The code never changes, even when the wording does. \
Names in braces stand for values. With `--json`, a command prints the error to stdout as \
`{"error": {"code", "message", "hint", "exit_status"}}`.

| code | message | what to do |
| --- | --- | --- |
"""
CLICK = {"click.UsageError", "click.BadParameter", "super().__init__", "ValueError"}


def modules(root: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(root.rglob("*.py"))}


def folder_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else "."


def catalogue_of(tree: ast.Module) -> dict[str, str]:
    """The sentences of a messages module, by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name("Catalogue"), [_, ast.Dict(keys, values)]):
                return {
                    ast.literal_eval(key): ast.literal_eval(text) for key, text in zip(keys, values, strict=True) if key
                }
    return {}


def catalogues(root: Path) -> dict[str, dict[str, str]]:
    """The catalogue of each folder ("." for the top)."""
    return {
        folder_of(path, root): catalogue_of(tree) for path, tree in modules(root).items() if path.name == "messages.py"
    }


def fields(text: str) -> set[str]:
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(text) if name}


def calls_of(path: Path, tree: ast.Module, root: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield (folder of the catalogue, call) of every `messages.say(...)` or `say(...)` of a module."""
    folders = {"say": folder_of(path, root)} if path.name == "messages.py" else {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tuneworthy"):
            parts = node.module.split(".")[1:]
            for alias in node.names:
                if alias.name == "messages":
                    folders[f"{alias.asname or alias.name}.say"] = parts[0] if parts else "."
                elif alias.name == "say" and parts[-1:] == ["messages"]:
                    folders[alias.asname or "say"] = parts[0] if len(parts) > 1 else "."
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (folder := folders.get(ast.unparse(node.func))) is not None:
            yield folder, node


def names_said(node: ast.expr) -> set[str]:
    """The names that the first argument of a call can be: a literal, or one of two."""
    match node:
        case ast.Constant(str(name)):
            return {name}
        case ast.IfExp(_, first, second):
            return names_said(first) | names_said(second)
    return set()


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


# --- what errors say ---------------------------------------------------------------------------------------------


def error_sentences(root: Path = SOURCE) -> dict[str, tuple[str, str]]:
    """Return what errors begin with, by key (`config.unknown_key`): the sentence, and what to do ("": it says so)."""
    trees, texts = modules(root), catalogues(root)
    sentences = {f"{_area(folder)}.{name}": text for folder, of in texts.items() for name, text in of.items()}
    errors = error_classes(trees)
    makers = {one.name for tree in trees.values() for one in functions(tree) if _names(one.returns) & errors}
    begins, advice = dict(sentences), dict[str, str]()
    for path, tree in trees.items():
        said = {id(call): _area(folder) for folder, call in calls_of(path, tree, root)}
        top = [one for one in tree.body if not isinstance(one, ast.FunctionDef | ast.ClassDef)]
        for function in (ast.Module(top, []), *functions(tree)):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and (name := ast.unparse(call.func)) in {*errors, *CLICK, *makers}:
                    named = {one.arg: one.value for one in call.keywords}
                    hint = _keys(named.pop("hint", ast.Constant("")), tree, function, said)
                    text = " ".join(sentences[key] for key in hint)
                    spoken = call.args if name in makers else [*call.args[:1], named.get("message", ast.Constant(""))]
                    for key in _keys(ast.List(spoken), tree, function, said):
                        advice[key] = advice.get(key) or text
        if path.name == "messages.py":
            for name, (text, hint) in faults(tree).items():
                begins[key := f"{_area(folder_of(path, root))}.{name}"] = f"Expected {text}."
                advice[key] = hint
    return {key: (begins[key], text) for key, text in advice.items()}


def _area(folder: str) -> str:
    """Return the part of a code that names a folder."""
    return "general" if folder == "." else folder


@cache
def functions(tree: ast.Module) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    """Return the functions of a module."""
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _names(node: ast.AST | None) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if node else set()


def faults(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Return the faults of rows that a messages module defines: name to what is expected and what to do."""
    found = {}
    for node in tree.body:
        match node:
            case ast.AnnAssign(ast.Name(name), value=ast.Call(ast.Name("Fault"), args)):
                texts = [ast.literal_eval(one) for one in args]
                found[name.lower()] = (texts[0], texts[1] if len(texts) > 1 else "")
    return found


def _keys(expression: ast.expr, tree: ast.Module, function: ast.AST, said: Mapping[int, str]) -> Iterator[str]:
    """Yield the keys of the sentences that an expression holds, itself or in what it names in its function."""
    for part in _outermost(expression, said):
        if isinstance(part, ast.Call):
            yield from (f"{said[id(part)]}.{name}" for name in sorted(names_said(part.args[0])))
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Assign | ast.NamedExpr):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                for value in _assigned(target, node.value, part.id):
                    if part.id not in _names(value):
                        yield from _keys(value, tree, function, said)
        for maker in functions(tree):
            if maker.name == part.id and _names(maker.returns) <= {"str"}:
                for node in ast.walk(maker):
                    if isinstance(node, ast.Return) and node.value:
                        yield from _keys(node.value, ast.Module([], []), maker, said)


def _outermost(node: ast.AST, said: Mapping[int, str]) -> Iterator[ast.Call | ast.Name]:
    """Yield the calls that say a sentence and the variables of an expression, but not those in a sentence's fields."""
    if isinstance(node, ast.Name) or (isinstance(node, ast.Call) and id(node) in said and node.args):
        yield node
    else:
        for part in ast.iter_child_nodes(node):
            yield from _outermost(part, said)


def _assigned(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    """Yield what an assignment gives to the variable `name`."""
    match target, value:
        case ast.Tuple(parts), ast.Tuple(values):
            for part, one in zip(parts, values, strict=True):
                yield from _assigned(part, one, name)
        case ast.Tuple(), ast.IfExp(_, first, second):
            yield from _assigned(target, first, name)
            yield from _assigned(target, second, name)
        case ast.Name(only), _ if only == name:
            yield value


def codes() -> dict[str, str]:
    """Return the key of each code."""
    return dict(line.split() for line in CODES.read_text(encoding="utf-8").splitlines())


def complete(known: Mapping[str, str], keys: list[str]) -> dict[str, str]:
    """Return `known` and a code for each of `keys` that has none, the next of its folder."""
    made = dict(known)
    last = Counter(code.split("-")[1] for code in known)
    for key in keys:
        if key not in known.values():
            folder = key.split(".")[0].upper()
            last[folder] += 1
            made[f"E-{folder}-{last[folder]:02}"] = key
    return dict(sorted(made.items(), key=lambda item: (item[0].split("-")[1], int(item[0].split("-")[2]))))


def page(known: Mapping[str, str], errors: Mapping[str, tuple[str, str]]) -> str:
    """Return docs/reference/errors.md: the sentences, without the clauses that stand inside others."""
    rows = [
        f"| `{code}` | {' | '.join(_cell(text) for text in errors[key])} |\n"
        for code, key in known.items()
        if key in errors and re.search(r"[.:]$|^[^a-z].*}$", errors[key][0])
    ]
    return HEAD + "".join(rows)


def _cell(text: str) -> str:
    """Return a sentence as the cell of a table, with the plural of what its counts choose."""
    plural = re.sub(r"\{\w+:[^{}|]*\|([^{}]*)\}", r"\1", text)
    named = re.sub(r"\{(\w+)[^{}]*\}", r"{\1}", plural).replace("{{", "{").replace("}}", "}")
    return named.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main(arguments: list[str]) -> int:
    """Write or check the codes and the page; return the exit status."""
    errors = error_sentences()
    known = complete(codes(), list(errors))
    texts = {CODES: "".join(f"{code} {key}\n" for code, key in known.items()), PAGE: page(known, errors)}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.name} is stale: run `python scripts/sentences.py`")
        else:
            path.write_text(texts[path], encoding="utf-8")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
