"""Faults of rows and reasons to drop rows that several readers or formats report.

A `Fault` completes "expected ..., got ..."; a `DropReason` completes "dropped: ...".
"""

from collections.abc import Collection
from typing import NamedTuple


class Fault(NamedTuple):
    """An error in a row or a file: the correct content, the next step as a sentence, and a code for machines."""

    expected: str
    hint: str = ""
    code: str = "bad_value"


class DropReason(NamedTuple):
    """Why a row is left out although it is not faulty, for people and for machines."""

    text: str
    code: str = "left_out"


UTF8 = Fault("UTF-8 text", "Save the file as UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8.", "not_utf8")
NO_ROW = Fault("at least one row", "Add rows, or choose another file.")
YAML = Fault("valid YAML")
PLAIN_VALUES = Fault("values that JSON can represent", "Convert the column to text.", "not_json")
ONE_ID = Fault("a unique `id`", "Give each case a unique `id`, or remove one of the rows.")
NAME_COLUMNS = (
    "or pass --input COLUMN --expected COLUMN (only `init`, `cases add`, `data build` and `data distill` have these "
    "options)."
)
INPUT_TEXT = Fault("a non-empty string for `input`", "Add the question, or remove the row.")
TOOLS = Fault("objects in `tools`", "Write each tool as a JSON schema in OpenAI's format.", "bad_tools")
GRADED = Fault(
    "`graded` as a list of places in `messages`, from 0, of assistant turns after a user or tool turn",
    "Correct the places, or remove `graded` to grade every such turn of a conversation that ends with an answer.",
)
EMPTY_ANSWER = Fault("a non-empty assistant answer", "Add the answer, or remove the row.", "empty_answer")
A_QUESTION = Fault("a non-empty question", "Add the question, or remove the row.", "no_question")
REQUEST_INPUT = Fault("a string or a list for `request.input`", code="no_messages")
WRITTEN_DOWN = Fault(
    "an answer in words or data",
    'Export the messages themselves, or convert each row to {"messages": [...]}.',
    "answer_is_messages",
)
# Faults that a lenient reader turns into dropped rows.
BLANK = {
    INPUT_TEXT: DropReason("the row has no question"),
    A_QUESTION: DropReason("the row has no question"),
    EMPTY_ANSWER: DropReason("the row has no answer"),
}
NO_RESPONSE = DropReason("the log has no response", "no_response")
FAILED_REQUEST = DropReason("the request failed, so the response has no choices", "failed_request")
REFUSED = DropReason("the model refused", "refused")
EMPTY_RESPONSE = DropReason("the response is empty", "empty_answer")
NO_CONTENT = DropReason("the call was recorded without its messages", "no_messages")


def text_part(where: str) -> Fault:
    return Fault(f"text content at {where}", "Only text, tool calls and their results are supported.", "not_text")


def known_role(where: str, roles: str) -> Fault:
    return Fault(f"a known role at {where}", f"Use one of the roles {roles}.", "unknown_role")


def keys(names: Collection[str]) -> str:
    return f"the keys {', '.join(names)}" if names else "an empty object"
