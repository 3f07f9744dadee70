"""YAML of strangers: its size is known before it is built."""

from typing import Any

from tuneworthy.errors import UserError

# Values of a document, those that an alias repeats counted again.
MAX_NODES = 10**6
MAX_DEPTH = 200


def check_size(text: str, loader: Any, most: int = MAX_NODES) -> None:
    """Read YAML as events, with the parser of `loader`, and count its values.

    Raises:
        UserError: There are more than `most` nodes, or they nest deeper than `MAX_DEPTH`.
        yaml.YAMLError: It is no YAML.

    >>> import yaml
    >>> check_size("a: &x [1, 2]\\nb: [*x, *x]", yaml.SafeLoader)
    """
    import yaml

    sizes: dict[str, int] = {}
    starts: list[tuple[str | None, int]] = []
    n = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            n += sizes.get(event.anchor, most)  # an open anchor contains itself
        elif isinstance(event, yaml.NodeEvent):
            n += 1
            if isinstance(event, yaml.CollectionStartEvent):
                starts.append((event.anchor, n))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = starts.pop()
            if anchor:
                sizes[anchor] = n - before + 1
        if n > most:
            raise UserError(
                f"The YAML has more than {most:,} values. An alias counts as all the values that it repeats."
            )
        if len(starts) > MAX_DEPTH:
            raise UserError(f"The YAML has more than {MAX_DEPTH} levels of nesting.")
