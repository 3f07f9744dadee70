"""Every sentence of this folder that a person reads at run time.

A `Fault` completes "expected ..., got ..."; a `DropReason` completes "dropped: ...".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tuneworthy.catalogue import Catalogue, Sentence

say = Catalogue(
    __name__,
    {
        "name_tests": "Pass the tests file itself instead of the configuration.",
        "damaged_from_start": "a corrupt gzip file ({error})",
        # What came instead
        "nothing_there": "nothing at that path",
        "a_folder": "a folder",
        "no_name": "an invalid file name",
        "deeper": "more than {depth} levels of nesting",
        "empty_file": "an empty file",
        "none_usable": "no usable rows",
        "none": "none",
        "more_of_them": "too many combinations",
        "more_of_it": "more",
        "element_too_large": "an element of more than {size} MiB",
        "another": "a larger or damaged file",
        "only_faults": "errors in each of the first {n} rows, such as {got}",
        "ends_early": "a truncated file",
        "damaged": "a corrupt file ({error})",
        "too_large": "a line of {size:.1f} MiB",
        "bad_json_at": "invalid JSON ({error} at column {column}): {text}",
        "bad_byte": "the invalid byte 0x{byte:02x} at column {column}",
        "bad_yaml_value": "a value that cannot be parsed: {error}",
        "csv_span": "{error} (lines {first} to {last})",
        "twice": "{name} twice",
        "keys": "the keys {names}",
        "empty_object": "an empty object",
        "an_empty_one": "an empty string",
        "both": "both",
        "no_such_key": "a row without this key",
        "columns": "the columns {names}",
        "no_role": "no role in {message}",
        "ends_with": "a final turn with the role {role!r}",
        "the_role": "a message with the role {role!r}",
        "link": "a reference to {value}",
        "same_id": "{id}, which is also used on line {line}",
        "two_labels": "{here} here and {there} on line {line}",
        "more": "deeper nesting",
        "dropped": "dropped: {reason} ({n} {n:row|rows})",
        "changed": "{note} ({n} {n:row|rows})",
        # Notes of the readers
        "unread_keys": "ignored keys: {names}",
        "unread_columns": "ignored columns: {names}",
        "ignored_sheets": "ignored sheets: {names}",
        "nameless_cell": "a cell in a column without a name is ignored",
        "took_columns": "using column {input!r} as the input and {expected}",
        "as_expected": "column {name!r} as the expected answer",
        "none_as_expected": "no column as the expected answer",
        "empty_cell": (
            "the cell for the expected answer is empty, so the case is unlabelled; write the word null as text if the "
            "model should decline"
        ),
        "no_json_cell": "the cell for the expected answer looks like JSON but is invalid, so it is kept as text",
        "no_answer": "the expected answer is {what}, so the case is unlabelled",
        "null": "null",
        "empty": "empty",
        "listed_choices": "the choices are appended to the question as a lettered list",
        "system_turn": "the chat ends with a system message, which is treated as a user message",
        "promptfoo_key": "the promptfoo key `{key}` is ignored",
        "assert_expected": "the assertion `{kind}` is used as the expected answer{grader}",
        "assert_unread": "the assertion `{kind}` is ignored{grader}",
        "assert_grader": '; the equivalent grader is {{ type = "{grader}" }}',
        "further_notes": "other notes",
        "other_spans": "spans and log records that are not model calls are skipped",
        "needs_traces": "Import the file with the traces or observations together with it.",
        "needs_runs": "Import the file with the runs together with it.",
        "needs_results": "Import the file with the results together with it.",
        "one_question_a_line": "read as one question per line",
        # Kinds of task
        "no_known_answer": "no case has an expected answer yet",
        "json_answers": "{n} of {total} answers are JSON objects",
        "short_answers": "{n} of {total} answers have at most {most} words",
        "long_answers": "{n} of {total} answers have more than {most} words",
        "labels": (
            "{n} short answers with {distinct} distinct {distinct:value|values}; {repeated} of them have a value that "
            "occurs more than once"
        ),
        # The split
        "split_gone": "The stored split uses the case or example {name}, which no longer exists.",
        "restore_split": (
            "Restore the missing case or example. To draw a new split, delete split.json and comparisons.json in "
            ".tuneworthy. A new split invalidates earlier test comparisons."
        ),
        "add_unlabelled": (
            "{n} {n:case|cases} to add {n:has|have} no expected answer, starting with {first}. Label {n:it|them} first."
        ),
        "add_unlabelled_hint": "If a column has the answers, rename it to `expected` or pass --expected COLUMN.",
        "add_by_hand": "Rows cannot be appended to {path}.",
        "add_by_hand_hint": "Append the rows to this file yourself, then run `tuneworthy cases add` without a file.",
        "no_labels": "No case is labelled (n = {n}).",
        "label_them": "Run `tuneworthy cases label` to label cases.",
        "no_dev_examples": "No dev cases could be drawn from {n} examples (at most {take} may be used).",
        "more_dev": "Raise dev in [split], or put fewer rows in the same group.",
        "too_few": (
            "{n_cases} labelled {n_cases:case|cases} and {n_scorable} scorable {n_scorable:example|examples} are too "
            "few. Dev and test need more than {least} labelled cases, or {least_examples} scorable examples."
        ),
        "label_more": "Run `tuneworthy cases sample --from FILE --n 100`, then `tuneworthy cases label`.",
        "one_group": (
            "The {n_cases} cases cannot be split into dev and test. Their {n_units} {n_units:group is|groups are} so "
            "large that no case remains for dev."
        ),
        "split_groups": "Split the largest group, or add cases from other groups.",
        "dev_from_examples": "dev uses {n_dev} of {n_scorable} scorable examples, and test uses all {n_cases} cases",
        "dev_size": "dev is limited to {dev_size} examples and to {share:.0%} of all examples",
        "set_aside": (
            "{n} {n:example shares|examples share} a question or group with dev and {n:is|are} used for neither dev "
            "nor few-shot prompts"
        ),
        "dev_from_cases": (
            "there are too few scorable examples for dev ({n_scorable}), so the cases are split into {n_test} test and "
            "{n_dev} dev cases"
        ),
        "no_exploring": (
            "{n} dev {n:case is|cases are} too few to compare candidates (at least {least} needed), so each rung tries "
            "only one"
        ),
        "balanced": "the split is stratified by {what} ({reason})",
        "by_label": "label",
        "by_declining": "whether the model should decline",
        "unlabelled": "{n} unlabelled {n:case is|cases are} left out",
        "dev_shots": (
            "{n} dev cases double as examples, because fewer than {least} examples can be scored; a dev case is "
            "never among its own few-shot examples"
        ),
        "overlapping": "{n} {n:example overlaps|examples overlap} with {where} and {n:is|are} dropped",
        "the_cases": "the cases",
        "dev": "dev",
        # Contamination
        "index_settings": "n is {n} and threshold is {threshold}, but n must be at least 1 and threshold in [0, 1).",
        # Sampling
        "nothing_to_draw": "The number of cases to draw must be at least 1, not {n}.",
        "fewer_questions": (
            "only {n_found} distinct {n_found:question|questions} could be drawn, but {n} were requested"
        ),
        "all_are_cases": "Each of the {n} {n:question|questions} in {path} is a case already.",
        "other_questions": "Draw from a file with other questions.",
        "rows_passed_over": "{n} {n:row is|rows are} passed over, because no answered question could be read",
        # Labelling
        "greeting": (
            "Type the expected answer. Type {decline} if the model should decline, {undo} to take your last label "
            "back, {skip} to skip the case for now, or {quit} to stop. Your labels are saved."
        ),
        "no_labeller": "No labeller name is set.",
        "nothing_to_undo": "There is no label of yours to take back.",
        "not_an_answer": "{line!r} is neither a command nor an answer. No answer begins with / or ?.",
        "name_labeller": "Pass --labeller NAME.",
        "not_assigned": "The case {case} is not waiting for a label from {labeller}.",
        "no_agreement": (
            "No case has labels from two labellers, so their agreement and the highest meaningful score are unknown."
        ),
        "agreement": (
            "The labellers agree on {n_agree} of {n} cases. Agreement is {share:.1%} [{low:.1%}, {high:.1%}], and "
            "kappa is {kappa} (prevalence-adjusted: {pabak:.2f}). A score above this agreement is not meaningful."
        ),
        "not_defined": "not defined",
        "not_native": "{path} must contain cases as JSONL in tuneworthy's own format, not in the {format} format.",
        "position": "\n[{number} of {total}]\n{text}",
        "done": "{n} of {total} done.",
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

# The code of an error about a row is that of its fault.
for _name, _fault in [(name, value) for name, value in globals().items() if isinstance(value, Fault)]:
    globals()[_name] = _fault._replace(expected=Sentence(_fault.expected, f"cases.{_name.lower()}"))

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
