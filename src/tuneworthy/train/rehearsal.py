"""Rows that the base writes itself, so that an adapter keeps abilities that the task does not need.

A chat model that is given the opening of a user's turn goes on with a question (Magpie, arXiv 2406.08464). Its
greedy answers are to stay the same after tuning (Self-Synthesized Rehearsal, arXiv 2403.01244). No user data are
needed, and no regression set is seen. The rows fill whole optimiser steps (`order`).

    .tuneworthy/training/rehearsal-<hash>.json   {"rows", "hash"}: a run that is resumed trains on the same
"""

import gc
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.store import write_atomic
from tuneworthy.train.base_model import Base
from tuneworthy.train.generation import Advance, answer_ids, answering_mode
from tuneworthy.train.phases import phase
from tuneworthy.train.render import Renderer, RowChat, TokenRow
from tuneworthy.train.row_lengths import RowLengths
from tuneworthy.train.settings import BLOCK, TrainingSettings
from tuneworthy.types import Say, Texts, content_hash

# Version of how rows are written: with another one they are written again.
VERSION = 1
# No template that is meant well puts more before a user's turn.
OPENING_TOKENS = 1024
# A question that has not ended by then is left out.
QUESTION_TOKENS = 64
# An answer that has not ended by then is cut: its end is not supervised then.
ANSWER_TOKENS = 96
# Tokens of a row, about: question, answer and the template's own.
LONGEST = 256
# Tokens that the template adds to a row, about.
TEMPLATE_TOKENS = 32
# Tokens of a row on average, and their deviation: most answers are cut, and questions have half of their limit.
USUAL, DEVIATION = 160, 16.0
# Questions that are drawn at once.
DRAWN = 32
# Questions besides those that are wanted: now and then the template refuses one, or nothing answers it.
SPARE = 8
# Draws for each row that is wanted, at most: some models write few questions that end.
DRAWS_A_ROW = 4


def stored_rows(training: Path, base_id: str, seed: int, n: int) -> list[TokenRow] | None:
    """Return the rows that were written for such a run before; None if there are no such rows, or they were changed.

    Args:
        training: The folder `.tuneworthy/training`.
        base_id: Id of the base's artifact.
        seed: Seed of the run.
        n: How many were wanted.
    """
    path = _path(training, base_id, seed, n)
    try:
        document = orjson.loads(path.read_bytes())
        rows = document["rows"]
        return [TokenRow(**row) for row in rows] if content_hash(rows) == document["hash"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def expected_rows(settings: TrainingSettings, n_rows: int) -> RowLengths:
    """Return in numbers the rows that the base is going to write besides `n_rows` of the task, about.

    Where raw text is trained on, its blocks instead, which are longer.
    """
    n = settings.n_rehearsal(n_rows)
    if settings.method == "continued":
        tokens = settings.batch_size * BLOCK
        return RowLengths(n_rows=settings.batch_size, n_tokens=tokens, n_supervised=tokens, median=BLOCK, p99=BLOCK,
                          longest=BLOCK, counted=True)  # fmt: skip
    most = QUESTION_TOKENS + ANSWER_TOKENS + TEMPLATE_TOKENS
    return RowLengths(n_rows=n, n_tokens=n * USUAL, n_supervised=n * ANSWER_TOKENS, median=USUAL, p99=most,
                      longest=most, counted=False, deviation=DEVIATION)  # fmt: skip


def rehearsal_rows(
    training: Path, base: Base, settings: TrainingSettings, n_rows: int, say: Say = lambda _: None
) -> list[TokenRow]:
    """Return the rows that `base` writes itself, of too few those that fill whole steps; written once and stored.

    Args:
        training: The folder `.tuneworthy/training`.
        base: Writes them, as the run loads it.
        settings: Settings of the run.
        n_rows: Rows of the task.
        say: Gets progress messages.
    """
    if not (n := settings.n_rehearsal(n_rows)):
        return []
    own = stored_rows(training, base.artifact.id, settings.seed, n)
    if own is None:
        say(
            f"Rehearsal: the base model generates {n} rows of its own, which are added to the {n_rows} task rows "
            "so that it forgets less."
        )
        own = _written(base, settings, n)[:n]
        rows = [asdict(row) for row in own]
        write_atomic(
            _path(training, base.artifact.id, settings.seed, n),
            orjson.dumps({"rows": rows, "hash": content_hash(rows)}),
        )
    if len(own) < n:
        say(f"Rehearsal: only {len(own)} of {n} rows, because the base model generated no more complete questions.")
    return own[: len(own) - len(own) % settings.batch_size]


def _path(training: Path, base_id: str, seed: int, n: int) -> Path:
    return training / f"rehearsal-{content_hash([VERSION, base_id, seed, n])}.json"


def _written(base: Base, settings: TrainingSettings, n: int) -> list[TokenRow]:
    import torch

    from tuneworthy.train.trainer import loaded

    renderer = Renderer(base.template, base.tokenizer, base.ends)
    turn = renderer.user_turn()
    if turn is None or len(turn[0]) > OPENING_TOKENS:
        return []
    model = loaded(base.artifact.folder, settings)
    with answering_mode(model), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        with phase("rehearsal questions", n + SPARE) as advance:
            questions = _questions(model, base, turn, n + SPARE, advance)
        with phase("rehearsal answers", len(questions)) as advance:
            rows = _answered(model, base, renderer, questions, advance) if questions else []
    del model
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return rows


def _questions(model: Any, base: Base, turn: tuple[list[int], int], n: int, advance: Advance) -> list[str]:
    """Return `n` questions that differ, or fewer.

    Args:
        turn: The tokens before a question, and the id that comes after it (`Renderer.user_turn`).
        advance: Gets how many questions each draw adds.
    """
    opening, closing = turn
    control = set(base.tokenizer.all_special_ids)
    ends = (closing, *base.ends)
    questions: dict[str, None] = {}
    for _ in range(ceil(DRAWS_A_ROW * n / DRAWN)):
        drawn = answer_ids(
            model, [opening] * DRAWN, ends=ends, filler=base.ends[0], max_tokens=QUESTION_TOKENS, draw=True
        )
        whole = [ids for ids, end in drawn if end is not None and not control.intersection(ids)]
        texts = [base.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False).strip()
                 for ids in whole]  # fmt: skip
        before = len(questions)
        questions |= dict.fromkeys(filter(None, texts))
        advance(len(questions) - before)
        if len(questions) >= n or len(questions) == before:
            break
    return list(questions)[:n]


def _answered(model: Any, base: Base, renderer: Renderer, questions: Texts, advance: Advance) -> list[TokenRow]:
    """Return the questions with their answers as rows, but for those that the template refuses or nothing answers.

    An answer is stored as the ids that the model gave: as text, a template may change it.
    """
    prompts = renderer.prompts([RowChat("", ({"role": "user", "content": question},)) for question in questions])
    answered = [ids for ids in prompts if ids]
    answers = answer_ids(
        model, answered, ends=base.ends, filler=base.ends[0], max_tokens=ANSWER_TOKENS, advance=advance
    )
    rows: list[TokenRow] = []
    for prompt, (ids, end) in zip(answered, answers, strict=True):
        if ids:
            answer = ids if end is None else [*ids, end]
            rows.append(TokenRow(f"rehearsal-{len(rows)}", [*prompt, *answer], [0] * len(prompt) + [1] * len(answer)))
    return rows
