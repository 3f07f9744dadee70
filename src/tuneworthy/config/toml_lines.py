"""Line numbers of the keys of a valid TOML text, for faults."""

import re
from collections.abc import Sequence

Path = tuple[str | int, ...]
_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")
_MULTILINE = re.compile(r"\"\"\"|'''")


def _parts(dotted: str) -> list[str]:
    return ["".join(match) for match in _PART.findall(dotted)]


def key_lines(text: str) -> dict[Path, int]:
    """Map each key path of `text` (valid TOML) to its 1-based line.

    Elements of arrays of tables are counted: the second ``[[graders]]`` is ``("graders", 1)``.
    Keys inside inline tables map to the line of the outermost key.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    in_string, depth = False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if not in_string and depth == 0:
            if header := _HEADER.match(line):
                name: Path = tuple(_parts(header[2]))
                if header[1] == "[[":
                    counts[name] = counts.get(name, -1) + 1
                    lines.setdefault(name, number)
                    name = (*name, counts[name])
                elif name[:1] in counts:
                    name = (name[0], counts[name[:1]], *name[1:])
                table = name
                lines[table] = number
                continue
            if key := _KEY.match(line):
                lines[(*table, *_parts(key[1]))] = number
        if len(_MULTILINE.findall(line)) % 2:
            in_string = not in_string
        if not in_string:
            bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'[^']*'|#.*", "", line)
            depth = max(0, depth + bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}"))
    return lines


def line_of(lines: dict[Path, int], location: Sequence[str | int]) -> int | None:
    """Return the line of the longest part of `location` that appears in the text.

    Steps that the text does not have (such as the tag of a union) are passed over.
    """
    path: Path = ()
    found: int | None = None
    for step in location:
        longer = (*path, step)
        if any(known[: len(longer)] == longer for known in lines):
            path, found = longer, lines.get(longer, found)
    return found
