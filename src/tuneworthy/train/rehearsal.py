"""Rows that the base writes itself, so that an adapter does not unlearn what the task does not ask for.

A chat model that is given the opening of a user's turn goes on with a question (Magpie, arXiv 2406.08464). What it
answers, greedily, is what it is to go on saying once it is tuned (Self-Synthesized Rehearsal, arXiv 2403.01244). No
data of anybody is needed, and no guard set is seen. Batches hold rows of one kind (`order`).

    .tuneworthy/training/rehearsal-<hash>.json   the rows, kept: a run that is gone on with trains on the same
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any, Final

import orjson

from tuneworthy.errors import UserError
from tuneworthy.store import write_atomic
from tuneworthy.train.base_model import Base
from tuneworthy.train.render import Renderer, Row, RowChat
from tuneworthy.train.settings import Settings
from tuneworthy.types import content_hash

QUESTION_TOKENS: Final = 64
"""A question that has not ended by then is left out."""
ANSWER_TOKENS: Final = 96
"""An answer that has not ended by then is cut: its end is not supervised then."""
DRAWN: Final = 32
"""Questions that are drawn at once."""
DRAWS_A_ROW: Final = 4
"""Draws for each row that is wanted, at most: some models write no question that ends."""


def kept_rows(training: Path, base_id: str, settings: Settings, n_rows: int) -> list[Row] | None:
    """Return the rows that were written for such a run before; None if none were.

    Args:
        training: The folder `.tuneworthy/training`. base_id: Of the base's artifact. settings: Of the run.
        n_rows: Of the task.
    """
    path = _path(training, base_id, settings, n_rows)
    return [Row(**row) for row in orjson.loads(path.read_bytes())] if path.is_file() else None


def rehearsal_rows(
    training: Path, base: Base, settings: Settings, n_rows: int, say: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """Return the rows that `base` writes itself; they are written once and kept.

    Args:
        training, settings, n_rows: As in `kept_rows`. base: Writes them, as the run loads it.
        say: Told what came of it.
    """
    if not (wanted := settings.n_rehearsal(n_rows)):
        return []
    kept = kept_rows(training, base.artifact.id, settings, n_rows)
    if kept is None:
        say(f"rehearsal: the base writes {wanted} rows itself ({settings.rehearsal:.0%} of {n_rows})")
        kept = _written(base, settings, wanted)
        write_atomic(_path(training, base.artifact.id, settings, n_rows), orjson.dumps([asdict(row) for row in kept]))
    if len(kept) < wanted:
        say(f"rehearsal: {len(kept)} of {wanted} rows; the base wrote no more questions that end")
    return kept


def _path(training: Path, base_id: str, settings: Settings, n_rows: int) -> Path:
    of = [base_id, settings.seed, settings.method, settings.dtype, settings.max_length, settings.n_rehearsal(n_rows)]
    return training / f"rehearsal-{content_hash(of)}.json"


def _written(base: Base, settings: Settings, wanted: int) -> list[Row]:
    """Have the base write questions and answers."""
    import torch

    from tuneworthy.train.answering import answering_mode
    from tuneworthy.train.trainer import loaded

    renderer = Renderer(base.template, base.tokenizer, base.ends)
    opening = renderer.opening()
    if opening is None:
        return []
    model = loaded(base.artifact.folder, settings)
    with answering_mode(model), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        asked = _questions(model, base, opening, wanted)
        rows = _answered(model, base, renderer, asked, settings.max_length) if asked else []
    del model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return rows


def _questions(model: Any, base: Base, opening: Sequence[int], wanted: int) -> list[str]:
    """Return questions that differ, `wanted` at most."""
    from tuneworthy.train.answering import answers

    found: dict[str, None] = {}
    for _ in range(ceil(DRAWS_A_ROW * wanted / DRAWN)):
        said = answers(model, base.tokenizer, [opening] * DRAWN, ends=base.ends, max_tokens=QUESTION_TOKENS, draw=True)
        found |= dict.fromkeys(text.strip() for text, why in said if why == "stop" and text.strip())
        if len(found) >= wanted:
            break
    return list(found)[:wanted]


def _answered(model: Any, base: Base, renderer: Renderer, asked: Sequence[str], max_length: int) -> list[Row]:
    """Return the questions with their answers as rows, but for those that the template refuses or nothing answers."""
    from tuneworthy.train.answering import answers

    turns = [({"role": "user", "content": question},) for question in asked]
    prompts = renderer.prompts([RowChat("", messages) for messages in turns])
    asking = [(messages, ids) for messages, ids in zip(turns, prompts, strict=True) if ids]
    said = answers(model, base.tokenizer, [ids for _, ids in asking], ends=base.ends, max_tokens=ANSWER_TOKENS)
    chats, cut = [], set()
    for at, ((messages, _), (text, why)) in enumerate(zip(asking, said, strict=True)):
        if not text.strip():
            continue
        chats.append(RowChat(f"rehearsal-{at}", (*messages, {"role": "assistant", "content": text})))
        if why == "length":
            cut.add(chats[-1].id)
    try:
        rows = renderer.rows(chats, 2**31).rows
    except UserError:  # the template renders none of them
        return []
    whole = [_without_end(row) if row.id in cut else row for row in rows]
    short = [Row(row.id, row.ids[:max_length], row.mask[:max_length]) for row in whole]
    return [row for row in short if row.n_supervised]


def _without_end(row: Row) -> Row:
    """Return a row without the token that ends its answer, which is its last one."""
    return Row(row.id, row.ids[:-1], row.mask[:-1])
