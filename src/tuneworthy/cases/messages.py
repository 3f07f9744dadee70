"""Every sentence of this folder that a person reads at run time.

A `Fault` completes "expected ..., got ..."; a `DropReason` completes "dropped: ...".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        # What came instead
        "empty_file": "an empty file",
        "none": "none",
        "more_of_them": "too many combinations",
        "more_of_it": "more",
        "too_large": "a line of {size:.1f} MiB",
        "twice": "{name} twice",
        "keys": "the keys {names}",
        "empty_object": "an empty object",
        "an_empty_one": "an empty string",
        # Notes of the readers
        "unread_keys": "ignored keys: {names}",
        "as_expected": "column {name!r} as the expected answer",
        # Kinds of task
        # The split
        # Contamination
        # Sampling
        # Labelling
    },
).say


class Fault(NamedTuple):
    """What is wrong with a row.

    Attributes:
        expected: What a correct row has.
        hint: What to do, as a sentence.
        code: Name of the fault for machines.
    """

    expected: str
    hint: str = ""
    code: str = "bad_value"

    def at(self, **places: object) -> Fault:
        """Return the fault with its places filled in."""
        return self._replace(expected=self.expected.format(**places), hint=self.hint.format(**places).strip())


class DropReason(NamedTuple):
    """Why a row is left out although it is not faulty, for people and for machines."""

    text: str
    code: str = "left_out"


# Files
NO_FILE: Final = Fault("a file", "Fix the path, or create the file.")
FOLDER: Final = Fault("a file", "Specify a file inside the folder.")
UNREADABLE: Final = Fault("a readable file", "Check the file and its permissions.")
FILE_NAME: Final = Fault("a file name")
UTF8: Final = Fault(
    "UTF-8 text", "Save the file as UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8.", "not_utf8"
)
NO_ROW: Final = Fault("at least one row", "Add rows, or choose another file.")
NO_TEXT_LINE: Final = Fault("at least one line of text")
NO_CASE: Final = Fault("at least one case")
NO_EXAMPLE: Final = Fault("at least one example")
LABEL_FILE: Final = Fault("a label file")
LABEL_LINE: Final = Fault('a label with the keys "case", "labeller", "label" and "time"')
WHOLE_GZIP: Final = Fault("a complete gzip file", "Download or create the file again.", "cut_off")
UNPACKED: Final = Fault("at most {size} MiB of unpacked rows", "Split the file, or import it as data.", "too_large")
MANY_ROWS: Final = Fault("at most {most} rows", "Split the file, or import it as data.", "too_many")
PARQUET: Final = Fault("a Parquet file", "Create the file again.")
EXCEL: Final = Fault("an Excel file that can be read", "Remove its password, or save the sheet as CSV.")
WHOLE_PARQUET: Final = Fault("a complete Parquet file", "Create the file again.", "cut_off")
YAML: Final = Fault("valid YAML")
YAML_SIZE: Final = Fault("an undamaged YAML file of at most {size} MiB", "Split the file, or create it again.")
PROMPTFOO: Final = Fault("a promptfoo configuration whose `tests` is a list")


# Rows
TOO_LONG: Final = Fault("a line of at most {size} MiB", code="too_long")
JSON_LINE: Final = Fault("a JSON object on one line", "Fix the line, or remove it.", "not_json")
JSON_ELEMENT: Final = Fault("a JSON object as each list element", "Fix the element, or remove it.", "not_json")
NOT_OBJECT: Final = Fault(
    "a JSON object", 'Write {"input": ..., "expected": ...} or {"messages": ...}.', "not_an_object"
)
TOO_DEEP: Final = Fault("at most {depth} levels of nesting", code="too_deep")
PLAIN_VALUES: Final = Fault("values that JSON can represent", "Convert the column to text.", "not_json")
CSV_WIDTH: Final = Fault("at most {most} columns", "Keep only the columns for the question and its answer.", "too_wide")
CSV_HEADER: Final = Fault("unique column names", "Rename one of the columns.", "bad_header")
CSV_ROW: Final = Fault("a CSV row", "Put the cell in double quotes, and double each quote inside.", "bad_csv")
CSV_CELLS: Final = Fault(
    "{n} cells, as in the header", "Put cells that contain a separator in double quotes.", "wrong_cells"
)
ONE_ID: Final = Fault("a unique `id`", "Give each case a unique `id`, or remove one of the rows.")
ONE_ANSWER: Final = Fault(
    "one expected answer per question", "Decide which answer is correct, and remove the other row."
)
KNOWN_FORMAT: Final = Fault(
    "a known format for {noun} ({names})",
    "Rename the keys to `input` and `expected`, or pass --input COLUMN --expected COLUMN (only `init`, `cases add`, "
    "`data import` and `data distill` have these options).",
)
UNREAD: Final = Fault(
    "a format that is read",
    'Export the calls as OpenTelemetry (OTLP JSON), or convert each row to {{"messages": [...]}}.',
)
ALONE: Final = Fault("rows with an answer", "{companion}")
COLUMN: Final = Fault("a column {name!r}", "{near} Fix --input or --expected.")
ANSWER_APART: Final = Fault(
    "another column for the answer than for the question", "Leave the column of the answer out of --input."
)
INPUT_COLUMN: Final = Fault(
    "a column `input`",
    "Rename the columns to `input` and `expected`, or pass --input COLUMN --expected COLUMN (only `init`, `cases add`, "
    "`data import` and `data distill` have these options).",
)

# Cases
INPUT_TEXT: Final = Fault("a non-empty string for `input`", "Add the question, or remove the row.")
INPUT_OR_MESSAGES: Final = Fault("`input` or `messages`", "Write each row as {shape}.")
NOT_BOTH: Final = Fault("either `input` or `messages`", "Remove one of them.")
INPUT_VALUE: Final = Fault("a string or an object of variables for `input`")
MOVE_ANSWER: Final = Fault("a conversation that ends with a user turn", "Move the answer to `expected`.")
ADD_TURN: Final = Fault("a conversation that ends with a user turn", "Add a user turn at the end.")
TOOLS: Final = Fault("objects in `tools`", "Write each tool as a JSON schema in OpenAI's format.", "bad_tools")
TOOLS_JSON: Final = Fault("JSON for `tools`", code="bad_tools")
KNOWN_KEY: Final = Fault("a known key", "Did you mean `{near}`?")
A_LIST: Final = Fault("a list for `{name}`")
A_NAME: Final = Fault("a string for {what}")
CHOICES: Final = Fault("a list of strings for `choices`")
TARGET: Final = Fault("a string or a list of strings for `target`")
CHOICES_INPUT: Final = Fault("a string or a chat for `input`, because the row has `choices`")
VARIABLES: Final = Fault("an object of variables for `vars`")
VARIABLE: Final = Fault("a literal value for the variable `{name}`", "Write the value into the file.")
COMBINATIONS: Final = Fault(
    "1 to {most} combinations of the values of list variables", "Split the test, or shorten its lists."
)
ASSERTIONS: Final = Fault("a list of assertions for `assert`")

# Chats
MESSAGES: Final = Fault("a list of messages for {name}", code="no_messages")
MESSAGE: Final = Fault('a message {{"role": ..., "content": ...}} at {where}', code="bad_message")
A_ROLE: Final = Fault("a role at {where}", "Use one of the roles {roles}.", "unknown_role")
KNOWN_ROLE: Final = Fault("a known role at {where}", "Use one of the roles {roles}.", "unknown_role")
CONTENT: Final = Fault(
    "text content at {where}", "Only an assistant turn with tool calls may omit content.", "no_content"
)
NOT_TEXT: Final = Fault("text content at {where}", code="not_text")
TEXT_PART: Final = Fault("text content at {where}", "Images and audio are not supported.", "not_text")
LAST_ANSWER: Final = Fault(
    "an assistant answer as the last message", "Remove the messages after the last answer.", "no_answer"
)
EMPTY_ANSWER: Final = Fault("a non-empty assistant answer", "Add the answer, or remove the row.", "empty_answer")
USER_TURN: Final = Fault("at least one user turn", code="no_question")

# Examples and logs
TAGS: Final = Fault("a list of strings for `tags`")
A_TEXT: Final = Fault("a string for `{key}`")
A_QUESTION: Final = Fault("a non-empty question", "Add the question, or remove the row.", "no_question")
NO_MESSAGES: Final = Fault("`messages`", 'Write each row as {"messages": [...]}.', "missing_key")
TURNS: Final = Fault("a list of turns for `conversations`", code="no_messages")
TURN: Final = Fault('a turn {{"from": ..., "value": ...}} at {where}', code="bad_message")
CALL_JSON: Final = Fault("a JSON value at {where}", code="bad_tool_call")
CALL_LIST: Final = Fault("a list at {where}", code="bad_tool_call")
CALL: Final = Fault('a call {{"name": ..., "arguments": ...}} at {where}', code="bad_tool_call")
ARGUMENTS: Final = Fault("a JSON object for the arguments at {where}", code="bad_tool_call")
HISTORY: Final = Fault("question-answer pairs for `history`", code="bad_history")
LOG_OBJECT: Final = Fault("an object for `{name}`")
REQUEST_INPUT: Final = Fault("a string or a list for `request.input`", code="no_messages")
MESSAGE_OR_CALL: Final = Fault("a message or a call at {where}", code="bad_message")
WRITTEN_DOWN: Final = Fault(
    "an answer in words or data",
    'Export the messages themselves, or convert each row to {{"messages": [...]}}.',
    "answer_is_messages",
)
ONE_MESSAGE: Final = Fault("one message in `response.output`", code="bad_message")

# Why rows are dropped
_WITHOUT_QUESTION: Final = DropReason("the row has no question")
BLANK: Final = {
    INPUT_TEXT: _WITHOUT_QUESTION,
    A_QUESTION: _WITHOUT_QUESTION,
    EMPTY_ANSWER: DropReason("the row has no answer"),
}
SAME_QUESTION: Final = DropReason("the same question as an earlier row")
TWO_ANSWERS: Final = DropReason("rows that ask the same question do not expect the same answer")
GAVE_LABEL: Final = DropReason("the same question as an earlier unlabelled row, which now has the label of this row")
SAME_MESSAGES: Final = DropReason("the same messages as an earlier row")
ARCHIVED: Final = DropReason("the Langfuse item is archived")
NOT_LABELLED: Final = DropReason(
    "no answer to learn from, because the row is unlabelled or the model should decline", "not_labelled"
)
NO_RESPONSE: Final = DropReason("the log has no response", "no_response")
FAILED_REQUEST: Final = DropReason("the request failed, so the response has no choices", "failed_request")
REFUSED: Final = DropReason("the model refused", "refused")
EMPTY_RESPONSE: Final = DropReason("the response is empty", "empty_answer")
NO_GENERATION: Final = DropReason("the observation is not a generation", "no_model_call")
MIRRORED: Final = DropReason("the answer is that of a mirrored model, which no user saw", "mirrored")
NO_MODEL_RUN: Final = DropReason("the run is not a call of a model", "no_model_call")
NO_CONTENT: Final = DropReason("the call was recorded without its messages", "no_messages")
NO_STORED_MESSAGES: Final = DropReason(
    "the stored completion has no messages; add those of /chat/completions/ID/messages as `messages`", "no_messages"
)
NO_BATCH_REQUEST: Final = DropReason(
    "the request of this result is in another file; import both together", "no_request"
)
NO_PREFERENCE: Final = DropReason("both answers of the pair are the same", "no_preference")
