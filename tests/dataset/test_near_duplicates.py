"""Near duplicates: the kernels against plain Python, the rule, and what must not change the result."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.plain_minhash import plain_band_keys, plain_hash, plain_jaccard, plain_shingles
from tuneworthy import extras
from tuneworthy.dataset import data_checks
from tuneworthy.dataset.dedup import minhash, near
from tuneworthy.dataset.dedup.minhash import band_keys, shingles
from tuneworthy.dataset.dedup.near import BANDS, NearDuplicates, band_pairs, resolve, sign
from tuneworthy.errors import UserError

CHARACTERS = st.characters(codec=None) | st.sampled_from("abc ABC .-’'éß中文ไทย한🙂\u0301\u200b\ud800\x00")
TEXTS = st.lists(st.text(CHARACTERS, max_size=40), max_size=12)
WORDS = [f"w{number}" for number in range(400)]


def corpus(n: int = 600, seed: int = 3) -> list[str]:
    """Rows of 20 to 60 words; a third repeat an earlier one but for one to six words."""
    rng = random.Random(seed)
    rows: list[str] = []
    for _ in range(n):
        if rows and rng.random() < 0.33:
            words = rng.choice(rows).split()
            for _ in range(rng.randint(1, 6)):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
            rows.append(" ".join(words))
        else:
            rows.append(" ".join(rng.choices(WORDS, k=rng.randint(20, 60))))
    return rows


def near_duplicates(rows: list[str], threshold: float = 0.7, bands: int = BANDS, size: int = 6) -> NearDuplicates:
    """Find the rows that repeat an earlier kept row: the three steps of `near`, with all rows in memory."""
    signed, compared = sign(rows, bands=bands, rows=size), np.ones(len(rows), bool)
    return resolve(
        len(rows), [band_pairs(band, compared, signed.sets, signed.starts, threshold) for band in signed.bands]
    )


def brute_force(rows: list[str], threshold: float, size: int) -> list[int]:
    """The rule itself: each row against every kept one."""
    kept: list[int] = []
    of = []
    for number, row in enumerate(rows):
        best = max(kept, key=lambda other: (plain_jaccard(row, rows[other], size), -other), default=-1)
        if best >= 0 and plain_jaccard(row, rows[best], size) >= threshold:
            of.append(best)
        else:
            of.append(-1)
            kept.append(number)
    return of


@settings(deadline=None)  # the first call loads the kernel
@given(TEXTS, st.integers(1, 4))
def test_the_kernel_hashes_the_shingles_of_plain_python(rows: list[str], size: int) -> None:
    for part in minhash.pack(rows, 5):
        hashes, starts = shingles(part, size)
        for number in range(len(part)):
            found = set(hashes[starts[number] : starts[number + 1]].tolist())
            assert found == {plain_hash(one, size) for one in plain_shingles(rows[part.first + number], size)}


def test_the_kernel_takes_the_minima_that_numpy_takes() -> None:
    (part,) = minhash.pack([*corpus(20), "one", ""])
    hashes, starts = shingles(part, 3)
    keys = band_keys(hashes, starts, 5, 4, seed=11)
    for row in range(len(part)):
        np.testing.assert_array_equal(keys[row], plain_band_keys(hashes[starts[row] : starts[row + 1]], 5, 4, 11))


@pytest.mark.parametrize(
    "threshold", [0.6, *(pytest.param(threshold, marks=pytest.mark.slow) for threshold in (0.4, 0.8))]
)
@pytest.mark.slow
def test_with_enough_bands_the_result_is_that_of_comparing_everything(threshold: float) -> None:
    rows = corpus()
    found = near_duplicates(rows, threshold=threshold, bands=40, size=2)
    assert found.of.tolist() == brute_force(rows, threshold, 3)
    assert 20 < np.sum(found.of >= 0) < 300


def test_every_score_is_the_exact_similarity_and_every_row_named_was_kept() -> None:
    rows = corpus()
    found = near_duplicates(rows)
    for row in np.flatnonzero(found.of >= 0):
        assert found.score[row] == plain_jaccard(rows[row], rows[found.of[row]], 3) >= 0.7
        assert found.of[found.of[row]] == -1 and found.of[row] < row
    assert np.all(found.score[found.of < 0] < 0.7)


def test_a_pair_just_below_the_threshold_is_kept() -> None:
    base = " ".join(WORDS[:40])
    edited = " ".join([*WORDS[:20], "other", *WORDS[21:40]])  # 35 of 41 shingles
    assert near_duplicates([base, edited], threshold=35 / 41).of.tolist() == [-1, 0]
    assert near_duplicates([base, edited], threshold=35 / 41 + 1e-9).of.tolist() == [-1, -1]


def test_a_chain_of_small_edits_is_not_followed() -> None:
    words, chain = WORDS[:40], [" ".join(WORDS[:40])]
    for place in range(0, 40, 4):
        words = [*words[:place], f"new{place}", *words[place + 1 :]]
        chain.append(" ".join(words))
    found = near_duplicates(chain, bands=60, size=2)
    assert found.of.tolist() == brute_force(chain, 0.7, 3)
    assert (found.of == -1).sum() > 1


def test_short_texts_count_as_one_shingle_and_texts_without_words_repeat_nothing() -> None:
    assert near_duplicates(["thank you", "Thank you!", "thank", "?!", "?!", ""]).of.tolist() == [-1, 0, -1, -1, -1, -1]


def test_no_rows_have_no_duplicates() -> None:
    assert near_duplicates([]).of.shape == (0,)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_size_of_a_buffer_does_not_change_the_result(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = corpus()
    expected = near_duplicates(rows)
    pack = near.pack
    monkeypatch.setattr(near, "pack", lambda texts: pack(texts, chunk))
    found = near_duplicates(rows)
    np.testing.assert_array_equal(found.of, expected.of)
    np.testing.assert_array_equal(found.score, expected.score)


def test_a_bucket_that_everyone_is_in_is_searched_to_the_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    template = " ".join(WORDS[:30])
    rows = [f"{template} {' '.join(f'n{number}x{k}' for k in range(40))}" for number in range(60)]
    assert near_duplicates(rows, bands=40, size=1).cut == 0
    monkeypatch.setattr(near, "LIMIT", 5)
    found = near_duplicates([*rows, rows[-1]], bands=40, size=1)
    assert found.cut > 0
    assert found.of.tolist() == [-1] * 60 + [59]


def test_without_numba_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "tuneworthy\[data\]"'):
        data_checks()["near"].configured(threshold=0.8)
