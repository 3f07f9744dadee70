"""Measure the structure of the package: `python scripts/structure.py` prints a table, `--check` exits 1 above a limit.

`--json` prints the same figures with every place as JSON. `--root PATH` measures another source root, such as an older
checkout (`--root /tmp/old/src/tuneworthy`). Only the syntax is read: nothing of the package is imported or run.

The figures and their definitions:

1. **statements**: `ast.stmt` nodes of all Python files. Files and lines are information.
2. **rule_frameworks**: modules with their own rule machinery. A module counts if it registers entries and the entries
   are rules. It registers entries if it creates a `Registry(...)` at module level, or defines a function that returns
   a decorator: `x.register(...)`, or a nested function that stores into a mapping or calls a method of
   `REGISTERING_METHODS`. The entries are rules if the last word of the registry's or function's name is in
   `RULE_WORDS` (`check`, `lint`, ...), or if the module defines a class or type alias of `RULE_RESULTS` (`Finding`,
   `Fault`, ...), leading underscores ignored. A module that only calls another module's decorator, or only defines a
   `Finding`, does not count.
3. **http_clients**: modules that call something that opens an outgoing HTTP connection: a name of `HTTP_OPENERS`, or
   anything of `HTTP_PACKAGES`. Names are followed through `import ... as`; a type annotation is not a call.
4. **circles**: strongly connected components of two or more modules, or a module that imports itself. All imports
   count: at the top, inside functions and under `TYPE_CHECKING`. `from package import name` is an arrow to the module
   `package.name` if there is one, and to the package's `__init__` only if the name is taken from it. `__version__` is
   free for all (`FREE_NAMES`). Imports by string (`import_module`) are not arrows.
5. **arrows_upward**: pairs of modules where one imports from a layer that comes later in `LAYERS`.
6. **duplicate_classes**: class names that are defined more than once in the package, leading underscores ignored.
7. **record_key_reads**: loads of `x["key"]` and calls of `x.get("key")` that read the run's record as a dictionary.
   A receiver `x`, by its text within one outermost function, is such a record if every string key that is read from it
   there is a field of `RECORD_CLASSES`, and at least one of the keys is not in `COMMON_FIELDS` (names that other
   documents use too, like `name`, `n`, `score`). So `row["rung"], row["score"]` counts twice and a dictionary with one
   foreign key does not count. The module of the record classes and `JSON_MODULES` are left out.
8. **voice**: banned words of the style guide (rule 3) in string literals and docstrings, README.md, CONTRIBUTING.md,
   docs/**/*.md and the first section of CHANGELOG.md.
9. **names**: bindings (classes, functions, parameters, variables, attributes, modules) whose name is exactly a
   word of `VAGUE_NAMES`, leading underscores and case ignored. Information: no limit.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent / "src" / "tuneworthy"

LAYERS: Final[tuple[tuple[str, ...], ...]] = (
    ("text",), ("catalogue",), ("messages",), ("types",),
    ("errors",), ("trust",), ("redaction",), ("extras",), ("input_files",),
    ("yaml_text",), ("limited",), ("patterns",), ("registry",), ("rules",), ("constraints",), ("functions",),
    ("config",), ("store",), ("stats",), ("providers",), ("cases",), ("prompts",), ("retrieval",), ("decoding",),
    ("classical", "floor"), ("evaluate",), ("graders", "grade"), ("regressions", "guards"), ("search",),
    ("dataset", "curate"), ("train",), ("ship",), ("ladder",), ("shadow",), ("verdict",), ("doctor",), ("scaffold",),
    ("demo",), ("report",), ("api",), ("web",), ("cli",), ("__init__",), ("__main__",),
)  # fmt: skip
"""Folders and top modules from the first layer to the last; names in one tuple are the present and former name."""

RULE_WORDS: Final = frozenset({"check", "checks", "lint", "lints", "gate", "gates", "rule", "rules"})
RULE_RESULTS: Final = frozenset({"Finding", "Fault", "Lint", "Check", "ParityCheck", "Said", "GateResult"})
REGISTRY_CLASS: Final = "Registry"
REGISTERING_METHODS: Final = frozenset({"register", "append", "setdefault"})

HTTP_OPENERS: Final = frozenset(
    {
        "aiohttp.ClientSession",
        "aiohttp.request",
        "http.client.HTTPConnection",
        "http.client.HTTPSConnection",
        "urllib.request.OpenerDirector",
        "urllib.request.build_opener",
        "urllib.request.urlopen",
        "urllib.request.urlretrieve",
    }
)
HTTP_PACKAGES: Final = frozenset({"httpx", "pycurl", "requests", "urllib3"})

FREE_NAMES: Final = frozenset({"__version__"})

RECORD_CLASSES: Final = frozenset({"ClimbRecord", "RunRecord", "RungRecord"})
JSON_MODULES: Final = ("store",)
COMMON_FIELDS: Final = frozenset({
    "alpha", "calls", "ci95", "cost_usd", "delta", "detail", "explored", "fields", "graders", "input_tokens", "judges",
    "kind", "margin", "model", "n", "n_dev", "n_test", "name", "notes", "output_tokens", "p_value", "primary",
    "prompt", "quick", "reason", "reasons", "repeats", "retrieval", "score", "split", "stale", "status", "target",
    "task", "tuned", "unscored", "usd_per_1k",
})  # fmt: skip

VOICE: Final[Mapping[str, re.Pattern[str]]] = {
    "mend": re.compile(r"\bmend(s|ed|ing)?\b", re.IGNORECASE),
    "heed": re.compile(r"\bheed(s|ed|ing)?\b", re.IGNORECASE),
    "anew": re.compile(r"\banew\b", re.IGNORECASE),
    "it is so that": re.compile(r"\bit (is|was) so that\b".replace(" ", r"\s+"), re.IGNORECASE),
    "put to test": re.compile(r"\bput(s|ting)? to (the )?test\b".replace(" ", r"\s+"), re.IGNORECASE),
    "give away": re.compile(r"\b(give|gives|gave|given|giving)(\s+\w+){0,3}\s+away\b", re.IGNORECASE),
    "is none": re.compile(r"\b([Ii]s|[Aa]re|[Ww]as|[Ww]ere)\s+none\b"),  # `is None` is Python and allowed
    "by itself": re.compile(r"\bby\s+(itself|themselves)\b", re.IGNORECASE),
}
PAGES: Final = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
CHANGELOG: Final = "CHANGELOG.md"

VAGUE_NAMES: Final = frozenset({
    "asked", "caught", "found", "given", "held", "kept", "known", "left", "one", "said", "seen", "spared", "told",
    "words",
})  # fmt: skip

LIMITS: Final[Mapping[str, int]] = {
    # What the package is today: a change that adds statements raises it by as many, and says what they are for.
    "statements": 49_096,
    "rule_frameworks": 1,
    "http_clients": 1,
    "circles": 0,
    "arrows_upward": 0,
    "duplicate_classes": 0,
    "record_key_reads": 10,
    "voice": 0,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file and what is there.

    Attributes:
        path: Relative to the source root, or to the repository for a page.
        line: Counted from 1; 0 means the whole file or folder.
        text: What the line holds, for people.
    """

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number about the structure.

    Attributes:
        name: A key of `LIMITS`, or a name of an unlimited figure.
        value: The number.
        places: Where it comes from. A figure can have more places than its value: a duplicate has two or more.
        limit: The highest allowed value; None for information.
    """

    name: str
    value: int
    places: tuple[Place, ...] = ()
    limit: int | None = None

    @property
    def is_exceeded(self) -> bool:
        """Whether the value is above the limit."""
        return self.limit is not None and self.value > self.limit


@dataclass(frozen=True)
class Module:
    """A parsed file of the package.

    Attributes:
        name: Dotted, below the package: `ladder.record`; a package's `__init__` has the package's name.
        path: Relative to the source root, with slashes.
        text: The source.
        tree: Its syntax.
        is_package: Whether it is an `__init__.py`.
    """

    name: str
    path: str
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)
    is_package: bool

    @property
    def top(self) -> str:
        """The folder or top module it belongs to: the key into `LAYERS`."""
        return self.path.split("/", maxsplit=1)[0].removesuffix(".py")

    @property
    def package(self) -> str:
        """The dotted name of the package around it, below the root; "" for the root."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the syntax tree."""
        return tuple(ast.walk(self.tree))


@dataclass(frozen=True, slots=True)
class Arrow:
    """An import of a module by another, with its line."""

    source: str
    target: str
    line: int


class Source:
    """All modules of a package.

    Args:
        root: The folder of the package; its name is the name in `import` statements.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        self.problems: list[Place] = []
        for path in sorted(root.rglob("*.py")):
            self._add(path)

    def _add(self, path: Path) -> None:
        relative = path.relative_to(self.root)
        text = path.read_text(encoding="utf-8")
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            self.problems.append(Place(relative.as_posix(), error.lineno or 0, f"cannot be parsed: {error.msg}"))
            return
        is_package = relative.name == "__init__.py"
        parts = relative.parent.parts if is_package else relative.with_suffix("").parts
        name = ".".join(parts)
        self.modules[name] = Module(name, relative.as_posix(), text, tree, is_package)

    @property
    def repository(self) -> Path:
        """The folder of README.md and docs/: the parent of `src/`, or of the package where there is no `src/`."""
        return self.root.parent.parent if self.root.parent.name == "src" else self.root.parent

    @cached_property
    def arrows(self) -> tuple[Arrow, ...]:
        """Every import of a module of the package by another; of repeated imports the first."""
        lines: dict[tuple[str, str], int] = {}
        for module in self.modules.values():
            for node in module.nodes:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    for target in self._targets(module, node):
                        pair = module.name, target
                        lines[pair] = min(node.lineno, lines.get(pair, node.lineno))
        return tuple(Arrow(source, target, line) for (source, target), line in lines.items())

    def _targets(self, module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Yield the modules of the package that an import statement takes something from."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = self._below_root(alias.name)
                if name is not None and name in self.modules:
                    yield name
            return
        base = self._base(module, node)
        if base is None:
            return
        for alias in node.names:
            inner = f"{base}.{alias.name}".lstrip(".")
            if inner in self.modules and alias.name not in self._own_names.get(base, frozenset()):
                yield inner
            elif base in self.modules and not (base == "" and alias.name in FREE_NAMES):
                yield base

    def _below_root(self, name: str) -> str | None:
        """Return an absolute module name without the package's; None if it is of another package."""
        if name == self.root.name:
            return ""
        return name.removeprefix(f"{self.root.name}.") if name.startswith(f"{self.root.name}.") else None

    def _base(self, module: Module, node: ast.ImportFrom) -> str | None:
        """Return the module after `from`, below the root; None if it is of another package."""
        if not node.level:
            return self._below_root(node.module or "")
        parts = module.package.split(".") if module.package else []
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *filter(None, [node.module])])

    @cached_property
    def _own_names(self) -> Mapping[str, frozenset[str]]:
        """The names that hide a submodule of the same name, by package: what an `__init__` defines or re-exports."""
        return {name: frozenset(self._hiding(module)) for name, module in self.modules.items() if module.is_package}

    def _hiding(self, module: Module) -> Iterator[str]:
        for node in module.tree.body:
            if isinstance(node, Function | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Assign):
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.ImportFrom):
                base = self._base(module, node)
                for alias in node.names:
                    if base != module.name or alias.asname not in {None, alias.name}:
                        yield alias.asname or alias.name

    def path_of(self, name: str) -> str:
        """Return the path of a module, relative to the source root."""
        return self.modules[name].path


def statements(source: Source) -> Figure:
    """Count the statements; the places are the counts of each layer, the largest first."""
    counts: Counter[str] = Counter()
    for module in source.modules.values():
        counts[module.top] += sum(isinstance(node, ast.stmt) for node in module.nodes)
    places = tuple(Place(top, 0, f"statements: {count:,}") for top, count in counts.most_common())
    return _limited("statements", counts.total(), places)


def rule_frameworks(source: Source) -> Figure:
    """Count the modules with their own rule machinery."""
    places = []
    for module in source.modules.values():
        registering = _registering(module)
        results = sorted(_rule_results(module))
        is_rules = bool(results) or any(_is_rule_word(name) for name, _ in registering)
        if registering and is_rules:
            name, line = registering[0]
            also = f" and defines {', '.join(results)}" if results else ""
            places.append(Place(module.path, line, f"{name} registers rules{also}"))
    return _limited("rule_frameworks", len(places), places)


def _registering(module: Module) -> list[tuple[str, int]]:
    """Return name and line of what registers entries in a module: its registries and its decorators."""
    entries = []
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            called = _dotted(node.value.func).rpartition(".")[2]
            if called == REGISTRY_CLASS and isinstance(target, ast.Name):
                entries.append((target.id, node.lineno))
    entries += [(node.name, node.lineno) for node in module.nodes if isinstance(node, Function) and _is_door(node)]
    return entries


def _is_door(function: Function) -> bool:
    """Whether a function returns a decorator that registers: a nested function, or a call of `.register(`."""
    inner = {child.name: child for child in ast.walk(function) if isinstance(child, Function) and child is not function}
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Name | ast.Call):
            if isinstance(node.value, ast.Call):
                if _is_method_call(node.value, frozenset({"register"})):
                    return True
            elif node.value.id in inner and _registers(inner[node.value.id]):
                return True
    return False


def _registers(function: Function) -> bool:
    """Whether a function stores into a mapping or calls a registering method."""
    return any(
        (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store))
        or _is_method_call(node, REGISTERING_METHODS)
        for node in ast.walk(function)
    )


def _is_method_call(node: ast.AST, methods: frozenset[str]) -> bool:
    """Whether a node calls `x.method(...)` with one of the methods, or `x.method(...)(...)`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Call):
        node = node.func
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in methods


def _rule_results(module: Module) -> set[str]:
    """Return the classes and type aliases of a module whose names are those of a rule's result."""
    defined = {node.name for node in module.nodes if isinstance(node, ast.ClassDef)}
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in defined if name.lstrip("_") in RULE_RESULTS}


def _is_rule_word(name: str) -> bool:
    """Whether the last word of a name is one for rules: `parity_check`, `LINTS`."""
    return name.lower().rpartition("_")[2] in RULE_WORDS


def http_clients(source: Source) -> Figure:
    """Count the modules that open HTTP connections; a place is the first call of a module."""
    places = []
    for module in source.modules.values():
        names = _imported(module)
        calls = sorted(
            (node.lineno, full)
            for node in module.nodes
            if isinstance(node, ast.Call) and (full := _full_name(node.func, names)) and _opens(full)
        )
        if calls:
            places.append(Place(module.path, calls[0][0], f"calls {calls[0][1]}"))
    return _limited("http_clients", len(places), places)


def _opens(name: str) -> bool:
    """Whether calling a name opens an HTTP connection."""
    return name in HTTP_OPENERS or name.split(".", maxsplit=1)[0] in HTTP_PACKAGES


def _imported(module: Module) -> dict[str, str]:
    """Return the full name behind each name that the import statements of a module bind."""
    names: dict[str, str] = {}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".", maxsplit=1)[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _full_name(node: ast.expr, names: Mapping[str, str]) -> str:
    """Return `urllib.request.urlopen` for `request.urlopen` after `from urllib import request`; "" if not imported."""
    first, dot, rest = _dotted(node).partition(".")
    return f"{names[first]}{dot}{rest}" if first in names else ""


def _dotted(node: ast.expr) -> str:
    """Return the text of `a.b.c`, also of `a.b[T]`; "" for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def circles(source: Source) -> Figure:
    """Count the circles of imports; each has its members and a shortest way round."""
    following: dict[str, set[str]] = defaultdict(set)
    lines: dict[tuple[str, str], int] = {}
    for arrow in source.arrows:
        following[arrow.source].add(arrow.target)
        lines[arrow.source, arrow.target] = arrow.line
    reached = {name: _reached(name, following) for name in source.modules}
    places: list[Place] = []
    done: set[str] = set()
    for name in source.modules:
        if name in done or name not in reached[name]:
            continue
        members = {other for other in reached[name] if name in reached[other]}
        done |= members
        way = min((_round(start, following) for start in sorted(members)), key=len)
        text = f"circle of {len(members)} modules: {' -> '.join(map(_shown, way))}"
        others = sorted(members - set(way))
        text += f"; also {', '.join(map(_shown, others))}" if others else ""
        places.append(Place(source.path_of(way[0]), lines[way[0], way[1]], text))
    return _limited("circles", len(places), places)


def _reached(start: str, following: Mapping[str, set[str]]) -> set[str]:
    """Return all modules that can be reached from a module by one or more arrows."""
    reached: set[str] = set()
    queue = [start]
    while queue:
        new = following.get(queue.pop(), set()) - reached
        reached |= new
        queue.extend(new)
    return reached


def _round(start: str, following: Mapping[str, set[str]]) -> list[str]:
    """Return a shortest way from a member of a circle back to it."""
    before: dict[str, str] = {}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for target in sorted(following.get(name, ())):
            if target == start:
                way = [start, name]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1] if name != start else [start, start]
            if target not in before:
                before[target] = name
                queue.append(target)
    raise ValueError(f"{start} is in no circle")


def _shown(name: str) -> str:
    """Return a module's name as it is shown; the root's is empty."""
    return name or "__init__"


def arrows_upward(source: Source) -> Figure:
    """Count the imports from a later layer."""
    rank = {name: position for position, names in enumerate(LAYERS) for name in names}
    places = []
    for arrow in source.arrows:
        own, other = source.modules[arrow.source].top, source.modules[arrow.target].top
        if own in rank and other in rank and rank[other] > rank[own]:
            text = f"{own} imports from the later layer {other}: {_shown(arrow.target)}"
            places.append(Place(source.path_of(arrow.source), arrow.line, text))
    return _limited("arrows_upward", len(places), places)


def duplicate_classes(source: Source) -> Figure:
    """Count the class names that are defined more than once."""
    where: dict[str, list[Place]] = defaultdict(list)
    for module in source.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                where[node.name.lstrip("_")].append(Place(module.path, node.lineno, f"class {node.name}"))
    repeated = {name: places for name, places in sorted(where.items()) if len(places) > 1}
    return _limited("duplicate_classes", len(repeated), [place for places in repeated.values() for place in places])


def record_key_reads(source: Source) -> Figure:
    """Count the string-key reads of the run's record."""
    fields = _record_fields(source)
    places: list[Place] = []
    for module in source.modules.values():
        if module.top in JSON_MODULES or _defines_record(module):
            continue
        for scope in _scopes(module.tree):
            reads: dict[str, list[tuple[str, ast.expr]]] = defaultdict(list)
            for receiver, key, node in _key_reads(scope):
                reads[receiver].append((key, node))
            for keyed in reads.values():
                keys = {key for key, _ in keyed}
                if keys <= fields and keys - COMMON_FIELDS:
                    places += [Place(module.path, node.lineno, ast.unparse(node)) for _, node in keyed]
    return _limited("record_key_reads", len(places), places)


def _defines_record(module: Module) -> bool:
    return any(isinstance(node, ast.ClassDef) and node.name in RECORD_CLASSES for node in module.tree.body)


def _record_fields(source: Source) -> set[str]:
    """Return the annotated fields of the record classes and of their bases in the same module."""
    fields: set[str] = set()
    for module in source.modules.values():
        classes = {node.name: node for node in module.tree.body if isinstance(node, ast.ClassDef)}
        queue = [name for name in classes if name in RECORD_CLASSES]
        while queue:
            node = classes.pop(queue.pop(), None)
            if node is not None:
                queue += [_dotted(base) for base in node.bases]
                annotated = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
                fields |= {target.id for target in annotated if isinstance(target, ast.Name)}
    return fields


def _scopes(tree: ast.Module) -> Iterator[list[ast.AST]]:
    """Yield the nodes of every outermost function, then those outside of all functions."""
    outside: list[ast.AST] = []
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, Function):
            yield list(ast.walk(node))
        else:
            outside.append(node)
            queue.extend(ast.iter_child_nodes(node))
    yield outside


def _key_reads(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str, ast.expr]]:
    """Yield receiver, key and node of each `x["key"]` that is loaded and each `x.get("key")`."""
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            receiver, key = node.value, node.slice
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            receiver, key = node.func.value, node.args[0]
        else:
            continue
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield ast.unparse(receiver), key.value, node


def voice(source: Source) -> Figure:
    """Count the banned words in what a person reads."""
    places: list[Place] = []
    for module in source.modules.values():
        for line, text in _literals(module.tree):
            places += _banned(module.path, line, text)
    for pattern in PAGES:
        for path in sorted(source.repository.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            if path.name == CHANGELOG:
                text = _first_section(text)
            places += _banned(path.relative_to(source.repository).as_posix(), 1, text)
    return _limited("voice", len(places), places)


def _banned(path: str, line: int, text: str) -> Iterator[Place]:
    """Yield the banned words of a text that starts at a line."""
    for word, pattern in VOICE.items():
        for match in pattern.finditer(text):
            shown = " ".join(match.group().split())
            yield Place(path, line + text.count("\n", 0, match.start()), f'"{shown}" ({word})')


def _literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string, docstrings included; the values of an f-string are shown as `{}`."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    elif isinstance(tree, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in tree.values]
        yield tree.lineno, "".join(parts)
        for part in tree.values:
            if isinstance(part, ast.FormattedValue):
                yield from _literals(part.value)
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _literals(child)


def _first_section(text: str) -> str:
    """Return a changelog up to its second heading of level 2: what came before is history."""
    starts = [match.start() for match in re.finditer(r"^## ", text, re.MULTILINE)]
    return text[: starts[1]] if len(starts) > 1 else text


def names(source: Source) -> tuple[Figure, ...]:
    """Count the bindings with a vague name, a figure a word, the most frequent first."""
    where: dict[str, list[Place]] = {word: [] for word in sorted(VAGUE_NAMES)}
    for module in source.modules.values():
        last = module.name.rpartition(".")[2]
        for line, kind, name in [(0, "module", last), *_bindings(module)]:
            word = name.strip("_").lower()
            if word in where:
                where[word].append(Place(module.path, line, f"{kind} {name}"))
    figures = [Figure(f"name {word}", len(places), tuple(sorted(places))) for word, places in where.items()]
    return tuple(sorted(figures, key=lambda figure: -figure.value))


def _bindings(module: Module) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and name of everything that a module binds except imports."""
    for node in module.nodes:
        if isinstance(node, ast.ClassDef):
            yield node.lineno, "class", node.name
        elif isinstance(node, Function):
            yield node.lineno, "function", node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, "parameter", node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, "variable", node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, "attribute", node.attr
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.lineno, "variable", node.name


def _limited(name: str, value: int, places: Sequence[Place]) -> Figure:
    """Return a figure with its limit; all but the statements have their places in the order of the files."""
    ordered = tuple(places) if name in {"statements", "duplicate_classes"} else tuple(sorted(places))
    return Figure(name, value, ordered, LIMITS[name])


FIGURES: Final = (
    statements,
    rule_frameworks,
    http_clients,
    circles,
    arrows_upward,
    duplicate_classes,
    record_key_reads,
    voice,
)


def problems(source: Source) -> list[Place]:
    """Return what keeps a figure from being measured: a file or folder without a layer, no record class, bad syntax."""
    layers = {name for row in LAYERS for name in row}
    unknown = sorted({module.top for module in source.modules.values()} - layers)
    places = [Place(top, 0, "has no place in LAYERS; add it to scripts/structure.py") for top in unknown]
    if not any(_defines_record(module) for module in source.modules.values()):
        text = f"no class {', '.join(sorted(RECORD_CLASSES))}; correct RECORD_CLASSES in scripts/structure.py"
        places.append(Place(source.root.name, 0, text))
    return source.problems + places


@dataclass(frozen=True, slots=True)
class Measurement:
    """All figures of a source root.

    Attributes:
        root: The source root.
        files: Python files.
        lines: Their lines, blank ones included.
        figures: Those with a limit, in the order of `FIGURES`.
        names: Bindings with a vague name, a figure a word.
        problems: What could not be measured; `--check` fails on each.
    """

    root: Path
    files: int
    lines: int
    figures: tuple[Figure, ...]
    names: tuple[Figure, ...]
    problems: tuple[Place, ...]

    @property
    def passes(self) -> bool:
        """Whether all could be measured and no limit is exceeded."""
        return not self.problems and not any(figure.is_exceeded for figure in self.figures)

    def to_json(self) -> str:
        """Return the figures and all their places as JSON."""
        figures = [
            {
                "name": figure.name,
                "value": figure.value,
                "limit": figure.limit,
                "exceeded": figure.is_exceeded,
                "places": [{"path": place.path, "line": place.line, "text": place.text} for place in figure.places],
            }
            for figure in (*self.figures, *self.names)
        ]
        document = {
            "root": str(self.root),
            "files": self.files,
            "lines": self.lines,
            "passes": self.passes,
            "figures": figures,
            "problems": [str(place) for place in self.problems],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)


def measure(root: Path) -> Measurement:
    """Measure all figures of a source root.

    Raises:
        FileNotFoundError: The folder holds no Python file.
    """
    source = Source(root.resolve())
    if not source.modules:
        raise FileNotFoundError(f"No Python file in {root}. Pass the folder of the package as --root.")
    return Measurement(
        root=source.root,
        files=len(source.modules),
        lines=sum(len(module.text.splitlines()) for module in source.modules.values()),
        figures=tuple(figure(source) for figure in FIGURES),
        names=names(source),
        problems=tuple(problems(source)),
    )


def table(measurement: Measurement) -> str:
    """Return the figures as a table for the terminal."""
    rows = [("figure", "value", "limit", "")]
    rows += [("files", f"{measurement.files:,}", "-", ""), ("lines", f"{measurement.lines:,}", "-", "")]
    for figure in measurement.figures:
        limit = "-" if figure.limit is None else f"{figure.limit:,}"
        rows.append((figure.name, f"{figure.value:,}", limit, "exceeded" if figure.is_exceeded else "ok"))
    lines = [f"{name:<18} {value:>7} {limit:>7}  {state}".rstrip() for name, value, limit, state in rows]
    total = sum(figure.value for figure in measurement.names)
    counts = ", ".join(f"{figure.name.removeprefix('name ')} {figure.value}" for figure in measurement.names)
    lines.append(f"vague names ({total}): {counts}")
    lines += [f"problem: {place}" for place in measurement.problems]
    return "\n".join(lines)


def offences(measurement: Measurement) -> str:
    """Return every place of every exceeded figure."""
    lines = []
    for figure in measurement.figures:
        if figure.is_exceeded:
            lines += ["", f"{figure.name}: {figure.value:,}, the limit is {figure.limit:,}"]
            lines += [f"  {place}" for place in figure.places]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; return 1 if `--check` is set and a limit is exceeded."""
    parser = argparse.ArgumentParser(description="Measure the structure of the package.")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the package [src/tuneworthy]")
    parser.add_argument("--check", action="store_true", help="list every offending place and exit 1 above a limit")
    parser.add_argument("--json", action="store_true", help="print JSON with every place")
    options = parser.parse_args(arguments)
    try:
        measurement = measure(options.root)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(measurement.to_json() if options.json else table(measurement))
    if not options.check or measurement.passes:
        return 0
    if not options.json:
        print(offences(measurement))
    return 1


if __name__ == "__main__":
    sys.exit(main())
