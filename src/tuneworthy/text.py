"""English number agreement for messages."""


def plural(n: float, singular: str, plural_form: str) -> str:
    """Return the word that agrees with `n`.

    >>> plural(1, "is", "are"), plural(3, "is", "are")
    ('is', 'are')
    """
    return singular if n == 1 else plural_form


def count(n: int, noun: str, plural_form: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "case"), count(3, "case"), count(2, "copy", "copies")
    ('1 case', '3 cases', '2 copies')
    """
    return f"{n} {noun if n == 1 else plural_form or noun + 's'}"
