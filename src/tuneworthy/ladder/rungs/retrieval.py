"""Rung `retrieval`: passages of the project's documents before the question.

Where dev cases name their documents, the search is tuned first, without a language model. The model then gets different
numbers of passages from the best search. The tuning and every figure on the winner use dev only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from tuneworthy.cases.normalize import words
from tuneworthy.config.serving import may_serve
from tuneworthy.engine.latency import N_CASES
from tuneworthy.ladder import messages
from tuneworthy.ladder.rung import Proposal, Rung, View, rung
from tuneworthy.ladder.rung_details import (
    Attribution,
    CitationCounts,
    DocumentsDetail,
    OracleDetail,
    RetrievalDetail,
    SearchQuality,
    StageTime,
)
from tuneworthy.ladder.session import Session
from tuneworthy.prompts.templates import chat
from tuneworthy.providers.prices import price_for
from tuneworthy.retrieval.chunking import about_tokens
from tuneworthy.retrieval.index import lancedb_missing
from tuneworthy.retrieval.library import BM25_WEIGHTS, DEFAULT_WEIGHT, STAGES, DocumentLibrary, query_of
from tuneworthy.retrieval.quality import MEASURES, quality
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.types import Case, Cases, Passage, Retrieval, Score, Trace, Traces, Variant, text_of

# Dev cases that must name their documents before the search is tuned on them.
FEWEST_NAMED = 20
# Forms of the search that are tried untuned: words only, and the first available form of these.
PLAIN = ("hybrid+rerank", "hybrid", "words+rerank", "words")
# Cases that winner and oracle must both have scored to be compared.
FEWEST_PAIRED = 8
# Tokens of a context that instructions and question may need in addition to passages and answer.
PROMPT_ROOM = 256
# What tokens that are counted as bytes / 4 are multiplied by to be safe.
SPARE = 1.1
# Share of the words of a wrong answer that appear in a right passage, from which the passage was used.
USED = 0.6
# The first that fits an answer applies.
CAUSES = (
    "not_in_index",
    "not_retrieved",
    "partly_retrieved",
    "retrieved_and_not_used",
    "used_and_wrong",
    "no_document_named",
)
# Causes where a document is out of reach, or the model got no document of the case.
LOST = frozenset({"not_in_index", "not_retrieved"})
# Documents that are named as missed, at most.
MOST_MISSED = 10


@dataclass
class SearchForm:
    """A search that was tried on dev, with `(n_cases,)` per measure."""

    name: str
    retrieval: Retrieval
    measured: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def order(self) -> float:
        return float(self.measured["ndcg@10"].mean()) if self.measured else 0.0


@rung("retrieval")
class RetrievalRung(Rung):
    """The best search of dev with each k; if no documents are named, with plain forms of the search."""

    async def propose(self, view: View) -> Proposal:
        best, library = view.incumbent, view.library
        why, code = _barred(view)
        if library is None or code:
            return Proposal(skipped=why, skip_code=code, ineligible=[why] if code == "constraint" else [])
        notes = list(library.notes)
        if view.dev and not library.encoder_identity and library.settings.encoder.type in messages.NO_ENCODER:
            notes.append(f"retrieval uses keyword search only: {messages.NO_ENCODER[library.settings.encoder.type]}")
        forms, measured = await tuned_forms(library, view.dev)
        missing = lancedb_missing()
        if view.dev and forms and not measured:
            notes.append(
                messages.say(
                    "search_not_tuned", n=sum(bool(library.named(case)) for case in view.dev), least=FEWEST_NAMED
                )
            )
        variants = [
            replace(
                best,
                name=f"retrieval/{form.name}-{k}",
                retrieval=replace(form.retrieval, k=k),
                notes=(*best.notes, f"{form.name}, {k} passages"),
            )
            for form in forms
            for k in library.settings.k
        ]
        whole, too_large = _all_documents(view, library, best)
        variants += whole
        notes += [*too_large, *filter(None, [missing])]
        found = [variant for variant in variants if await _fits(view, library, variant)]
        if too_long := [variant.name for variant in variants if variant not in found]:
            notes.append(
                f"candidates skipped because their prompts exceed the context length of {best.model}: "
                f"{', '.join(too_long)}"
            )
        if not found:
            no_room = f"no passage fits within the context length of {best.model}"
            why, code = (missing, "no_lancedb") if missing else (no_room, "context")
            return Proposal(skipped=why, skip_code=code, notes=notes)
        return Proposal(candidates=_preregistered_first(found), notes=notes, more_calls={best.model: 2 * view.n_dev})

    async def examine(self, view: View, tried: Sequence[Variant], winner: Variant) -> RetrievalDetail:
        session = view.session
        library, retrieval, dev = session.library, winner.retrieval, view.dev
        assert library is not None and retrieval is not None
        traces = await session.ask(winner, dev)
        num, den, scores = await session.score(traces, dev)
        passages, stages = await library.passages(retrieval, dev), await library.stages(retrieval, dev[:N_CASES])
        _, measured = await tuned_forms(library, dev)
        corpus, groups = library.corpus, session.groups([case for case in dev if case.documents])
        return RetrievalDetail(
            documents=DocumentsDetail(
                n=len(corpus.documents),
                left_out=len(corpus.left_out),
                unknown=sum(len(library.unknown(case)) for case in dev),
                n_chunks=len(library.whole if retrieval.mode == "all" else (await library.searcher(retrieval)).index),
                hash=corpus.hash,
                injected={one.id: one.injection for one in corpus.flagged},
            ),
            search=[
                search_quality(form, form.retrieval == replace(retrieval, k=form.retrieval.k), groups)
                for form in measured
            ],
            causes=attribute(library, dev, traces, scores, passages, groups=session.groups(dev)),
            oracle=await _oracle(session, winner, dev, num, den),
            latency_ms={
                stage: StageTime(p50=1000 * float(np.quantile(times, 0.5)), p95=1000 * float(np.quantile(times, 0.95)))
                for stage in STAGES
                if (times := [one[stage] for one in stages.values() if stage in one])
            },
            citations=citations(traces, passages) if retrieval.cite else None,
        )


async def tuned_forms(library: DocumentLibrary, dev: Cases) -> tuple[list[SearchForm], list[SearchForm]]:
    """Return the forms of the search to try, and those that were measured on dev (their search results are stored).

    That is the best of all forms; where too few cases name documents, plain forms for the race. Without LanceDB
    nothing can be searched.
    """
    forms = forms_of(library)
    if lancedb_missing():
        return [], []
    if sum(bool(library.named(case)) for case in dev) >= FEWEST_NAMED:
        cases = [case for case in dev if case.documents]
        for form in forms:
            form.measured = await measure(library, form.retrieval, cases)
        return [max(forms, key=lambda form: form.order)], forms  # of equals the first, which is simpler
    plain = {form.name: form for form in forms if form.name in PLAIN}
    last = next((plain[name] for name in PLAIN if name in plain), forms[0])
    return list({id(form): form for form in (last, plain.get("words", last))}.values()), []


def forms_of(library: DocumentLibrary) -> list[SearchForm]:
    found: dict[str, SearchForm] = {}
    settings = library.settings
    for size in settings.chunk_tokens:

        def add(name: str, size: int = size, **options: Any) -> None:
            one = library.retrieval(k=settings.k[0], chunk_tokens=size, **options)
            if all(form.retrieval != one for form in found.values()):
                name = name if size == settings.chunk_tokens[0] else f"{name},{one.chunk_tokens}"
                found.setdefault(name, SearchForm(name, one))

        add("words", bm25_weight=1.0, dense=False, rerank=False)
        add("words+rerank", bm25_weight=1.0, dense=False)
        if library.encoder_identity:
            add("vectors", bm25_weight=0.0, rerank=False)
        for weight, rerank in product(BM25_WEIGHTS, (False, True)):
            name = "hybrid+rerank" if rerank else "hybrid"
            add(name if weight == DEFAULT_WEIGHT else f"{name},{weight:g}", bm25_weight=weight, rerank=rerank)
    return list(found.values())


async def measure(library: DocumentLibrary, retrieval: Retrieval, cases: Cases) -> dict[str, np.ndarray]:
    """Return each measure of a search, `(n_cases,)`, on cases that name documents; one that is not there is missed."""
    ranked = await library.ranked_documents(retrieval, [query_of(case) for case in cases])
    rows = [quality(documents, library.wanted(case)) for case, documents in zip(cases, ranked, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in MEASURES}


def attribute(
    library: DocumentLibrary,
    cases: Cases,
    traces: Traces,
    scores: Sequence[Score],
    passages: Mapping[str, Sequence[Passage]],
    *,
    groups: np.ndarray | None = None,
) -> Attribution:
    """Return where answers that are not fully right come from, and which documents were missed; no case is named.

    Args:
        library: The documents.
        cases: `(n_cases,)`, like the next two.
        traces: Their answers.
        scores: Of the answers.
        passages: Passages by case id.
        groups: `(n_cases,)` numbers of the cases' sources, or None.
    """
    scored = [place for place, score in enumerate(scores) if score.value is not None]
    failed = [place for place in scored if (scores[place].value or 0.0) < 1]
    missed, not_there = Counter[str](), Counter[str]()
    whys = []
    for place in failed:
        why, away = _miss(library, cases[place], traces[place], passages[cases[place].id])
        whys.append(why)
        missed.update(away)
        not_there.update(library.unknown(cases[place]))
    found, known = Counter(whys), np.array([why != "no_document_named" for why in whys], bool)
    lost = np.array([why in LOST for why in whys], float)[known]
    interval = (
        score_interval(lost, np.ones_like(lost), None if groups is None else groups[failed][known])
        if lost.size
        else None
    )
    return Attribution(
        n=len(scored),
        failed=len(failed),
        counts={name: found[name] for name in CAUSES if found[name]},
        lost_ci95=(interval.lo, interval.hi) if interval else None,
        missed=dict(missed.most_common(MOST_MISSED)),
        not_there=dict(not_there.most_common(MOST_MISSED)),
    )


def _miss(library: DocumentLibrary, case: Case, trace: Trace, shown: Sequence[Passage]) -> tuple[str, list[str]]:
    """Return why an answer is wrong, and the documents that were not shown although they were needed."""
    right, documents = library.named(case), {passage.document for passage in shown}
    away = [min(ids) for ids in right if not ids & documents]
    if not case.documents:
        return "no_document_named", away
    if library.unknown(case):
        return "not_in_index", away
    if away:
        return "partly_retrieved" if len(away) < len(right) else "not_retrieved", away
    return cause(trace, [one for one in shown if any(one.document in ids for ids in right)]), away


def cause(trace: Trace, right: Sequence[Passage]) -> str:
    """Say why an answer is wrong that was shown passages of all right documents.

    A passage was used if the answer cites it, or if most of the answer's words appear in it.
    """
    if any(passage.document in trace.cited for passage in right):
        return "used_and_wrong"
    answer_words = set(words(trace.text))
    shared = [len(answer_words & set(words(f"{passage.heading} {passage.text}"))) for passage in right]
    used = answer_words and max(shared, default=-1) >= USED * len(answer_words)
    return "used_and_wrong" if used else "retrieved_and_not_used"


def citations(traces: Traces, passages: Mapping[str, Sequence[Passage]]) -> CitationCounts:
    answered = [trace for trace in traces if trace.response]
    cite = cite_unseen = supported = 0
    for trace in answered:
        shown = passages[trace.case_id]
        cited = [passage for passage in shown if passage.document in trace.cited]
        answer_words = set(words(trace.text))
        cite += bool(trace.cited)
        cite_unseen += any(one not in {passage.document for passage in shown} for one in trace.cited)
        supported += any(answer_words and answer_words <= set(words(passage.text)) for passage in cited)
    return CitationCounts(n=len(answered), cite=cite, cite_unseen=cite_unseen, supported=supported)


async def _oracle(
    session: Session, winner: Variant, dev: Cases, num: np.ndarray, den: np.ndarray
) -> OracleDetail | None:
    library = session.library
    assert library is not None
    named = [number for number, case in enumerate(dev) if library.named(case)]
    if not named:
        return None
    cases = [dev[number] for number in named]
    oracle = replace(winner, name="retrieval/oracle", retrieval=library.oracle(winner.retrieval), notes=("oracle",))
    best_num, best_den, _ = await session.score(await session.ask(oracle, cases), cases)
    num, den = num[named], den[named]
    both = ~(np.isnan(num) | np.isnan(best_num))
    if both.sum() < FEWEST_PAIRED:
        return None
    groups, seed = session.groups(cases), session.project.split.seed
    gain = compare(
        num[both],
        den[both],
        best_num[both],
        best_den[both],
        groups[both],
        alpha=None,
        seed=seed,
    )
    cut = [share for case in cases if (share := library.oracle_passages(case).share) < 1]
    return OracleDetail(
        n=int(both.sum()),
        winner=gain.a,
        score=gain.b,
        delta=gain.delta,
        ci95=gain.ci,
        n_cut=len(cut),
        cut_share=float(np.mean(cut)) if cut else None,
    )


def _preregistered_first(found: Sequence[Variant]) -> list[Variant]:
    """Return the candidates with the middle number of passages of the first form of the search first."""
    form = found[0].name.rpartition("-")[0]
    first = [variant for variant in found if variant.name.rpartition("-")[0] == form]
    return sorted(found, key=lambda variant: variant is not first[len(first) // 2])


def _barred(view: View) -> tuple[str, str]:
    """Return why the rung has nothing to try, in words and as a code; two empty texts if it has."""
    library, model = view.library, view.incumbent.model
    if library is None:
        return "the project has no documents", "no_documents"
    if view.project.models[model].own_pipeline:
        return f"{model} is your own pipeline, which has its own retrieval", "own_pipeline"
    if not library.corpus.documents:
        return "all documents are empty", "no_documents"
    if not may_serve(view.project.constraints, hosted=bool(library.hosted)):
        return messages.say("hosted_forbidden", model=", ".join(library.hosted)), "constraint"
    return "", ""


def _all_documents(view: View, library: DocumentLibrary, best: Variant) -> tuple[list[Variant], list[str]]:
    """Return the candidate with all documents in the prompt, where they fit; else the reason."""
    context, tokens = _context(view, best.model), library.n_tokens
    if context is None or tokens > context:
        limit = "unknown" if context is None else f"{context:,} tokens"
        return [], [f"all documents in the prompt: about {tokens:,.0f} tokens, and the context is {limit}"]
    notes = (*best.notes, "all documents")
    return [replace(best, name="retrieval/all", retrieval=library.everything(), notes=notes)], []


def _context(view: View, name: str) -> int | None:
    config = view.project.models[name]
    context: int | None = getattr(config, "context", None) or getattr(price_for(config), "context", None)
    return context


async def _fits(view: View, library: DocumentLibrary, variant: Variant) -> bool:
    """Whether instructions, passages, question and answer fit into the context, where it is known.

    The passages of dev count; in an estimate, before there are any, they are taken to have their full length.
    """
    context = _context(view, variant.model)
    if context is None:
        return True
    assert variant.retrieval is not None
    tokens: float = variant.retrieval.k * (variant.retrieval.chunk_tokens + 16) + PROMPT_ROOM
    if view.dev:
        passages = await library.passages(variant.retrieval, view.dev)
        chats = (chat(variant, case, (), passages[case.id]) for case in view.dev)
        tokens = SPARE * max(sum(8 + about_tokens(text_of(turn)) for turn in one) for one in chats)
    return tokens + variant.max_tokens <= context


def search_quality(form: SearchForm, chosen: bool, groups: np.ndarray) -> SearchQuality:
    """Return means of all measures of a search, and the 95% interval of recall@5 and nDCG@10.

    Args:
        form: Measured on dev.
        chosen: Whether it is the winner's.
        groups: `(n_cases,)` group per case that names its documents, or None.
    """
    found = {name: score_interval(values, np.ones_like(values), groups) for name, values in form.measured.items()}
    return SearchQuality(
        name=form.name,
        chosen=chosen,
        n=found["mrr"].n,
        means={name: interval.value for name, interval in found.items()},
        ci95={name: (found[name].lo, found[name].hi) for name in ("recall@5", "ndcg@10")},
    )
