"""Write the reference pages from the code: `python scripts/docs.py` writes, `--check` compares and exits 1 if stale.

They lie in docs/reference/. project-file.md comes from the pydantic types, commands.md from the click commands,
checks.md, data-checks.md and train-lints.md from the docstrings of the checks and lints, decoding-lints.md and
decoding-presets.md from the decoding lints and tables. Nothing on these pages is written by hand.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from pydantic import TypeAdapter

from tuneworthy import errors
from tuneworthy.cli import VERBS, root
from tuneworthy.config import Project
from tuneworthy.config.base import Section
from tuneworthy.config.graders import GRADER_SECTIONS
from tuneworthy.config.models import MODEL_SECTIONS
from tuneworthy.dataset.base import data_checks as data_check_rules
from tuneworthy.dataset.effect import FEW
from tuneworthy.dataset.messages import REASONS
from tuneworthy.decoding.engines import engines
from tuneworthy.decoding.lints import LINTS as DECODING_LINTS
from tuneworthy.decoding.lints import Use
from tuneworthy.decoding.presets import presets
from tuneworthy.decoding.structured import limits
from tuneworthy.ladder.checks import CHECKS
from tuneworthy.ladder.record import RunRecord
from tuneworthy.rules import SEVERITIES
from tuneworthy.ship.parity import PARITY_CHECKS
from tuneworthy.train.lints import LINTS as TRAIN_LINTS
from tuneworthy.verdict.answer import Verdict
from tuneworthy.verdict.gates import GATES, NEVER_WAIVED

DOCS = Path(__file__).parent.parent / "docs" / "reference"
MADE = "<!-- made by scripts/docs.py: do not edit -->\n"
SECTIONS = {"graders": GRADER_SECTIONS, "models": MODEL_SECTIONS}
REPEATED = {"graders": "type", "models": "provider"}
"""Sections of which there may be several, and the key that says which keys they have."""
OWN_PAGES = {"graders": "[Graders](graders.md)", "models": "[Providers](providers.md)"}
"""Sections that have a page of their own."""
OUTPUTS: dict[str, type] = {"run": RunRecord, "decide": Verdict}
"""Commands whose `--json` output is described, and the type that it is made of."""

Rows = list[tuple[str, ...]]


def main(arguments: list[str]) -> int:
    """Write or compare the pages; return the exit status."""
    made = pages()
    stale = [name for name, text in made.items() if current(name) != text]
    if "--check" in arguments:
        for name in stale:
            print(f"{where(name)}: expected what the code says, got an older page; run `python scripts/docs.py`")
        return 1 if stale else 0
    DOCS.mkdir(exist_ok=True)
    for name in stale:
        (DOCS / name).write_text(made[name], encoding="utf-8")
        print(f"{where(name)}: written")
    return 0


def where(name: str) -> str:
    """Return the path of a page as messages show it."""
    return f"docs/reference/{name}"


def current(name: str) -> str:
    """Return the page as it stands; "" if it is missing."""
    path = DOCS / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def pages() -> dict[str, str]:
    """Return every page by its name."""
    made = {"project-file.md": project_file(), "commands.md": commands(), "checks.md": checks()}
    made |= {"graders.md": graders(), "providers.md": providers(), "gates.md": gates(), "exit-status.md": exit_status()}
    made |= {"json.md": json_page(), **{f"{name}.schema.json": schema_file(cls) for name, cls in OUTPUTS.items()}}
    made |= {"data-checks.md": data_checks(), "parity-checks.md": parity_checks(), "train-lints.md": train_lints()}
    made |= {"errors.md": error_codes()}
    decoding = {"decoding-lints.md": decoding_lints(), "decoding-presets.md": decoding_presets()}
    return {**made, **decoding}


def table(head: tuple[str, ...], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: str) -> str:
    """Return `text` as inline code; "" stays."""
    return f"`{text}`" if text else ""


# --- the project file -------------------------------------------------------------------------------------------


def project_file() -> str:
    """Return docs/reference/project-file.md."""
    schema = described_schema()
    parts = [
        MADE,
        "# The project file\n\n",
        "`tuneworthy.toml`, in the project folder. Unknown keys are errors. A key ",
    ]
    parts.append("without a default must be given; a section whose keys all have defaults may be left out.\n")
    first: dict[str, str] = {}
    for name, node in schema["properties"].items():
        text = section(schema, name, node, required=name in schema["required"])
        header, _, content = text.partition("`\n\n")
        known = first.setdefault(content, header.removeprefix("\n## `"))
        parts.append(text if known in header else f"{header}`\n\nOptional. The keys of `{known}`.\n")
    return "".join(parts)


def described_schema(of: type[Section] = Project) -> dict[str, Any]:
    """Return the JSON schema of a section (the whole project file by default), each key
    with the docstring that follows it in the source.

    (pydantic can do that too, but it reads the source of every section at each start of the program.)
    """
    schema: dict[str, Any] = {"$defs": {}} | of.model_json_schema()
    for cls in subclasses(Section):
        node = schema if cls is of else schema["$defs"].get(cls.__name__, {})
        for base in reversed(cls.__mro__):
            for key, words in docstrings(base).items():
                if key in node.get("properties", ()):
                    node["properties"][key]["description"] = words
    return schema


def subclasses(cls: type) -> Iterator[type]:
    """Yield all classes below `cls`."""
    for below in cls.__subclasses__():
        yield below
        yield from subclasses(below)


@cache
def docstrings(cls: type) -> dict[str, str]:
    """Return the strings that follow the annotated names of a class of ours."""
    if not cls.__module__.startswith("tuneworthy"):
        return {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        name.target.id: inspect.cleandoc(words.value.value)
        for name, words in pairwise(definition.body)
        if isinstance(name, ast.AnnAssign)
        and isinstance(name.target, ast.Name)
        and isinstance(words, ast.Expr)
        and isinstance(words.value, ast.Constant)
    }


def section(schema: dict[str, Any], name: str, node: dict[str, Any], *, required: bool) -> str:
    """Return the part of the page on one section."""
    several = name in REPEATED or node.get("type") == "array"
    header = f"[[{name}]]" if node.get("type") == "array" else f"[{name}.NAME]" if several else f"[{name}]"
    need = "At least one is needed." if several and required else "Needed." if required else "Optional."
    text = [f"\n## `{header}`\n\n"]
    choices = list(resolve(schema, node))
    if name in REPEATED:
        return "".join([*text, f"{need} `{REPEATED[name]}` says which keys it has: {OWN_PAGES[name]}.\n"])
    for number, one in enumerate(choices):
        text += ["\n" * bool(number), sentence(one), need, "\n\n", keys(schema, one)]
        for key, value in one["properties"].items():
            for below in resolve(schema, value) if "anyOf" in value or "$ref" in value else ():
                text += [f"\n### `[{name}.{key}]`\n\n", sentence(below), keys(schema, below)]
    return "".join(text)


def kinds(name: str) -> str:
    """Return the part of a page on each kind of a section, by the key that tells them apart."""
    parts = {}
    for kind, cls in SECTIONS[name].items():
        schema = described_schema(cls)
        choice = schema["$defs"].get(cls.__name__, schema)
        parts[kind] = (sentence(choice), key_rows(schema, choice))
    lists = [rows for _, rows in parts.values()]
    of_all = shared(lists, len(lists))
    common = [row for row in shared(lists, MIN_COMMON_KEYS) if row not in of_all]
    text = [f"\n## Keys of every section\n\n{table(KEY_HEADS, of_all)}"]
    text += [f"\n## Common keys\n\n{table(KEY_HEADS, common)}"] * bool(common)
    for kind, (words, rows) in parts.items():
        own = [row for row in rows if row not in of_all + common]
        text.append(f'\n## `{REPEATED[name]} = "{kind}"`\n\n{words.rstrip()}\n')
        text += [f"\n{table(KEY_HEADS, own)}"] * bool(own)
        text.append(also([row for row in rows if row in common]))
    return "".join(text)


def shared(lists: Sequence[Rows], least: int) -> Rows:
    """Return the rows that at least `least` tables have, word by word."""
    return [row for row, n in Counter(chain.from_iterable(lists)).items() if n >= least]


def also(rows: Rows) -> str:
    """Return the names of rows that the page describes elsewhere."""
    names = [code(row[0].strip("`").split()[0]) for row in rows]
    return f"\nCommon: {', '.join(names)}.\n" if rows else ""


MIN_COMMON_KEYS = 3
MIN_COMMON_OPTIONS = 5
"""A row of so many tables of a page is printed once."""
KEY_HEADS = ("key", "type", "default", "meaning")


def graders() -> str:
    """Return docs/reference/graders.md."""
    head = "# Graders\n\nWhat says how good an answer is, from 0 to 1. Each is a section `[[graders]]` of the project "
    more = "file.\nThe first is primary: `task.target` and all comparisons are about its score. An unreadable answer "
    return f"{MADE}{head}{more}scores 0.\n{kinds('graders')}"


def providers() -> str:
    """Return docs/reference/providers.md."""
    head = "# Providers\n\nWhat answers. Each model is a section `[models.NAME]` of the project file.\n"
    return f"{MADE}{head}{kinds('models')}"


def sentence(node: dict[str, Any]) -> str:
    """Return the description of a section as a paragraph, unless it only repeats its name."""
    words = " ".join(node.get("description", "").split())
    repeats = words.startswith("[") and words.endswith("]")
    return "" if repeats or not words else f"{words}\n\n"


def keys(schema: dict[str, Any], node: dict[str, Any]) -> str:
    """Return the table of the keys of a section."""
    return table(KEY_HEADS, key_rows(schema, node))


def key_rows(schema: dict[str, Any], node: dict[str, Any]) -> Rows:
    """Return the rows of that table."""
    rows: Rows = []
    for key, value in node["properties"].items():
        default = code(toml(value["default"])) if value.get("default") is not None else ""
        if key not in node.get("required", ()) and not default:
            default = "not set"
        rows.append((code(key), kind_of(schema, value), default or "needed", words_of(value)))
    return rows


def words_of(value: dict[str, Any]) -> str:
    """Return the description of a key; a constant describes itself."""
    return " ".join(value.get("description", "").split()) or ("says which kind this is" if "const" in value else "")


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects that `node` may be, references opened."""
    if "$ref" in node:
        yield from resolve(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
    elif "properties" in node:
        yield node
    for key in ("anyOf", "oneOf", "allOf"):
        for option in node.get(key, ()):
            yield from resolve(schema, option)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from resolve(schema, node[key])


def kind_of(schema: dict[str, Any], value: dict[str, Any]) -> str:
    """Return the type of a key in words, with its limits."""
    if "const" in value:
        return code(toml(value["const"]))
    if "enum" in value:
        return "one of " + ", ".join(code(toml(one)) for one in value["enum"])
    if "anyOf" in value:
        kinds = [kind_of(schema, option) for option in value["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in value:
        return kind_of(schema, schema["$defs"][value["$ref"].rsplit("/", 1)[1]])
    if "prefixItems" in value:
        return "list [" + ", ".join(kind_of(schema, one) for one in value["prefixItems"]) + "]"
    if value.get("type") == "array":
        pair = value.get("prefixItems")
        return f"pair of {kind_of(schema, pair[0])}" if pair else f"list of {kind_of(schema, value['items'])}"
    names = {"string": "text", "boolean": "boolean", "integer": "integer", "number": "number"}
    name = names.get(value.get("type", ""), "table")
    limits = [
        f"{sign} {value[key]:g}" for key, sign in LIMITS.items() if key in value and value[key] < MIN_SANITY_LIMIT
    ]
    limits += [f"at least {value['minLength']} characters"] if "minLength" in value else []
    return f"{name}, {', '.join(limits)}" if limits else name


LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
MIN_SANITY_LIMIT = 1e9
"""Limits from here on only catch typing errors; the page leaves them out."""


def toml(value: Any) -> str:
    """Return a value as it is written in TOML (tables of defaults do not occur)."""
    return json.dumps(value, ensure_ascii=False)


def undescribed() -> list[str]:
    """Return the keys of the project file that nobody described."""
    found = []
    schema = described_schema()
    for name, node in schema["properties"].items():
        for choice in resolve(schema, node):
            found += [f"{name}: {choice['title']}.{k}" for k, v in choice["properties"].items() if not words_of(v)]
    return found


# --- the command line -------------------------------------------------------------------------------------------


def commands() -> str:
    """Return docs/reference/commands.md."""
    parts = [
        MADE,
        "# Commands\n\n",
        table(("command", "does"), [(f"[`{v}`](#tuneworthy-{v})", s) for v, s in VERBS.items()]),
    ]
    parts += ["\n## Exit status\n\nThe [exit status](exit-status.md) is the same for every command.\n"]
    parts += ["\n## Common options\n\n", table(("option", "default", "meaning"), common_options())]
    for path, command in every_command():
        parts.append(command_page(path, command))
    return "".join(parts)


@cache
def common_options() -> Rows:
    """Return the rows of options that many commands share."""
    return shared([option_rows(command) for _, command in every_command()], MIN_COMMON_OPTIONS)


def option_rows(command: click.Command) -> Rows:
    """Return the rows of the options of a command."""
    return [option_row(option) for option in command.params if isinstance(option, click.Option)]


def exit_status() -> str:
    """Return docs/reference/exit-status.md."""
    head = "# Exit status\n\nThe same for every command. After 5 and 130, run the command again: it resumes.\n\n"
    return f"{MADE}{head}{table(('status', 'means'), exit_rows())}"


def error_codes() -> str:
    """Return docs/reference/errors.md."""
    head = (
        "# Error codes\n\nThe code of an error names its kind and never changes; the message says what happened, "
        "where, and what to do. With `--json`, a command prints the error to stdout as "
        '`{"error": {"code", "message", "hint", "exit_status"}}`.\n\n'
    )
    rows = [
        (code(cls.error_code), (inspect.getdoc(cls) or "").split("\n")[0], str(cls.exit_status))
        for cls in sorted(subclasses(errors.TuneworthyError), key=lambda cls: cls.error_code)
        if "error_code" in vars(cls)
    ]
    return f"{MADE}{head}{table(('code', 'means', 'exit status'), rows)}"


def exit_rows() -> Rows:
    """Return the exit statuses: those of the errors, and those of the command line itself."""
    told = {0: "yes, or done", 1: "a bug", 130: "stopped by you; run it again to go on"}
    for _, error in inspect.getmembers(errors, inspect.isclass):
        own = "exit_status" in vars(error) and error is not errors.TuneworthyError
        if own:
            told[error.exit_status] = (inspect.getdoc(error) or "").split("\n")[0].rstrip(".").lower()
    told[3] = (
        "no: do not fine-tune, do not ship, a gate failed, B is worse than A, low confidence in production, or the run "
        "does not fit into memory"
    )
    told[4] += ", or the next call could exceed the budget"
    return [(str(status), words) for status, words in sorted(told.items())]


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its path, groups before what they hold."""
    context = click.Context(root)
    for verb in VERBS:
        command = root.get_command(context, verb)
        assert command is not None
        yield verb, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                part = command.get_command(context, name)
                assert part is not None
                yield f"{verb} {name}", part


def help_parts(command: click.Command) -> tuple[str, str]:
    """Return the paragraphs of a command's help, and its example (with its heading)."""
    whole = inspect.cleandoc(command.help or "")
    text, _, example = whole.rpartition("\b\n") if "\b\n" in whole else (whole, "", "")
    paragraphs = [_as_it_is(part) if part.startswith("\b\n") else " ".join(part.split())
                  for part in text.strip(" \n").split("\n\n")]  # fmt: skip
    return "\n\n".join(paragraphs), inspect.cleandoc("\n" + example).strip()


def _as_it_is(part: str) -> str:
    """Return a paragraph whose lines stay: its first line, and the others as a block."""
    heading, _, lines = part.removeprefix("\b\n").partition("\n")
    return f"{heading}\n\n```text\n{inspect.cleandoc(lines)}\n```"


def command_page(path: str, command: click.Command) -> str:
    """Return the part of the page on one command."""
    text, example = help_parts(command)
    context = click.Context(command, info_name=f"tuneworthy {path}", **root.context_settings)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    has_arguments = any(isinstance(one, click.Argument) for one in command.params)
    parts = [f"\n## tuneworthy {path}\n\n", f"```\n{usage}\n```\n\n" * has_arguments, f"{text}\n"]
    rows = option_rows(command)
    own = [row for row in rows if row not in common_options()]
    if own:
        parts.append("\n" + table(("option", "default", "meaning"), own))
    parts.append(also([row for row in rows if row in common_options()]))
    if example:
        heading, _, lines = example.partition("\n")
        parts.append(f"\n{heading}\n\n```sh\n{inspect.cleandoc(lines)}\n```\n")
    return "".join(parts)


SHORT = {"INTEGER": "N", "FLOAT": "X"}


def faults(path: str, command: click.Command) -> list[str]:
    """Return what the documentation of a command lacks: help, an example, the words on its arguments and options."""
    text, example = help_parts(command)
    found = [] if text else [f"{path}: no help"]
    if not example.startswith("Example") or f"tuneworthy {path.split(maxsplit=1)[0]}" not in example:
        found.append(f"{path}: no example")
    for one in command.params:
        if isinstance(one, click.Option) and not one.help:
            found.append(f"{path} {one.opts[0]}: no help")
        if isinstance(one, click.Argument):
            name = (one.metavar or one.name or "").strip("[].").upper()
            found += [] if name in text else [f"{path} {name}: not named in the help"]
    return found


def option_row(option: click.Option) -> tuple[str, str, str]:
    """Return the row of an option: how it is written, its default, its help."""
    metavar = option.make_metavar(click.Context(root)).removesuffix(" RANGE")
    value = "" if option.is_flag else f" {SHORT.get(metavar, metavar)}"
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    plain = isinstance(shown, str | int | float) and not isinstance(shown, bool)
    return code(", ".join(option.opts) + value), code(str(shown)) if plain else "", option.help or ""


# --- the checks -------------------------------------------------------------------------------------------------


def checks() -> str:
    """Return docs/reference/checks.md."""
    parts = [MADE, "# Checks\n\nWhat `tuneworthy check` looks for. An error means that a run would fail or measure "]
    parts.append("nothing; `check` then exits with status 2.\n")
    for severity in SEVERITIES:
        parts.append(f"\n## {severity.capitalize()}s\n")
        parts += [f"\n### {rule.name}\n\n{rule.page}\n" for rule in CHECKS.all().values() if rule.severity == severity]
    return "".join(parts)


def gates() -> str:
    """Return docs/reference/gates.md."""
    parts = [
        MADE,
        "# Gates\n\nWhat `tuneworthy decide` needs to know before it answers. A gate passes, fails, is unknown ",
    ]
    parts.append(
        "or not applicable,\nor is waived by a section `[[waivers]]` with a reason:\n\n"
        '```toml\n[[waivers]]\ngate = "shadow"\nreason = "the model has no traffic yet"\n```\n'
    )
    for stage, words in STAGES.items():
        parts.append(f"\n## {words}\n\n")
        rules = [rule for rule in GATES.all().values() if rule.group == stage]
        rows = [(code(one.name), one_line(one.page), "no" if one.name in NEVER_WAIVED else "yes") for one in rules]
        parts.append(table(("gate", "subject", "can be waived"), rows))
    return "".join(parts)


STAGES = {"to_decide": "Before a decision", "to_train": "Before training", "to_ship": "Before shipping"}


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


# --- output for machines ----------------------------------------------------------------------------------------


def json_page() -> str:
    """Return docs/reference/json.md."""
    parts = [MADE, "# Output for machines\n\nWith `--json`, stdout holds one JSON document and nothing else; notes go "]
    parts.append('to stderr. An error is\n`{"error": {"code", "message", "hint", "exit_status"}}`. A number that is ')
    parts.append("not known is `null`.\n")
    first: dict[str, str] = {}
    for name, cls in OUTPUTS.items():
        schema = output_schema(cls)
        parts.append(f"\n## `tuneworthy {name} --json`\n\nJSON Schema: [{name}.schema.json]({name}.schema.json).\n\n")
        parts.append(keys_of(schema, schema))
        repeated: list[str] = []
        for path, node in objects(schema, schema, ""):
            content = json.dumps(node)
            if any(path.startswith(f"{above}.") for above in repeated):
                continue
            if len(node["properties"]) > MAX_REPEATED_KEYS and content in first:
                repeated.append(path)
                text = f"The keys of {first[content]}.\n"
            else:
                first[content] = f"[`{path}`](#{re.sub(r'[^a-z0-9_]', '', path)})"
                text = keys_of(schema, node)
            parts.append(f"\n### `{path}`\n\n{text}")
    return "".join(parts)


def schema_file(cls: type) -> str:
    """Return the JSON schema of an output."""
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **output_schema(cls)}, indent=1) + "\n"
    )


def output_schema(cls: type) -> dict[str, Any]:
    """Return the JSON schema of what a command prints: that of the type, with the renamings of `to_dict`."""
    schema = TypeAdapter(cls).json_schema()
    described = {one.__name__: attributes(one) for one in nested(cls)}
    for name, node in {cls.__name__: schema, **schema["$defs"]}.items():
        node.pop("description", None)
        for key, value in node.get("properties", {}).items():
            value.pop("default", None)
            if words := described.get(name, {}).get(key):
                value["description"] = words
    if cls is Verdict:
        gate, error = schema["$defs"]["GateResult"], schema["$defs"]["ErrorShare"]
        gate["properties"] = {k: v for k, v in gate["properties"].items() if k not in {"message", "fix"}}
        gate["properties"]["detail"] = {"type": "string", "description": "Measured or missing evidence; the next step."}
        error["properties"] = {"class": error["properties"].pop("name"), **error["properties"]}
        error["properties"].pop("limits")
        error["required"] = ["class", *(key for key in error["required"] if key != "name")]
    return schema


def nested(cls: type, within: Sequence[type] = ()) -> Iterator[type]:
    """Yield a dataclass and those that its fields hold; one that holds itself (a variant's cascade) once."""
    yield cls
    for hint in get_type_hints(cls).values():
        for one in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(one) and isinstance(one, type) and one not in within:
                yield from nested(one, (*within, cls))


def attributes(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute."""
    _, _, lines = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    described = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", lines, re.MULTILINE)
    return {name: one_line(words).replace("None", "null") for name, words in described}


def objects(schema: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects within an object, with the path of their keys; what only one rung has is left out."""
    for key, value in node["properties"].items():
        if key in LEFT_OUT:
            continue
        below = f"{path}.{key}" if path else key
        for one in resolve(schema, value):
            yield f"{below}[]" if value.get("type") == "array" else below, one
            yield from objects(schema, one, f"{below}[]" if value.get("type") == "array" else below)


LEFT_OUT = {"detail", "variants"}
MAX_REPEATED_KEYS = 2
"""A table with more keys is printed only once."""


def keys_of(schema: dict[str, Any], node: dict[str, Any]) -> str:
    """Return the table of the keys of an output."""
    rows = [(code(key), kind_of(schema, one), one.get("description", "")) for key, one in node["properties"].items()]
    return table(("key", "type", "meaning"), rows)


# --- the data checks --------------------------------------------------------------------------------------------


def data_checks() -> str:
    """Return docs/reference/data-checks.md."""
    parts = [
        MADE,
        "# Data checks\n\nThe checks of `tuneworthy data build`, in this order. `policy` in `[data]` of the project ",
        "file sets the action on a finding. No row with a finding that is marked as a gate may stay in a version. If a "
        "finding that is marked with `asks` is in more than 10% of the rows, it may be the task: the build stops with "
        "exit status 3 and a question, until `policy` answers it. Old names, slipped files and sources that "
        "disagree are always asked.\n",
        "\nEffects of drops are measured: over three seeds, a classical baseline is trained with and without those ",
        "rows and asked the dev cases. It is also asked held-out rows, which are many more. Those that no check drops "
        "favour dropping, so they can only show a loss; all of them disfavour it, so they can only show a gain. "
        "Otherwise the effect is not measurable. A check that is shown to cost accuracy (the 95% interval ",
        f"lies below 0) reports instead. Below {FEW:.1%} of the rows nothing is measured. A check that always drops ",
        "is not measured either. Free text is measured by the answer of the nearest row. The card shows each effect.\n",
    ]
    for name, check in data_check_rules().items():
        parts.append(f"\n## {name}\n\n{check.page}\n\n" + "Always drops.\n\n" * check.certain)
        rows = [
            (code(reason), words, "gate" * (reason in check.gate) or "asks" * (reason in check.asks))
            for reason, words in check.codes.items()
        ]
        parts.append(table(("reason", "meaning", ""), rows))
    parts.append("\n## Steps before and after the checks\n\nThese always run and cannot be switched off.\n\n")
    others = {step: codes for step, codes in REASONS.items() if step not in data_check_rules()}
    steps = [(code(step), code(reason), words) for step, codes in others.items() for reason, words in codes.items()]
    parts.append(table(("step", "reason", "meaning"), steps))
    return "".join(parts)


# --- the parity checks ------------------------------------------------------------------------------------------


def parity_checks() -> str:
    """Return docs/reference/parity-checks.md."""
    parts = [
        MADE,
        "# Parity checks\n\nWhat parity compares, in this order: a cause before what follows from it. ",
        "The cause of a run that failed is that of the first check that failed.\n",
    ]
    for name, rule in PARITY_CHECKS.all().items():
        parts.append(f"\n## {name}\n\n{rule.page}\n\n")
        parts.append(table(("cause", "meaning"), [(code(cause), words) for cause, words in rule.codes.items()]))
    return "".join(parts)


# --- decoding -----------------------------------------------------------------------------------------------------


def decoding_lints() -> str:
    """Return docs/reference/decoding-lints.md."""
    parts = [
        MADE,
        "# Decoding lints\n\nFaults of sampling settings and of structured output; `tuneworthy check`, the rung ",
    ]
    parts.append(
        "`decoding` and `decode uncertainty` report them. Tests show that each rule finds its bad example only.\n"
    )
    for one in DECODING_LINTS.all().values():
        parts.append(f"\n## {one.name}\n\n{one.severity.capitalize()}. {one.page}\n\n")
        finding = next(iter(one.run(one.bad)))
        parts.append(
            f"Bad: {used(one.bad)}  \n{finding.message}\n\nGood: {used(one.good)}\n\n"
            f"Fix: {finding.fix}\n\nSource: {one.source}\n"
        )
    return "".join(parts)


def used(use: Use) -> str:
    """Return what an example sets, as inline code."""
    words = [
        f"{one.name}={getattr(value := getattr(use, one.name), 'family', value)!r}"
        for one in dataclasses.fields(use)
        if getattr(use, one.name) != one.default
    ]
    text = ", ".join(word for word in words if not word.endswith(("={}", "=None")))
    return code(text if len(text) < 300 else text[:297] + "...")


def decoding_presets() -> str:
    """Return docs/reference/decoding-presets.md."""
    parts = [
        MADE,
        "# Decoding presets\n\nWhat `[decoding] preset` and `decode explain preset=NAME` set. Marks: *customary* (a "
        "common value, not measured), *measured* (computed, or read in the engine's source), *contested* (sources "
        "disagree, or no comparison is known). Compare them on your data: `tuneworthy decode sweep`.\n",
    ]
    for one in presets().values():
        kinds = f" `auto` takes it for {', '.join(one.kinds)}." if one.kinds else ""
        parts.append(
            f"\n## {one.name}\n\n{one.title}.{kinds} Without sampling parameters: effort {one.effort.value}.\n\n"
        )
        labels: dict[tuple[str, ...], list[str]] = {}
        for engine in (None, *engines()):
            for name, value in one.on(engine).items():
                label = engines()[engine].label if engine else "any other server"
                row = (code(name), f"{value.value:g}", value.mark, value.source)
                labels.setdefault(row, []).append(label)
        rows: Rows = [
            ("all engines" if len(served) == 1 + len(engines()) else ", ".join(served), *row)
            for row, served in labels.items()
        ]
        rows.append(
            ("no sampling parameters", code("effort"), str(one.effort.value), one.effort.mark, one.effort.source)
        )
        parts.append(table(("engine", "parameter", "value", "mark", "source"), rows))
    parts.append("\n## Engines\n\nThe order of the samplers, and their defaults.\n\n")
    rows = []
    for known in engines().values():
        unset = ", ".join(f"{name} {value:g}" for name, value in known.defaults.items())
        rows.append(
            (
                f"{known.label} {known.version}",
                ", ".join(known.order),
                unset,
                known.notes,
                f"{known.source} [{known.mark}]",
            )
        )
    parts.append(table(("engine", "order", "not set", "notes", "source"), rows))
    parts.append("\n## Structured output\n\n")
    rows = [
        (
            one.engine,
            one.backends,
            str(one.nesting or "not known"),
            one.thinking,
            one.truncation,
            f"{one.source} [{one.mark}]",
        )
        for one in limits().values()
    ]
    parts.append(table(("engine", "enforced by", "levels", "reasoning", "at max_tokens", "source"), rows))
    return "".join(parts)


# --- the lints of training configs ------------------------------------------------------------------------------


def train_lints() -> str:
    """Return docs/reference/train-lints.md."""
    parts = [
        MADE,
        "# Lints of training settings\n\nWhat `tuneworthy plan` finds in its own settings, and `tuneworthy plan --lint "
        "FILE` in a TOML or JSON file with one setting per key.\n",
    ]
    for severity in SEVERITIES:
        parts.append(f"\n## {severity.capitalize()}s\n")
        for rule in TRAIN_LINTS.all().values():
            if rule.severity == severity:
                parts.append(f"\n### {rule.name}\n\n{rule.page}\n\nSource: {rule.source}\n")
                for word, settings in (("Bad", rule.bad), ("Good", rule.good)):
                    parts.append(f"\n{word}:\n\n```json\n{json.dumps(settings)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
