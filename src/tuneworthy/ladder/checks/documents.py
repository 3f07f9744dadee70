"""Checks of the documents: missing and dropped documents, and texts that give orders to the model."""

from collections.abc import Iterable
from functools import partial

from tuneworthy.config.retrieval import NO_PRICE
from tuneworthy.errors import AuthError, UserError
from tuneworthy.ladder.checks import check
from tuneworthy.ladder.checks.facts import Facts, attempt
from tuneworthy.providers.address import check_address
from tuneworthy.providers.keys import read_key
from tuneworthy.retrieval.index import lancedb_missing
from tuneworthy.retrieval.library import documents_path, servers_of
from tuneworthy.rules import Finding, Findings, Sentences
from tuneworthy.text import count, listed


@check(fix="Fix documents.path.")
def documents_missing(facts: Facts) -> Sentences:
    """There is nothing at the path of `[documents]`."""
    path = documents_path(facts.project)
    if path is not None and not path.exists():
        yield f"The path in [documents] does not exist: {path}."


@check(severity="warning")
def documents_package(facts: Facts) -> Findings:
    """A package that a search needs is not installed: `retrieval` tries only all documents in the prompt."""
    if documents_path(facts.project) is not None and (missing := lancedb_missing()):
        yield Finding(message="The run searches no documents.", fix=missing)


@check(severity="warning", fix="Add the documents at documents.path, or fix the `documents` field of the cases.")
def documents_named(facts: Facts) -> Sentences:
    """Cases name documents that do not exist: no search can find them, and the oracle run cannot show them."""
    corpus = facts.corpus
    if corpus is None:
        return
    if missing := list(dict.fromkeys(one for case in facts.cases for one in case.documents if not corpus.ids([one]))):
        yield (
            f"Cases list {count(len(missing), 'document that does', 'documents that do')} not exist: {listed(missing)}."
        )


@check(severity="note")
def documents_read(facts: Facts) -> Iterable[str]:
    """Documents that were dropped, with the reason; names that several share; a document that is far larger."""
    return facts.corpus.notes if facts.corpus else ()


@check(severity="warning", fix="Check where these documents come from, or remove them.")
def documents_injected(facts: Facts) -> str:
    """Documents contain sentences that give orders to a model. They are shown as data; a model may obey them."""
    return facts.corpus.injection_note if facts.corpus else ""


@check(severity="note")
def search_servers(facts: Facts) -> Findings:
    """Servers of `[retrieval]` that get the documents and questions, with the calls and dollars of a run.

    An error if an address is invalid or contains a secret, if a remote server has no price (no budget could be
    enforced), or if its key is not set.
    """
    for name, server in servers_of(facts.project).items():
        if fault := attempt(UserError, partial(check_address, server.base_url))[1]:
            yield Finding(message=f"{name}: {fault.message}", fix=fault.hint, severity="error")
            continue
        message = f"{name} sends documents and questions to {server.base_url}."
        if facts.estimate and (use := facts.estimate.models.get(name)):
            message += f" Estimate: {use.calls:,.0f} calls, ${use.usd:.2f}."
        yield Finding(message=message)
        if not server.price_known:
            yield Finding(message=f"{name}: The price of {server.base_url} is unknown.", fix=NO_PRICE, severity="error")
        read = partial(read_key, server.key_variable, url=server.base_url, root=facts.project.root, owner=name)
        if error := attempt(AuthError, read)[1]:
            yield Finding(message=error.message, fix=error.hint, severity="error")
