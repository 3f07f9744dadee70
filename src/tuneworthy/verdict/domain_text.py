"""Domain shift of the text: bits per byte against general English sentences, under a model of the project.

The first words of a text cost more bits per byte than later words. So each text of the domain is paired with a general
sentence, and both are cut to the length of the shorter one. No test case is read, and the result decides nothing.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import log

from tuneworthy.config import Project
from tuneworthy.dataset.checks.language import language_of
from tuneworthy.errors import OutsideFault, ProviderError, UserError, join_sentences
from tuneworthy.ladder.session import Session
from tuneworthy.providers.base import Provider
from tuneworthy.regressions.sets import general_sentences
from tuneworthy.types import NamedFloats, OutputFormat, Request, TextPair, Texts, content_hash, positional
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import DomainText

FILE = "domain"
# Raised whenever other texts are drawn, or they are cut or scored in another way.
VERSION = 2
MIN_TEXTS, MAX_TEXTS = 20, 200
MIN_BYTES = 10
# Texts per call.
BATCH = 8


@positional
class StoredDomain:
    """Content of `domain.json`: the result, and a hash of its inputs."""

    of: str
    text: DomainText


def domain_of(session: Session) -> DomainText:
    """Return the stored result, or the next step for one."""
    stored = session.folder.read(FILE, StoredDomain)
    if stored is not None and stored.of == _fingerprint(session):
        return stored.text
    return (
        DomainText(why="No model of the project gives the log-probability of a text. An embedded model does.")
        if scorer(session.project) is None
        else DomainText(why=messages.DOMAIN_UNKNOWN)
    )


async def measure_domain(session: Session) -> None:
    """Score texts of the domain and general sentences, and store the result in the project's folder."""
    name = scorer(session.project)
    if name is None or domain_of(session).domain is not None:
        return
    texts = texts_of(session)
    result, pairs = DomainText(n=len(texts), why=incomparable(texts)), list(paired(texts))
    try:
        if not result.why:
            result = compared(
                pairs,
                await logprobs_of(session.models[name].provider, tuple({text for pair in pairs for text in pair})),
            )
    except (ProviderError, UserError, OutsideFault) as error:
        result = DomainText(
            n=len(texts), why=join_sentences("The domain's text could not be scored.", error.message, error.hint)
        )
    session.folder.write(FILE, {"of": _fingerprint(session), "text": asdict(result)})


async def logprobs_of(provider: Provider, texts: Texts) -> NamedFloats:
    """Return the natural log-probability per text that the provider could score."""
    scored: dict[str, float] = {}
    for start in range(0, len(texts), BATCH):
        scored |= (
            await provider.complete(
                Request(messages=(), output=OutputFormat(kind="ranked", choices=tuple(texts[start : start + BATCH])))
            )
        ).label_logprobs or {}
    return scored


def scorer(project: Project) -> str | None:
    """Return the model that scores texts: the baseline's if it gives log-probabilities, else the first that does."""
    return next(
        (name for name in [project.ladder.baseline, *project.answering] if project.models[name].ranks_labels), None
    )


def incomparable(texts: Texts) -> str:
    """Say why texts cannot be compared with general English; "" if they can.

    >>> incomparable(["Где моя карта?"] * 20)
    "Most of the domain's text is not English, but the general sentences are."
    """
    if len(texts) < MIN_TEXTS:
        return f"The domain has {len(texts)} texts; at least {MIN_TEXTS} are needed."
    languages = Counter(filter(None, map(language_of, texts)))
    return (
        ""
        if 2 * languages["en"] >= languages.total()
        else "Most of the domain's text is not English, but the general sentences are."
    )


def texts_of(session: Session) -> list[str]:
    """Return a seeded draw of dev inputs and passages of documents."""
    passages = [
        text
        for one in (session.library.corpus.documents if session.library else ())
        for part in one.sections
        for text in part.text.split("\n\n")
    ]
    rng = random.Random(session.project.split.seed)

    def draw(texts: Texts, most: int) -> list[str]:
        long_enough = sorted(text for text in {" ".join(text.split()) for text in texts} if _size(text) >= MIN_BYTES)
        return rng.sample(long_enough, min(most, len(long_enough)))

    drawn = draw(passages, MAX_TEXTS // 2)
    return [*draw([case.text for case in session.split.dev], MAX_TEXTS - len(drawn)), *drawn]


def paired(texts: Texts) -> Iterator[TextPair]:
    """Yield each text with a general sentence, both cut to the length of the shorter one."""
    sentences = sorted(general_sentences(), key=_size)
    for number, text in enumerate(sorted(texts, key=_size)):
        sentence = sentences[int((number + 0.5) * len(sentences) / len(texts))]
        size = min(_size(text), _size(sentence))
        yield _cut(text, size), _cut(sentence, size)


def compared(pairs: Sequence[TextPair], logprobs: NamedFloats) -> DomainText:
    """Return the bits per byte of both sides of the pairs, from natural log-probabilities."""
    scored = [pair for pair in pairs if logprobs.keys() >= {*pair}]
    if len(scored) < MIN_TEXTS:
        return DomainText(n=len(pairs), why=f"{len(pairs) - len(scored)} texts of the domain could not be scored.")
    domain, general = (
        -sum(logprobs[text] for text in side) / log(2) / sum(map(_size, side)) for side in zip(*scored, strict=True)
    )
    return DomainText(n=len(scored), domain=domain, general=general)


def _fingerprint(session: Session) -> str:
    project, name = session.project, scorer(session.project)
    return content_hash([VERSION, name and project.models[name].model_dump(mode="json"), texts_of(session)])


def _size(text: str) -> int:
    return len(text.encode())


def _cut(text: str, size: int) -> str:
    """Return the beginning of `text` in at most `size` bytes, to a word's end where there is one.

    >>> _cut("the river rises", 10), _cut("unbroken", 4)
    ('the river', 'unbr')
    """
    content = text.encode()
    return (
        text
        if len(content) <= size
        else content[: size + 1].decode(errors="ignore").rpartition(" ")[0] or content[:size].decode(errors="ignore")
    )
