"""Every sentence of this folder that a person reads at run time.

A `Fault` completes "expected ..., got ..."; a `DropReason` completes "dropped: ...".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "name_tests": "Name the file of the tests itself.",
        "damaged_from_start": "a gzip file that is damaged from its start ({error})",
        # What came instead
        "nothing_there": "nothing there",
        "a_folder": "a folder",
        "no_name": "a name that no file can have",
        "empty_file": "an empty file",
        "none_usable": "none that can be used",
        "none": "none",
        "another": "another",
        "only_faults": "{n} faulty rows first ({got})",
        "ends_early": "one that ends too early",
        "damaged": "a damaged one ({error})",
        "too_large": "one of {size:.0f} MiB",
        "bad_json_at": "{error} at column {column}: {text}",
        "bad_byte": "the byte 0x{byte:02x} at column {column}",
        "bad_yaml_value": "a value that cannot be read: {error}",
        "csv_span": "{error} (lines {first} to {last})",
        "twice": "{name} twice",
        "keys": "the keys {names}",
        "empty_object": "an empty object",
        "an_empty_one": "an empty one",
        "both": "both",
        "no_such_key": "no such key",
        "columns": "the columns {names}",
        "no_role": "none in {message}",
        "ends_with": "one that ends with {role!r}",
        "the_role": "the role {role!r}",
        "link": "a link to {value}",
        "same_id": "{id}, as on line {line}",
        "two_labels": "{here} here and {there} on line {line}",
        "more": "more",
        "dropped": "dropped: {reason} ({rows})",
        "changed": "{note} ({rows})",
        # Notes of the readers
        "unread_keys": "keys not read: {names}",
        "unread_columns": "columns not read: {names}",
        "took_columns": "took column {input!r} as input, {expected}",
        "as_expected": "column {name!r} as expected",
        "none_as_expected": "no column as expected",
        "empty_cell": "an empty expected cell: not labelled (write null where declining is right)",
        "no_json_cell": "an expected cell begins like JSON and is not JSON: kept as text",
        "no_answer": "the expected answer is {what}: not labelled",
        "null": "null",
        "empty": "empty",
        "listed_choices": "the choices were written below the question, with letters",
        "system_turn": "the chat ended with a system message: taken as the user's turn",
        "promptfoo_key": "promptfoo's `{key}` is not read",
        "assert_expected": "assert `{kind}` became the expected answer{grader}",
        "assert_unread": "assert `{kind}` is not read{grader}",
        "assert_grader": '; grader {{ type = "{grader}" }} does the same',
        "further_notes": "further notes",
        "one_question_a_line": "read as one question a line",
        "one_row": "1 row",
        "rows": "{n} rows",
        # Kinds of task
        "no_known_answer": "no answer is known yet",
        "json_answers": "{n} of {total} answers are JSON objects",
        "short_answers": "{n} of {total} answers have at most {most} words",
        "long_answers": "{n} of {total} answers have more than {most} words",
        "labels": "{n} answers are {distinct} short texts, and {repeated} of them occur more than once",
        # The split
        "split_gone": "{name} of the stored split is gone.",
        "restore_split": "Put it back, or draw a new split, which makes the earlier test comparisons void.",
        "no_labels": "None of the {n} cases has a label.",
        "label_them": "Label them with `tuneworthy cases label`.",
        "no_dev_examples": "No dev cases could be drawn from {n} examples (at most {take} are taken).",
        "more_dev": "Raise [split] dev, or give fewer rows the same group.",
        "too_few": (
            "{n_cases} labelled cases and {n_scorable} examples that can be scored are too few: dev and test need more than "
            "{least} labelled cases, or {least_examples} such examples."
        ),
        "label_more": "Label more cases: `tuneworthy cases sample`, then `tuneworthy cases label`.",
        "one_group": "The {n_cases} cases cannot be split: they form {n_units} groups, and one of them fills test.",
        "split_groups": "Split the largest group, or add cases of other groups.",
        "dev_from_examples": (
            "{n_scorable} of {n} examples can be scored (at least {least}): {n_dev} of them are dev, all "
            "{n_cases} cases are test"
        ),
        "dev_size": "dev is at most {dev_size} and at most {share:.0%} of the examples",
        "set_aside": "{n} examples share a question or group with dev and are in neither dev nor shots",
        "dev_from_cases": (
            "{n_scorable} examples can be scored (fewer than {least}): the {n_cases} cases are split, {n_test} test and "
            "{n_dev} dev"
        ),
        "no_exploring": "{n} dev cases are fewer than {least}: one candidate a rung, nothing is explored",
        "balanced": "balanced by {what}: {reason}",
        "by_label": "label",
        "by_declining": "whether declining is right",
        "unlabelled": "{n} cases without a label are left out",
        "overlapping": "{n} examples overlap {where} and were dropped",
        "the_cases": "the cases",
        "dev": "dev",
        # Contamination
        "index_settings": "n must be at least 1 and the threshold in [0, 1), not {n} and {threshold}.",
        # Sampling
        "nothing_to_draw": "At least 1 case must be drawn, not {n}.",
        "fewer_questions": "the file has only {n_found} different questions, fewer than {n}",
        # Labelling
        "greeting": (
            "Type the right answer. {decline}: declining is right. {skip}: later. {quit}: stop, and keep all labels."
        ),
        "no_labeller": "The name of the labeller is empty.",
        "name_labeller": "Use --labeller NAME.",
        "not_assigned": "The case {case} does not wait for a label of {labeller}.",
        "no_agreement": "No case has labels of two labellers, so the ceiling of any score is not known.",
        "agreement": (
            "The labellers agree on {n_agree} of {n} cases: {share:.1%} [{low:.1%}, {high:.1%}], kappa {kappa}. "
            "No score can be trusted above that."
        ),
        "not_defined": "not defined",
        "not_native": "{path} must hold cases as JSONL in the tool's own format, not as {format}.",
        "position": "\n[{number} of {total}]\n{text}",
        "done": "{n} of {total} labelled.",
    }
).say


class Fault(NamedTuple):
    """What is wrong with a row.

    Attributes:
        expected: What a right row holds.
        hint: What to do, as a sentence.
        code: Name of the fault for machines.
    """

    expected: str
    hint: str = ""
    code: str = "bad_value"

    def at(self, **places: object) -> Fault:
        """Return the fault with its places filled in."""
        return self._replace(expected=self.expected.format(**places), hint=self.hint.format(**places))


class DropReason(NamedTuple):
    """Why a row is rightly left out, for people and for machines."""

    text: str
    code: str = "left_out"


# Files
NO_FILE: Final = Fault("a file", "Fix the path, or write the file.")
FOLDER: Final = Fault("a file", "Name a file in the folder.")
UNREADABLE: Final = Fault("a file that can be read")
FILE_NAME: Final = Fault("the name of a file")
UTF8: Final = Fault("UTF-8", "Save the file as UTF-8 (for example: iconv -f WINDOWS-1252 -t UTF-8).", "not_utf8")
NO_ROW: Final = Fault("at least one row", "Write one JSON object a line.")
NO_TEXT_LINE: Final = Fault("at least one line of text")
NO_CASE: Final = Fault("at least one case")
NO_EXAMPLE: Final = Fault("at least one example")
LABEL_FILE: Final = Fault("a label file")
LABEL_LINE: Final = Fault('a label {"case", "labeller", "label", "time"}')
WHOLE_GZIP: Final = Fault("a whole gzip file", "Fetch or write the file again.", "cut_off")
PARQUET: Final = Fault("a Parquet file", "Write the file again.")
WHOLE_PARQUET: Final = Fault("a whole Parquet file", "Write the file again.", "cut_off")
YAML: Final = Fault("YAML")
YAML_SIZE: Final = Fault("a YAML file of at most {size} MiB, undamaged")
PROMPTFOO: Final = Fault("a promptfoo configuration with a list `tests`")


# Rows
TOO_LONG: Final = Fault("a line of at most {size} MiB", code="too_long")
JSON_LINE: Final = Fault("a JSON object on one line", "Fix the line, or remove it.", "not_json")
JSON_ELEMENT: Final = Fault("a JSON object as element of the list", "Fix the element, or remove it.", "not_json")
NOT_OBJECT: Final = Fault(
    "a JSON object", 'Write {"input": ..., "expected": ...} or {"messages": ...}.', "not_an_object"
)
TOO_DEEP: Final = Fault("at most {depth} levels of nesting", code="too_deep")
PLAIN_VALUES: Final = Fault("values that JSON can hold", "Convert the column to text.", "not_json")
CSV_HEADER: Final = Fault("a header whose names differ", "Rename one of the columns.", "bad_header")
CSV_ROW: Final = Fault("a row of CSV", "Put the cell in double quotes, and double those inside.", "bad_csv")
CSV_CELLS: Final = Fault("{n} cells, as in the header", "Put cells in double quotes.", "wrong_cells")
ONE_ID: Final = Fault("an id that no other row has", "Give each case an id of its own, or remove one of the rows.")
ONE_ANSWER: Final = Fault("one right answer to the same question", "Decide which is right, and remove the other row.")
KNOWN_FORMAT: Final = Fault(
    "a known format of {noun} ({names})", "Name the columns with --input COLUMN --expected COLUMN."
)
COLUMN: Final = Fault("a column {name!r}", "Fix --input or --expected.")
INPUT_COLUMN: Final = Fault("a column `input`", "Name it: --input COLUMN --expected COLUMN.")

# Cases
INPUT_TEXT: Final = Fault("a text as `input`", "Write the question, or remove the row.")
INPUT_OR_MESSAGES: Final = Fault("`input` or `messages`", "A row is {shape}.")
NOT_BOTH: Final = Fault("`input` or `messages`", "Remove one of them.")
INPUT_VALUE: Final = Fault("a text or an object of variables as `input`")
MOVE_ANSWER: Final = Fault("a conversation that ends with the user's turn", "Move the answer to `expected`.")
ADD_TURN: Final = Fault("a conversation that ends with the user's turn", "Add the user's turn.")
TOOLS: Final = Fault("objects in `tools`", "A tool is a JSON schema in the OpenAI shape.", "bad_tools")
TOOLS_JSON: Final = Fault("JSON as `tools`", code="bad_tools")
KNOWN_KEY: Final = Fault("a key that is known", "Did you mean `{near}`?")
A_LIST: Final = Fault("a list as `{name}`")
A_NAME: Final = Fault("a text as {what}")
CHOICES: Final = Fault("a list of texts as `choices`")
TARGET: Final = Fault("a text or a list of texts as `target`")
CHOICES_INPUT: Final = Fault("a text or a chat as `input` where there are `choices`")
VARIABLES: Final = Fault("`vars` as an object of variables")
VARIABLE: Final = Fault("the value of the variable `{name}`", "Write the value itself.")
ASSERTIONS: Final = Fault("a list of assertions as `assert`")

# Chats
MESSAGES: Final = Fault("{name} as a list of messages", code="no_messages")
MESSAGE: Final = Fault('a message {{"role": ..., "content": ...}} at {where}', code="bad_message")
A_ROLE: Final = Fault("a role at {where}", "Roles are {roles}.", "unknown_role")
KNOWN_ROLE: Final = Fault("a known role at {where}", "Roles are {roles}.", "unknown_role")
CONTENT: Final = Fault("text as content at {where}", "Only an assistant that calls tools has no content.", "no_content")
NOT_TEXT: Final = Fault("text as content at {where}", code="not_text")
TEXT_PART: Final = Fault("text as content at {where}", "Images and sound are not supported.", "not_text")
LAST_ANSWER: Final = Fault("the assistant's answer as last message", "Remove what follows it.", "no_answer")
EMPTY_ANSWER: Final = Fault("an answer of the assistant", "Write the answer, or remove the row.", "empty_answer")
USER_TURN: Final = Fault("at least one user's turn", code="no_question")

# Examples and logs
TAGS: Final = Fault("a list of texts as `tags`")
A_TEXT: Final = Fault("a text as `{key}`")
A_QUESTION: Final = Fault("a question", "Write it, or remove the row.", "no_question")
NO_MESSAGES: Final = Fault("`messages`", 'A row is {"messages": [...]}.', "missing_key")
TURNS: Final = Fault("a list of turns as `conversations`", code="no_messages")
TURN: Final = Fault('a turn {{"from": ..., "value": ...}} at {where}', code="bad_message")
CALL_JSON: Final = Fault("JSON as value at {where}", code="bad_tool_call")
CALL_LIST: Final = Fault("a list as {where}", code="bad_tool_call")
CALL: Final = Fault('a call {{"name": ..., "arguments": ...}} at {where}', code="bad_tool_call")
ARGUMENTS: Final = Fault("a JSON object as arguments at {where}", code="bad_tool_call")
HISTORY: Final = Fault("pairs of question and answer as `history`", code="bad_history")
LOG_OBJECT: Final = Fault("an object as `{name}`")
REQUEST_INPUT: Final = Fault("a text or a list as `request.input`", code="no_messages")
MESSAGE_OR_CALL: Final = Fault("a message or a call at {where}", code="bad_message")
ONE_MESSAGE: Final = Fault("one message in `response.output`", code="bad_message")

# Why rows are dropped
SAME_QUESTION: Final = DropReason("the same question as an earlier row")
GAVE_LABEL: Final = DropReason("the same question as an earlier row, which got its label")
SAME_MESSAGES: Final = DropReason("the same messages as an earlier row")
ARCHIVED: Final = DropReason("the Langfuse item is archived")
NOT_LABELLED: Final = DropReason("no answer to learn from (not labelled, or declining is right)", "not_labelled")
NO_RESPONSE: Final = DropReason("the log has no response", "no_response")
FAILED_REQUEST: Final = DropReason("the response has no choice (a failed request)", "failed_request")
REFUSED: Final = DropReason("the model refused", "refused")
EMPTY_RESPONSE: Final = DropReason("the response is empty", "empty_answer")
