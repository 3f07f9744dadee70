"""Why an answer is not correct; the text sent to a judge is in `judge`."""

# Every reason that a built-in grader gives; prompt search shows them to a model, so a new wording is a new prompt.
REASONS = {
    "wrong": "readable, but wrong",
    "partial": "partly correct",
    "format": "the answer cannot be parsed",
    "truncated": "the answer cannot be parsed because it hit the token limit",
    "schema": "valid JSON that violates the schema",
    "refused": "declined, but an answer exists",
    "answered_unanswerable": "answered, but should have declined",
    "no_call": "no tool was called",
    "wrong_tool": "the wrong tool or the wrong number of calls",
    "wrong_arguments": "the right tool with the wrong arguments",
}
