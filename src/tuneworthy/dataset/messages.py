"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    {
        "turn_of": "messages[{number}] of {role}",
        "result_without_call": "messages[{number}] is a tool result without a call",
        "turn_before_result": "messages[{number}] comes before the result of a tool call",
        "open_code_block": "a code block that does not end",
        "open_json": "JSON that does not end",
        "open_sentence": "a sentence that breaks off",
        "refused_by_log": "according to its finish reason",
        "refused_by_text": "according to its text",
        "similarity": "similarity {score:.2f}",
        "cosine": "cosine {score:.2f}",
        "case": "case {case}",
        "topic": "topic {number}",
        "more_like": "more like {label!r}",
        "length": "the {part} has {n} characters",
        "answered_in": "{answer} to {question}",
        "topics": (
            "The largest topic has {top:.1%} of {n} rows, the largest ten {top10:.1%}; "
            "{topics} topics count as {effective:.1f} equally large ones."
        ),
        "declined_shares": (
            "{declined} of {rows} rows decline ({declined_share:.1%}); "
            "{unanswerable} of {cases} cases have no answer ({unanswerable_share:.1%})."
        ),
        "judged": (
            "The judge calls {bad} of {n} rows bad, {share:.1%} [{low:.1%}, {high:.1%}], and gave no verdict on {missing}. "
            "It rejected all {canaries} worthless answers."
        ),
        "leaning_file": (
            "{file}: its {n} rows are closer to a case than to as many other rows in {share:.1%} of draws, "
            "50.0% by chance ({z:.1f} standard errors)."
        ),
        "drift": (
            "{group} (n = {n}) against the others (n = {n_others}): AUC {auc:.2f} [{ci[0]:.2f}, {ci[1]:.2f}] by the answers, "
            "{questions_auc:.2f} [{questions_ci[0]:.2f}, {questions_ci[1]:.2f}] by the questions."
        ),
        "no_presidio": "The engine 'presidio' is not installed.",
        "no_presidio_hint": "Run `pip install presidio-analyzer`, and install the spaCy model that it names.",
        "unreadable_file": "{path} cannot be read: {reason}.",
        "imported_before": "These files have not changed since their last import: nothing is read again.",
        "rows_read": "{file}: {n} rows read",
        "no_usable_row": "None of the {n} rows can be used.",
        "reasons_in": "The reasons are in {path}.",
        "file_grew": "{path} changed while it was read.",
        "file_grew_hint": "Import a copy of it.",
        "nul": "texts without the character NUL",
        "no_question": "a question with visible text",
        "invisible_characters": "zero-width or direction characters, kept as they are",
        "keys_not_kept": "keys of messages that are not kept: {keys}",
        "nothing_to_build": "There are no rows to build from: no import and no examples file.",
        "nothing_to_build_hint": "Run `tuneworthy data import FILE`, or name a file in [examples].",
        "no_split_yet": "Dev and test cannot be drawn yet ({reason}): no row may overlap with any of the {n} cases.",
        "encoder": "Sentence encoder: {spec}",
        "no_encoder": (
            "Without a sentence encoder, duplicates and overlaps in other words are not found "
            "(pip install torch, or name one in [data] encoder)."
        ),
        "no_judge": "No judge examined the rows (name a model in [data.judge]).",
        "check_is_off": "The check {check} is off.",
        "running_check": "{check}: {n} rows",
        "check_off": "the check is off",
        "no_row_passed": "None of the {n} rows passed the checks.",
        "no_row_passed_hint": "Change [data] in the project file, or import other rows.",
        "unknown_code": "The check {check} reports {code!r}, which is not one of its codes ({codes}).",
        "cannot_mask": "The check {check} cannot carry out the policy 'mask'.",
        "cannot_mask_hint": "Set data.policy.{code} to drop or report.",
        "list_of_checks": "The checks are {names}.",
        "fooled_judge": "models.{model} of [data.judge] does not reject every worthless answer: {reasons}.",
        "fooled_judge_hint": 'Name another model, fix the rubric, or set off = ["judge_audit"].',
        "version_changed": "{path} is not as it was frozen.",
        "build_again": "Run `tuneworthy data build`.",
        "no_version": "There is no frozen version of the training data yet.",
        "no_such_version": "There is no version {version} of the training data.",
        "not_drawn": "not drawn: the limit is {limit} questions",
        "below_accept": "{n} answers, the best scores {best:.3f}, below {accept:g}",
        "agreement": "{n} of {total} agree",
        "no_questions": "There are no questions to ask: no import and no examples file.",
        "no_questions_hint": "Name a file: `tuneworthy data distill FILE`.",
        "questions_to_ask": "{n} questions read, {asked} to ask",
        "not_asked": "  not asked: {n} {reason} ({description})",
        "no_question_left": "None of the {n} questions passed the checks.",
        "no_question_left_hint": "Change [data] or [teacher] in the project file, or name another file.",
        "terms_forbid": "The terms of models.{model} forbid training on its outputs.",
        "terms_forbid_hint": "Name another teacher.",
        "terms_unknown": "models.{model} may be somebody else's, and teacher.allows_training is not set.",
        "terms_unknown_hint": "Read its terms, and set teacher.allows_training to true or false.",
        "no_teacher": "The project file has no section [teacher].",
        "no_teacher_hint": 'Add [teacher] with model = "NAME", one of [models].',
        "equal_samples": "At temperature 0, all {n} samples would be the same.",
        "equal_samples_hint": "Set parameters = { temperature = 0.7 } in [teacher].",
        "cannot_select": "Nothing selects among {n} samples: there are no right answers and no self_consistency.",
        "cannot_select_hint": 'Set self_consistency, or references = "all" if people labelled these rows.',
        "no_good_answer": "None of the {n} questions got an answer that can be trained on.",
        "other_teacher": "{row} was answered by another teacher ({other}) than the new rows ({teacher}).",
        "other_teacher_hint": "Set teacher_mix = true in [data] to allow both.",
        "repeated_rows": "{n} rows were there already.",
        "teachers_not_recorded": "the version was frozen before teachers were recorded: build it again",
        "no_teacher_rows": "no model answered these rows",
        "training_forbidden": "its terms forbid training on its outputs",
        "training_unknown": "whether its terms allow training is unknown: set teacher.allows_training",
        "one_sided_split": "{groups} groups of {n} rows are too few to split into train and validation.",
        "one_sided_split_hint": "Export with --validation 0.",
        "kept_together": "rows of one group, and rows that ask the same",
        "frozen_unsafe": "This version was frozen although gates failed: {gates}.",
        "not_reviewed": "Nobody has reviewed these rows yet: run `tuneworthy data review start`.",
        "not_accepted": "The review has not accepted this version: {summary}.",
        "bad_split_name": "{name!r} cannot be the name of a split: use letters and digits.",
        "role_without_place": "a turn of the role {role!r}",
        "reasoning_without_place": "a turn with reasoning",
        "text_beside_calls": "text and tool calls in one turn",
        "not_alternating": "turns that do not alternate",
        "weight_without_place": "an answer that must not be trained on",
        "tools_without_place": "tools and their calls",
        "keys_without_place": "a message with keys beside role and content",
        "other_keys_without_place": "a message with keys of its own",
        "bad_plan": "A plan takes a bound between 0 and 1 and a max-bad of 0 or more, not {bound:g} and {max_bad}.",
        "too_many_known_bad": "Earlier reviews found {n_bad} bad rows among {n_rows}, and the plan allows {most}.",
        "too_many_known_bad_hint": "Run `tuneworthy data build`: it leaves them out.",
        "all_known": "Every one of the {n_rows} rows was reviewed before.",
        "all_known_hint": "Build a version with new rows.",
        "max_bad_too_high": (
            "No sample of {n_rows} rows ({n_known_bad} of them known as bad) shows a share of {bound:g} good rows "
            "if {max_bad} rows of the sample may be bad."
        ),
        "max_bad_too_high_hint": "Use a max-bad of at most {most}.",
        "fixed_before": "{name} was fixed as {fixed} before the first row was shown, and cannot become {value}.",
        "fixed_before_hint": "Go on without the option.",
        "sample_gone": "Version {version} holds {found} of the {n} rows of the sample.",
        "sample_gone_hint": "A frozen version does not change: restore its files, or build and review a new version.",
        "no_reviewer": "The reviewer has no name.",
        "no_reviewer_hint": "Use --reviewer NAME.",
        "not_in_sample": "{row} is not a row of the sample.",
        "bad_without_reason": "A row that is marked as bad needs a reason.",
        "judged_before": "{reviewer} has judged {row} before.",
        "judged_before_hint": "A verdict can become worse (good to bad), never better.",
        "review_file": "a file of reviews",
        "review_line": "a line of kind {kinds}",
        "no_plan": "no plan is fixed, so nothing was reviewed",
        "accepted": (
            "at least {bound:.1%} of the {n_rows} rows are good, at {confidence:.0%} confidence over all attempts "
            "(attempt {attempt}: {n_bad} bad of {n_judged} reviewed, the plan allows {max_bad} of {n})"
        ),
        "refuted": (
            "{n} of the rows that counted as good when the plan was fixed were found bad since: "
            "it is not shown that at least {bound:.1%} are good"
        ),
        "rejected": (
            "{n_bad} bad of {n_judged} reviewed, the plan allows {max_bad}: it is not shown that at least {bound:.1%} are good"
        ),
        "open_review": "{n_bad} bad of {n_judged} reviewed, {open} of {n} left, at most {max_bad} may be bad",
        "shares_of_rejection": (
            "; {recall} of the bad rows were left out; {specificity} of the good rows were kept; "
            "{remaining} of the rows that stay are bad"
        ),
        "kappa": "; kappa {kappa:.2f} [{low:.2f}, {high:.2f}]",
        "hidden": "not shown: its text is that of a case",
        "question_lengths": "Characters of the question",
        "answer_lengths": "Characters of the answer",
        "user_turns": "User turns",
        "files": "Files",
        "frequent_answers": "Most frequent answers",
        "effective_answers": "{n} different answers count as {effective:.1f} equally frequent ones",
        "bin": "{low} to {high}",
        "last_bin": "above {low}",
        "more_files": "{n} more files",
        "provenance_of_source": "{format}, {n_kept} rows kept, SHA-256 {sha256}",
        "provenance_of_file": "{n} rows, SHA-256 {sha256}",
        "provenance_of_cases": "{n}, hash {sha256}",
        "provenance_of_teacher": "{name}; {n} rows, {days}; {parameters}",
        "provenance_of_judge": "models.{model}, hash of model, rubric and settings {identity}",
        "licence_of_all": "Stated for all rows: {licence}.",
        "no_licence": "No licence is stated: set `licence` in [data].",
        "licence_of_some": "{n} rows state: {licence}.",
        "terms_of_teachers": "Terms of the teachers ({status}): {reason}.",
    }
).say


# --- what data checks find: check, code, description ----------------------------------------------------------------

REASONS: Final[Mapping[str, dict[str, str]]] = {
    "held_out": {"held_out": "a row of the dev set"},
    "chat": {
        "bad_chat": "not a chat that ends with an answer",
        "broken_text": "NUL characters, lone surrogates, or text decoded with the wrong encoding",
        "empty_turn": "a turn without content",
        "tool_turns": "tool calls and tool results that do not match",
    },
    "feedback": {
        "thumbs_down": "a person rated the answer as bad",
        "escalated": "the conversation was handed to a person",
        "corrected": "the answer was corrected, but the log does not hold the correction",
        "unclear_feedback": "the feedback cannot be interpreted, so the answer may be bad",
    },
    "truncation": {
        "truncated": "the answer hit the token limit",
        "cut_off": "the answer breaks off",
        "unnatural_end": "the answer ended for an unusual reason",
    },
    "refusal": {"refused": "the model or its provider refused to answer"},
    "contamination": {
        "overlap_exact": "the question of a case, letter for letter",
        "overlap_ngram": "most words of a case's question",
        "overlap_edit": "a case's question with one word changed",
        "overlap_short_edit": "a short question, one word away from a case's",
        "overlap_group": "the same source as a case",
    },
    "exact": {"exact_duplicate": "the same letters and digits as an earlier row"},
    "near": {"near_duplicate": "an earlier row with a few words changed"},
    "semantic": {"semantic_duplicate": "an earlier row in other words"},
    "paraphrases": {
        "overlap_paraphrase": "a case's question in other words",
        "leaning_file": "a file whose rows are closer to the cases than to other rows",
    },
    "personal_data": {"personal_data": "personal data", "secret": "a key, token or password"},
    "concentration": {
        "over_cap": "one of too many rows on one topic",
        "concentrated": "a few topics make up most of the rows",
    },
    "judge_audit": {
        "judged_bad": "the judge calls the answer bad",
        "not_judged": "the judge gave no verdict",
        "judged": "the judge's verdicts on all rows",
    },
    "label_errors": {"label_error": "the label is probably wrong"},
    "declined_share": {
        "too_many_declined": "the rows decline more often than the cases do",
        "too_few_declined": "the rows decline less often than the cases do",
    },
    "length": {"long": "far longer than usual", "short": "far shorter than usual"},
    "language": {
        "rare_language": "in a language that hardly any other row uses",
        "answered_in_another": "answered in another language than the question",
    },
    "teacher_mix": {
        "teachers_mixed": "answers of several teachers",
        "teachers_mixed_as_asked": "answers of several teachers, as the project allows",
    },
    "teacher_drift": {
        "answers_drift": "the answers of weeks or teachers can be told apart",
        "answers_steady": "the answers of weeks or teachers cannot be told apart",
        "too_few_answers": "weeks or teachers with too few answers to compare",
    },
    "review": {"found_bad": "a reviewer marked the row as bad"},
}
CORRECTION: Final = {"correction": "the correction replaces the answer"}

# --- details of a finding -------------------------------------------------------------------------------------------

_SHOWN: Final = 4


def finish_reason(reason: str) -> str:
    """Name the finish reason of an answer."""
    return f"finish reason {reason[:40]!r}"


def expected(description: str, got: str = "") -> str:
    """Say what a row should have held, and what it holds; `description` alone if that says it all."""
    return f"expected {description}, got {got}" if got else description


def teacher_name(model: str, served: Any, prompt: Any) -> str:
    """Name a teacher."""
    parts = [model, *([f"served as {served}"] if served and served != model else [])]
    return ", ".join([*parts, *([f"prompt {prompt}"] if prompt else [])])


def teachers(counts: Sequence[tuple[int, str]]) -> str:
    """List teachers with the number of their rows, most rows first."""
    listed = "; ".join(f"{n} rows by {name}" for n, name in counts[:_SHOWN])
    more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{len(counts)} teachers: {listed}{more}."


def too_few_answers(least: int, counts: Sequence[tuple[str, int]]) -> str:
    """Say that groups are too small to compare."""
    listed = ", ".join(f"{n} of {name}" for name, n in counts[:_SHOWN])
    return f"A comparison takes {least} answers of each; there are {listed}."


# --- import ---------------------------------------------------------------------------------------------------------


# --- build ----------------------------------------------------------------------------------------------------------


def unknown_check(key: str, name: str, valid: Iterable[str]) -> str:
    """Say that a setting names no check, with the nearest valid name."""
    near = get_close_matches(name, list(valid), n=1)
    return f"data.{key}: no check is called {name!r}{f'; did you mean {near[0]!r}?' if near else '.'}"


def remaining(listed: str) -> str:
    """Say what a gate found in the rows that stay; "" if nothing."""
    return f"still there: {listed}" if listed else ""


# --- judge ----------------------------------------------------------------------------------------------------------


# --- versions -------------------------------------------------------------------------------------------------------


# --- distil ---------------------------------------------------------------------------------------------------------

# Reason to description, for all that can be wrong with a teacher's answer.
TEACHER_REASONS: Final = {
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
BEYOND_LIMIT: Final = {"beyond_limit": "not drawn"}


def training_allowed(terms: Iterable[Any]) -> str:
    """Say that terms allow training, and where they say so."""
    where = "; ".join(sorted({str(one) for one in terms if one}))
    return f"the terms allow training on its outputs{f' ({where})' if where else ''}"


def each_teacher(rows: Iterable[Mapping[str, Any]], terms: str) -> str:
    """Say the same of each teacher."""
    return "; ".join(f"{one.get('model')} ({one['n_rows']} rows): {terms}" for one in rows)


def several_teachers(names: Sequence[str], *, allowed: bool) -> str:
    """Say that the answers come from several teachers."""
    what = "as data.teacher_mix allows" if allowed else "which `data build` refuses unless data.teacher_mix is set"
    return f"The answers come from {len(names)} teachers, {what}: {'; '.join(names[:3])}."


# --- export ---------------------------------------------------------------------------------------------------------

# What becomes of tools and their calls, by format.
TOOL_CALLS: Final = {
    "openai": "Tools and their calls keep OpenAI's own shape.",
    "trl": "Tools and their calls are kept, arguments as objects; the loss is on the last message only.",
    "sharegpt": "Tool calls become turns of their own; rows with text beside calls in one turn are left out.",
    "alpaca": "Rows with tools or their calls are left out.",
    "llama_factory": (
        "Tool calls become turns of their own; rows with two results in sequence, or with text beside calls, "
        "are left out."
    ),
    "axolotl": "Tools and their calls keep OpenAI's own shape.",
    "parquet": "Tools and their calls are kept, tools as JSON text.",
}

# --- review ---------------------------------------------------------------------------------------------------------


def no_rejects(reasons: Sequence[str]) -> str:
    """Say that there is nothing to draw a second sample from."""
    listed = ", ".join(reasons)
    return f"No readable row was rejected{f' for {listed}' if reasons else ''}."


def calibration(n_judged: int, n_good: int, wrong: str, n_rows: int, reasons: Sequence[str]) -> str:
    """Say what people think of rows that were left out."""
    what = f"left out for {', '.join(reasons)}" if reasons else "left out"
    return (
        f"of {n_judged} judged rows that were {what}, {n_good} are good: {wrong} of all {n_rows} "
        "(rows without a verdict count either way)"
    )


def interval(share: tuple[float, float]) -> str:
    """Write an interval of a share."""
    return f"[{share[0]:.1%}, {share[1]:.1%}]"


# --- card -----------------------------------------------------------------------------------------------------------
