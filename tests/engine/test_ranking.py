"""What a ranking makes of the log-probabilities of labels: pure."""

import math

import pytest

from tuneworthy.engine.models import OpenModel
from tuneworthy.engine.ranking import CONTENT_FREE, content_free, normalised, ranked
from tuneworthy.providers.prices import Price, TokenRates
from tuneworthy.providers.scripted import ScriptedProvider
from tuneworthy.types import Case, OutputFormat, Request, Response, Variant

LABELS = ("a", "a_long_one", "b")
RAW = {"a": -2.0, "a_long_one": -3.0, "b": -2.5}


def of(ranking: str, prior: tuple[float, ...] = ()) -> Response:
    output = OutputFormat(kind="ranked", choices=LABELS, ranking=ranking, prior=prior)  # type: ignore[arg-type]
    return ranked(Response(text="?", label_logprobs=RAW), output)


@pytest.mark.parametrize(
    ("ranking", "prior", "first"),
    [("sum", (), "a"), ("per_byte", (), "a_long_one"), ("prior", (-0.1, -3.0, -4.0), "b")],
)
def test_each_ranking_has_its_own_winner(ranking: str, prior: tuple[float, ...], first: str) -> None:
    response = of(ranking, prior)
    assert response.text == first
    assert response.label_logprobs is not None
    assert math.fsum(map(math.exp, response.label_logprobs.values())) == pytest.approx(1)
    assert max(response.label_logprobs, key=response.label_logprobs.__getitem__) == first


def test_the_prior_divides_by_the_probability_after_no_content() -> None:
    prior = (-0.1, -3.0, -4.0)
    expected = normalised({label: RAW[label] - worth for label, worth in zip(LABELS, prior, strict=True)})
    assert of("prior", prior).label_logprobs == pytest.approx(expected)


def test_an_answer_without_log_probabilities_stays_as_it_is() -> None:
    response = Response(text="a")
    assert ranked(response, OutputFormat(kind="ranked", choices=LABELS, ranking="sum")) is response


def test_a_question_without_content_keeps_the_shape_of_the_case() -> None:
    assert content_free(Case(id="1", input="hello")).input == CONTENT_FREE
    assert content_free(Case(id="1", input={"x": "hello", "y": 3})).input == {"x": CONTENT_FREE, "y": CONTENT_FREE}
    turns = (
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "x"},
    )
    assert content_free(Case(id="1", messages=turns)).messages == (
        *turns[:2],
        {"role": "user", "content": CONTENT_FREE},
    )


def test_how_labels_are_ranked_is_part_of_the_identity_and_free_output_keeps_its_id() -> None:
    def variant(output: OutputFormat) -> Variant:
        return Variant(
            name="x", model="m", model_identity={"provider": "p"}, system=None, user="{{ input }}", output=output
        )

    rankings = [OutputFormat(kind="ranked", choices=LABELS, ranking=one) for one in ("sum", "per_byte", "prior")]  # type: ignore[arg-type]
    priors = [OutputFormat(kind="ranked", choices=LABELS, ranking="prior", prior=(0.0, 0.0, float(n))) for n in (1, 2)]
    assert len({variant(output).id for output in (*rankings, *priors)}) == 5
    assert variant(OutputFormat()).id == "6986f4e3f02d580c"  # as before there were rankings


def test_a_ranking_that_is_paid_for_costs_what_it_reads_and_is_believed() -> None:
    prices = Price(rates=TokenRates(input=1.0, output=2.0))
    model = OpenModel(
        name="m", provider=ScriptedProvider(str, identity={}), price=prices, hosted=True, concurrency=1, timeout_s=1.0,
        retries=0,
    )  # fmt: skip
    labels = tuple(f"label_{number:02}" for number in range(60))
    request = Request(
        messages=({"role": "user", "content": "hello " * 20},),
        max_tokens=4,
        output=OutputFormat(kind="ranked", choices=labels),
    )
    response = Response(text="label_00", input_tokens=60 * 30, output_tokens=60 * 4)
    settled, usd = model.settled(request, response)
    assert settled == response
    assert usd == pytest.approx((1800 + 2 * 240) / 1e6)
    assert usd <= model.ceiling_usd(request)
