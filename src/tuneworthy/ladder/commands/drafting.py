"""`cases draft`: the project's model drafts cases, which wait for a person in `drafts.jsonl`."""

from tuneworthy.cases.drafts import write_drafts
from tuneworthy.cases.labelling import label_path
from tuneworthy.cases.readers.reader import read_cases
from tuneworthy.config.project import Project
from tuneworthy.dataset.checks.personal_data import masking
from tuneworthy.dataset.distill.drafting import MAX_CHARACTERS, DraftBrief, Drafts, draft_cases
from tuneworthy.engine.runner import Progress
from tuneworthy.ladder.session import open_runner
from tuneworthy.people.queue import Guideline
from tuneworthy.prompts.templates import named_variables
from tuneworthy.retrieval.documents import read_documents
from tuneworthy.retrieval.library import documents_path
from tuneworthy.types import Example, Say, TextPair, Turns


async def draft_project(
    project: Project, name: str, about: str, n: int, *, max_usd: float | None, progress: Progress, waiting: Say
) -> tuple[Drafts, float]:
    """Draft cases into the project's folder; return them with their cost in US dollars.

    Args:
        project: Its cases need not exist.
        name: Key of `[models]` of the model that drafts.
        about: The description of the task.
        n: Number of cases.
        max_usd: Spending limit of this run.
        progress: Is shown what happens.
        waiting: Called if another process has the project.

    Raises:
        UserError: No draft can be read, or a file cannot be used.
    """
    mask_row, file = masking(project.data.pii_engine), project.path(project.cases.path)

    def mask(chat: Turns) -> Turns:
        return mask_row(Example(messages=chat, id="")).messages

    system, user = project.text(project.prompt.system) or "", project.text(project.prompt.user) or "{{ input }}"
    brief = DraftBrief(
        about=about,
        instructions=system[:MAX_CHARACTERS],
        guideline=Guideline.read(label_path(file)).text[:MAX_CHARACTERS],
        variables=sorted((named_variables(user) | named_variables(system)) - {"input"}),
        documents=_parts(project),
    )
    sends_all = project.teacher is not None and project.teacher.personal_data == "send"
    opening = open_runner(
        project, progress=progress, max_usd=max_usd, mask=None if sends_all else mask, waiting=waiting
    )
    async with opening as (runner, models):
        drafts = await draft_cases(
            runner,
            models[name],
            brief,
            n,
            parameters=project.teacher.parameters if project.teacher else {},
            present=read_cases(file).cases if file.exists() else (),
        )
        write_drafts(project.root, drafts.cases)
        return drafts, runner.spending.usd


def _parts(project: Project) -> list[TextPair]:
    """Return the documents in parts that fit a prompt: the first part of each document first."""
    path = documents_path(project)
    documents = read_documents(path).documents if path and path.exists() else ()
    parts = [
        (at, document.id, document.text[at : at + MAX_CHARACTERS])
        for document in documents
        for at in range(0, len(document.text), MAX_CHARACTERS)
    ]
    return [(name, text) for _, name, text in sorted(parts, key=lambda part: part[0])]
