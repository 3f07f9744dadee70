"""Text that was decoded with the wrong encoding, or escaped for HTML or an address: it is restored."""

import html
import re
from urllib.parse import unquote

from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check, with_turns
from tuneworthy.types import Examples, Message

_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,10}|#\d{2,6}|#x[0-9a-fA-F]{2,6});")
_PERCENT = re.compile(r"[^\s:]*%(?:20|[C-F][0-9A-F]%[89AB][0-9A-F])[^\s:]*")


def restored(text: str) -> str:
    """Return `text` as it was before it was decoded with the wrong encoding, or escaped; no markup and no address.

    >>> restored("Where is M\u00c3\u00bcller&#39;s card?"), restored("where%20is%20it"), restored("<b>A &amp; B</b>")
    ("Where is M\u00fcller's card?", 'where is it', '<b>A &amp; B</b>')
    """
    if _PERCENT.fullmatch(text):
        text = unquote(text)
    if "<" not in text and _ENTITY.search(text):
        text = html.unescape(text)
    if not text.isascii():
        from ftfy import fix_encoding

        text = fix_encoding(text)
    return text


@data_check("encoding")
def encoding(rows: Examples, context: CheckContext) -> RowFindings:
    """Text decoded with the wrong encoding (Latin-1 instead of UTF-8), HTML entities, or percent encoding.

    Real questions contain none of this, so a model should not learn it, but the row is right: its text is restored.
    Entities stay in text with markup, and percent encoding in addresses. If the cases contain such text, it is
    the task, and is only reported. `findings.jsonl` lists the restored rows; `policy = { encoding = "report" }` leaves
    them as they are.

    Bad: "Where is MÃ¼ller&#39;s card?"
    """
    is_task = any(restored(case.text) != case.text for case in context.cases)
    for number, row in enumerate(rows):
        turns = tuple(map(_restored, row.messages))
        if turns != tuple(row.messages):
            yield RowFinding(
                row=number,
                code="escaped_text",
                action="report" if is_task else "mask",
                changed=with_turns(row, turns),
            )


def _restored(message: Message) -> Message:
    content = message.get("content")
    return (
        message
        if not isinstance(content, str) or (fixed := restored(content)) == content
        else {**message, "content": fixed}
    )
