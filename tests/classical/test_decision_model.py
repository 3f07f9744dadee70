"""The zero-shot decision model: read from its pinned file, and equal to its own package's runtime."""

from pathlib import Path

import numpy as np
import pytest

from tuneworthy.classical.base import ProbabilisticModel
from tuneworthy.classical.decision import SPEC, read_decision_model
from tuneworthy.errors import ModelError
from tuneworthy.providers.models import check_pinned, pull
from tuneworthy.retrieval.bert import split_words

# What `Decider.load().probs(text, {"type": "choice", ...})` of sparrow-decider 0.2.0 gives, with our question and each
# label's own words as its description.
CARDS = ["card_arrival", "lost_or_stolen_card", "cash_withdrawal_charge"]
ODD = ["failed_transfer", "top_up", "Größe"]
REFERENCE = [
    ("Where is my new card?", CARDS, [0.981377, 0.01837, 0.000253]),
    ("Überweisung an 日本 failed!! I'm #1 — why?", ODD, [0.255747, 0.348599, 0.395654]),
    ("", ["a", "b"], [0.539397, 0.460603]),
]


@pytest.fixture(scope="module")
def path() -> Path:
    return pull(SPEC, Path())


@pytest.mark.parametrize(("text", "labels", "expected"), REFERENCE)
def test_probabilities_are_those_of_the_package(
    path: Path, text: str, labels: list[str], expected: list[float]
) -> None:
    model = read_decision_model(path, labels)
    assert isinstance(model, ProbabilisticModel)
    # 1e-5: its runtime approximates the error function to 1.5e-7 and we do not
    assert model.probabilities([text])[0] == pytest.approx(expected, abs=1e-5)
    assert model.predict([text]) == [labels[int(np.argmax(expected))]]


def test_any_text_gets_a_label_and_probabilities_that_sum_to_one(path: Path) -> None:
    model = read_decision_model(path, ["yes", "no", "maybe_later"])
    odd = ["", " \n", "?!", "予約は二人です", "🍕🍕", "\x00", "x" * 5000, "word " * 30_000]
    assert model.probabilities(odd).sum(axis=1) == pytest.approx(1)
    assert set(model.predict(odd)) <= set(model.labels)
    assert model.predict([]) == []
    assert model.probabilities([]).shape == (0, 3)


def test_descriptions_stand_in_for_names_that_say_little(path: Path) -> None:
    text = "My card was stolen yesterday!"
    plain = read_decision_model(path, ["q1", "q2"])
    about = read_decision_model(path, ["q1", "q2"], {"q1": "a transfer failed", "q2": "a stolen card"})
    assert about.predict([text]) == ["q2"]
    assert about.probabilities([text])[0].max() > plain.probabilities([text])[0].max()


def test_words_are_split_as_by_the_tokenizers_of_bert() -> None:
    normalizers = pytest.importorskip("tokenizers.normalizers")
    splitter = pytest.importorskip("tokenizers.pre_tokenizers").BertPreTokenizer()
    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    for text in [
        "Hello, World!",
        "snake_case-and #tags",
        "Größe ÄÖ",
        "a日本b",
        "tab\tnew\nline",
        "1.5% of $3",
        "don't",
    ]:
        words = [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
        assert split_words(text) == words


def test_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError):
        check_pinned(SPEC, copy)
