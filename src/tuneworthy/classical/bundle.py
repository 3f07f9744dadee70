"""One Python file from a class of this package and all that it uses of the package, as the sources have it.

Invariant: the file imports nothing of this package, so that the export equals the measured model, and is
self-contained.
"""

import ast
import inspect
from functools import cache
from importlib import import_module

PACKAGE = __name__.partition(".")[0]


def bundle(*roots: object) -> str:
    """Return the source of `roots` (classes and functions), after the source of their dependencies.

    Raises:
        ValueError: Two definitions that are needed have one name, or a module of the package is used as a whole.
    """
    homes: dict[str, str] = {}
    parts: list[str] = []
    imports: dict[str, set[str]] = {}
    names: set[str] = set()

    def add(module: str, name: str) -> None:
        node = _bindings(module).get(name)
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if not node.module.startswith(PACKAGE):
                imports.setdefault(node.module, set()).add(name)
            elif inspect.ismodule(getattr(import_module(node.module), name)):
                raise ValueError(f"{module} uses the module {name}")
            else:
                add(node.module, name)
        elif node is not None:
            if homes.setdefault(name, module) != module:
                raise ValueError(f"{name} is defined in {module} and in {homes[name]}")
            lines = _lines(module)  # with decorators and the comment before
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))]) - 1
            while first and lines[first - 1].startswith("#"):
                first -= 1
            text = "\n".join(lines[first : node.end_lineno])
            if text not in parts and name not in pending:
                pending.add(name)
                for used in dict.fromkeys(name.id for name in ast.walk(node) if isinstance(name, ast.Name)):
                    add(module, used)
                parts.append(text)

    pending: set[str] = set()
    for root in roots:
        add(root.__module__, root.__name__)  # type: ignore[attr-defined]
    head = [f"import {name}" for name in sorted(names - {"numpy"})]
    head += [f"from {module} import {', '.join(sorted(imports[module]))}" for module in sorted(imports)]
    own = [line for line in head if "numpy" in line]
    lines = ["from __future__ import annotations", "", *[line for line in head if line not in own]]
    return "\n".join([*lines, "", "import numpy as np", *own, "", "", "\n\n\n".join(parts), ""])


@cache
def _lines(module: str) -> list[str]:
    return inspect.getsource(import_module(module)).splitlines()


@cache
def _bindings(module: str) -> dict[str, ast.stmt]:
    """Return the statement that binds each name of a module."""
    bindings: dict[str, ast.stmt] = {}
    for statement in ast.parse("\n".join(_lines(module))).body:
        for node in statement.body if isinstance(statement, ast.If) else [statement]:  # TYPE_CHECKING
            bindings |= dict.fromkeys(_bound(node), node)
    return bindings


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
