"""TF-IDF features of texts: word and character n-grams, in any script, for training sets of any size.

No text is too empty or too long: a vocabulary may be empty, and long texts keep their head and tail,
so that the time to fit is bounded.
"""

from collections.abc import Sequence
from typing import Any

WORD_NGRAMS = (1, 2)
CHAR_NGRAMS = (2, 5)
TOKEN_PATTERN = r"(?u)\w+|[^\w\s]"
MAX_FEATURES = 200_000
CHAR_BUDGET = 3_000_000  # characters of all texts together: about 10 s of n-grams on one core
RARE_CHARS_FROM = 1_000  # rows from which a character n-gram must occur in two rows


def clip(text: str, max_chars: int) -> str:
    """Return head and tail of a text that is too long."""
    half = max_chars // 2
    return text if len(text) <= max_chars else f"{text[:half]} {text[-half:]}"


class TextFeatures:
    """Word (1, 2) and character (2 to 5, inside words) TF-IDF side by side, float32.

    Rows of a block have length 1 or 0, so that the dot product of two texts is the sum of two cosines.
    """

    def __init__(self) -> None:
        self.max_chars = 0
        self._blocks: list[Any] = []

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings of the features, for an identity."""
        return {"words": WORD_NGRAMS, "chars": CHAR_NGRAMS, "max_chars": self.max_chars}

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the vocabulary of `texts`; return a CSR matrix ``(n_texts, n_features)``."""
        import numpy as np
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.max_chars = min(20_000, max(400, CHAR_BUDGET // len(texts)))
        common = {"sublinear_tf": True, "dtype": np.float32, "max_features": MAX_FEATURES, "lowercase": True}
        min_df = 2 if len(texts) >= RARE_CHARS_FROM else 1
        self._blocks, matrices = [], []
        for vectorizer in (
            TfidfVectorizer(ngram_range=WORD_NGRAMS, token_pattern=TOKEN_PATTERN, **common),
            _CharacterTfidf(min_df),
        ):
            try:
                matrices.append(vectorizer.fit_transform(self._clip(texts)))
            except ValueError:  # every text is blank, or no n-gram occurs twice: the block has no features
                continue
            self._blocks.append(vectorizer)
        return self._join(matrices, len(texts))

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the features of new `texts`, CSR ``(n_texts, n_features)``."""
        clipped = self._clip(texts)
        return self._join([block.transform(clipped) for block in self._blocks], len(texts))

    def state(self) -> dict[str, Any]:
        """Return what `runtime.TfidfRows` needs."""
        blocks = [[b.analyzer != "word", b.get_feature_names_out().tolist(), b.idf_] for b in self._blocks]
        return {"max_chars": self.max_chars, "blocks": blocks}

    def _clip(self, texts: Sequence[str]) -> list[str]:
        return [clip(text, self.max_chars) for text in texts]

    @staticmethod
    def _join(matrices: list[Any], n_texts: int) -> Any:
        from scipy import sparse

        if not matrices:
            return sparse.csr_matrix((n_texts, 1), dtype="float32")
        return sparse.hstack(matrices, format="csr", dtype="float32")


class _CharacterTfidf:
    """What `TfidfVectorizer` does with `char_wb`, but each word is cut into n-grams once: texts share their words.

    Args:
        min_df: Texts that an n-gram must occur in.
    """

    analyzer = "char_wb"

    def __init__(self, min_df: int) -> None:
        from sklearn.feature_extraction.text import TfidfTransformer

        self.min_df = min_df
        self._terms: Any = None
        self._tfidf = TfidfTransformer(sublinear_tf=True)

    @property
    def idf_(self) -> Any:
        return self._tfidf.idf_

    def get_feature_names_out(self) -> Any:
        return self._terms.get_feature_names_out()

    def fit_transform(self, texts: Sequence[str]) -> Any:
        """Learn the n-grams of `texts`; return their features.

        Raises:
            ValueError: No n-gram occurs in that many.
        """
        import numpy as np

        words, rows = _words_of(texts)
        terms = _char_counter()
        counts = rows @ terms.fit_transform(words)
        wide = np.bincount(counts.indices, minlength=counts.shape[1]) >= self.min_df
        usual = np.flatnonzero(wide)
        if len(usual) > MAX_FEATURES:
            most = (-np.asarray(counts.sum(axis=0)).ravel()[wide]).argsort()[:MAX_FEATURES]
            usual = np.sort(usual[most])
        if not len(usual):
            raise ValueError("no n-gram occurs often enough")
        self._terms = _char_counter(terms.get_feature_names_out()[usual])
        return self._tfidf.fit_transform(counts[:, usual])

    def transform(self, texts: Sequence[str]) -> Any:
        """Return the features of new `texts`."""
        words, rows = _words_of(texts)
        return self._tfidf.transform(rows @ self._terms.transform(words), copy=False)


def _char_counter(vocabulary: Any = None) -> Any:
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(
        ngram_range=CHAR_NGRAMS, analyzer="char_wb", lowercase=False, dtype=np.float32, vocabulary=vocabulary
    )


def _words_of(texts: Sequence[str]) -> tuple[list[str], Any]:
    """Return the different words of `texts`, and how often each text has each, CSR ``(n_texts, n_words)``."""
    import numpy as np
    from scipy.sparse import csr_matrix

    numbers: dict[str, int] = {}
    starts, columns = [0], []
    for text in texts:
        columns += [numbers.setdefault(word, len(numbers)) for word in text.lower().split()]
        starts.append(len(columns))
    rows = csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(texts), len(numbers)))
    rows.sum_duplicates()
    return list(numbers), rows
