"""Text of others made safe to show: names, labels and reasons may contain anything.

Invariant: the result of `clean` has no control, escape, bidirectional or invisible character. It is not yet escaped:
HTML is escaped by the template, Markdown by `markdown_text` and `markdown_code`.
"""

import re

from tuneworthy.text import is_hidden, visible

# Characters of a cell, at most.
MOST = 300

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]"  # the same, one byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS, SOS, PM, APC: titles, links
    r"|\x1b[ -/]*[0-~]?",  # all other escapes
    re.DOTALL,
)
# Commands to the runner in the log of a CI job: GitHub's at the start of a line, its older form, Azure's, TeamCity's.
_CI_COMMAND = re.compile(r"^([^\S\n]*)(?=::)|(?<=#)(?=#\w*\[)", re.MULTILINE)
_SPACES = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~$]"  # escapes, code, emphasis, links, cells, strike-through, mathematics
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore that is not inside a word
    r"|:(?=//)"  # an address that would become a link by itself
    r"|^[#=+\-]|(?<=^\d)[.)]"  # headings, quotes and lists at the beginning
)


def clean(value: object, most: int = MOST) -> str:
    r"""Return `value` as one line without escape sequences, control, bidirectional and invisible characters.

    Args:
        most: Longest result, characters; longer text ends with an ellipsis. 0 is without limit.

    >>> clean("a\x1b[31mred\x1b[0m\n\u202eb")
    'ared b'
    """
    text = _SPACES.sub(" ", _TERMINAL.sub("", str(value))).strip()
    if not text.isascii():
        text = "".join(character for character in text if not is_hidden(character))
    else:
        text = "".join(character for character in text if character.isprintable())
    return text[: most - 1].rstrip() + "…" if most and len(text) > most else text


def plain(text: str) -> str:
    """Return a sentence cleaned, without backticks."""
    return clean(text, 0).replace("`", "")


def inert(value: str) -> str:
    r"""Return `visible` text with a backslash in whatever a CI job would take for a command to its runner.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands.

    >>> inert("::error::no ##[group]a::b")
    '\\::error::no #\\#[group]a::b'
    """
    return _CI_COMMAND.sub(r"\1\\", visible(value)) if "::" in value or "##" in value else visible(value)


def escaped(json: str) -> str:
    r"""Return JSON text with every character that cannot be seen as the escape that JSON has for it.

    >>> escaped('["\u202e"]')
    '["\\u202e"]'
    """
    json = re.sub(r"##(?=\w*\[)", r"#\\u0023", json)  # as in `inert`
    if json.isascii() and "\x7f" not in json:
        return json
    escapes = {
        ord(character): re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())
        for character in set(json)
        if is_hidden(character)
    }
    return json.translate(escapes)


def markdown_text(value: object) -> str:
    """Return `value` cleaned and escaped, to appear in a line or a cell of Markdown as it is.

    >>> markdown_text("a|b <i> [x](http://y)")
    'a\\\\|b &lt;i&gt; \\\\[x\\\\](http\\\\://y)'
    """
    escaped = _MARKDOWN.sub(r"\\\g<0>", clean(value, 0).replace("&", "&amp;"))
    escaped = re.sub(r"www\.", "www&#46;", escaped, flags=re.IGNORECASE)
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def markdown_code(value: object) -> str:
    """Return `value` cleaned as a code span that is safe in a cell; "" if it is empty.

    >>> markdown_code("a`|b")
    "`a'\\\\|b`"
    """
    text = clean(value).replace("`", "'").replace("|", "\\|").replace("<", "‹").replace(">", "›")
    return f"`{text}`" if text else ""
