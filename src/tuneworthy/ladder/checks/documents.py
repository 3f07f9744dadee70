"""Checks of the documents: that they are there, what was left out, and what speaks to the model."""

from __future__ import annotations

from collections.abc import Iterator

from tuneworthy.config.retrieval import NO_PRICE
from tuneworthy.errors import AuthError, UserError
from tuneworthy.ladder.check import Fault, check
from tuneworthy.ladder.checks.data import named
from tuneworthy.ladder.checks.facts import Facts
from tuneworthy.providers.address import check_address
from tuneworthy.providers.keys import read_key
from tuneworthy.retrieval.library import documents_path, servers_of


@check("documents_missing", "error")
def documents_missing(facts: Facts) -> Iterator[Fault]:
    """`[documents]` names a place where nothing is."""
    path = documents_path(facts.project)
    if path is not None and not path.exists():
        yield Fault(f"expected documents at {path}, got nothing there", "mend [documents] path")


@check("documents_named", "warning")
def documents_named(facts: Facts) -> Iterator[Fault]:
    """Cases name documents that are not there: no search can find them, and the oracle cannot hand them over."""
    corpus = facts.corpus
    if corpus is None:
        return
    missing = list(dict.fromkeys(one for case in facts.cases for one in case.documents if not corpus.ids([one])))
    if missing:
        yield Fault(
            f"expected the documents that cases name, got {len(missing)} that are not there ({named(missing)})",
            "put them into [documents], or mend `documents` of the cases",
        )


@check("documents_read", "note")
def documents_read(facts: Facts) -> Iterator[Fault]:
    """What was left out of the documents, with the reason; names that several share; a document that is far larger."""
    for note in facts.corpus.notes if facts.corpus else ():
        yield Fault(note)


@check("documents_injected", "warning")
def documents_injected(facts: Facts) -> Iterator[Fault]:
    """Documents hold sentences that give orders to a model. They are shown as data; a model may obey them."""
    if facts.corpus and facts.corpus.injection_note:
        yield Fault(facts.corpus.injection_note, "look at where they come from, or take them out")


@check("search_servers", "note")
def search_servers(facts: Facts) -> Iterator[Fault]:
    """Servers of `[retrieval]` that get the documents and questions, with the calls and dollars of a run.

    An error if an address is none or holds a secret, if a server is elsewhere and has no price, as no budget could be
    kept, or if its key is not set.
    """
    for name, server in servers_of(facts.project).items():
        try:
            check_address(server.base_url)
        except UserError as error:
            yield Fault(f"{name}: {error.message}", error.hint, "error")
            continue
        use = (facts.estimate.models if facts.estimate else {}).get(name)
        words = f"{name}: documents and questions go to {server.base_url}"
        if use:
            (few, many), (low, high) = use["calls"], use["usd"]
            words += f" in about {few:,} to {many:,} calls, ${low:.2f} to ${high:.2f} (an estimate)"
        yield Fault(words)
        if not server.price_known:
            yield Fault(f"{name}: expected a price for {server.base_url}, got none", NO_PRICE, "error")
        try:
            read_key(server.api_key_env, owner=name)
        except AuthError as error:
            yield Fault(error.message, error.hint, "error")
