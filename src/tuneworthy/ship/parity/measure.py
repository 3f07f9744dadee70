"""What one form of a model (adapter on its base, merged, GGUF, served) answers.

A form answers four questions; `measure` asks them all and stores plain numbers, so that one form at a time is in memory
and every check is a function of the measurements. Distributions are compared on the ids that the adapter's own
tokenizer gives, so that another reading of the text cannot hide behind another model, or the other way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import exp, log

from tuneworthy.train.render import RowChat
from tuneworthy.types import Examples, NamedInts, Texts, TokenLists, Tokens, frozen, positional

# Most likely tokens that a form is asked for; the others are one bucket.
TOP = 200
# Tokens that a greedy answer may be longer than the longest one that was trained on.
SLACK = 16
# Rows whose next tokens are compared; all are answered, since right and wrong say less.
COMPARED = 100
# Least probability of the bucket: it is a difference of rounded numbers.
_LEAST = 1e-9


# Natural log-probabilities of the most likely next tokens, by id.
NextToken = Mapping[int, float]


def divergence(p: NextToken, q: NextToken) -> float:
    """Return KL(p || q) in nats, over the tokens that `p` names and one bucket of all others.

    A token that `q` does not name gets the lowest probability that `q` does name, which is at least its own: the
    result is at most the true divergence.

    >>> divergence({1: log(0.5), 2: log(0.5)}, {1: log(0.5), 2: log(0.5)})
    0.0
    """
    least = min(q.values())
    total, p_left, q_left = 0.0, 1.0, 1.0
    for token, value in p.items():
        other = q.get(token, least)
        total += exp(value) * (value - other)
        p_left -= exp(value)
        q_left -= exp(other)
    p_left, q_left = max(p_left, _LEAST), max(q_left, _LEAST)
    return max(0.0, total + p_left * log(p_left / q_left))


@positional
class Greedy:
    """An answer of the most likely tokens.

    Attributes:
        ids: Its tokens without the one that ended it.
        text: Its text as the form gives it.
        ended: Whether a token ended it, not the limit.
    """

    ids: tuple[int, ...]
    text: str
    ended: bool


class ModelForm:
    """One form of the model, ready to be asked. All methods block."""

    def template(self) -> str | None:
        return None

    def prompt_ids(self, chats: Sequence[RowChat]) -> list[list[int]]:
        """Return the ids that it reads when it is asked each chat, whatever is put before the text included."""
        raise NotImplementedError

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of `text` with nothing put before or after it; special tokens in it are tokens."""
        raise NotImplementedError

    def following(self, texts: TokenLists) -> list[NextToken]:
        """Return the next token after each text."""
        raise NotImplementedError

    def greedy(self, prompts: TokenLists, most: Tokens) -> list[Greedy]:
        """Return its most likely answer to each prompt, of at most as many tokens as `most` says of that prompt."""
        raise NotImplementedError


@frozen
class ParityPlan:
    """What every form is asked; made once, from the adapter's own tokenizer.

    Attributes:
        chats: Prompts of `rows`, with their tools.
        answers: Answers of `rows`.
        prompt_ids: Ids of the prompts.
        answer_ids: Ids of the answers.
        end: The token that ends an answer.
        marks: Tokens that were added to the vocabulary: text to id.
        facts: Places of the rows whose answer the adapter gives word by word and the base does not.
        rows: Rows that are asked.
        n_left: Further rows that could be asked.
        begin: The token that begins a text, if there is one.
        context: Tokens of a prompt and its answer that every form has room for.
    """

    chats: Sequence[RowChat]
    answers: Texts
    prompt_ids: TokenLists
    answer_ids: TokenLists
    end: int
    marks: NamedInts
    facts: Sequence[int] = ()
    begin: int | None = None
    context: int = 2**31
    rows: Examples = ()
    n_left: int = 0

    @property
    def n_greedy(self) -> int:
        return max(map(len, self.answer_ids)) + SLACK

    @property
    def room(self) -> int:
        """Tokens that a form needs for a prompt and its answer, twice over, as it may read more tokens in a prompt."""
        return min(self.context, 2 * (max(map(len, self.prompt_ids)) + self.n_greedy))

    def answered(self, form: ModelForm, prompts: TokenLists) -> list[Greedy]:
        return form.greedy(prompts, [min(self.n_greedy, self.context - len(ids)) for ids in prompts])


@frozen
class FormAnswers:
    """Answers of a form.

    Attributes:
        name: `base`, `adapter`, `merged`, `gguf` (or `gguf-TYPE`), `served`.
        kind: How its weights are stored, e.g. `q8_0`.
        template: The chat template that it carries, or None.
        prompt_ids: Ids per chat, as the form tokenizes it.
        marks: Ids per added token.
        first: Next-token distribution after each of the first `COMPARED` prompts.
        end: Next-token distribution after each of these prompts with its answer.
        greedy: Its answer to each chat.
    """

    name: str
    kind: str
    template: str | None
    prompt_ids: TokenLists
    marks: Mapping[str, Sequence[int]]
    first: Sequence[NextToken] = field(repr=False)
    end: Sequence[NextToken] = field(repr=False)
    greedy: Sequence[Greedy] = field(repr=False)


def measure(name: str, kind: str, form: ModelForm, plan: ParityPlan, *, answers: bool = True) -> FormAnswers:
    """Ask a form everything.

    Args:
        name: As in `FormAnswers`.
        kind: As in `FormAnswers`.
        form: Answers.
        plan: The prompts.
        answers: Whether the rows are answered, which takes the longest.
    """
    pairs = list(zip(plan.prompt_ids, plan.answer_ids, strict=True))[:COMPARED]
    following = form.following([ids for ids, _ in pairs] + [[*ids, *answer] for ids, answer in pairs])
    return FormAnswers(
        name=name,
        kind=kind,
        template=form.template(),
        prompt_ids=form.prompt_ids(plan.chats),
        marks={text: form.token_ids(text) for text in plan.marks},
        first=following[: len(pairs)],
        end=following[len(pairs) :],
        greedy=plan.answered(form, plan.prompt_ids) if answers else (),
    )
