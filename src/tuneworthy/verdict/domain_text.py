"""Domain shift of the text: bits per byte under the base model, against general English sentences. Decides nothing.

Short texts cost more bits per byte, because a model knows nothing of the context of their first word. So each text of
the domain is paired with a general sentence, and both are cut to the length of the shorter one.

Invariant: no test case is read. A model that gives no log-probability of a text leaves the reason unknown.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from tuneworthy.providers.models import find
from tuneworthy.stats.difference import linearised
from tuneworthy.stats.ratios import LEAST_GROUPS, clustered_variance, effective_groups
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
# Texts per call.
BATCH: Final = 8
OUT_OF_DATE: Final = "The bits per byte of the domain's text are out of date. Run `tuneworthy decide --probe`."


@dataclass(frozen=True, slots=True)
class StoredDomain:
    """Content of `domain.json`: the result, and a hash of its inputs."""

    of: str
    text: DomainText


@cache
def general_sentences() -> tuple[str, ...]:
    """Return 200 plain English sentences about everyday things, shortest first."""
    text = files("tuneworthy.verdict").joinpath("general_sentences.txt").read_text(encoding="utf-8")
    return tuple(sorted(text.splitlines(), key=_size))


def domain_of(session: Session) -> DomainText:
    """Return the stored result, or the next step for one."""
    stored, project = session.folder.read(FILE, StoredDomain), session.project
    if stored is not None and stored.of == _fingerprint(session):
        return stored.text
    if not _can_score(project):
        return DomainText(why=_needs_base(project))
    return DomainText(why=OUT_OF_DATE if stored else messages.DOMAIN_UNKNOWN)


def _needs_base(project: Project) -> str:
    return (
        f"The model {project.ladder.baseline} gives no log-probability of a text. Set `base` in [train] to the model "
        "that would be trained, then run `tuneworthy decide --probe`."
    )


async def measure_domain(session: Session, progress: Progress | None = None) -> None:
    """Score the text of the domain and general sentences, and store the result in the project's folder.

    A stored result that is up to date is not measured again.
    """
    if domain_of(session).domain is None:
        text = await _measured(session, progress)
        session.folder.write(FILE, {"of": _fingerprint(session), "text": asdict(text)})


async def _measured(session: Session, progress: Progress | None) -> DomainText:
    rows = texts_of(session)
    groups, why = effective_groups([source for _, source in rows]), ""
    if not _can_score(session.project):
        why = _needs_base(session.project)
    elif groups < LEAST_GROUPS:
        why = (
            f"The domain's text counts as {groups:.0f} independent sources; at least {LEAST_GROUPS} are needed. "
            "Add cases or documents, then run `tuneworthy decide --probe`."
        )
    elif not mostly_english([text for text, _ in rows]):
        why = "Most of the domain's text is not English. It cannot be compared with general sentences, which are."
    if why:
        return DomainText(n=len(rows), why=why)
    pairs = list(paired(rows))
    try:
        logprobs = await _logprobs(session, list({text for *pair, _ in pairs for text in pair}), progress)
    except (ProviderError, UserError, OutsideFault) as error:
        why = join_sentences("The domain's text could not be scored.", error.message, error.hint)
        return DomainText(n=len(rows), why=why)
    scored = [row for row in pairs if row[0] in logprobs and row[1] in logprobs]
    left_out = len(pairs) - len(scored)
    if len(scored) < MOSTLY_SCORED * len(pairs):
        return DomainText(n=len(rows), why=f"{left_out} of {len(rows)} texts of the domain could not be scored.")
    return replace(compared(scored, logprobs), left_out=left_out)


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
    found: dict[str, float] = {}
    if progress:
        progress.begin("domain text", len(texts), 0, alone=False)
    for start in range(0, len(texts), BATCH):
        batch = tuple(texts[start : start + BATCH])
        request = Request(messages=(), output=OutputFormat(kind="ranked", choices=batch))
        found.update((await provider.complete(request)).label_logprobs or {})
        if progress:
            for _ in batch:
                progress.advance(0.0)
    if progress:
        progress.end()
    return found


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
