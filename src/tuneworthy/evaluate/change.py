"""A change of a project, judged by the project as it was: only the prompt and the model id are taken from the change.

Graders, their files, cases, rubrics, settings, hosts and code are those of the base project. A change that these
cannot judge is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from tuneworthy.cases.normalize import words
from tuneworthy.config.base import FunctionSection
from tuneworthy.config.models import ModelSection
from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.types import Case

_BLOCK: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_PLAIN: Final = re.compile(r"\{\{ *\w+ *\}\}")
# Words in a row that are compared; as many are a quote, unless so many cases share them; cases with shorter quotes.
_WINDOW, _MIN_WORDS, _SHARED, _MIN_CASES = 6, 4, 3, 5


def faults_of(change: Project, base: Project, cases: Iterable[Case]) -> list[str]:
    """Return in sentences why `base` cannot judge the prompt and the model of `change` on `cases`."""
    section = change.models[change.ladder.baseline]
    faults = [*_model_faults(section, base), *_prompt_faults(change, base, cases)]
    if isinstance(section, FunctionSection) and _files(base) != _files(change):
        faults.append("It edits files of a project whose model is a Python function, which may read them.")
    return faults


def _model_faults(section: ModelSection, base: Project) -> Iterator[str]:
    """Find settings of a model, other than its id, that no model of the base has."""
    new = section.model_dump()
    fetched = (section.local_file or "pypi:").startswith(("pypi:", "hf:"))
    for old in (model.model_dump() for model in base.models.values()):
        priced = old.get("input_usd_per_mtok") is not None or old.get("output_usd_per_mtok") is not None
        if new == old or (old | {"model": ""} == new | {"model": ""} and fetched and not priced):
            return
    yield "It changes the provider, host, function, price, model file or another setting of the model."


def _prompt_faults(change: Project, base: Project, cases: Iterable[Case]) -> Iterator[str]:
    """Find prompts that are no plain text of the change, and quotes of cases that the base's prompts lack."""
    old, new = (
        "\n".join([project.text(at.system) or "", project.text(at.user) or "", str(at.parameters), *at.stop])
        for project in (base, change)
        for at in (project.prompt,)
    )
    files = map(change.template_path, (change.prompt.system, change.prompt.user))
    if any(path and path.is_file() and path.resolve() != path for path in files):
        yield "A prompt file is a link."
    if "version https://git-lfs" in new:
        yield "A prompt file is a pointer of Git LFS. Fetch the file first."
    if any(block not in old and not _PLAIN.fullmatch(block) for block in _BLOCK.findall(new)):
        yield "A prompt has new template code. It may only insert variables."
    quotes = _quotes(new, old, cases)
    n = sum(map(bool, quotes))
    if n >= _MIN_CASES or any(one.count(" ") > _MIN_WORDS for one in chain.from_iterable(quotes)):
        yield f"A prompt quotes cases or their answers (n = {n})."


def _quotes(new: str, old: str, cases: Iterable[Case]) -> list[list[str]]:
    """Return for each case the pieces of its question and answer that `new` has and `old` lacks."""
    added, before = (f" {' '.join(words(text))} " for text in (new, old))
    texts = [{*_pieces(case.text), *_pieces(str(case.expected))} for case in {case.id: case for case in cases}.values()]
    shared = Counter(chain.from_iterable(texts))
    return [[one for one in pieces if shared[one] < _SHARED and one in added and one not in before] for pieces in texts]


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of a few words, between spaces."""
    parts = words(text)
    for start in range(max(min(1, len(parts)), len(parts) - _WINDOW + 1)):
        yield f" {' '.join(parts[start : start + _WINDOW])} "


def _files(project: Project) -> dict[str, bytes]:
    """Return the content of a project's files by path, without prompts and files of tools."""
    others = {FILE_NAME, project.prompt.system, project.prompt.user}
    found = {path.relative_to(project.root): path for path in project.root.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if str(name) not in others and not {".git", ".tuneworthy", "__pycache__"} & {*name.parts}
    }
