"""Whether the text of the domain is strange to the base: its bits per byte against those of general English sentences.

Short texts cost more bits per byte, because a model knows nothing of what is behind their first word. So each text of
the domain has a general sentence beside it, and both are cut to the length of the shorter one.

Invariant: no test case is read. A model that gives no log-probability of a text leaves the reason unknown.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from math import log, sqrt
from typing import Final

import numpy as np
from scipy.special import stdtrit

from tuneworthy.config import Project
from tuneworthy.dataset.checks.outliers import language_of
from tuneworthy.errors import OutsideFault, ProviderError, UserError, join_sentences
from tuneworthy.evaluate.runner import Progress
from tuneworthy.ladder.session import Session
from tuneworthy.providers.base import Provider
from tuneworthy.providers.models import find
from tuneworthy.stats.difference import linearised
from tuneworthy.stats.ratios import LEAST_GROUPS, clustered_variance, effective_groups
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.types import OutputFormat, Request, content_hash
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import DomainText

FILE: Final = "domain"
# Raised whenever other texts are drawn, or they are cut or scored in another way.
VERSION: Final = 1
MOST_TEXTS: Final = 200
SHORTEST_BYTES: Final = 10
# Share of the texts that must be scored; one with a character of several tokens is not by llama.cpp.
MOSTLY_SCORED: Final = 0.9
# Texts a call, calls at a time, and calls for the same texts at most.
BATCH: Final = 8
WORKERS: Final = 4
MOST_CALLS: Final = 3


class StoredDomain(OpenRecord):
    """What `domain.json` holds.

    Attributes:
        of: Hash of what it was computed from.
        text: The result.
    """

    of: str
    text: DomainText


@cache
def general_sentences() -> tuple[str, ...]:
    """Return 200 plain English sentences about everyday things, shortest first."""
    text = files("tuneworthy.verdict").joinpath("general_sentences.txt").read_text(encoding="utf-8")
    return tuple(sorted(text.splitlines(), key=_size))


def domain_of(session: Session) -> DomainText:
    """Return the stored result, or what has to be done for one."""
    stored = session.folder.read(FILE, StoredDomain)
    if stored is not None and stored["of"] == _fingerprint(session):
        return stored["text"]
    project = session.project
    if not _can_score(project):
        return DomainText(why=messages.say("domain_needs_base", name=project.ladder.baseline))
    return DomainText(why=messages.say("domain_stale" if stored else "domain_unknown"))


async def measure_domain(session: Session, progress: Progress | None = None) -> None:
    """Score the text of the domain and general sentences, and store the result in the project's folder.

    What is stored and still holds is not measured again.
    """
    if domain_of(session).domain is not None:
        return
    text = await _measured(session, progress)
    session.folder.write(FILE, {"of": _fingerprint(session), "text": asdict(text)})


async def _measured(session: Session, progress: Progress | None) -> DomainText:
    rows = texts_of(session)
    n, project = len(rows), session.project
    if not _can_score(project):
        return DomainText(n=n, why=messages.say("domain_needs_base", name=project.ladder.baseline))
    if (groups := effective_groups([source for _, source in rows])) < LEAST_GROUPS:
        return DomainText(
            n=n,
            why=(
                f"The domain's text counts as {groups:.0f} independent sources; at least {LEAST_GROUPS} are needed. "
                "Add cases or documents, then run `tuneworthy decide --probe`."
            ),
        )
    if not mostly_english([text for text, _ in rows]):
        return DomainText(
            n=n,
            why="Most of the domain's text is not English. It cannot be compared with general sentences, which are.",
        )
    pairs = list(paired(rows))
    try:
        logprobs = await _logprobs(session, list({text for *pair, _ in pairs for text in pair}), progress)
    except (ProviderError, UserError, OutsideFault) as error:
        return DomainText(n=n, why=join_sentences("The domain's text could not be scored.", error.message, error.hint))
    pairs = [row for row in pairs if row[0] in logprobs and row[1] in logprobs]
    if len(pairs) < MOSTLY_SCORED * n:
        return DomainText(n=n, why=f"{n - len(pairs)} of {n} texts of the domain could not be scored.")
    return replace(compared(pairs, logprobs), left_out=n - len(pairs))


def texts_of(session: Session) -> list[tuple[str, str]]:
    """Return texts of the domain with their sources: inputs of dev cases and, where there are any, of documents."""
    documents = session.library.corpus.documents if session.library else ()
    passages = {
        _flat(text): document.id
        for document in documents
        for section in document.sections
        for text in section.text.split("\n\n")
    }
    inputs = {_flat(case.text): case.source for case in session.split.dev}
    rng = random.Random(session.project.split.seed)

    def drawn(rows: Mapping[str, str], most: int) -> list[tuple[str, str]]:
        long_enough = sorted(row for row in rows.items() if _size(row[0]) >= SHORTEST_BYTES)
        return rng.sample(long_enough, min(most, len(long_enough)))

    read = drawn(passages, MOST_TEXTS // 2)
    return [*drawn(inputs, MOST_TEXTS - len(read)), *read]


def mostly_english(texts: Sequence[str]) -> bool:
    """Return whether at least half of the texts whose language is clear are English.

    >>> mostly_english(["Where is my card?", "What is the fee for a transfer?"]), mostly_english(["Где моя карта?"])
    (True, False)
    """
    languages = Counter(filter(None, map(language_of, texts)))
    return 2 * languages["en"] >= languages.total()


def paired(rows: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Yield each domain text with a general sentence, both cut to the shorter one, and the source of the text."""
    sentences = general_sentences()
    for number, (text, source) in enumerate(sorted(rows, key=lambda row: _size(row[0]))):
        sentence = sentences[int((number + 0.5) * len(sentences) / len(rows))]
        size = min(_size(text), _size(sentence))
        yield _cut(text, size), _cut(sentence, size), source


def compared(pairs: Sequence[tuple[str, str, str]], logprobs: Mapping[str, float]) -> DomainText:
    """Return bits per byte of both sides and the interval of their difference, clustered by source.

    Args:
        pairs: From `paired`.
        logprobs: Natural log-probability of each text.
    """
    rows = [[-logprobs[sentence], _size(sentence), -logprobs[text], _size(text)] for text, sentence, _ in pairs]
    numbers = np.array(rows) / [log(2), 1, log(2), 1]
    general_bits, general_bytes, bits, size = numbers.sum(axis=0)
    domain, general = float(bits / size), float(general_bits / general_bytes)
    variance, df = clustered_variance(linearised(numbers), [source for *_, source in pairs])
    half = float(stdtrit(df, 0.975)) * sqrt(variance)
    ci95 = (domain - general - half, domain - general + half)
    return DomainText(n=len(pairs), domain=domain, general=general, ci95=ci95)


async def _logprobs(session: Session, texts: Sequence[str], progress: Progress | None) -> dict[str, float]:
    """Return the natural log-probability of each text under the base that can be scored.

    Raises:
        UserError: The base is not here, or the packages that read it.
        ProviderError: A call failed.
        OutsideFault: The model's process ends again and again.
    """
    project, base = session.project, session.project.train.language_model
    if base is not None:
        if not all(map(find_spec, ("torch", "transformers"))):
            raise UserError(
                "Scoring text with the base model needs torch and transformers: `pip install 'tuneworthy[train]'`."
            )
        if find(base, project.root) is None:
            raise UserError(
                f"The base model is not on this machine. Run `tuneworthy models pull {base}`, then `tuneworthy "
                "decide --probe`."
            )
        from tuneworthy.train.base_model import prepare_base  # loads torch
        from tuneworthy.train.text_logprobs import text_logprobs

        artifact = await asyncio.to_thread(prepare_base, base, project.root, session.folder)
        return dict(zip(texts, await asyncio.to_thread(text_logprobs, artifact.folder, texts), strict=True))
    provider = session.models[project.ladder.baseline].provider
    if progress:
        progress.begin("domain text", len(texts), 0, alone=False)

    found: dict[str, float] = {}
    batches = iter([tuple(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])

    async def work() -> None:
        for batch in batches:
            found.update(await _scored(provider, batch))
            for _ in batch:
                if progress:
                    progress.advance(0.0)

    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if progress:
            progress.end()
    return found


async def _scored(provider: Provider, batch: tuple[str, ...]) -> Mapping[str, float]:
    """Return the log-probabilities of texts; a call that may succeed later is made again."""
    request = Request(messages=(), output=OutputFormat(kind="ranked", choices=batch))
    for _ in range(MOST_CALLS - 1):
        try:
            return (await provider.complete(request)).label_logprobs or {}
        except ProviderError as error:
            if not error.retryable:
                raise
    return (await provider.complete(request)).label_logprobs or {}


def _can_score(project: Project) -> bool:
    return project.train.language_model is not None or project.models[project.ladder.baseline].ranks_labels


def _fingerprint(session: Session) -> str:
    project = session.project
    base = project.train.language_model or project.models[project.ladder.baseline].model_dump(mode="json")
    return content_hash([VERSION, base, texts_of(session)])


def _flat(text: str) -> str:
    return " ".join(text.split())


def _size(text: str) -> int:
    return len(text.encode())


def _cut(text: str, size: int) -> str:
    """Return the beginning of `text` in at most `size` bytes, to a word's end where there is one.

    >>> _cut("the river rises", 10), _cut("unbroken", 4)
    ('the river', 'unbr')
    """
    content = text.encode()
    if len(content) <= size:
        return text
    return content[: size + 1].decode(errors="ignore").rpartition(" ")[0] or content[:size].decode(errors="ignore")
