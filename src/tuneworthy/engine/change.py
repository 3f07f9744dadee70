"""A change of a project, judged by the project as it was: only the prompt and the model id are taken from the change.

Graders, their files, cases, rubrics, settings, hosts and code are those of the base project. A change that these
cannot judge is refused.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

from tuneworthy.cases.normalize import words
from tuneworthy.config.base import FunctionSection
from tuneworthy.config.models import ModelSection
from tuneworthy.config.project import FILE_NAME, Project
from tuneworthy.types import Cases, Examples, Texts, text_of

_BLOCK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_PLAIN = re.compile(r"\{\{ *\w+ *\}\}")
# Ignored between the words of a quote: nothing, or tags, entities, digits and special forms of letters.
FILLERS = (
    r"(?!)",
    r"<[!/?]?[A-Za-z-][^<>]*>|&#?\w+;|\d|[ªº\u0363-\u036f\u1d2c-\u1d6a\u1dd3-\u1df4\u2070-\u218b\u2460-\u24ff]"
    r"|[\uff21-\uff5a\U0001d400-\U0001d7ff\U0001f130-\U0001f189\U000e0000-\U000e007f]",
)
# Words of a piece, twice as many if words are single characters; a piece of this many texts is the task's language.
_WORDS, _SHARED = 3, 3
# Number and share of texts that may be quoted: in part, at length, as a whole. On banking77 the definitions of 77
# labels quote 8% of 280 questions in part, and up to five at length.
_MOST = ((4, 0.1), (4, 0.02), (0, 0.0))


def faults_of(change: Project, base: Project, shots: Examples, *groups: Cases) -> list[str]:
    """Return in sentences why `base` cannot judge the prompt and the model of `change` on each group of cases.

    Args:
        change: The changed project.
        base: The project as it was.
        shots: Examples of the base, which a prompt may quote.
        groups: Cases, which a prompt must not quote.
    """
    section = change.models[change.ladder.baseline]
    faults = [*_model_faults(section, base), *_prompt_faults(change, base, shots, groups)]
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


def _prompt_faults(change: Project, base: Project, shots: Examples, groups: Iterable[Cases]) -> Iterator[str]:
    """Find prompts that are no plain text of the change, and quotes of cases that the base's prompts and shots lack."""
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
    old = "\n".join([old, *_quoted_shots(new, shots)])
    if n := max(
        _count_quotes(new, old, texts, fillers)
        for texts in chain.from_iterable(map(_texts, groups))
        for fillers in FILLERS
    ):
        yield f"A prompt shares sequences of words with cases or their answers (n = {n})."


def _texts(cases: Cases) -> tuple[list[str], list[str]]:
    """Return the questions of different words, and long answers if most answers occur once.

    Labels and short answers are no quotes.
    """
    answers = Counter({case.id: str(case.expected) for case in cases}.values())
    return (
        [*{"".join(words(case.text)): case.text for case in cases}.values()],
        [text for text in answers if len(words(text)) > _WORDS]
        if 2 * [*answers.values()].count(1) > answers.total()
        else [],
    )


def _quoted_shots(new: str, shots: Examples) -> list[str]:
    added = "".join(words(new))
    return ["\n".join(map(text_of, shot.messages)) for shot in shots if "".join(words(shot.question)) in added]


def _count_quotes(new: str, old: str, texts: Texts, fillers: str) -> int:
    """Count the texts that `new` quotes more than `_MOST` allows, and `old` does not, in each without `fillers`."""
    parts = [words("".join(map(_plain, re.sub(fillers, " ", text)))) for text in (new, old, *texts)]
    # Words that no text has may be put between the words of a quote.
    new, known = "".join(parts[0]), {*chain.from_iterable(parts[2:])}
    added, before = (
        f" {' '.join(some)} {''.join(some)} {''.join(one for one in some if one in known)} " for some in parts[:2]
    )
    pieces, wholes = [dict.fromkeys(_pieces(some)) for some in parts[2:]], [*map("".join, parts[2:])]
    shared = Counter(chain(*pieces, wholes))
    levels = [
        3 * (len(some) > _WORDS and shared[text] < _SHARED and text in new and text not in before)
        or _level([one for one in some if shared[one] < _SHARED and one not in before], added)
        for some, text in zip(pieces, wholes, strict=True)
    ]
    return max(
        n if n > max(n_most, share * len(texts)) else 0
        for level, (n_most, share) in enumerate(_MOST)
        for n in (sum(one > level for one in levels),)
    )


def _level(pieces: Texts, added: str) -> int:
    """Return whether `added` quotes a text of `pieces` in part (1), at length or, if not short, wholly (2).

    Three words in a row also occur by chance, in proportion to the length of the text.
    """
    n, hits = len(pieces), "".join("01"[one in added] for one in pieces)
    longest, is_short = max(map(len, hits.split("0"))), len("".join(pieces).encode()) <= 8
    return 2 * (longest >= max(1 + is_short, min(5, n))) or int(
        n > 0 and hits.count("1") >= max(0.01 * n, min(4, max(2, n / 3), n))
    )


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


def _pieces(parts: Texts) -> Iterator[str]:
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
