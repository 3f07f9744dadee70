"""The search of an exported variant: its client shows a model the measured passages.

Invariant: settings and documents are those of the variant, or the search refuses. Answers of servers are stored and
paid for as in a run.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tuneworthy.config import load
from tuneworthy.config.grants import require_grants
from tuneworthy.engine.budget import Budget
from tuneworthy.errors import UserError
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.library import open_library
from tuneworthy.store import Folder, ResponseStore
from tuneworthy.types import Case, JsonMapping, JsonObject, Passage, Retrieval


class ProjectSearch:
    """Searches the documents of a project.

    Args:
        root: The project's folder.
        retrieval: `retrieval` of an exported `variant.json`.

    Raises:
        UserError: The project has no documents.
        Untrusted: It lacks a permission.
    """

    def __init__(self, root: Path, retrieval: JsonMapping) -> None:
        project = load(root)
        require_grants(project)
        store = ResponseStore(Folder(project.root).responses)
        spending = store.spending()
        library = open_library(
            project, Account(store, Budget(project.ladder.budget_usd, spending.usd, spending.unanswered_usd))
        )
        if library is None:
            raise UserError(f"The project in {project.root} has no documents to search.")
        self._library, self._retrieval = library, Retrieval(**retrieval)

    def passages(self, text: str | JsonObject) -> Sequence[Passage]:
        """Return the passages for `text` (or variables by name), best first.

        Raises:
            UserError: The documents have changed since the variant was measured.
        """
        case = Case(id="client", input=text)
        return asyncio.run(self._library.passages(self._retrieval, [case]))[case.id]
