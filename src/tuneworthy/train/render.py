"""From chats to token ids and mask: exactly the tokens that the model sees, and those that the loss is taken over.

Invariants: the prompt of a row has the ids that it has when it is served; only the assistant's text is supervised,
its end-of-turn token included (a model that is not taught to stop does not); a row is whole or left out, never cut.

Only text goes through the template (`providers.chat_template`): each answer as the last turn of its chat, and the
prompt before it. The mask is right because the first begins with the second, in text and in ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import Chat, ChatTemplate
from tuneworthy.train import messages
from tuneworthy.train.batch_layout import IGNORED
from tuneworthy.types import JsonObject, NamedInts, Texts, Tokens, Turns, role_of, text_of

# Around supervised text, where colours cannot be shown.
OPEN, CLOSE = "⟦", "⟧"
# Placeholder of a user's text, to find the text that the template writes around it.
MARK = "what-the-user-says"
# Reason why a row is not trained on, to words.
REASONS = {
    "too_long": "longer than max_length",
    "refused": "rejected by the chat template",
    "no_answer": "not ending with an assistant answer",
    "control_tokens": "containing the model's control tokens",
    "prompt_differs": "with a prompt that renders differently without its answer",
    "no_end": "without an end-of-turn token, so the model would not learn to stop",
}


@dataclass(frozen=True, slots=True)
class RowChat:
    """A row before it is rendered.

    Attributes:
        id: Id of the example.
        messages: The whole chat, the answer last.
        tools: JSON schemas of its tools.
    """

    id: str
    messages: Turns
    tools: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row as it is trained on.

    Attributes:
        id: Id of the example.
        ids: Token ids, `(n_tokens,)`.
        mask: 1 where the token is supervised, `(n_tokens,)`.
    """

    id: str
    ids: list[int]
    mask: list[int]

    @property
    def n_supervised(self) -> int:
        return sum(self.mask)

    @property
    def labels(self) -> list[int]:
        """The ids, -100 where nothing is supervised."""
        return [number if bit else IGNORED for number, bit in zip(self.ids, self.mask, strict=True)]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A row with a worse answer, as token ids.

    Attributes:
        id: Id of the example.
        prompt: What both answers follow, `(n_tokens,)`.
        chosen: The better answer with its end.
        rejected: The worse answer with its end.
    """

    id: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True, slots=True)
class Rendered:
    """All rows of a run.

    Attributes:
        rows: In the order of the chats.
        left_out: Id of the example to the reason (`REASONS`).
        last_only: Rows with several answers where only the last is supervised, since the template renders earlier
            answers in another way once they are history.
        template_sha256: Hash of the chat template.
        pairs: The rows with their worse answers, where pairs are trained on.
    """

    rows: list[TokenRow]
    left_out: dict[str, str]
    last_only: int
    template_sha256: str
    pairs: tuple[TokenPair, ...] = ()

    @property
    def reasons(self) -> NamedInts:
        return Counter(self.left_out.values())

    @property
    def n_tokens(self) -> int:
        return sum(len(row.ids) for row in self.rows)

    @property
    def n_supervised(self) -> int:
        return sum(row.n_supervised for row in self.rows)

    @property
    def share(self) -> float:
        return self.n_supervised / self.n_tokens if self.rows else 0.0

    @property
    def longest(self) -> int:
        return max((len(row.ids) for row in self.rows), default=0)

    def within(self, max_length: int) -> Rendered:
        """Return the same without the rows that are longer; they are counted."""
        long = {row.id: "too_long" for row in self.rows if len(row.ids) > max_length}
        long |= {pair.id: "too_long" for pair in self.pairs if pair.longest > max_length}
        rows = [row for row in self.rows if row.id not in long]
        pairs = tuple(pair for pair in self.pairs if pair.id not in long)
        return replace(self, rows=rows, pairs=pairs, left_out={**self.left_out, **long}) if long else self

    def document(self) -> JsonObject:
        return {
            "n_rows": len(self.rows),
            "n_tokens": self.n_tokens,
            "n_supervised": self.n_supervised,
            "share_supervised": round(self.share, 4),
            "longest": self.longest,
            "left_out": dict(self.reasons),
            "last_answer_only": self.last_only,
            "template_sha256": self.template_sha256,
        }


class Renderer:
    """Renders chats for one model.

    Args:
        template: Its chat template.
        tokenizer: Its tokenizer, of transformers.
        ends: Ids of the tokens that end a turn.
    """

    def __init__(self, template: ChatTemplate, tokenizer: Any, ends: Tokens) -> None:
        self.template = template
        self.tokenizer = tokenizer
        self.ends = tuple(ends)
        self._end_texts = [str(text) for text in tokenizer.convert_ids_to_tokens(list(ends))]

    def prompts(self, chats: Sequence[RowChat]) -> list[list[int] | None]:
        """Return the token ids of chats that wait for an answer, as a server gives them to the model; None if refused.

        Args:
            chats: They end with the user's turn.
        """
        texts = self.template.render([_upto(chat, len(chat.messages), generation_prompt=True) for chat in chats])
        return [None if text is None else self.ids(text) for text in texts]

    def user_turn(self) -> tuple[list[int], int] | None:
        """Return the token ids before the first text of a user, and the id that comes after it.

        None where the template does not show such a turn, or has nothing before or after it.
        """
        (text,) = self.template.render([Chat(messages=({"role": "user", "content": MARK},), generation_prompt=True)])
        if text is None or MARK not in text:
            return None
        before, after = (self.ids(part) for part in text.split(MARK, 1))
        return (before, after[0]) if before and after else None

    def rows(self, chats: Sequence[RowChat], max_length: int) -> Rendered:
        """Render the rows of a run.

        Args:
            chats: Whole chats.
            max_length: Tokens of a row; longer rows are left out.

        Raises:
            UserError: No row is left, or nothing is supervised.
            ModelError: See `ChatTemplate.render`.
        """
        answers = [[at for at, turn in enumerate(chat.messages) if role_of(turn) == "assistant"] for chat in chats]
        parts = []
        for chat, places in zip(chats, answers, strict=True):
            parts += [_upto(chat, at, generation_prompt=True) for at in places]
            parts += [_upto(chat, at + 1, generation_prompt=False) for at in places]
        texts = iter(self.template.render(parts))
        rows, left_out, last_only = [], {}, 0
        for chat, places in zip(chats, answers, strict=True):
            before, after = [next(texts) for _ in places], [next(texts) for _ in places]
            made = self._row(chat, before, after)
            if isinstance(made, TokenRow) and len(made.ids) > max_length:
                made = "too_long"
            if isinstance(made, str):
                left_out[chat.id] = made
                continue
            last_only += len(places) > 1 and sum(1 for bit, _ in groupby(made.mask) if bit) == 1
            rows.append(made)
        rendered = Rendered(rows, left_out, last_only, self.template.sha256)
        if not rendered.n_supervised:
            why = "; ".join(f"{n} {REASONS[name]}" for name, n in rendered.reasons.items())
            raise UserError(
                f"No row can be trained on (rows read: {len(chats)}). Dropped: {why}."
                if why
                else "There are no rows to train on.",
                hint="Raise [train] max_length." if set(rendered.reasons) == {"too_long"} else messages.CHECK_TEMPLATE,
            )
        return rendered

    def pairs(self, chats: Sequence[RowChat], worse: Texts, max_length: int) -> Rendered:
        """Render pairs: as `rows` the chats, and each again with its worse answer as the last turn.

        Args:
            chats: Whole chats.
            worse: One worse answer per chat.
            max_length: Tokens of a row; longer pairs are left out.

        Raises:
            UserError: As `rows`.
        """
        others = [
            replace(chat, messages=(*chat.messages[:-1], {"role": "assistant", "content": text}))
            for chat, text in zip(chats, worse, strict=True)
        ]
        better, rest = self.rows(chats, max_length), self.rows(others, max_length)
        rejected = {row.id: _split(row) for row in rest.rows}
        left_out, pairs = {**rest.left_out, **better.left_out}, []
        for row in better.rows:
            if row.id not in rejected:
                continue
            (prompt, answer), (again, other) = _split(row), rejected[row.id]
            if prompt == again:
                pairs.append(TokenPair(row.id, prompt, answer, other))
            else:
                left_out[row.id] = "prompt_differs"
        ids = {pair.id for pair in pairs}
        rows = [row for row in better.rows if row.id in ids]
        return replace(better, rows=rows, pairs=tuple(pairs), left_out=left_out)

    def shown(self, row: TokenRow) -> list[tuple[str, bool]]:
        """Return the text of a row in stretches, each with whether it is supervised."""
        stretches = []
        at = 0
        for bit, run in groupby(row.mask):
            n = len(list(run))
            text = self.tokenizer.decode(
                row.ids[at : at + n], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            stretches.append((text, bool(bit)))
            at += n
        return stretches

    def _row(self, chat: RowChat, before: Sequence[str | None], after: Sequence[str | None]) -> TokenRow | str:
        """Return the row, or the reason why it is left out.

        Args:
            chat: The row as a chat.
            before: The text of the chat up to each answer.
            after: The same with the answer, which is the last turn.
        """
        if not before or role_of(chat.messages[-1]) != "assistant":
            return "no_answer"
        if any(text is None for text in (*before, *after)):
            return "refused"
        contents = [text_of(turn) for turn in chat.messages]
        if any(special and special in text for special in self.tokenizer.all_special_tokens for text in contents):
            return "control_tokens"
        answers = [self._answer(str(prompt), str(text)) for prompt, text in zip(before, after, strict=True)]
        if answers[-1] in {"prompt_differs", "no_end"}:
            return answers[-1]
        turns = [(str(prompt), answer) for prompt, answer in zip(before, answers, strict=True)]
        if not all(turns[-1][0].startswith(prompt + answer) for prompt, answer in turns[:-1]):
            turns = turns[-1:]  # as history, an earlier answer differs from the model's own
        return self._joined(chat.id, turns)

    def _answer(self, prompt: str, whole: str) -> str:
        """Return the answer with its end, or the reason why the row is left out."""
        if not whole.startswith(prompt):
            return "prompt_differs"
        ends = [at + len(end) for end in self._end_texts if (at := whole.find(end, len(prompt))) >= 0]
        return whole[len(prompt) : min(ends)] if ends else "no_end"

    def _joined(self, identity: str, turns: Sequence[tuple[str, str]]) -> TokenRow | str:
        """Tokenise prompts and answers apart, as they are when served, and put them together.

        A prompt that has other ids than what appears in the row before its answer makes the mask wrong.

        Args:
            turns: (all of the chat before the answer, the answer with its end); each begins with the one before it.
        """
        ids: list[int] = []
        mask: list[int] = []
        start = 0
        for prompt, answer in turns:
            new = self.ids(prompt[start:])
            ids, mask = ids + new, mask + [0] * len(new)
            if len(turns) > 1 and ids != self.ids(prompt):
                return "prompt_differs"
            new = self.ids(answer)
            start = len(prompt) + len(answer)
            if not new or new[-1] not in self.ends:
                return "no_end"
            ids, mask = ids + new, mask + [1] * len(new)
        return TokenRow(identity, ids, mask)

    def ids(self, text: str) -> list[int]:
        """Tokenise; the template writes where the text begins, so the tokenizer adds nothing: BOS is there once."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Tokens) -> str:
        """Return the text of `ids`, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def _split(row: TokenRow) -> tuple[list[int], list[int]]:
    start = len(row.mask) - next((n for n, bit in enumerate(reversed(row.mask)) if not bit), len(row.mask))
    return row.ids[:start], row.ids[start:]


def _upto(chat: RowChat, n_turns: int, *, generation_prompt: bool) -> Chat:
    return Chat(messages=chat.messages[:n_turns], generation_prompt=generation_prompt, tools=chat.tools)
