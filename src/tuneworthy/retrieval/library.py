"""The project's documents, searched: from a `Retrieval` and questions to passages.

Invariants: results are stored (`searches`), so that a run that goes on shows the same passages; everything that a
result depends on is part of the `Retrieval` and of the documents' hash; one search runs at a time, so that nothing is
paid for twice, and it never blocks the event loop while a server answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tuneworthy.cases.task_kind import answer_text
from tuneworthy.config.project import Project
from tuneworthy.config.retrieval import (
    CrossEncoderReranker,
    EncoderServer,
    LocalEncoder,
    MaxSim,
    RerankServer,
)
from tuneworthy.config.serving import may_serve
from tuneworthy.errors import UserError
from tuneworthy.prompts.passages import passages_text
from tuneworthy.providers.address import check_address
from tuneworthy.providers.models import find, pinned
from tuneworthy.retrieval import chunking
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.bert import MAX_PIECES
from tuneworthy.retrieval.chunking import about_tokens, chunk_documents
from tuneworthy.retrieval.cross_encoder import CrossEncoder, cross_encoder_identity, cross_encoder_missing
from tuneworthy.retrieval.documents import SET_PATH, Corpus, read_documents
from tuneworthy.retrieval.encoder import VectorEncoder, load_encoder
from tuneworthy.retrieval.index import ChunkEncoder, open_index
from tuneworthy.retrieval.oracle import Oracle, OraclePassages
from tuneworthy.retrieval.searcher import RERANKED, Searcher
from tuneworthy.retrieval.searches import SearchStore
from tuneworthy.retrieval.servers import BATCH, ServerEncoder, ServerReranker
from tuneworthy.store import Folder
from tuneworthy.types import Case, Cases, JsonMapping, NamedFloats, Passage, Retrieval, Texts, content_hash, role_of

DEFAULT = "documents"
# Share of a chunk that the next one repeats.
OVERLAP = 0.125
# Chunks that words and vectors each bring to the fusion.
POOL = 50
# Shares of the words in the fusion that are tried (the vectors have the rest), and the one in the plain names.
BM25_WEIGHTS = (0.3, 0.5, 0.7)
DEFAULT_WEIGHT = 0.5
# Share of MaxSim's score in the final order.
MAXSIM_WEIGHT = 0.5
# Passages of a search that are stored: k may be as large, and measures look as far.
DEEPEST = 10
# Words of a turn that are enough for a search; before a shorter one, earlier turns are searched for as well.
MIN_QUERY_WORDS = 6
# Most chunks, estimated, with dense vectors: each search is exhaustive.
MOST_ENCODED = 100_000
# Full chunks that the local encoder takes in a second on one core, measured.
ENCODED_A_SECOND = 12
# From here on the number of chunks is reported before they are encoded.
MANY_ENCODED = 10_000
STAGES = ("encode", "words", "vectors", "fuse", "rerank")
# Returns the results for questions that are not stored yet.
_Search = Callable[[Texts], Awaitable[list[Any]]]


class DocumentLibrary:
    """All that the rung `retrieval`, the runner and the probes need of the documents; open it with `open_library`.

    Args:
        project: Its `[retrieval]`.
        path: Of the documents.
        account: Pays servers, and stores their answers; without one no server is asked.

    Raises:
        UserError: The address of a server is not valid, or contains a secret: it is shown and stored.
    """

    def __init__(self, project: Project, path: Path, account: Account | None = None) -> None:
        self._account, self._root = account, project.root
        self.settings = project.retrieval
        for server in self.settings.servers.values():
            check_address(server.base_url)
        self.path = path
        self._folder = Folder(project.root).path / "retrieval"
        self._searches = SearchStore(self._folder / "searches.sqlite")
        self._searchers: dict[str, Searcher] = {}
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @cached_property
    def corpus(self) -> Corpus:
        return read_documents(self.path)

    @cached_property
    def encoder_identity(self) -> JsonMapping:
        """What dense vectors come from; empty without vectors (switched off, or the model is not here)."""
        config = self.settings.encoder
        if isinstance(config, LocalEncoder):
            here = find(config.model, self._root) is not None
            return {"type": "local", "model": config.model, "sha256": pinned(config.model).sha256} if here else {}
        if isinstance(config, EncoderServer):
            return config.model_dump(include={"type", "base_url", "model", "prefixes"})
        return {}

    @cached_property
    def reranker_identity(self) -> JsonMapping:
        """What reranks the head of the list; empty where nothing does."""
        config = self.settings.reranker
        if isinstance(config, MaxSim):
            return {"type": "maxsim", "weight": MAXSIM_WEIGHT} if self.is_local else {}
        if isinstance(config, CrossEncoderReranker):
            return {} if cross_encoder_missing() else cross_encoder_identity(config, self._root)
        return config.model_dump(include={"type", "base_url", "model"}) if isinstance(config, RerankServer) else {}

    @property
    def is_local(self) -> bool:
        return bool(self.encoder_identity.get("type") == "local")

    @property
    def hosted(self) -> list[str]:
        return [server.base_url for server in self.settings.servers.values() if server.hosted]

    def retrieval(
        self, *, k: int, chunk_tokens: int, bm25_weight: float, dense: bool = True, rerank: bool = True
    ) -> Retrieval:
        encoder = dict(self.encoder_identity) if dense and self.n_chunks(chunk_tokens) <= MOST_ENCODED else {}
        reranker = dict(self.reranker_identity) if rerank else {}
        if reranker.get("type") == "maxsim" and not encoder:
            reranker |= {key: self.encoder_identity[key] for key in ("model", "sha256")}
        if encoder.get("type") == "local" or reranker.get("type") == "maxsim":
            chunk_tokens = min(chunk_tokens, MAX_PIECES - 2)
        return Retrieval(
            documents=self.corpus.hash,
            k=k,
            encoder=encoder,
            reranker=reranker,
            chunk_tokens=chunk_tokens,
            overlap_tokens=round(chunk_tokens * OVERLAP),
            pool=POOL,
            bm25_weight=bm25_weight if encoder else 1.0,
            language=self.settings.language,
            cite=self.settings.cite,
        )

    def n_chunks(self, chunk_tokens: int) -> int:
        """Return about how many chunks of so many tokens there are, from the characters of the documents."""
        return round(self.n_tokens / (chunk_tokens * (1 - OVERLAP)))

    @cached_property
    def n_tokens(self) -> float:
        """About how many tokens all documents have, from their characters."""
        return sum(document.size for document in self.corpus.documents) / chunking.BYTES_A_TOKEN

    @property
    def notes(self) -> list[str]:
        notes = [*self.corpus.notes, *filter(None, [self.corpus.injection_note])]
        if isinstance(self.settings.reranker, CrossEncoderReranker) and not self.reranker_identity:
            notes.append(f"Search results are not reranked. {cross_encoder_missing()}")
        for size in self.settings.chunk_tokens if self.encoder_identity else ():
            n = self.n_chunks(size)
            if n > MOST_ENCODED:
                notes.append(
                    f"documents: about {n:,} chunks of {size} tokens, more than the limit of {MOST_ENCODED:,}, so "
                    "only BM25 searches them"
                )
            elif n >= MANY_ENCODED:
                duration = f" (about {n / ENCODED_A_SECOND / 60:.0f} minutes on one core)" if self.is_local else ""
                notes.append(
                    f"documents: about {n:,} chunks of {size} tokens are encoded once, before the first "
                    f"search{duration}"
                )
        return notes

    def use(self, n_dev: int, n_test: int, n_timed: int) -> dict[str, tuple[float, float]]:
        """Return the estimated calls and US dollars of a run per server, by the name of its section.

        They are midway between the least that is tried and all forms of the search.

        Args:
            n_dev: Cases of dev.
            n_test: Cases of test.
            n_timed: Cases that are searched for once more, to measure how long that takes.
        """
        use = {}
        sizes = self.settings.chunk_tokens
        for name, server in self.settings.servers.items():
            if isinstance(server, EncoderServer):
                n_chunks = self.n_chunks(min(sizes))
                calls = (n_chunks + n_dev + n_test) / BATCH + n_timed
                spans = [(calls * many, float(n_chunks * min(sizes) * many)) for many in (1, len(sizes))]
            else:
                # words only, and each weight
                forms = len(sizes) * (1 + (len(BM25_WEIGHTS) if self.encoder_identity else 0))
                counts = (n_dev * many + n_test + n_timed for many in (1, forms))
                spans = [(float(n), float(n * RERANKED * max(sizes))) for n in counts]
            use[name] = (
                sum(round(n) for n, _ in spans) / 2,
                sum(server.usd(tokens, n) for n, tokens in spans) / 2,
            )
        return use

    def oracle(self, retrieval: Retrieval | None = None) -> Retrieval:
        """Return the form that hands over the documents that a case names."""
        return Retrieval(mode="oracle", documents=self.corpus.hash, k=0, cite=retrieval.cite if retrieval else False)

    @cached_property
    def whole(self) -> tuple[Passage, ...]:
        """All documents, the last one first: a prompt shows passages from the last to the first."""
        texts = sorted(((document.id, document.text) for document in self.corpus.documents), reverse=True)
        return tuple(Passage(document=name, text=text) for name, text in texts)

    def everything(self) -> Retrieval:
        """Return the form that puts all documents into the prompt; `k` chunks of its size are their tokens."""
        n, tokens = len(self.whole), about_tokens(passages_text(self.whole, cite=self.settings.cite))
        return Retrieval(
            mode="all", documents=self.corpus.hash, k=n, chunk_tokens=-(-tokens // n), cite=self.settings.cite
        )

    def named(self, case: Case) -> list[frozenset[str]]:
        """Return the ids behind each document name of a case, each document once; unknown names are left out."""
        return list(dict.fromkeys(filter(None, (frozenset(self.corpus.ids([name])) for name in case.documents))))

    def unknown(self, case: Case) -> list[str]:
        """Return the names of a case that no document has: no search can find them."""
        return [name for name in dict.fromkeys(case.documents) if not self.corpus.ids([name])]

    def wanted(self, case: Case) -> list[frozenset[str]]:
        """Return the targets of a search: `named`, and an empty set for each unknown name (a miss)."""
        return [*self.named(case), *(frozenset[str]() for _ in self.unknown(case))]

    def oracle_passages(self, case: Case) -> OraclePassages:
        return self._oracle.choose(
            self.named(case), f"{case.text}\n{answer_text(case.expected) if case.has_answer else ''}"
        )

    async def passages(self, retrieval: Retrieval, cases: Cases) -> dict[str, tuple[Passage, ...]]:
        """Return the passages by case id, best first.

        Raises:
            UserError: The documents have changed since the search was made, or nothing can be searched here.
        """
        if retrieval.documents != self.corpus.hash:
            raise UserError(
                "The documents have changed since this variant was measured.",
                hint="Restore the documents, or run `tuneworthy run`.",
            )
        if retrieval.mode == "oracle":
            return {case.id: self.oracle_passages(case).passages for case in cases}
        if retrieval.mode == "all":
            return dict.fromkeys([case.id for case in cases], self.whole)
        ranked = await self.ranked(retrieval, [query_of(case) for case in cases])
        return {case.id: tuple(passages[: retrieval.k]) for case, passages in zip(cases, ranked, strict=True)}

    async def ranked(self, retrieval: Retrieval, questions: Texts) -> list[list[Passage]]:
        """Return the best `DEEPEST` chunks (or k, if that is more) for each question."""
        depth = max(DEEPEST, retrieval.k)

        async def search(missing: Texts) -> list[Any]:
            hits = await (await self.searcher(retrieval)).search(retrieval, missing, depth)
            return [[asdict(passage) for passage in passages] for passages in hits]

        rows = await self._stored(retrieval, [depth, chunking.VERSION], questions, search)
        return [[Passage(**passage) for passage in passages] for passages in rows]

    async def ranked_documents(self, retrieval: Retrieval, questions: Texts) -> list[list[str]]:
        """Return the ids of the best `DEEPEST` documents for each question, by their best chunk."""

        async def search(missing: Texts) -> list[Any]:
            hits = await (await self.searcher(retrieval)).search(retrieval, missing, 2 * retrieval.pool)
            return [list(dict.fromkeys(passage.document for passage in passages))[:DEEPEST] for passages in hits]

        return await self._stored(retrieval, ["documents", chunking.VERSION], questions, search)

    async def seconds(self, retrieval: Retrieval, cases: Cases) -> NamedFloats:
        return {name: sum(stages.values()) for name, stages in (await self.stages(retrieval, cases)).items()}

    async def stages(self, retrieval: Retrieval, cases: Cases) -> dict[str, dict[str, float]]:
        """Return the seconds per stage of an uncontended search by case id; measured once and stored."""
        if retrieval.mode != "search":
            return {case.id: {} for case in cases}

        async def measure(missing: Texts) -> list[Any]:
            searcher = await self.searcher(retrieval)
            await searcher.timed(retrieval, missing[0], repeat=2)  # the first one loads and warms up
            return [await searcher.timed(retrieval, question) for question in missing]

        stages = await self._stored(retrieval, ["timed"], [query_of(case) for case in cases], measure)
        return {case.id: seconds for case, seconds in zip(cases, stages, strict=True)}

    async def _stored(
        self, retrieval: Retrieval, what: Sequence[int | str], questions: Texts, search: _Search
    ) -> list[Any]:
        form = content_hash([asdict(replace(retrieval, k=0, cite=False)), *what], 32)
        keys = [content_hash([form, question], 32) for question in questions]
        async with self._alone:
            results = self._searches.get(list(dict.fromkeys(keys)))
            missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in results}
            if missing:
                new = dict(zip(missing, await search(list(missing.values())), strict=True))
                self._searches.put(new)
                results |= new
        return [results[key] for key in keys]

    @property
    def _alone(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = loop, asyncio.Lock()
        return self._lock[1]

    async def searcher(self, retrieval: Retrieval) -> Searcher:
        """Return what searches the index of `retrieval`, which is built first if it is not there.

        Raises:
            UserError: LanceDB is not installed, or the documents have no text.
        """
        name = content_hash(
            {
                "documents": retrieval.documents,
                "encoder": dict(retrieval.encoder),
                "chunk_tokens": retrieval.chunk_tokens,
                "overlap_tokens": retrieval.overlap_tokens,
                "language": retrieval.language,
                "version": chunking.VERSION,
            }
        )
        if name not in self._searchers:
            encoder = self._encoder if retrieval.encoder else None
            count = self.local.pieces.count if retrieval.encoder.get("type") == "local" else about_tokens
            chunks = chunk_documents(self.corpus.documents, retrieval.chunk_tokens, retrieval.overlap_tokens, count)
            self._searchers[name] = Searcher(
                await open_index(self._folder / name, chunks, encoder, language=retrieval.language),
                encoder,
                (lambda: self.local, lambda: self.reranker),
                self._account,
            )
        return self._searchers[name]

    def close(self) -> None:
        self._searches.close()
        self._searchers.clear()

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(self.corpus.by_id)

    @cached_property
    def local(self) -> VectorEncoder:
        """The sentence encoder that runs here; fetched and loaded when first needed."""
        config = self.settings.encoder
        assert isinstance(config, LocalEncoder)
        return load_encoder(config.model)

    @cached_property
    def _encoder(self) -> ChunkEncoder:
        config = self.settings.encoder
        return ServerEncoder(config, self._paying, self._root) if isinstance(config, EncoderServer) else self.local

    @cached_property
    def reranker(self) -> CrossEncoder | ServerReranker:
        """The model or server that scores chunks; fetched and loaded when first needed."""
        config = self.settings.reranker
        if isinstance(config, CrossEncoderReranker):
            return CrossEncoder(config, self._root)
        assert isinstance(config, RerankServer)
        return ServerReranker(config, self._paying, self._root)

    @property
    def _paying(self) -> Account:
        if self._account is None:
            raise UserError(
                "This search needs a [retrieval] server, but this command sends no requests.",
                hint="Run `tuneworthy run` first.",
            )
        return self._account


def query_of(case: Case) -> str:
    """Return the search query of a case: its text; of a conversation the last turn, and those before a short one.

    >>> turns = ("What does the blue card cost a year?", "Two percent.", "And abroad?")
    >>> roles = ("user", "assistant", "user")
    >>> messages = tuple({"role": role, "content": turn} for role, turn in zip(roles, turns))
    >>> query_of(Case(id="a", messages=messages)).splitlines()
    ['And abroad?', 'Two percent.', 'What does the blue card cost a year?']
    """
    if not case.messages:
        return case.text
    turns = []
    for message in reversed(case.messages):
        if role_of(message) not in {"user", "assistant"}:
            continue
        content = message.get("content") or ""
        parts = [content] if isinstance(content, str) else [str(part.get("text") or "") for part in content]
        if text := "\n".join(filter(None, parts)).strip():
            turns.append(text)
            if len(" ".join(turns).split()) >= MIN_QUERY_WORDS:
                break
    return "\n".join(turns)


def documents_path(project: Project) -> Path | None:
    """Return where the documents of `project` are: as `[documents]` says, else its folder `documents`, if any."""
    name = DEFAULT if project.documents is None else project.documents.path
    return None if project.documents is None and not (project.root / name).is_dir() else project.path(name)


def documents_hash(project: Project) -> str:
    path = documents_path(project)
    return read_documents(path).hash if path and path.exists() else ""


def open_library(project: Project, account: Account | None = None) -> DocumentLibrary | None:
    """Return the documents of `project`; None without documents.

    Args:
        project: Its configuration.
        account: Pays the servers of `[retrieval]`; without one no server is asked.

    Raises:
        UserError: `[documents]` names a path that does not exist, or a server of `[retrieval]` cannot be used.
    """
    path = documents_path(project)
    if path is None:
        return None
    if not path.exists():
        raise UserError(f"There are no documents at {path}.", hint=SET_PATH)
    return DocumentLibrary(project, path, account)


def servers_of(project: Project) -> Mapping[str, EncoderServer | RerankServer]:
    """Return the servers that a run of `project` asks for a search, by the name of their section."""
    if "retrieval" not in project.ladder.rungs or documents_path(project) is None:
        return {}
    servers = project.retrieval.servers
    return servers if may_serve(project.constraints, hosted=any(server.hosted for server in servers.values())) else {}


def paid_servers(project: Project) -> list[str]:
    """Return those of `servers_of` that cost money."""
    return [name for name, server in servers_of(project).items() if server.usd_per_mtok or server.usd_per_call]
