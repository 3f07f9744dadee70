"""A plan as files of another trainer, and the rows beside them: the token ids and labels that `train` computes.

Every trainer here takes rows of `input_ids`, `attention_mask` and `labels` as they are, so that nothing is rendered,
masked or cut a second time.

Source: trl 1.16.0, SFTTrainer._prepare_dataset; unsloth-zoo, sft_prepare_dataset; docs.axolotl.ai, "Custom
Pre-Tokenized Dataset".
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import orjson

from tuneworthy.errors import UserError
from tuneworthy.train import messages
from tuneworthy.train.batch_layout import IGNORED
from tuneworthy.train.emit.base import EmitPlan, Emitted, emit
from tuneworthy.train.plan import Planned
from tuneworthy.train.render import TokenRow


def emit_planned(planned: Planned, form: str) -> Emitted:
    """Write a plan for the trainer `form`; its rows are what `row_lines` makes of `rows_of(planned)`.

    Raises:
        UserError: As `rows_of`, or the trainer cannot do what the plan asks.
    """
    rows = rows_of(planned)
    made = emit(form, EmitPlan(planned.advice.settings, str(planned.folder)))
    more = [messages.emitted_rows(len(rows), rehearsal=planned.rehearsal is not None)]
    if planned.rows.dataset is None:
        more.append(messages.say("emitted_ungated"))
    elif not planned.material.gated:
        more.append(messages.say("failed_gates", version=planned.rows.dataset))
    return replace(made, notes=(*made.notes, *more))


def rows_of(planned: Planned) -> Sequence[TokenRow]:
    """Return the rows of a plan, those that the base wrote itself last.

    Raises:
        UserError: The base is not a folder that other trainers load, or its tokenizer is not at hand.
    """
    if planned.folder is None:
        raise UserError(messages.say("base_is_gguf", base=planned.base), hint=messages.say("make_folder"))
    if planned.rendered is None:
        raise UserError(messages.say("no_tokenizer", folder=planned.folder), hint=messages.say("add_tokenizer"))
    return [*planned.rendered.rows, *(planned.rehearsal or ())]


def row_lines(rows: Iterable[TokenRow]) -> Iterator[bytes]:
    """Yield a line of JSON for each row: `input_ids`, `attention_mask`, `labels` (-100 where nothing is supervised)."""
    for row in rows:
        labels = [number if bit else IGNORED for number, bit in zip(row.ids, row.mask, strict=True)]
        document = {"input_ids": row.ids, "attention_mask": [1] * len(row.ids), "labels": labels}
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
