"""The project's documents, searched: from a `Retrieval` and questions to passages.

Invariant: what was found once is kept (`searches`), so that a walk again shows the same passages; everything that a
result hangs on is part of the `Retrieval` and of the documents' hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.config.retrieval import (
    CrossEncoderReranker,
    EncoderServer,
    LlamaCppEncoder,
    LocalEncoder,
    MaxSim,
    RerankServer,
)
from tuneworthy.constraints import may_serve
from tuneworthy.errors import UserError
from tuneworthy.providers.address import check_address
from tuneworthy.providers.models import pinned_models
from tuneworthy.retrieval import chunking
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.chunking import about_tokens, chunk_documents
from tuneworthy.retrieval.cross_encoder import CrossEncoder, cross_encoder_identity, cross_encoder_missing
from tuneworthy.retrieval.documents import Corpus, read_documents
from tuneworthy.retrieval.encoder import MAX_TOKENS, SentenceEncoder, load_encoder
from tuneworthy.retrieval.index import Encoder, lancedb_missing, open_index
from tuneworthy.retrieval.llama import LlamaEncoder, llama_identity, llama_missing
from tuneworthy.retrieval.oracle import Handed, Oracle
from tuneworthy.retrieval.searcher import RERANKED, Reranker, Searcher
from tuneworthy.retrieval.searches import Searches
from tuneworthy.retrieval.servers import BATCH, ServerEncoder, ServerReranker
from tuneworthy.store import Folder
from tuneworthy.types import Case, Passage, Retrieval, content_hash

DEFAULT = "documents"
DEEPEST = 10
"""Passages of a search that are kept: k may be as large, and measures look as far."""
FEWEST_SOUGHT = 6
"""Words of a turn that are enough for a search; what stands before a shorter one is searched for as well."""
MOST_ENCODED = 100_000
"""Chunks that dense vectors are made of, at most, estimated: all vectors are looked at in each search."""
ENCODED_A_SECOND = 12
"""Full chunks that the local encoder takes a second on one core, measured."""
MANY_ENCODED = 10_000
"""Chunks from which on their number is told before they are encoded."""
STAGES = ("encode", "words", "vectors", "fuse", "rerank")


class Library:
    """All that the rung `retrieval`, the runner and the probes need of the documents; open it with `open_library`.

    Args:
        project: Its `[retrieval]`.
        path: Of the documents.
        account: Pays servers, and keeps what they answer; without one none is asked.

    Raises:
        UserError: The address of a server is none, or holds a secret: it is shown and stored.
    """

    def __init__(self, project: Project, path: Path, account: Account | None = None) -> None:
        self._account, self._root = account, project.root
        self.settings = project.retrieval
        for server in self.settings.servers.values():
            check_address(server.base_url)
        self.path = path
        self._folder = Folder(project.root).path / "retrieval"
        self._searches = Searches(self._folder / "searches.sqlite")
        self._searchers: dict[str, Searcher] = {}

    @cached_property
    def corpus(self) -> Corpus:
        """The documents, read when first needed."""
        return read_documents(self.path)

    @cached_property
    def missing(self) -> str:
        """Why nothing can be searched here; "" if it can."""
        return lancedb_missing()

    @cached_property
    def encoder_identity(self) -> Mapping[str, Any]:
        """What dense vectors come from; empty where there are none (switched off, or no torch)."""
        config = self.settings.encoder
        if isinstance(config, LocalEncoder):
            pin = next((pin for pin in pinned_models() if pin.spec == config.model), None)
            if find_spec("torch") is None:
                return {}
            return {"type": "local", "model": config.model, "sha256": pin.sha256 if pin else ""}
        if isinstance(config, LlamaCppEncoder):
            return {} if llama_missing() else llama_identity(config, self._root)
        if isinstance(config, EncoderServer):
            return config.model_dump(include={"type", "base_url", "model", "query_prefix", "document_prefix"})
        return {}

    @cached_property
    def reranker_identity(self) -> Mapping[str, Any]:
        """What orders the head of the list anew; empty where nothing does."""
        config = self.settings.reranker
        if isinstance(config, MaxSim):
            local = self.encoder_identity.get("type") == "local"
            return {"type": "maxsim", "weight": config.weight} if local else {}
        if isinstance(config, CrossEncoderReranker):
            return {} if cross_encoder_missing() else cross_encoder_identity(config, self._root)
        if isinstance(config, RerankServer):
            return config.model_dump(include={"type", "base_url", "model"})
        return {}

    @property
    def hosted(self) -> list[str]:
        """Servers elsewhere that the texts would go to."""
        return [one.base_url for one in self.settings.servers.values() if one.hosted]

    def retrieval(
        self, *, k: int, chunk_tokens: int, bm25_weight: float, dense: bool = True, rerank: bool = True
    ) -> Retrieval:
        """Return the resolved form of a search."""
        encoder = dict(self.encoder_identity) if dense and self.n_chunks(chunk_tokens) <= MOST_ENCODED else {}
        reranker = dict(self.reranker_identity) if rerank else {}
        if reranker.get("type") == "maxsim" and not encoder:
            reranker |= {key: self.encoder_identity[key] for key in ("model", "sha256")}
        if encoder.get("type") == "local" or reranker.get("type") == "maxsim":
            chunk_tokens = min(chunk_tokens, MAX_TOKENS - 2)
        return Retrieval(
            documents=self.corpus.hash,
            k=k,
            encoder=encoder,
            reranker=reranker,
            chunk_tokens=chunk_tokens,
            overlap_tokens=round(chunk_tokens * self.settings.overlap),
            pool=self.settings.pool,
            bm25_weight=bm25_weight if encoder else 1.0,
            language=self.settings.language,
            cite=self.settings.cite,
        )

    def n_chunks(self, chunk_tokens: int) -> int:
        """Return about how many chunks of so many tokens there are, from the characters of the documents."""
        fresh = chunk_tokens * (1 - self.settings.overlap)
        return round(self._characters / chunking.BYTES_A_TOKEN / fresh)

    @cached_property
    def _characters(self) -> int:
        return sum(one.size for one in self.corpus.documents)

    @property
    def notes(self) -> list[str]:
        """Say what a reader must know of the documents, and how much there is to encode."""
        notes = [*self.corpus.notes, *filter(None, [self.corpus.injection_note])]
        if isinstance(self.settings.reranker, CrossEncoderReranker) and not self.reranker_identity:
            notes.append(f"nothing is reranked: {cross_encoder_missing()}")
        for size in self.settings.chunk_tokens if self.encoder_identity else ():
            n = self.n_chunks(size)
            words = f"documents: about {n:,} chunks of {size} tokens"
            if n > MOST_ENCODED:
                notes.append(f"{words}, more than {MOST_ENCODED:,}: they are searched by words alone")
            elif n >= MANY_ENCODED:
                here = self.encoder_identity["type"] == "local"
                took = f" (about {n / ENCODED_A_SECOND / 60:.0f} minutes of one core)" if here else ""
                notes.append(f"{words} are encoded before the first search, once{took}")
        return notes

    def use(self, n_dev: int, n_test: int, n_timed: int) -> dict[str, dict[str, tuple[float, float]]]:
        """Return what a run will ask of each server, by the name of its section, estimated.

        Args:
            n_dev, n_test: Cases. n_timed: Cases that are searched for once more, to measure how long that takes.

        Returns:
            ``{"calls", "usd"}``, each for the least that is tried and for all that is.
        """
        found: dict[str, dict[str, tuple[float, float]]] = {}
        sizes, weights = self.settings.chunk_tokens, self.settings.bm25_weight
        for name, server in self.settings.servers.items():
            if isinstance(server, EncoderServer):
                n_chunks = self.n_chunks(min(sizes))
                calls = (n_chunks + n_dev + n_test) / BATCH + n_timed
                spans = [(calls * many, float(n_chunks * min(sizes) * many)) for many in (1, len(sizes))]
            else:
                # words alone, and each weight
                forms = len(sizes) * (1 + (len(weights) if self.encoder_identity else 0))
                counts = (n_dev * many + n_test + n_timed for many in (1, forms))
                spans = [(float(n), float(n * RERANKED * max(sizes))) for n in counts]
            usd = [server.usd(tokens, n) for n, tokens in spans]
            found[name] = {"calls": (round(spans[0][0]), round(spans[1][0])), "usd": (usd[0], usd[1])}
        return found

    def oracle(self, retrieval: Retrieval | None = None) -> Retrieval:
        """Return the form that hands over the documents that a case names."""
        cite = retrieval.cite if retrieval else False
        return Retrieval(mode="oracle", documents=self.corpus.hash, k=0, cite=cite)

    def named(self, case: Case) -> list[frozenset[str]]:
        """Return the ids that each document that a case names stands for, each document once.

        Names that are not there are left out (`unknown` has them).
        """
        return list(dict.fromkeys(filter(None, (frozenset(self.corpus.ids([name])) for name in case.documents))))

    def unknown(self, case: Case) -> list[str]:
        """Return the names that a case gives and that no document has: they were not read, so no search finds them."""
        return [name for name in dict.fromkeys(case.documents) if not self.corpus.ids([name])]

    def wanted(self, case: Case) -> list[frozenset[str]]:
        """Return what a search should find: `named`, and nothing for a name that no document has (it is missed)."""
        return [*self.named(case), *(frozenset[str]() for _ in self.unknown(case))]

    def handed(self, case: Case) -> Handed:
        """Return what an oracle hands a case of the documents that it names."""
        answer = answer_text(case.expected) if case.labelled and case.expected is not None else ""
        return self._oracle.hand_over(self.named(case), f"{case.text}\n{answer}")

    def passages(self, retrieval: Retrieval, cases: Sequence[Case]) -> dict[str, tuple[Passage, ...]]:
        """Return the passages of each case, best first, by case id.

        Raises:
            UserError: The documents are others than the search was made for, or nothing can be searched here.
        """
        if retrieval.documents != self.corpus.hash:
            raise UserError("expected the documents that the variant was measured with, got others",
                            hint="put them back, or walk again with `tuneworthy run`")  # fmt: skip
        if retrieval.mode == "oracle":
            return {case.id: self.handed(case).passages for case in cases}
        found = self.ranked(retrieval, [sought(case) for case in cases])
        return {case.id: tuple(passages[: retrieval.k]) for case, passages in zip(cases, found, strict=True)}

    def ranked(self, retrieval: Retrieval, questions: Sequence[str]) -> list[list[Passage]]:
        """Return the best `DEEPEST` chunks (or k, if that is more) for each question."""
        depth = max(DEEPEST, retrieval.k)

        def search(missing: Sequence[str]) -> list[Any]:
            found = self.searcher(retrieval).search(retrieval, missing, depth)
            return [[asdict(passage) for passage in one] for one in found]

        return [[Passage(**row) for row in rows] for rows in self._kept(retrieval, depth, questions, search)]

    def ranked_documents(self, retrieval: Retrieval, questions: Sequence[str]) -> list[list[str]]:
        """Return the ids of the best `DEEPEST` documents for each question, by their best chunk."""

        def search(missing: Sequence[str]) -> list[Any]:
            found = self.searcher(retrieval).search(retrieval, missing, 2 * retrieval.pool)
            return [list(dict.fromkeys(passage.document for passage in one))[:DEEPEST] for one in found]

        return self._kept(retrieval, "documents", questions, search)

    def _kept(
        self,
        retrieval: Retrieval,
        what: int | str,
        questions: Sequence[str],
        search: Callable[[Sequence[str]], list[Any]],
    ) -> list[Any]:
        """Return what was found for each question; what is not kept yet is searched for."""
        form = content_hash([asdict(replace(retrieval, k=0, cite=False)), what, chunking.VERSION], 32)
        keys = [content_hash([form, question], 32) for question in questions]
        kept = self._searches.get(list(dict.fromkeys(keys)))
        if missing := {key: question for key, question in zip(keys, questions, strict=True) if key not in kept}:
            new = dict(zip(missing, search(list(missing.values())), strict=True))
            self._searches.put(new)
            kept |= new
        return [kept[key] for key in keys]

    def seconds(self, retrieval: Retrieval, cases: Sequence[Case]) -> dict[str, float]:
        """Return how long the search for each case takes alone, seconds; measured once and kept."""
        return {name: sum(stages.values()) for name, stages in self.stages(retrieval, cases).items()}

    def stages(self, retrieval: Retrieval, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
        """Return the seconds of each stage of the search for each case, alone, by case id; measured once and kept."""
        if retrieval.mode == "oracle":
            return {case.id: {} for case in cases}
        search = content_hash([asdict(replace(retrieval, k=0, cite=False)), "timed"], 32)
        keys = {case.id: content_hash([search, sought(case)], 32) for case in cases}
        kept = self._searches.get(list(dict.fromkeys(keys.values())))
        missing = {key: sought(case) for case in cases if (key := keys[case.id]) not in kept}
        if missing:
            searcher = self.searcher(retrieval)
            searcher.timed(retrieval, next(iter(missing.values())), repeat=2)  # the first one loads and warms up
            new = {key: searcher.timed(retrieval, question) for key, question in missing.items()}
            self._searches.put(new)
            kept |= new
        return {case.id: kept[keys[case.id]] for case in cases}

    def searcher(self, retrieval: Retrieval) -> Searcher:
        """Return what searches the index of `retrieval`, which is built first if it is not there.

        Raises:
            UserError: LanceDB is not installed, or there is nothing to search.
        """
        index = {
            "documents": retrieval.documents,
            "encoder": dict(retrieval.encoder),
            "chunk_tokens": retrieval.chunk_tokens,
            "overlap_tokens": retrieval.overlap_tokens,
            "language": retrieval.language,
            "version": chunking.VERSION,
        }
        name = content_hash(index)
        if name not in self._searchers:
            encoder = self._encoder if retrieval.encoder else None
            count = self.local.words.count if retrieval.encoder.get("type") == "local" else about_tokens
            chunks = chunk_documents(self.corpus.documents, retrieval.chunk_tokens, retrieval.overlap_tokens, count)
            opened = open_index(self._folder / name, chunks, encoder, language=retrieval.language)
            self._searchers[name] = Searcher(opened, encoder, self, self._account)
        return self._searchers[name]

    def close(self) -> None:
        """Close what is open."""
        self._searches.close()
        if isinstance(encoder := self.__dict__.pop("_encoder", None), LlamaEncoder):
            encoder.close()
        self._searchers.clear()

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self.corpus.by_id)

    @cached_property
    def local(self) -> SentenceEncoder:
        """The sentence encoder that runs here; fetched and loaded when first needed."""
        config = self.settings.encoder
        assert isinstance(config, LocalEncoder)
        return load_encoder(config.model)

    @cached_property
    def _encoder(self) -> Encoder:
        config = self.settings.encoder
        if isinstance(config, LlamaCppEncoder):
            return LlamaEncoder(config, self._root, Folder(self._root).logs / "retrieval.log")
        return ServerEncoder(config, self._paying) if isinstance(config, EncoderServer) else self.local

    @cached_property
    def reranker(self) -> Reranker:
        """The model or server that scores chunks; fetched and loaded when first needed."""
        config = self.settings.reranker
        if isinstance(config, CrossEncoderReranker):
            return CrossEncoder(config, self._root)
        assert isinstance(config, RerankServer)
        return ServerReranker(config, self._paying)

    @property
    def _paying(self) -> Account:
        if self._account is None:
            raise UserError("expected a command that may ask the servers of [retrieval], got one that asks nothing",
                            hint="run `tuneworthy run` first")  # fmt: skip
        return self._account


def sought(case: Case) -> str:
    """Return what is searched for: the text of a case; of a conversation the last turn, and those before a short one.

    >>> turns = ("What does the blue card cost a year?", "Two percent.", "And abroad?")
    >>> roles = ("user", "assistant", "user")
    >>> messages = tuple({"role": role, "content": turn} for role, turn in zip(roles, turns))
    >>> sought(Case(id="a", messages=messages)).splitlines()
    ['And abroad?', 'Two percent.', 'What does the blue card cost a year?']
    """
    if not case.messages:
        return case.text
    found: list[str] = []
    for message in reversed(case.messages):
        if message.get("role") in {"user", "assistant"} and (said := _said(message)):
            found.append(said)
            if len(" ".join(found).split()) >= FEWEST_SOUGHT:
                break
    return "\n".join(found)


def _said(message: Mapping[str, Any]) -> str:
    """Return the text of a turn, whose content may come in parts."""
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [str(part.get("text") or "") for part in content]
    return "\n".join(filter(None, parts)).strip()


def documents_path(project: Project) -> Path | None:
    """Return where the documents of `project` lie: as `[documents]` says, else in its folder `documents`, if any."""
    if project.documents is not None:
        return project.root / project.documents.path
    default = project.root / DEFAULT
    return default if default.is_dir() else None


def open_library(project: Project, account: Account | None = None) -> Library | None:
    """Return the documents of `project`; None if it has none.

    Args:
        project: Its configuration.
        account: Pays the servers of `[retrieval]`; without one none is asked.

    Raises:
        UserError: `[documents]` names a place where nothing is, or a server of `[retrieval]` cannot be used.
    """
    path = documents_path(project)
    if path is None:
        return None
    if not path.exists():
        raise UserError(f"expected documents at {path}, got nothing there", hint="mend [documents] path")
    return Library(project, path, account)


def servers_of(project: Project) -> Mapping[str, EncoderServer | RerankServer]:
    """Return the servers that a run of `project` asks for a search, by the name of their section."""
    if "retrieval" not in project.ladder.rungs or documents_path(project) is None:
        return {}
    servers = project.retrieval.servers
    hosted = any(one.hosted for one in servers.values())
    return servers if may_serve(project.constraints, hosted=hosted) else {}


def paid_servers(project: Project) -> list[str]:
    """Return those of `servers_of` that cost money."""
    return [name for name, one in servers_of(project).items() if one.paid]
