"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Sequence

from tuneworthy.catalogue import Catalogue
from tuneworthy.types import Texts

say = Catalogue(
    {
        "open_sentence": "unfinished sentence",
        "refused_by_log": "the finish reason indicates a refusal",
        "refused_by_text": "the wording indicates a refusal",
        "case": "case {case}",
        "price": ("Dropping overlaps costs {n} rows ({share:.1%}). The largest shares by answer: {dearest}."),
        "judged": (
            "The judge rates {share:.1%} [{low:.1%}, {high:.1%}] of {n} rows as bad. Rows without a rating: {missing}. "
            "As a test, the judge also rated {canaries} worthless answers and rejected all of them."
        ),
        "asks": "{found} {question} If so, set policy.{code} in [data] to report, else to {action}.{one}",
        "one": ' The key "{key}" decides on this name only; each name has its own.',
        "turned": " Its questions and answers are exchanged.",
        "disagree": (
            "A model agrees less with labels of the rows (kappa {rows:.2f}) than with those of the cases ({cases:.2f})."
        ),
        "source": "{name}: {share} of its {words}, {elsewhere} elsewhere (n = {n}).{more}",
        "slipped": " They fit the {row} row: the answers slipped by one row.",
        "confused": " Most often: {pairs}.",
        "imported_before": ("These files have not changed since their last import, so they are not read again."),
        "reasons_in": "See the reasons in {path}.",
        "build_again": "Run `tuneworthy data build`.",
        "accuracy_higher": ". Dropping the {n} optional {n:one|ones} raises accuracy: {effect}",
        "accuracy_lower": ". Dropping the {n} optional {n:one|ones} lowers accuracy: {effect}",
        "accuracy_open": ". Dropping the {n} optional {n:one|ones} has no measurable effect on accuracy: {effect}",
    },
).say


# --- what data checks find: check, code, description ----------------------------------------------------------------

REASONS = {
    "held_out": {"held_out": "a row from the dev set"},
    "encoding": {"escaped_text": "text decoded with the wrong encoding, HTML entities or percent encoding"},
    "sources": {
        "bad_source": "contradicted by the other rows, as are many rows of its source",
        "shifted_source": "from a source whose answers belong to the next or the previous row",
        "no_answer": "from a shifted source, and its answer is in a row that was dropped or outside the file",
        "exchanged": "the question looks like an answer, and the answer like a question",
        "cut_answer": "the answer ends as answers do that are cut anywhere",
        "unlike_others": "the answer does not fit the question, and its words are those of no answer that fits",
        "other_answer": "the answer fits this question no better than the questions of other rows",
    },
    "chat": {
        "bad_chat": "not a valid chat that ends with an answer",
        "broken_text": "NUL characters, lone surrogates, or text decoded with the wrong encoding",
        "empty_turn": "a turn without content",
        "tool_turns": "mismatched tool calls and tool results",
    },
    "feedback": {
        "thumbs_down": "a user rated the answer as bad",
        "escalated": "the conversation was escalated to a human",
        "corrected": "the answer was corrected, but the log lacks the correction",
        "unclear_feedback": "the feedback cannot be interpreted, so the answer may be bad",
    },
    "truncation": {
        "truncated": "the answer hit the token limit",
        "cut_off": "the answer is cut off",
        "unnatural_end": "the answer ended for an unusual reason",
    },
    "refusal": {"refused": "the model or its provider refused to answer"},
    "degenerate": {
        "template_token": "a control token of a chat template in the text",
        "placeholder": "an unfilled placeholder",
        "open_thinking": "reasoning that does not end, or no answer after it",
        "traceback": "the traceback of a program instead of an answer",
        "provider_error": "the error message of a provider instead of an answer",
        "loop": "the same words again and again",
        "echo": "the answer repeats the question",
    },
    "label_names": {
        "label_spelling": "a label of the cases, spelled differently",
        "renamed_label": "a label that looks like an old name of a label of the cases",
        "new_label": "labels that no case expects",
        "outside_labels": "an answer outside the labels",
    },
    "contamination": {
        "overlap_exact": "the same letters and digits as a case's question",
        "overlap_prompt": "its system prompt or an earlier turn quotes a case's question",
        "overlap_ngram": "shares most words with a case's question",
        "overlap_edit": "differs from a case's question by one or two words",
        "overlap_possible": "resembles a case's question, but its answer is different or the question is short",
        "overlap_price": "the rows that dropping overlaps costs",
        "overlap_group": "in the same group as a case",
    },
    "exact": {"exact_duplicate": "the same letters and digits as an earlier row"},
    "near": {"near_duplicate": "an earlier row but for filler words or typing errors"},
    "personal_data": {"personal_data": "personal data", "secret": "a key, token or password"},
    "judge_audit": {
        "judged_bad": "the judge rates the answer as bad",
        "not_judged": "the judge gave no rating",
        "judged": "the judge's ratings of all rows",
    },
    "grounding": {"ungrounded": "a value is not in the input, from which the other rows copy it"},
    "label_errors": {
        "label_error": "the label may be wrong",
        "random_label": "labels of similar questions agree no more than random labels",
        "labels_disagree": "the labels of the rows agree less with the cases than the cases do with one another",
    },
    "declined_share": {
        "too_many_declined": "the share of declined answers is higher than the share of unanswerable cases",
        "too_few_declined": "the share of declined answers is lower than the share of unanswerable cases",
    },
    "pairs": {
        "same_answer": "both answers of a pair say the same",
        "wrong_order": "the first grader scores the worse answer of a pair higher",
    },
    "pair_length": {
        "better_is_longer": "the better answer of most pairs is the longer one",
        "better_is_shorter": "the better answer of most pairs is the shorter one",
    },
    "rated_pairs": {"rated_pair": "people disliked another answer to the same question, so the row is a pair"},
    "language": {
        "rare_language": "a language that hardly any other row uses",
        "answered_in_another": "answered in a different language from the question",
    },
    "teacher_mix": {
        "teachers_mixed": "answers from several teachers",
        "teachers_mixed_as_asked": "answers from several teachers, as the project allows",
    },
    "teacher_drift": {
        "answers_drift": "answers differ measurably between weeks or teachers",
        "answers_steady": "answers do not differ measurably between weeks or teachers",
        "too_few_answers": "too few answers per week or teacher to compare",
    },
    "corrections": {
        "corrected": "a person gave the row a new answer",
        "dropped_by_person": "a person dropped the row",
    },
    "review": {"found_bad": "a reviewer rated the row as bad"},
}
# Kind of task to what the score of a learning curve is; "" for the others.
METRICS = {"label": "accuracy", "json": "exact match", "": "token F1"}
MORE_LIKE = "the label {label!r} looks more likely"
CORRECTION = {"correction": "the correction replaces the answer"}

# --- details of a finding -------------------------------------------------------------------------------------------

_SHOWN = 4


def finish_reason(reason: str) -> str:
    return f"finish reason {reason[:40]!r}"


def teachers(counts: Sequence[tuple[int, str]]) -> str:
    return f"The rows come from {len(counts)} teachers: {_listed([f'{name} (n = {n})' for n, name in counts])}."


def _listed(names: Texts) -> str:
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{'; '.join(names[:_SHOWN])}{more}"


def too_few_answers(least: int, counts: Sequence[tuple[str, int]]) -> str:
    listed = ", ".join(f"{name} (n = {n})" for name, n in counts[:_SHOWN])
    return f"A comparison needs at least {least} answers per week or teacher. Largest groups: {listed}."


# --- distil ---------------------------------------------------------------------------------------------------------

# Reason to description, for all that can be wrong with a teacher's answer.
TEACHER_REASONS = {
    "truncated": "the teacher's answer hit the token limit",
    "teacher_refused": "the teacher refused",
    "content_filter": "the provider blocked the teacher's answer",
    "unnatural_end": "the teacher's answer ended for an unusual reason",
    "teacher_error": "the call to the teacher failed",
    "empty_answer": "the teacher's answer is empty",
    "wrong": "the grader accepts none of the teacher's answers",
    "unscored": "the grader could not score the teacher's answer",
    "disagreement": "too few of the teacher's answers agree",
}
BEYOND_LIMIT = {"beyond_limit": "not drawn because of --limit"}


def several_teachers(names: Texts, *, allowed: bool) -> str:
    what = "The setting data.teacher_mix allows this." if allowed else "To allow this, set data.teacher_mix."
    return f"The answers come from {len(names)} teachers: {_listed(names)}. {what}"


# --- export ---------------------------------------------------------------------------------------------------------

# What becomes of tools and their calls, by format.
TOOL_CALLS = {
    "openai": "Any tools and tool calls keep OpenAI's format.",
    "trl": "Any tools and tool calls are kept, with arguments as objects. The loss covers the last message only.",
    "preference": (
        "Any tools and tool calls are kept, with arguments as objects. Rows without a worse answer are left out."
    ),
    "sharegpt": (
        "Any tool call becomes a separate turn without its id. Rows with text and tool calls in the same turn are left "
        "out."
    ),
    "alpaca": "Any rows with tools or tool calls are left out.",
    "llama_factory": (
        "Any tool call becomes a separate turn without its id. Rows with consecutive tool results, or with text and "
        "tool calls in the same turn, are left out."
    ),
    "axolotl": "Any tools and tool calls keep OpenAI's format.",
    "parquet": "Any tools and tool calls are kept, with tools as JSON text.",
}
