"""Whether an answer refuses: a small linear classifier over sentences, trained on rows next to this module.

`refusals.json` has, by language, refusals and look-alikes: honest answers with a negation, an
apology, or "I don't know". The classifier reads the first sentences of an answer; one refusing sentence is enough, as
long as no help of some length follows it. It is trained once in a process, in about a second, with a fixed seed.

`python -m scripts.bad_answers` measures it on wordings that are not in the file.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import re2

from tuneworthy.cases.normalize import folded
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.store.shapes import bundled
from tuneworthy.types import UNLABELLED, NamedTexts, Texts

# Sentences at the beginning of an answer that are read, and characters.
_SENTENCES = 3
_HEAD = 400
# Characters of an answer from which a refusing sentence is only a remark.
LONGEST = 1500
# Probability from which a sentence refuses.
THRESHOLD = 0.7
# Rows that are composed from each refusal and each answer.
_PER_REFUSAL = 6
_PER_ANSWER = 4
_SEED = 19
_END = re.compile(r"(?<=[.!?])\s+|\n+")
_PLAIN = str.maketrans({"’": "'", "ʼ": "'", "´": "'"})
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# Every refusal has one of these concepts, and one of the speaker, the user or a norm: a finding in the third person,
# such as "was not supported", refuses nothing.
_CUES = frozenset({"NEG", "DENY", "BOT", "WILL"})
_SPEAKER = frozenset({"ME", "YOU", "SORRY", "NORM"})
# How a refusal without a subject begins.
_BARE = re.compile(r"(?:no,? )?(?:cannot|can't|won't|unable to|not able to)\b")
# Unknown words in a row, which separate two statements.
_GAP = re.compile("(?:_ ?){2,}")


@dataclass(frozen=True)
class RefusalLanguage:
    openers: list[str]
    refusals: list[str]
    tasks: list[str]
    answers: list[str]
    closers: list[str]
    topics: list[str]


@dataclass(frozen=True)
class RefusalParts:
    """Content of `refusals.json`: words by concept, and parts of training sentences by language."""

    concepts: dict[str, str]
    languages: dict[str, RefusalLanguage]


@cache
def _parts() -> RefusalParts:
    return bundled("tuneworthy.graders", "refusals.json", RefusalParts)


@cache
def _concepts() -> tuple[NamedTexts, Sequence[tuple[str, str]]]:
    listed = [(word, name) for name, words in _parts().concepts.items() for word in words.casefold().split()]
    stems = [(word[:-1], name) for word, name in listed if word.endswith("*")]
    return dict(reversed([pair for pair in listed if pair[0][-1] != "*"])), stems


def _concept(word: str) -> str:
    whole, stems = _concepts()
    return whole.get(word) or next((name for stem, name in stems if word.startswith(stem)), "")


@cache
def _pattern(concepts: frozenset[str]) -> Any:
    """Return a pattern that texts with these concepts match, and few others; RE2 is faster than looking words up."""
    words, stems = ([re.escape(word) for word, name in pairs if not concepts.isdisjoint(name.split())]
                    for pairs in (_concepts()[0].items(), _concepts()[1]))  # fmt: skip
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(f"(?:^|[^0-9a-z])(?:{'|'.join(stems)}|(?:{'|'.join(words)})(?:$|[^0-9a-z]))".encode(), options)


def _may_refuse(text: str) -> bool:
    encoded = text.encode("utf-8", "surrogatepass")
    return bool(_BARE.match(text)) or all(_pattern(some).search(encoded) for some in (_CUES, _SPEAKER))


def _outline(sentence: str) -> list[str]:
    return _GAP.sub("GAP ", " ".join(map(_names, _TOKEN.findall(sentence)))).replace("_", "").split()


@lru_cache(maxsize=100_000)
def _names(token: str) -> str:
    """Return the concepts of a token: of one word if it is known, else by its apostrophe: "n'entre" is two words."""
    words = (token,) if "'" not in token or _concept(token) else token.split("'")
    return " ".join(filter(None, map(_concept, words))) or "_"


@cache
def training_rows() -> tuple[list[str], list[int]]:
    """Return sentences and whether each refuses, composed from the parts in `refusals.json`."""
    rng = random.Random(_SEED)
    rows: list[tuple[str, int]] = []
    for each in _parts().languages.values():
        rows += [
            (rng.choice(each.openers) + refusal.format(task=rng.choice(each.tasks)), 1)
            for refusal in each.refusals
            for _ in range(_PER_REFUSAL)
        ]
        for answer in [*each.answers, *each.closers]:
            filled = (answer.format(topic=topic) for topic in rng.sample(each.topics, _PER_ANSWER))
            rows += [(text, 0) for text in dict.fromkeys(filled)]
    return [_plain(text) for text, _ in rows], [label for _, label in rows]


@cache
def _classifier() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"[\w']+", sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    outlines = TfidfVectorizer(analyzer=_outline_parts, sublinear_tf=True)
    classifier = make_pipeline(make_union(words, letters, outlines), LogisticRegression(C=20.0, solver="liblinear"))
    return classifier.fit(*training_rows())


def _outline_parts(sentence: str) -> list[str]:
    names = _outline(sentence)
    runs = [" ".join(names[i : i + n]) for n in range(1, 5) for i in range(len(names) - n + 1)]
    return runs + [f"{a}..{b}" for i, a in enumerate(names) for b in names[i + 2 : i + 8]]


def sentences(answer: str) -> list[str]:
    """Return the first sentences of `answer` that could refuse.

    >>> sentences("Hello there. I can't help with that.")
    ["i can't help with that."]
    """
    head = _plain(_spoken(answer)[:_HEAD].strip())
    heads = [one for one in _END.split(head) if one] if _may_refuse(head) else []
    outlines = [(one, {*_outline(one)}) for one in heads[:_SENTENCES] if _may_refuse(one)]
    return [one for one, names in outlines if names & _CUES and (names & _SPEAKER or _BARE.match(one))]


def _spoken(answer: str) -> str:
    """Return the text of an answer: of a JSON object its only text, else nothing."""
    value = parse_object(answer)
    if value is UNLABELLED:
        return answer
    texts = list(value.values()) if isinstance(value, dict) else []
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else ""


def score(texts: Texts) -> list[float]:
    return [float(one) for one in _classifier().predict_proba(texts)[:, 1]] if texts else []


@lru_cache(maxsize=4096)
def refuses(answer: str) -> bool:
    """Whether `answer` refuses to answer.

    >>> refuses("I'm sorry, but I can't help with that."), refuses("I don't know."), refuses("You can't change it.")
    (True, False, False)
    """
    return len(answer) <= LONGEST and any(one >= THRESHOLD for one in score(sentences(answer)))


def find_refusals(answers: Texts) -> Iterator[int]:
    """Yield the positions of the answers that refuse, in order."""
    listed = {answer: sentences(answer) for answer in answers if len(answer) <= LONGEST}
    distinct = sorted({one for several in listed.values() for one in several})
    bad = {one for one, probability in zip(distinct, score(distinct), strict=True) if probability >= THRESHOLD}
    return (number for number, answer in enumerate(answers) if not bad.isdisjoint(listed.get(answer, ())))


def _plain(text: str) -> str:
    return folded(text.translate(_PLAIN))
