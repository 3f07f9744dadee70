"""A change of a project, judged by the project as it was: only the prompt and the model id are taken from the change.

Graders, their files, cases, rubrics, settings, hosts and code are those of the base project. A change that these
cannot judge is refused.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Final

from tuneworthy.cases.normalize import words
from tuneworthy.config.base import FunctionSection
from tuneworthy.config.models import ModelSection
from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.types import Cases

_BLOCK: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_PLAIN: Final = re.compile(r"\{\{ *\w+ *\}\}")
# Ignored between the words of a quote: nothing, or tags, entities and digits.
FILLERS: Final = (r"(?!)", r"<[!/?]?[A-Za-z-][^<>]*>|&#?\w+;|\d")
# Words of a piece, twice as many if words are single characters; a piece of this many texts is the task's language.
_WORDS, _SHARED = 3, 3
# Pieces that quote a text of n pieces, and the number and share of texts that may be quoted: in part, at length, as a
# whole. On banking77 the definitions of 77 labels quote 8% of 280 questions in part, and up to five at length.
_LEVELS: Final[tuple[tuple[Callable[[int], float], Callable[[int], float]], ...]] = (
    (lambda n: min(4, max(2, n / 3), n), lambda texts: max(4, 0.1 * texts)),
    (lambda n: max(2, min(5, n)), lambda texts: max(4, 0.02 * texts)),
    (lambda n: max(4, 0.9 * n), lambda _: 0),
)


def faults_of(change: Project, base: Project, *groups: Cases) -> list[str]:
    """Return in sentences why `base` cannot judge the prompt and the model of `change` on each group of cases."""
    section = change.models[change.ladder.baseline]
    faults = [*_model_faults(section, base), *_prompt_faults(change, base, groups)]
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


def _prompt_faults(change: Project, base: Project, groups: Iterable[Cases]) -> Iterator[str]:
    """Find prompts that are no plain text of the change, and quotes of cases that the base's prompts lack."""
    old, new = (
        "\n".join([project.text(at.system) or "", project.text(at.user) or "", str(at.parameters), *at.stop])
        for project in (base, change)
        for at in (project.prompt,)
    )
    paths = map(change.template_path, (change.prompt.system, change.prompt.user))
    if any(path and path.is_file() and path.resolve() != path for path in paths):
        yield "A prompt file is a link."
    if "version https://git-lfs" in new:
        yield "A prompt file is a pointer of Git LFS. Fetch the file first."
    if any(block not in old and not _PLAIN.fullmatch(block) for block in _BLOCK.findall(new)):
        yield "A prompt has new template code. It may only insert variables."
    if n := max(
        _count_quotes(new, old, texts, fillers)
        for texts in chain.from_iterable(map(_texts, groups))
        for fillers in FILLERS
    ):
        yield f"A prompt quotes cases or their answers (n = {n})."


def _texts(cases: Cases) -> tuple[list[str], list[str]]:
    """Return the questions, and long answers if most answers occur once: labels and short answers are no quotes."""
    answers = Counter({case.id: str(case.expected) for case in cases}.values())
    return (
        [*{case.id: case.text for case in cases}.values()],
        [text for text in answers if len(words(text)) > _WORDS]
        if 2 * [*answers.values()].count(1) > answers.total()
        else [],
    )


def _count_quotes(new: str, old: str, texts: list[str], fillers: str) -> int:
    """Count the texts that `new` quotes more than `_LEVELS` allow, and `old` does not, in each without `fillers`."""
    parts = [words("".join(map(_plain, re.sub(fillers, " ", text)))) for text in (new, old, *texts)]
    added, before = (f" {' '.join(some)} {''.join(some)} " for some in parts[:2])
    pieces = [{*_pieces(some)} for some in parts[2:]]
    shared = Counter(chain.from_iterable(pieces))
    hits = [[one in added for one in some if shared[one] < _SHARED and one not in before] for some in pieces]
    counts = ((sum(sum(some) >= least(len(some)) for some in hits if some), most) for least, most in _LEVELS)
    return max((n for n, most in counts if n > most(len(hits))), default=0)


# A character as the ASCII letter that it is a form of, else without marks; a symbol is a space.
@cache
def _plain(character: str) -> str:
    forms = re.findall(r"LETTER (?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?$", unicodedata.name(character, ""))
    return "".join(
        " " if kind[0] == "S" else one
        for one in forms or unicodedata.normalize("NFKD", character)
        for kind in (unicodedata.category(one),)
        if kind not in {"Lm", "Mc", "Me", "Mn"}
    )


def _pieces(parts: list[str]) -> Iterator[str]:
    """Yield the pieces of a text without spaces; a text of fewer words as it is."""
    size = min(len(parts), _WORDS if len("".join(parts)) > 2 * len(parts) else 2 * _WORDS)
    for run in (parts[start : start + size] for start in range(len(parts) and len(parts) - size + 1)):
        yield "".join(run) if size >= _WORDS else f" {' '.join(run)} "


def _files(project: Project) -> dict[str, bytes]:
    """Return the content of a project's files by path, without prompts and files of tools."""
    found = {path.relative_to(project.root): path for path in project.root.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if str(name) not in {FILE_NAME, project.prompt.system, project.prompt.user}
        and not {".git", ".tuneworthy", "__pycache__"} & {*name.parts}
    }
