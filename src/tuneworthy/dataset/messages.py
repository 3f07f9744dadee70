"""Every sentence of this folder that a person reads at run time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tuneworthy.catalogue import Catalogue

say = Catalogue(
    __name__,
    {
        "turn_of": "messages[{number}] ({role})",
        "result_without_call": "messages[{number}] is a tool result without a matching call",
        "turn_before_result": "messages[{number}] comes before the result of an earlier tool call",
        "open_code_block": "unclosed code block",
        "open_json": "unclosed JSON",
        "open_sentence": "unfinished sentence",
        "open_bracket": "unclosed bracket or quotation mark",
        "no_end": "no full stop, unlike nearly all answers",
        "refused_by_log": "the finish reason indicates a refusal",
        "refused_by_text": "the wording indicates a refusal",
        "not_looked_for": "not looked for: {kinds}",
        "not_masked": "{n} masked {n:row|rows} still {n:contains|contain} personal data, the first is {first}; remove "
        "or edit {n:it|them}, then import the file again",
        "names": "names of people and places",
        "other_kinds": (
            "user names, number plates without a word that names them, streets without a word such as Street, and "
            "identifiers of digits only without a word that names them"
        ),
        "ungrounded_keys": "keys: {keys}",
        "similarity": "similarity {score:.2f}",
        "cosine": "cosine {score:.2f}",
        "case": "case {case}",
        "case_text": ' "{text}"',
        "shared_prompt": (
            "The system prompt or an earlier turn of {n} rows quotes the question of case {case}. Remove the question "
            "from the prompt. These rows are kept."
        ),
        "price": ("Dropping overlaps costs {n} rows ({share:.1%}). The largest shares by answer: {dearest}."),
        "price_of": "{answer}: {n} of {total} ({share:.1%})",
        "kept_share": (
            "Every one of the {total} rows with the answer {answer} overlaps a case. {n} of them are kept "
            "(share: {share:.0%}), so scores on these cases are too high."
        ),
        "topic": "topic {number}",
        "more_like": "the label {label!r} looks more likely",
        "elsewhere": "rows with similar questions have another answer",
        "other_keys": "keys with a value in rows with similar questions: {keys}",
        "length": "the {part} has {n} characters",
        "answered_in": "question language {question}, answer language {answer}",
        "topics": (
            "The largest topic covers {top:.1%} of the {n} rows, and the ten largest cover {top10:.1%}. The effective "
            "number of topics is {effective:.1f} (of {topics}). After the cut, the largest covers {after:.1%}."
        ),
        "labels": (
            "The most frequent label has {top:.1%} of the {n} rows, and the ten most frequent have {top10:.1%}. The "
            "effective number of labels is {effective:.1f} (of {topics}). After the cut, the most frequent has "
            "{after:.1%}."
        ),
        "declined_shares": (
            "The assistant declines to answer in {declined_share:.1%} of rows ({declined} of {rows}). The share of "
            "unanswerable cases is {unanswerable_share:.1%} ({unanswerable} of {cases})."
        ),
        "pair_scores": "the better answer scores {better:.2f}, the worse one {worse:.2f}",
        "pair_length": "The better answer is the {how} one in {share:.1%} of pairs ({n} of {of}).",
        "judged": (
            "The judge rates {share:.1%} [{low:.1%}, {high:.1%}] of {n} rows as bad. Rows without a rating: {missing}. "
            "As a test, the judge also rated {canaries} worthless answers and rejected all of them."
        ),
        "leaning_file": (
            "{file}: if equal numbers of cases and other rows are drawn, the nearest neighbour of a row of this file "
            "is a case in {share:.1%} of draws (n = {n}). Chance level is 50.0% (z = {z:.1f})."
        ),
        "drift": (
            "{group} (n = {n}) against the other rows (n = {n_others}): a classifier distinguishes the answers with "
            "AUC {auc:.2f} [{ci[0]:.2f}, {ci[1]:.2f}]. For the questions, the AUC is {questions_auc:.2f} "
            "[{questions_ci[0]:.2f}, {questions_ci[1]:.2f}]."
        ),
        "no_presidio": "The package presidio-analyzer is not installed.",
        "no_presidio_hint": "Run `pip install presidio-analyzer`, then install the spaCy model that it requests.",
        "unreadable_file": "Cannot read {path}: {reason}.",
        "imported_before": (
            "These files have not changed since their last import, so `data import` does not read them again."
        ),
        "rows_read": "{file}: {n} rows read",
        "no_usable_row": "No row is usable (rows read: {n}).",
        "no_usable_row_reason": "No row is usable (rows read: {n}). The most frequent reason: {reason}.",
        "unused_score": "the score {name!r} is not used, because its name does not say whether a high one is good",
        "reasons_in": "See the reasons in {path}.",
        "file_grew": "{path} changed while it was being imported.",
        "file_grew_hint": "Copy the file, then import the copy.",
        "nul": "the text contains a NUL character",
        "no_question": "the question has no visible text",
        "invisible_characters": "zero-width or bidirectional control characters kept unchanged",
        "keys_not_kept": "message keys dropped: {keys}",
        "nothing_to_build": (
            "There are no rows to build from. Nothing has been imported, and [examples] specifies no file."
        ),
        "nothing_to_build_hint": "Run `tuneworthy data import FILE`, or specify a file in [examples].",
        "no_split_yet": (
            "Dev and test cannot be drawn yet: {reason}. Until then, no row may overlap any of the {n} cases."
        ),
        "encoder": "Sentence encoder: {spec}",
        "no_encoder": (
            "Without a sentence encoder, paraphrased duplicates and overlaps are not detected. To use one, set encoder "
            "in [data]."
        ),
        "no_judge": "No judge rated the rows. To add a judge, set model in [data.judge].",
        "lost_labels": "Every row with these labels was dropped, although cases expect them: {labels}.",
        "held_back": "Together, the checks cost accuracy, so `{check}` only reports what it finds.",
        "measuring_check": "{check}: measuring how dropping {n} rows changes accuracy",
        "splitting": "Reading cases and examples, and looking for overlaps between them",
        "measuring_all": "Measuring how dropping these rows changes accuracy",
        "writing_version": "Writing {n:,} rows",
        "check_is_off": "The check {check} is off.",
        "running_check": "Running the check {check} on {n} rows",
        "check_progress": "{check}: {n:,} rows read so far (rows in the set: {total:,})",
        "check_off": "the check is off",
        "no_row_passed": "No row passed the checks. All {n} {n:row was|rows were} dropped: {reasons}.",
        "dropped_for": "{n} by `{check}` ({words})",
        "no_row_passed_hint": "Change [data] in the project file, or import different rows.",
        "all_overlap_hint": (
            "{n} {n:row overlaps|rows overlap} a case or a dev row. Training on such rows would make the test "
            "score meaningless. Import rows whose questions are not cases. To use fewer rows as cases, start a new "
            "project and pass --n-cases to `init`."
        ),
        "unknown_code": (
            "The check {check} reports the code {code!r}, which it does not declare. It declares only: {codes}."
        ),
        "cannot_mask": "The check {check} does not support the policy 'mask'.",
        "cannot_mask_hint": "Set data.policy.{code} to drop or report.",
        "no_rejects": "No readable row was dropped.",
        "no_rejects_for": "No readable row was dropped for {reasons}.",
        "unknown_check": "data.{key}: there is no check {name!r}.",
        "list_of_checks": "Choose from {names}.",
        "fooled_judge": "The judge models.{model} in [data.judge] failed its test. {reasons}",
        "fooled_judge_hint": 'Choose a different model, fix the rubric, or set off = ["judge_audit"] in [data].',
        "version_changed": "{path} has changed since it was frozen.",
        "build_again": "Run `tuneworthy data build`.",
        "omit_version": "Omit --version to use the latest version, or pass a longer part of the ID.",
        "other_cases": ("The cases have changed since version {version} was built, so its rows may overlap them."),
        "drawing_curve": "Training the classical baseline ({baseline}) {n} times, on up to {size} rows",
        "too_few_rows": (
            "A learning curve needs at least {least} rows to train on. Only {n} remain after the held-out rows are "
            "removed."
        ),
        "too_few_questions": (
            "A learning curve needs at least {least} dev cases or held-out rows with a known answer. There are only "
            "{n}."
        ),
        "more_rows": "Import or distil more rows, then run `tuneworthy data build`.",
        "no_version": "No version of the training data has been frozen yet.",
        "no_such_version": "{version!r} does not match exactly one version of the training data.",
        "not_drawn": "not drawn because --limit is {limit}",
        "below_accept": "the best answer scores {best:.3f}, below the threshold of {accept:g} (n = {n})",
        "agreement": "the most frequent answer occurs in {n} of {total} samples",
        "no_questions": (
            "There are no questions for the teacher. Nothing has been imported, and [examples] specifies no file."
        ),
        "no_questions_hint": "Run `tuneworthy data distill FILE` with a file of questions.",
        "questions_to_ask": "Questions read: {n}. The teacher answers {asked} of them.",
        "not_asked": "  questions skipped: {n} ({reason}: {description})",
        "no_question_left": "No question passed the checks (questions read: {n}).",
        "no_question_left_hint": "Change [data] or [teacher] in the project file, or specify a different file.",
        "terms_forbid": "The terms of use of models.{model} forbid training on its outputs.",
        "terms_forbid_hint": "Choose a different teacher.",
        "terms_unknown": "models.{model} may be a third-party model, and teacher.allows_training is not set.",
        "terms_unknown_hint": "Read the model's terms of use, then set teacher.allows_training to true or false.",
        "no_teacher": "The project file has no [teacher] section.",
        "no_teacher_hint": 'Add [teacher] with model = "NAME", where NAME is a model in [models].',
        "equal_samples": "At temperature 0, all {n} samples for a question would be identical.",
        "equal_samples_hint": "Set parameters = { temperature = 0.7 } in [teacher].",
        "cannot_select": (
            "The teacher generates {n} samples per question, but there is no way to choose among them. No question has "
            "an expected answer, and self_consistency is not set."
        ),
        "cannot_select_hint": 'Set self_consistency in [teacher], or references = "all" if people labelled these rows.',
        "no_good_answer": "The teacher gave no usable answer to any of the {n} questions.",
        "other_teacher": "Row {row} comes from one teacher ({other}), but the new rows come from another ({teacher}).",
        "other_teacher_hint": "To allow several teachers, set teacher_mix = true in [data].",
        "repeated_rows": "Rows not added again, because the latest import already contains them: {n}.",
        "teachers_not_recorded": "this version does not record its teachers, so run `tuneworthy data build` again",
        "no_teacher_rows": "no row was answered by a model",
        "training_forbidden": "the model's terms of use forbid training on its outputs",
        "training_unknown": (
            "whether the model's terms of use allow training is unknown, because teacher.allows_training is not set"
        ),
        "one_sided_split": "The {n} rows form too few groups ({groups}) to split into training and validation sets.",
        "one_sided_split_hint": "Pass --validation 0 to export all rows as training rows.",
        "kept_together": "rows of the same group, and rows with the same question",
        "frozen_unsafe": "This version was frozen with failed gates: {gates}.",
        "not_reviewed": "Nobody has reviewed these rows yet. Run `tuneworthy data review start`.",
        "not_accepted": "The review has not accepted this version: {summary}.",
        "bad_split_name": (
            "{name!r} is not a valid split name. Use letters, digits and underscores, and do not start with a digit."
        ),
        "no_worse_answer": "a row without a worse answer",
        "role_without_place": "a turn with the role {role!r}",
        "reasoning_without_place": "a turn with reasoning",
        "text_beside_calls": "text and tool calls in the same turn",
        "not_alternating": "user and assistant turns that do not alternate",
        "weight_without_place": "an answer with weight 0, which must not be trained on",
        "tools_without_place": "tools or tool calls",
        "keys_without_place": "a message with keys other than role and content",
        "other_keys_without_place": "a message with unsupported keys",
        "bad_plan": (
            "--bound must be between 0 and 1, and --max-bad must be at least 0. Their values are {bound:g} and "
            "{max_bad}."
        ),
        "too_many_known_bad": (
            "Earlier reviews rated {n_bad} of the {n_rows} rows as bad, but the plan allows at most {most}."
        ),
        "too_many_known_bad_hint": "Run `tuneworthy data build`, which drops the bad rows.",
        "all_known": "All {n_rows} rows have already been reviewed.",
        "all_known_hint": "Import new rows, and run `tuneworthy data build`.",
        "max_bad_too_high": (
            "With --max-bad {max_bad}, no sample of the {n_rows} rows can show that at least {bound:.1%} are good. "
            "Rows already known to be bad: {n_known_bad}."
        ),
        "max_bad_too_high_hint": "Pass a --max-bad of at most {most}.",
        "fixed_before": (
            "--{name} was fixed at {fixed} before the first row was shown, so it cannot be changed to {value}."
        ),
        "fixed_before_hint": "Omit the option.",
        "sample_gone": "Version {version} contains only {found} of the {n} sampled rows.",
        "sample_gone_hint": "A frozen version must not change. Restore its files, or build and review a new version.",
        "no_reviewer": "No reviewer name is set.",
        "no_reviewer_hint": "Pass --reviewer NAME.",
        "not_in_sample": "Row {row} is not in the review sample.",
        "bad_without_reason": "Give a reason for each row that you rate as bad.",
        "judged_before": "{reviewer} has already rated row {row}.",
        "judged_before_hint": "A rating can change from good to bad, but not back.",
        "empty_answer": "Type the new answer.",
        "decided_by": "decided by {reviewer}",
        "corrected_by": "{reviewer} gave rows a new answer (n = {n})",
        "dropped_by_person_by": "{reviewer} dropped rows (n = {n})",
        "review_file": "a readable review file",
        "review_line": "a line whose kind is one of {kinds}",
        "no_plan": "there is no review plan yet, so no row has been reviewed",
        "accepted": (
            "at least {bound:.1%} of the {n_rows} rows are good, at {confidence:.0%} confidence over all attempts. In "
            "attempt {attempt}, {n_bad} of {n_judged} reviewed rows {n_bad:is|are} bad (at most {max_bad} allowed)"
        ),
        "caught_planted": ". The reviewers caught {n_caught} of {n} planted bad rows",
        "no_planted": ". No planted bad rows tested the reviewers",
        "distrusted": (
            ". The good ratings of {names} do not count, because they missed too many planted bad rows: other people "
            "must rate these rows"
        ),
        "refuted": (
            "the review no longer shows that at least {bound:.1%} of the rows are good. Rows that the plan counted as "
            "good turned out to be bad (n = {n})"
        ),
        "rejected": (
            "the review does not show that at least {bound:.1%} of the rows are good: {n_bad} of {n_judged} reviewed "
            "rows {n_bad:is|are} bad, but the plan allows at most {max_bad}"
        ),
        "open_review": (
            "{n_bad} of {n_judged} reviewed rows {n_bad:is|are} bad (at most {max_bad} allowed), and {open} of {n} "
            "rows {open:remains|remain} to be reviewed"
        ),
        "shares_of_rejection": (
            ". The checks dropped {recall} of the bad rows and kept {specificity} of the good ones. Of the kept rows, "
            "{remaining} are bad"
        ),
        "kappa": ". Cohen's kappa between checks and reviewers is {kappa:.2f} [{low:.2f}, {high:.2f}]",
        "hidden": "hidden because it overlaps a case",
        "question_lengths": "Question length in characters",
        "answer_lengths": "Answer length in characters",
        "user_turns": "User turns",
        "files": "Files",
        "frequent_answers": "Most frequent answers",
        "effective_answers": "{n} distinct answers, as varied as {effective:.1f} equally frequent ones",
        "effect_certain": "not measured, because these rows are always dropped",
        "effect_few": (
            "not measured, because fewer than {few:.1%} of the rows are dropped (rows that are always dropped do not "
            "count)"
        ),
        "effect_unmeasured": "not measured, because there are fewer than {n} labelled dev cases",
        "effect_measured": "{delta:+.1f} points [{low:+.1f}, {high:+.1f}] {where} ({baseline}, n = {n})",
        "on_dev": "on dev",
        "on_staying": "on the held-out rows that no check dropped",
        "effect_costs": "{effect}. Dropping them costs accuracy, so they are only reported",
        "build_dropped_none": "The checks dropped none of the {n} rows.",
        "build_dropped": "The checks dropped {n} of {total} rows (most: {checks}){change}.",
        "accuracy_higher": ". Dropping the {n} optional {n:one|ones} raises accuracy: {effect}",
        "accuracy_lower": ". Dropping the {n} optional {n:one|ones} lowers accuracy: {effect}",
        "accuracy_open": ". Dropping the {n} optional {n:one|ones} has no measurable effect on accuracy: {effect}",
        "accuracy_unmeasured": ". The effect on accuracy is {effect}",
        "accuracy_untouched": ". These rows are always dropped, so the effect on accuracy is not measured",
        "label_share": "{label} ({n}, {share:.1%})",
        "rows_by_label": "Rows by label",
        "label_counts": "{label} ({before} before, {cases} cases)",
        "more_labels": "labels not shown: {n}",
        "bin": "{low} to {high}",
        "last_bin": "above {low}",
        "more_files": "files not shown: {n}",
        "provenance_of_source": "{format}, {n_kept} rows kept, SHA-256 {sha256}",
        "provenance_of_file": "{n} rows, SHA-256 {sha256}",
        "provenance_of_cases": "{n} cases, hash {sha256}",
        "provenance_of_teacher": "{name}; {n} rows, {days}; {parameters}",
        "provenance_of_judge": "models.{model}; hash of the model, rubric and settings: {identity}",
        "licence_of_all": "Licence of all rows: {licence}.",
        "no_licence": "No licence is stated. Set licence in [data].",
        "licence_of_some": "Rows with the licence {licence}: {n}.",
        "terms_of_teachers": "Teachers' terms of use ({status}): {reason}.",
    },
).say


# --- what data checks find: check, code, description ----------------------------------------------------------------

REASONS: Final[Mapping[str, dict[str, str]]] = {
    "held_out": {"held_out": "a row from the dev set"},
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
        "placeholder": "a placeholder that nobody filled in",
        "open_thinking": "reasoning that does not end, or no answer after it",
        "traceback": "the traceback of a program instead of an answer",
        "provider_error": "the error message of a provider instead of an answer",
        "loop": "the same words again and again",
        "echo": "the answer repeats the question",
        "outside_labels": "an answer outside the labels",
    },
    "contamination": {
        "overlap_exact": "the same letters and digits as a case's question",
        "overlap_prompt": "its system prompt or an earlier turn quotes a case's question",
        "overlap_ngram": "shares most words with a case's question",
        "overlap_edit": "differs from a case's question by one or two words",
        "overlap_possible": "resembles a case's question, but its answer is different or the question is short",
        "overlap_price": "the rows that dropping overlaps costs",
        "overlap_kept": "a share of overlapping rows kept, as no row of their answer would remain",
        "overlap_group": "in the same group as a case",
    },
    "exact": {"exact_duplicate": "the same letters and digits as an earlier row"},
    "near": {"near_duplicate": "an earlier row but for filler words or typing errors"},
    "semantic": {"semantic_duplicate": "a paraphrase of an earlier row"},
    "paraphrases": {
        "overlap_paraphrase": "a paraphrase of a case's question",
        "leaning_file": "a file whose rows are closer to the cases than to other rows",
    },
    "personal_data": {"personal_data": "personal data", "secret": "a key, token or password"},
    "concentration": {
        "over_cap": "above the limit on rows per label or topic",
        "concentrated": "a few topics make up most of the rows",
    },
    "judge_audit": {
        "judged_bad": "the judge rates the answer as bad",
        "not_judged": "the judge gave no rating",
        "judged": "the judge's ratings of all rows",
    },
    "grounding": {"ungrounded": "a value is not in the input, from which the other rows copy it"},
    "label_errors": {"label_error": "the label may be wrong"},
    "declined_share": {
        "too_many_declined": "the share of declined answers is higher than the share of unanswerable cases",
        "too_few_declined": "the share of declined answers is lower than the share of unanswerable cases",
    },
    "length": {"long": "far longer than usual", "short": "far shorter than usual"},
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
METRICS: Final = {"label": "accuracy", "json": "exact match", "": "token F1"}
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
    listed = "; ".join(f"{name} (n = {n})" for n, name in counts[:_SHOWN])
    more = f"; and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"The rows come from {len(counts)} teachers: {listed}{more}."


def too_few_answers(least: int, counts: Sequence[tuple[str, int]]) -> str:
    """Say that groups are too small to compare."""
    listed = ", ".join(f"{name} (n = {n})" for name, n in counts[:_SHOWN])
    return f"A comparison needs at least {least} answers per week or teacher. Largest groups: {listed}."


# --- build ----------------------------------------------------------------------------------------------------------


def remaining(listed: str) -> str:
    """Say what a gate found in the rows that stay; "" if nothing."""
    return f"still present: {listed}" if listed else ""


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
BEYOND_LIMIT: Final = {"beyond_limit": "not drawn because of --limit"}


def training_allowed(terms: Iterable[Any]) -> str:
    """Say that terms allow training, and where they say so."""
    where = "; ".join(sorted({str(one) for one in terms if one}))
    return f"the model's terms of use allow training on its outputs{f' ({where})' if where else ''}"


def each_teacher(rows: Iterable[Mapping[str, Any]], terms: str) -> str:
    """Say the same of each teacher."""
    return "; ".join(f"{one.get('model')} (n = {one['n_rows']}): {terms}" for one in rows)


def several_teachers(names: Sequence[str], *, allowed: bool) -> str:
    """Say that the answers come from several teachers."""
    what = "The setting data.teacher_mix allows this." if allowed else "To allow this, set data.teacher_mix."
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"The answers come from {len(names)} teachers: {'; '.join(names[:_SHOWN])}{more}. {what}"


# --- export ---------------------------------------------------------------------------------------------------------

# What becomes of tools and their calls, by format.
TOOL_CALLS: Final = {
    "openai": "Any tools and tool calls keep OpenAI's format.",
    "trl": "Any tools and tool calls are kept, with arguments as objects. The loss covers the last message only.",
    "preference": (
        "Any tools and tool calls are kept, with arguments as objects. Rows without a worse answer are left out."
    ),
    "sharegpt": "Any tool call becomes a separate turn. Rows with text and tool calls in the same turn are left out.",
    "alpaca": "Any rows with tools or tool calls are left out.",
    "llama_factory": (
        "Any tool call becomes a separate turn. Rows with consecutive tool results, or with text and tool calls in "
        "the same turn, are left out."
    ),
    "axolotl": "Any tools and tool calls keep OpenAI's format.",
    "parquet": "Any tools and tool calls are kept, with tools as JSON text.",
}

# --- review ---------------------------------------------------------------------------------------------------------


def calibration(n_judged: int, n_good: int, wrong: str, n_rows: int, reasons: Sequence[str]) -> str:
    """Say what people think of rows that were left out."""
    what = f"rows dropped for {', '.join(reasons)}" if reasons else "dropped rows"
    return (
        f"{n_good} of {n_judged} reviewed {what} {'is' if n_good == 1 else 'are'} good. Estimated share of good rows "
        f"among all {n_rows}: {wrong}. The lower end counts every unrated row as bad, the upper end as good"
    )


def setting_text(setting: object) -> str:
    """Write a setting of a sample; reasons as a list."""
    return (", ".join(setting) or "none") if isinstance(setting, tuple) else str(setting)


def interval(share: tuple[float, float]) -> str:
    """Write an interval of a share."""
    return f"[{share[0]:.1%}, {share[1]:.1%}]"
