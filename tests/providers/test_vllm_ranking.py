"""Labels ranked on vLLM, against a server that speaks its protocol with a model of one's own making."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from tuneworthy.errors import ProviderError
from tuneworthy.providers.vllm import PromptRanker
from tuneworthy.types import OutputFormat, Request, Response

OPENING = "<a>"  # what the template begins an answer with
# Log-probability of a character as the next token; prompts are made of others too, which must not count.
WORTH = {"a": -1.0, "b": -2.0, "c": -3.0}


class Server(BaseHTTPRequestHandler):
    """A token is a character."""

    thinks: ClassVar[bool] = False
    loses: ClassVar[str] = ""
    says: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told = self.says.get(self.path) or {"/tokenize": self.tokens, "/v1/completions": self.completions}[self.path](
            asked
        )
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def tokens(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "prompt" in asked:
            text = asked["prompt"]
        else:
            turns = [turn["content"] for turn in asked["messages"]]
            opening = OPENING + ("<think></think>" if self.thinks and asked.get("add_generation_prompt", True) else "")
            text = (
                "".join([*turns[:-1], opening, turns[-1]])
                if asked.get("continue_final_message")
                else "".join([*turns, opening])
            )
        return {"tokens": [ord(one) for one in text], "count": len(text)}

    def completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = []
        for index, prompt in enumerate(asked["prompt"]):
            told: list[Any] = [None]
            told += [{str(token): {"logprob": WORTH.get(chr(token), -9.0)}} for token in prompt[1:]]
            rows.append({"index": index, "text": "", "prompt_logprobs": told[:-1] if self.loses == "tokens" else told})
        broken: dict[str, Any] = {
            "prompts": {"choices": rows[1:]},
            "index": {"choices": [{}] * len(rows)},
            "choices": {},
        }
        return broken.get(self.loses, {"choices": rows[::-1]})

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    Server.thinks, Server.loses, Server.says = False, "", {}
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


QUESTION = ({"role": "user", "content": "xyz"},)


def rank(address: str, messages: tuple[dict[str, Any], ...] = QUESTION) -> Response:
    async def once() -> Response:
        ranker = PromptRanker(address=address, model="m", timeout_s=20)
        try:
            output = OutputFormat(kind="ranked", choices=("ab", "c", "aaa"), ranking="sum")
            return await ranker.rank(Request(messages=messages, output=output))
        finally:
            await ranker.close()

    return asyncio.run(once())


@pytest.mark.parametrize("thinks", [False, True])
def test_a_label_has_the_sum_of_its_own_tokens_and_the_prompt_counts_for_nothing(address: str, thinks: bool) -> None:
    Server.thinks = thinks
    response = rank(address)
    assert response.label_logprobs == {"ab": -3.0, "c": -3.0, "aaa": -3.0}
    prompt = len("xyz" + OPENING + ("<think></think>" if thinks else ""))
    assert response.input_tokens == 3 * prompt + 6


def test_without_messages_plain_texts_are_scored_behind_a_line_break(address: str) -> None:
    assert rank(address, ()).label_logprobs == {"ab": -3.0, "c": -3.0, "aaa": -3.0}
    assert rank(address, ()).input_tokens == 3 * len("\n") + 6


@pytest.mark.parametrize("loses", ["tokens", "prompts", "index", "choices"])
def test_an_answer_without_all_tokens_is_refused(loses: str, address: str) -> None:
    Server.loses = loses
    with pytest.raises(ProviderError, match="tokens other than"):
        rank(address)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/tokenize", {"detail": "no"}), ("/tokenize", {"tokens": "none"}),
        ("/v1/completions", {"detail": "no"}), ("/v1/completions", {"choices": []}),
        ("/v1/completions", {"choices": [{"index": 0, "text": ""}]}),
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_is_an_error_of_the_server_and_no_bug(
    address: str, path: str, says: dict[str, Any]
) -> None:
    Server.says = {path: says}
    with pytest.raises(ProviderError) as caught:
        rank(address)
    assert caught.value.code == "malformed"
