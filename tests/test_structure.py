"""Structure of the package: import graph, folder sizes, class names, banned words; each rule with a planted fault."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Collection
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
# Folders and top modules: each may import itself and those before it.
LAYERS = re.findall(r"\w+", """
    catalogue text types arrays errors signals processes trust redaction extras input_files remote_files yaml_text
    limited patterns registry rules functions config store executors stats providers cases people prompts retrieval
    decoding classical engine graders regressions search dataset train ship money ladder exports shadow calls verdict
    doctor scaffold demo report web cli evaluation api start
    __init__ __main__""")  # fmt: skip
MAX_STATEMENTS = 5_000
BANNED = re.compile(
    r"\bmend(s|ed|ing)?\b|\bheed(s|ed|ing)?\b|\banew\b|\bit\s+(is|was)\s+so\s+that\b|\bput(s|ting)?\s+to\s+(the\s+)?test\b"
    r"|\b(give|gives|gave|given|giving)(\s+\w+){0,3}\s+away\b|\b(is|are|was|were)\s+(?-i:none)\b|\bby\s+(itself|themselves)\b",
    re.IGNORECASE,
)  # fmt: skip
Modules = dict[str, list[ast.AST]]
"""The syntax nodes of each module by its dotted name below the package; a folder itself is `folder.__init__`."""


def read(root: Path) -> Modules:
    paths = sorted(root.rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): [*ast.walk(ast.parse(path.read_text()))]
        for path in paths
    }


def imports(package: str, modules: Modules) -> dict[str, set[str]]:
    """Modules that each module imports, inside functions and under `TYPE_CHECKING` too; `__version__` is free."""
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for name, nodes in modules.items():
        targets: list[str] = []
        for node in nodes:
            if isinstance(node, ast.Import):
                targets += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = [package, *name.split(".")][: -node.level] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                targets += [f"{base}.{alias.name}" for alias in node.names]
        for target in targets:
            inner = target.removeprefix(f"{package}.")
            if inner not in {target, "__version__"}:
                parent = inner.rpartition(".")[0]
                candidates = [inner, f"{inner}.__init__", parent, f"{parent}.__init__".lstrip(".")]
                graph[name].update([module for module in candidates if module in modules][:1])
    return graph


def cycle(modules: Modules, root: Path) -> list[str]:
    try:
        TopologicalSorter(imports(root.name, modules)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(modules: Modules, root: Path) -> list[str]:
    pairs = [(source, target) for source, targets in imports(root.name, modules).items() for target in targets]
    rank = {name: LAYERS.index(name.split(".")[0]) for name in modules}
    return [f"{source} -> {target}" for source, target in pairs if rank[source] < rank[target]]


def oversized(modules: Modules, root: Path) -> set[str]:
    sizes: Counter[str] = Counter()
    for name, nodes in modules.items():
        sizes[name.split(".")[0]] += sum(isinstance(node, ast.stmt) for node in nodes)
    return {folder for folder, size in sizes.items() if size > MAX_STATEMENTS}


def repeated(modules: Modules, root: Path) -> set[str]:
    classes = [node for nodes in modules.values() for node in nodes if isinstance(node, ast.ClassDef)]
    return {name for name, n in Counter(node.name.lstrip("_") for node in classes).items() if n > 1}


def banned(modules: Modules, root: Path) -> list[str]:
    """Banned words in strings, docstrings and pages; of the changelog only the newest section counts."""
    texts = []
    for name, nodes in modules.items():
        texts += [
            (name, node.value) for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    for page in [*root.parent.parent.glob("*.md"), *root.parent.parent.glob("docs/**/*.md")]:
        text = page.read_text()
        texts.append((page.name, "\n## ".join(text.split("\n## ")[:2]) if page.name == "CHANGELOG.md" else text))
    return [f"{place}: {match[0]}" for place, text in texts for match in BANNED.finditer(text)]


def test_the_package_keeps_its_structure() -> None:
    root = REPOSITORY / "src" / "tuneworthy"
    modules = read(root)
    assert {name.split(".")[0] for name in modules} <= set(LAYERS)
    assert [*cycle(modules, root), *upward(modules, root), *repeated(modules, root), *banned(modules, root)] == []
    assert oversized(modules, root) == set()


@pytest.mark.parametrize(("rule", "path", "text"), [
    *[(cycle, "ship/b.py", text) for text in (
        "from p.ship.a import f", "from . import a", "import p.ship.a", "from .a import f", "from p.ship import f",
        "def f():\n    from p.ship import a", "if TYPE_CHECKING:\n    from ..ship import a")],
    (upward, "stats/a.py", "from p.ship import b"), (upward, "ship/a.py", "def f():\n    from .. import cli"),
    (oversized, "ship/a.py", "x = 1\n" * (MAX_STATEMENTS + 1)), (repeated, "ship/a.py", "class _B: ..."),
    *[(banned, path, f'"""Word\n{word}"""') for path in ("ship/a.py", "../../docs/a.md", "../../CHANGELOG.md")
      for word in ("mended", "Heed", "anew", "It is so that", "put to test", "gives the case away", "are none",
                   "by\nitself")],
    (banned, "ship/a.py", "x = f'{1} is none'")])  # fmt: skip
def test_a_planted_fault_is_found(
    rule: Callable[[Modules, Path], Collection[str]], path: str, text: str, tmp_path: Path
) -> None:
    root = tmp_path / "src" / "p"
    good = {"cli/__init__.py": "from p.ship import b", "ship/__init__.py": "from p.ship import b", "stats/s.py": "",
            "ship/a.py": "from p import __version__\nfrom p.ship.b import B",
            "../../CHANGELOG.md": "# C\n## 2\n\n## 1\nMended.",
            "ship/b.py": "'is None, amend, away'\nclass B: ...\nmend = 1  # anew"}  # fmt: skip
    for files in (good, {path: text}):
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        assert bool(rule(read(root), root)) is (files is not good)


def missing(paths: Collection[Path], source: Path) -> list[str]:
    """Names that files import from the package, and that it does not define."""
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == source.name:
                module = source.parent.joinpath(*(node.module or "").split("."))
                file = module.with_suffix(".py") if module.with_suffix(".py").exists() else module / "__init__.py"
                words = {*re.findall(r"\w+", file.read_text())} if file.exists() else set()
                known = words | {one.stem for one in module.glob("*")}
                found += [f"{path.name}: {node.module}.{alias.name}" for alias in node.names if alias.name not in known]
    return found


def test_benchmarks_and_scripts_import_names_that_exist(tmp_path: Path) -> None:
    paths = [path for folder in ("benchmarks", "scripts") for path in (REPOSITORY / folder).rglob("*.py")]
    assert missing(paths, REPOSITORY / "src/tuneworthy") == []
    planted = tmp_path / "planted.py"
    planted.write_text("from tuneworthy.stats import no_such_name\nfrom tuneworthy.no_such_module import compare\n")
    assert len(missing([planted], REPOSITORY / "src/tuneworthy")) == 2
