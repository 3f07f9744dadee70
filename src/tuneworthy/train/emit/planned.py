"""A plan as files of another trainer, and the rows beside them: the token ids and labels that `train` computes.

Every trainer here takes rows of `input_ids`, `attention_mask` and `labels` as they are, so that nothing is rendered,
masked or cut a second time.

Source: trl 1.16.0, SFTTrainer._prepare_dataset; unsloth-zoo, sft_prepare_dataset; docs.axolotl.ai, "Custom
Pre-Tokenized Dataset".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import orjson

from tuneworthy.errors import UserError
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
    more = [f"its {len(rows)} rows are those that `tuneworthy train` trains on"]
    if planned.rehearsal is None:
        more[0] += ", but for those of rehearsal, which the base writes when it is run"
    if planned.rows.dataset is None:
        more.append("nothing is frozen yet: they passed no gates; what is dev or gives cases away is left out")
    elif not planned.material.gated:
        more.append(f"the version {planned.rows.dataset} was frozen with failed gates")
    return replace(made, notes=(*made.notes, *more))


def rows_of(planned: Planned) -> Sequence[TokenRow]:
    """Return the rows of a plan, those that the base wrote itself last.

    Raises:
        UserError: The base is not a folder that other trainers load, or its tokenizer is not at hand.
    """
    if planned.folder is None:
        raise UserError(
            f"expected a base that other trainers can load, got {planned.base}, a GGUF file",
            hint="run `tuneworthy train` once, which makes a folder of it, or name a folder with --base",
        )
    if planned.rendered is None:
        raise UserError(
            f"expected tokenizer.json in {planned.folder} and transformers, which the rows are written with, got none",
            hint="add the file, and pip install 'tuneworthy[train]'",
        )
    return [*planned.rendered.rows, *(planned.rehearsal or ())]


def row_lines(rows: Iterable[TokenRow]) -> Iterator[bytes]:
    """Yield a line of JSON for each row: `input_ids`, `attention_mask`, `labels` (-100 where nothing is supervised)."""
    for row in rows:
        labels = [one if bit else IGNORED for one, bit in zip(row.ids, row.mask, strict=True)]
        document = {"input_ids": row.ids, "attention_mask": [1] * len(row.ids), "labels": labels}
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
