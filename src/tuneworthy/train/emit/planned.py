"""A plan as files of another trainer, and the rows beside them: the token ids and labels that `train` computes.

GRPO draws its own answers, so its rows are prompts, as messages, and the ids by which the grader knows what is right.

Every trainer here takes rows of `input_ids`, `attention_mask` and `labels` as they are, so that nothing is rendered,
masked or cut a second time.

Source: trl 1.16.0, SFTTrainer._prepare_dataset; unsloth-zoo, sft_prepare_dataset; docs.axolotl.ai, "Custom
Pre-Tokenized Dataset".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import orjson

from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.train import messages
from tuneworthy.train.batch_layout import IGNORED
from tuneworthy.train.emit.base import EmitPlan, Emitted, emit
from tuneworthy.train.plan import Planned
from tuneworthy.train.render import TokenRow
from tuneworthy.train.reward import asked_rows
from tuneworthy.train.training_rows import ANSWER_SLACK

GRPO: Final = "grpo"


def emit_planned(planned: Planned, form: str) -> Emitted:
    """Write a plan for the trainer `form`; its rows are what `row_lines` makes of `rows_of(planned)`.

    Raises:
        UserError: As `rows_of`, or the trainer cannot do what the plan asks.
    """
    rows = rows_of(planned)
    made = emit(form, EmitPlan(planned.advice.settings, str(planned.folder)))
    return _noted(made, planned, messages.emitted_rows(len(rows), rehearsal=planned.rehearsal is not None))


def emit_rewarded(planned: Planned, project: Project) -> Emitted:
    """Write a plan for GRPO; its rows are `prompt_lines(planned)`.

    Raises:
        UserError: As `rows_of`, or only a judge could reward answers.
    """
    if project.graders[0].type == "judge":
        raise UserError(
            "The first grader is a judge, so each of the many answers of GRPO would be a model call.",
            hint=messages.say("add_grader"),
        )
    longest = max(row.n_supervised for row in rows_of(planned))
    limit = min(project.prompt.max_tokens, ANSWER_SLACK * longest)
    root = str(project.root.resolve())
    made = emit(GRPO, EmitPlan(planned.advice.settings, str(planned.folder), project=root, max_answer=limit))
    return _noted(
        made,
        planned,
        (
            f"The file of rows has {sum(1 for _ in asked_rows(planned.material))} prompts, of the training rows "
            "that the first grader can score."
        ),
    )


def _noted(made: Emitted, planned: Planned, rows: str) -> Emitted:
    more = [rows]
    if planned.rows.dataset is None:
        more.append(
            "No dataset is frozen yet, so the rows have not passed the data gates. Rows that are in dev or "
            "overlap with cases are left out."
        )
    elif not planned.material.gated:
        more.append(messages.say("failed_gates", version=planned.rows.dataset))
    return replace(made, notes=(*made.notes, *more))


def rows_of(planned: Planned) -> Sequence[TokenRow]:
    """Return the rows of a plan, those that the base wrote itself last.

    Raises:
        UserError: The base is not a folder that other trainers load, its tokenizer is not at hand, or the rows are
            pairs.
    """
    if planned.advice.settings.paired:
        raise UserError(
            "There is no script of another trainer for pairs.",
            hint="Run `tuneworthy data export --format preference` for TRL's DPOTrainer.",
        )
    if planned.folder is None:
        raise UserError(
            f"{planned.base} is a GGUF file, which other trainers cannot load.",
            hint=(
                "Run `tuneworthy train` once to convert the file to a model folder, or pass a model folder with --base."
            ),
        )
    if planned.rendered is None:
        raise UserError(
            f"Rendering the rows needs the package transformers and the file {planned.folder}/tokenizer.json.",
            hint='Add the file if it is missing, and run `pip install "tuneworthy[train]"`.',
        )
    return [*planned.rendered.rows, *(planned.rehearsal or ())]


def prompt_lines(planned: Planned) -> Iterator[bytes]:
    """Yield a line of JSON for each row that the grader can score: `prompt`, as messages, and `row`, its id."""
    for row, case in asked_rows(planned.material):
        asked = planned.material.student.question(case).messages
        prompt = [{"role": turn["role"], "content": turn["content"]} for turn in asked]
        yield orjson.dumps({"prompt": prompt, "row": row}, option=orjson.OPT_APPEND_NEWLINE)


def row_lines(rows: Iterable[TokenRow]) -> Iterator[bytes]:
    """Yield a line of JSON for each row: `input_ids`, `attention_mask`, `labels` (-100 where nothing is supervised)."""
    for row in rows:
        labels = [number if bit else IGNORED for number, bit in zip(row.ids, row.mask, strict=True)]
        document = {"input_ids": row.ids, "attention_mask": [1] * len(row.ids), "labels": labels}
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
