"""Rows that repeat an earlier row: letter by letter, but for filler and typing errors, or in other words.

A row repeats another one only if its answer does too. The same question with another answer (another label) is a
contradiction, which other checks report; questions that only share a canned answer are different questions.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain

import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128_digest, xxh3_128_hexdigest

from tuneworthy.arrays import Hashes
from tuneworthy.cases.normalize import folded, normalise, normalised_bytes, question_of, signed, words
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.columns import Arrays, MappedCheck, Mapper, RowColumns, first_equal
from tuneworthy.dataset.dedup.specifics import content, mistyped, rows_with
from tuneworthy.extras import require
from tuneworthy.store.own_file import OwnFile, StoredSequence
from tuneworthy.types import Example, Examples, TextPair, calls_of, frozen


def digests(texts: Iterable[str]) -> Hashes:
    """Return (n_texts, 2) hashes of the normalised texts."""
    return np.frombuffer(b"".join(xxh3_128_digest(normalised_bytes(text)) for text in texts), np.uint64).reshape(-1, 2)


# Words of an answer up to which it must be the same, and may not only be like the other one.
SHORT = 12


def answer_text(row: Example) -> str:
    """Return the last turn: its text, and calls of tools."""
    last = row.messages[-1] if row.messages else {}
    calls = calls_of(last)
    return f"{_text(last.get('content'))} {calls}" if calls else _text(last.get("content"))


def _text(content: object) -> str:
    return content if isinstance(content, str) else "" if content is None else str(content)


def _key(row: Example) -> str:
    """Return a text that two rows share if their questions have the same letters and their answers the same words."""
    answer = " ".join(folded(answer_text(row)).split())
    return f"{question_of(row)} x{xxh3_128_hexdigest(answer.encode('utf-8', 'surrogatepass'))}"


@data_check("exact", whole=True, version=2)
class ExactCheck(MappedCheck):
    """Rows whose question has the same letters and digits as an earlier one, with the same answer.

    Texts are compared after Unicode normalisation and case folding; punctuation counts only where it is part of a
    number, a formula or a name (1.5, 12-3, C#). Copies weigh like one row that is trained on many times, and let a
    model learn it by heart. The first row stays.

    Bad: the same chat, logged twice.
    """

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        return lambda some: {"digests": digests(map(_key, some))}

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        same = first_equal(columns.whole("digests"))
        for row in np.flatnonzero(same >= 0).tolist():
            yield RowFinding(row=row, code="exact_duplicate", other=int(same[row]))


@data_check("near", whole=True, version=3)
@frozen
class NearCheck(MappedCheck):
    """Rows that repeat an earlier one but for words that say nothing, and typing errors.

    Two rows are near copies if question and answer have the same words in the same order once filler (please, so,
    really, the; in five languages), punctuation and repeated words are taken out. In longer texts a word may also be
    mistyped, by a letter or two inside. A short answer, such as a label, must be the same. Any other word, a number, a
    sign or a negation makes another row.

    Bad: "Where is my card?" and "So where is my card?" with the same answer.
    """

    threshold: float = 0.7

    def __post_init__(self) -> None:
        require("numba")

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        from tuneworthy.dataset.dedup.near import sign

        def read(some: Examples) -> Arrays:
            pairs = [*map(_content, some)]
            texts = [text.encode("utf-8", "surrogatepass") for text, _ in pairs]
            keys = np.array([_hash(short) for _, short in pairs], np.uint64)
            signed = sign([text for text, _ in pairs], keys)
            return {
                "contents": np.array([_hash(f"{short}\0{text}") for text, short in pairs], np.uint64),
                "texts": np.frombuffer(b"".join(texts), np.uint8),
                "lengths": np.fromiter(map(len, texts), np.int64),
                "sets": signed.sets,
                "sizes": np.diff(signed.starts),
                "bands": signed.bands,
            }

        return read

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        from tuneworthy.dataset.dedup.near import BANDS, BandPairs, resolve

        other = first_equal(columns.whole("contents"))
        columns.put("compared", other < 0)
        columns.put("starts", np.append(0, np.cumsum(columns.whole("sizes"))))
        columns.whole("sets")
        bands = columns.each(compare_band, [(band, self.threshold) for band in range(BANDS)])
        same = resolve(len(other), [BandPairs(band["pairs"], band["scores"], int(band["cut"][0])) for band in bands])
        texts = ContentTexts(columns)
        pairs = {
            row: differences
            for row in np.flatnonzero(same.of >= 0).tolist()
            if (differences := mistyped(texts[row], texts[int(same.of[row])]))
        }
        counts = rows_with(
            (texts[row] for row in np.flatnonzero(other < 0).tolist()) if pairs else (),
            frozenset(chain.from_iterable(chain.from_iterable(pairs.values()))),
        )
        # The rows that repeat an earlier one but for typing errors.
        typed = [
            row
            for row, differences in pairs.items()
            if all(min(counts[one], counts[two]) == 1 < max(counts[one], counts[two]) for one, two in differences)
        ]
        score = (other >= 0).astype(float)
        score[typed] = same.score[typed]
        root = np.arange(len(other))
        root[typed] = same.of[typed]
        for row in np.flatnonzero(score).tolist():
            yield RowFinding(
                row=row,
                code="near_duplicate",
                message=f"similarity {score[row]:.2f}",
                other=int(root[other[row]] if other[row] >= 0 else root[row]),
                score=float(score[row]),
            )


def compare_band(columns: RowColumns, band: int, threshold: float) -> Arrays:
    """Return the pairs of a band: see `near.BandPairs`."""
    from tuneworthy.dataset.dedup.near import band_pairs

    found = band_pairs(
        np.concatenate([part["bands"][band] for part in columns.parts]),
        columns.whole("compared"),
        columns.whole("sets"),
        columns.whole("starts"),
        threshold,
        columns.release,
    )
    return {"pairs": found.pairs, "scores": found.scores, "cut": np.array([found.cut])}


class ContentTexts(StoredSequence[str]):
    """The contents of rows."""

    def __init__(self, columns: RowColumns) -> None:
        self._columns = columns
        self._starts = np.append(0, np.cumsum(columns.whole("lengths")))
        self._open = lru_cache(maxsize=64)(self._part)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def item(self, number: int) -> str:
        file, before = self._open(number // self._columns.batch)
        start, end = (self._starts[number : number + 2] + before).tolist()
        return file.read(start, end).decode("utf-8", "surrogatepass")

    def _part(self, part: int) -> tuple[OwnFile, int]:
        """Return the file of a batch, and by how much the place of a row in it is after that in all texts."""
        path = self._columns.folder / f"{part}.texts.npy"
        last = min((part + 1) * self._columns.batch, len(self))
        return OwnFile(path), path.stat().st_size - int(self._starts[last])  # its array ends the file


def _content(row: Example) -> TextPair:
    """Return the content of question and answer, and a short answer as a whole instead of its content."""
    question, answer = content(question_of(row)), signed(answer_text(row))
    return (f"{question}\n{content(answer)}", "") if len(words(answer)) > SHORT else (question, normalise(answer))


def _hash(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
