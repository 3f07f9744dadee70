"""Grader `style`: brand voice, by a classifier of brand against generic text and by lexical rules.

It judges only form: a case needs no label. The classifier is trained when the grader is built, always with
the same result for the same texts, and its cross-validated AUROC says whether it can tell them apart at all.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from tuneworthy.config.graders import Style
from tuneworthy.errors import DataError, UserError
from tuneworthy.graders.base import FORMAT, GRADERS, AnswerGrader, GradingContext
from tuneworthy.graders.pattern import search
from tuneworthy.input_files import read_input
from tuneworthy.patterns import compile_pattern
from tuneworthy.text import count
from tuneworthy.types import Case, Score, Texts, Trace, content_hash

# Minimum of texts per kind for a classifier.
MIN_TEXTS = 20
MAX_CHARS = 20_000
FOLDS = 5
SEED = 7
# Expected form of a line.
_TEXT_ROW = '{"text": "..."}'


class StyleClassifier:
    """TF-IDF of characters and words, logistic regression, Platt's calibration with equal weight for both kinds.

    Args:
        brand: Texts in the brand's voice.
        generic: Texts in no voice in particular.

    Attributes:
        auroc: Cross-validated: 0.5 tells nothing apart, 1.0 everything.
    """

    def __init__(self, brand: Texts, generic: Texts) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        texts = [text[:MAX_CHARS] for text in (*brand, *generic)]
        kinds = [1] * len(brand) + [0] * len(generic)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
        held_out = cross_val_predict(_pipeline(), texts, kinds, cv=folds, method="decision_function")
        self._platt: Any = LogisticRegression(class_weight="balanced").fit(held_out.reshape(-1, 1), kinds)
        self._model: Any = _pipeline().fit(texts, kinds)

    def __call__(self, text: str) -> float:
        """Return the probability that `text` is in the brand's voice, 0..1; 0.5 is the boundary."""
        margin = self._model.decision_function([text[:MAX_CHARS]])
        return float(self._platt.predict_proba(margin.reshape(-1, 1))[0, 1])


def _pipeline() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    features = make_union(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2, max_features=50_000),
        TfidfVectorizer(token_pattern=r"(?u)\b\w+\b|[!?…]", ngram_range=(1, 2), sublinear_tf=True, max_features=50_000),
    )
    return make_pipeline(features, LogisticRegression(class_weight="balanced", max_iter=1000))


def read_generic(path: Path) -> list[str]:
    """Read a JSONL file of `{"text": ...}`.

    Raises:
        DataError: A line is something else.
    """
    texts = []
    for number, line in enumerate(read_input(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(path, number, _TEXT_ROW, f"invalid JSON ({error})") from None
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise DataError(path, number, _TEXT_ROW, f"{line[:60]!r}")
        texts.append(row["text"])
    return texts


def broken_rules(config: Style, text: str) -> tuple[list[str], int]:
    """Return the lexical rules that `text` breaks, in words, and how many rules there are."""
    n_words = len(text.split())
    folded = " ".join(text.casefold().split())
    least, most = config.words or (0, None)
    banned = [" ".join(phrase.casefold().split()) for phrase in config.banned]
    rules = [
        *([(f"at least {count(least, 'word')}", n_words >= least)] if least else []),
        *([(f"at most {count(most, 'word')}", n_words <= most)] if most is not None else []),
        *((f"does not contain {phrase!r}", phrase not in folded) for phrase in banned),
        *((f"matches {pattern!r}", bool(search(pattern, text))) for pattern in config.required),
    ]
    return [name for name, passed in rules if not passed], len(rules)


@GRADERS.register("style")
class StyleGrader(AnswerGrader[Style]):
    """The mean of the classifier's probability and the share of rules kept (without rules the first)."""

    needs_expected = False

    def __init__(self, config: Style, context: GradingContext) -> None:
        for pattern in config.required:
            compile_pattern(pattern)
        generic = _distinct(read_generic(context.file(config.generic, "generic texts (JSONL)")))
        brand = _distinct(example.answer for example in context.examples)
        if min(len(brand), len(generic)) < MIN_TEXTS:
            raise UserError(
                (
                    f"The grader has {len(brand)} distinct example answers and {len(generic)} distinct generic "
                    f"texts, but it needs at least {MIN_TEXTS} of each."
                ),
                hint="Add more example answers or generic texts.",
            )
        super().__init__(
            config,
            brand_hash=content_hash(brand),
            generic_hash=content_hash(generic),
            sklearn=version("scikit-learn"),
        )
        self.classifier = StyleClassifier(brand, generic)

    def __call__(self, trace: Trace, case: Case) -> Score:
        if not trace.text.strip():
            return FORMAT
        voice = self.classifier(trace.text)
        broken, n_rules = broken_rules(self.config, trace.text)
        share = 1 - len(broken) / n_rules if n_rules else voice
        value = (voice + share) / 2
        reason = "" if value >= 0.5 and not broken else "partial" if value > 0 else "wrong"
        return Score(num=value, reason=reason, detail={"voice": round(voice, 6), "broken": broken})


def _distinct(texts: Any) -> list[str]:
    return sorted({text.strip() for text in texts if text.strip()})
