"""What is exported answers as the fitted baseline does, from its folder alone."""

from __future__ import annotations

import ast
import http.client
import importlib.util
import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classical_data import example
from test_classical_contract import ODD, PAIRS, rows

from tuneworthy.classical import ClassicalModel, ProbabilisticModel, fit
from tuneworthy.classical.decision import SPEC, read_decision_model
from tuneworthy.classical.export import SERVER, module_source, read_answer, standalone_files
from tuneworthy.classical.runtime import fill_template, load_state
from tuneworthy.errors import UserError
from tuneworthy.providers.models import pull
from tuneworthy.types import Example

TEMPLATE = ["", "input", ""]
# None of these is in the contract's list, nor in a training set.
NEW = [
    "A table for Cleo at 7?", "TABLE FOR EVA\nat 10", "ſtraße İstanbul ǅ", "a\u0301 e\u0301", "🏳️‍🌈 7🍕 at 3",
    "\ufeff\u200b", "x" * 25_000, "予約 3 名 Ada", "at\x1f5\u2028please", "<s> </s> ^ $", "note 3, note 4; note 5",
    "'; DROP TABLE --",
]  # fmt: skip
LABELS = ["", "🍕", 'say "no"', "a/b\\c", "{{ input }}", "<b>", "日本", "0", "line\nbreak", "None"]


def write(folder: Path, model: ClassicalModel, template: list[str] = TEMPLATE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in standalone_files(model, template).items():
        (folder / name).write_bytes(content)
    return folder


def module_of(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"exported_{folder.name}", folder / "classifier.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        spec.loader.exec_module(module)
    return module


def check_same(folder: Path, name: str, examples: list[Example], questions: list[str]) -> None:
    model = fit(name, examples, 7)
    exported = module_of(write(folder, model))
    answers = [exported.predict(question) for question in questions]
    assert answers == [read_answer(model, answer) for answer in model.predict(questions)]
    assert hasattr(exported, "probabilities") == isinstance(model, ProbabilisticModel)
    if isinstance(model, ProbabilisticModel):
        shares = [list(exported.probabilities(question).values()) for question in questions]
        assert np.array(shares) == pytest.approx(model.probabilities(questions), abs=1e-5)
        assert list(exported.probabilities("")) == list(model.labels)


def test_the_decision_model_is_exported_with_its_labels(tmp_path: Path) -> None:
    model = read_decision_model(pull(SPEC, Path()), LABELS)
    exported = module_of(write(tmp_path, model))
    questions = [*ODD[:-1], *NEW]
    assert [exported.predict(question) for question in questions] == model.predict(questions)
    shares = [list(exported.probabilities(question).values()) for question in questions]
    assert np.array(shares) == pytest.approx(model.probabilities(questions), abs=1e-6)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5e6


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("n", [1, 2, 5, 24])
def test_it_answers_as_the_baseline_whatever_is_asked(tmp_path: Path, name: str, kind: str, n: int) -> None:
    examples = rows(kind, n)
    check_same(tmp_path, name, examples, [*ODD[:-1], *NEW, *(row.question for row in rows(kind, 40))])


@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("question", ["", "。"])
def test_it_answers_as_the_baseline_where_questions_have_no_words(
    tmp_path: Path, name: str, kind: str, question: str
) -> None:
    check_same(tmp_path, name, [example(question, row.answer) for row in rows(kind, 12)], [*ODD[:-1], *NEW])


@pytest.mark.parametrize("labels", [LABELS[:2], LABELS])
def test_labels_of_any_characters_are_kept(tmp_path: Path, labels: list[str]) -> None:
    examples = [example(f"{labels[i % len(labels)]} word{i % len(labels)} n{i}", labels[i % len(labels)])
                for i in range(60)]  # fmt: skip
    for name in ("linear", "nearest"):
        check_same(tmp_path / name, name, examples, [*ODD[:-1], *NEW, *(row.question for row in examples)])


def test_fields_of_any_names_and_values_are_kept(tmp_path: Path) -> None:
    values = [{"a/b": {"c d": i % 3}, "日": f"n{i}", "list": [f"n{i}", "x"], "none": None, "big": 10**20 + i % 2}
              for i in range(40)]  # fmt: skip
    examples = [example(f"case n{i} x and {i % 3}", value) for i, value in enumerate(values)]
    for name in ("constant", "nearest_object", "field_tagger"):
        check_same(tmp_path / name, name, examples, [*ODD[:-1], *NEW, "case n99 x and 1"])


def test_it_runs_where_nothing_but_numpy_can_be_imported(tmp_path: Path) -> None:
    folder = write(tmp_path, fit("linear", rows("label"), 7))
    code = (
        f"import sys; sys.path[:] = [{str(folder)!r}, *sys.path, {str(Path(np.__file__).parent.parent)!r}]\n"
        "import classifier; print(classifier.predict('table for Bo at 1 please, note 1'))\n"
        "assert not {'tuneworthy', 'sklearn', 'scipy', 'orjson', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"book", "cancel", "ask"}
    assert (folder / "requirements.txt").read_text().split(">=")[0] == "numpy"


def test_weights_of_another_export_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", fit("linear", rows("label"), 7))
    other = write(tmp_path / "b", fit("linear", rows("label", 30), 7))
    (folder / "weights.npz").write_bytes((other / "weights.npz").read_bytes())
    with pytest.raises(ValueError, match="does not belong"):
        load_state(folder)


def test_variables_are_filled_into_the_template(tmp_path: Path) -> None:
    examples = [example(f"Q: table for {row.question} ({i % 2})", row.answer) for i, row in enumerate(rows("label"))]
    model = fit("linear", examples, 7)
    exported = module_of(write(tmp_path, model, ["Q: table for ", "who", " (", "n", ")"]))
    asked = "Q: table for Ada (1)"
    assert exported.probabilities({"who": "Ada", "n": 1}) == exported.probabilities(asked)
    assert fill_template(["Q: ", "who", ""], "Ada") == "Q: Ada" and fill_template([], "as it is") == "as it is"
    with pytest.raises(KeyError):
        exported.predict({"who": "Ada"})
    with pytest.raises(TypeError, match="filled-in prompt"):
        fill_template([], {"who": "Ada", "n": 1})


def test_a_baseline_of_a_stranger_is_refused_by_name() -> None:
    class Stranger:
        def __init__(self) -> None:
            self.identity = {"name": "own_forest"}

    with pytest.raises(UserError, match="own_forest"):
        standalone_files(Stranger(), TEMPLATE)  # type: ignore[arg-type]


def test_the_file_repeats_no_name_and_imports_nothing_of_the_package() -> None:
    source = module_source()
    assert "tuneworthy" not in source
    names: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        else:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            names += [
                name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)
            ]
    assert [name for name, n in Counter(names).items() if n > 1] == []


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post_head(*lines: bytes, host: bytes = b"Host: localhost") -> bytes:
    return b"\r\n".join([b"POST /predict HTTP/1.1", host, *lines, b"", b""]) + b'{"text":"Bo at 3"}'


# A request, and the status of the only answer: what follows it on the connection is not a second request.
HEADS = {
    "right": (post_head(b"Content-Length: 18", b"Connection: close"), 200),
    "host by name": (post_head(b"Content-Length: 18", b"Connection: close", host=b"Host: models.EXAMPLE:80"), 200),
    "IPv6": (post_head(b"Content-Length: 18", b"Connection: close", host=b"Host: [::1]:8000"), 200),
    "own origin": (post_head(b"Content-Length: 18", b"Connection: close", b"Origin: http://localhost:3000"), 200),
    "two lengths": (post_head(b"Content-Length: 18", b"Content-Length: 0") + SMUGGLED, 400),
    "the same length twice": (post_head(b"Content-Length: 18", b"Content-Length: 18"), 400),
    "a list of lengths": (post_head(b"Content-Length: 18, 18"), 400),
    "a sign": (post_head(b"Content-Length: +18"), 400),
    "digits of Latin-1": (post_head(b"Content-Length: 1\xb2"), 400),
    "no length": (post_head() + SMUGGLED, 400),
    "chunked": (post_head(b"Transfer-Encoding: chunked"), 400),
    "length and chunked": (post_head(b"Content-Length: 18", b"Transfer-Encoding: chunked") + SMUGGLED, 400),
    "chunked, in disguise": (post_head(b"Content-Length: 18", b"Transfer-Encoding:\x0bchunked"), 400),
    "a space before the colon": (post_head(b"Content-Length: 18", b"Transfer-Encoding : chunked"), 400),
    "a folded line": (post_head(b"Content-Length: 18", b"X: a", b" Transfer-Encoding: chunked"), 400),
    "a bare return": (post_head(b"X: a\rContent-Length: 18"), 400),
    "a NUL": (post_head(b"Content-Length: 18", b"X: a\0b"), 400),
    "a line without a colon": (post_head(b"Content-Length: 18", b"chunked"), 400),
    "a GET with a body": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 55\r\n\r\n" + SMUGGLED, 400),
    "a HEAD": (b"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "no host": (post_head(b"Content-Length: 18", host=b"X: y"), 400),
    "two hosts": (post_head(b"Content-Length: 18", b"Host: localhost"), 400),
    "rebinding": (post_head(b"Content-Length: 18", host=b"Host: evil.example:8000"), 403),
    "rebinding by an address": (post_head(b"Content-Length: 18", host=b"Host: 127.0.0.1.evil.example"), 403),
    "a user in the host": (post_head(b"Content-Length: 18", host=b"Host: localhost@evil.example"), 403),
    "a foreign origin": (post_head(b"Content-Length: 18", b"Origin: https://evil.example"), 403),
    "an opaque origin": (post_head(b"Content-Length: 18", b"Origin: null"), 403),
    "two origins": (post_head(b"Content-Length: 18", b"Origin: http://localhost", b"Origin: http://evil.example"), 403),
    "a version of its own": (b"POST /predict HTTP/1.9\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 400),
    "101 headers": (post_head(b"Content-Length: 18", *[b"X: y"] * 120), 431),
}


def exchange(port: int, content: bytes) -> bytes:
    """Send bytes, and return all that the server answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        parts = [*iter(lambda: connection.recv(2**16), b"")]
    return b"".join(parts)


def leave(port: int) -> None:
    """Leave in the middle of a head, of a body and of an answer."""
    for content in (b"POST /pre", post_head(b"Content-Length: 1800"), post_head(b"Content-Length: 18") * 50):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as a crash does
            connection.sendall(content)
    assert exchange(port, SMUGGLED).startswith(b"HTTP/1.1 200")


def test_the_server_answers_both_protocols_and_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    folder = write(tmp_path, fit("linear", rows("label"), 7))
    child = subprocess.Popen([sys.executable, folder / "server.py", "0"], stdout=subprocess.PIPE, text=True, cwd="/")

    def post(path: str, body: bytes) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"{address}{path}", body) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    try:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        status, reply = post("/predict", json.dumps({"text": "table for Bo ☕"}).encode())
        assert status == 200 and reply["answer"] == max(reply["probabilities"], key=reply["probabilities"].get)
        chat = {"model": "m", "messages": [{"role": "system", "content": "-"}, {"role": "user", "content": "Bo"}]}
        status, completion = post("/v1/chat/completions", json.dumps(chat).encode())
        assert completion["choices"][0]["message"]["content"] in {"book", "cancel", "ask"}
        with urllib.request.urlopen(f"{address}/v1/models") as models:
            assert json.load(models)["data"][0]["id"] == "classifier"
        for body in (b"", b"{", b"[]", b'{"text": 3}', b'{"text": {}}', b"\xff", b"[" * 100_000):
            assert post("/predict", body)[0] == 400
        assert post("/v1/chat/completions", b'{"messages": []}')[0] == 400
        assert post("/other", b"{}")[0] == 404
        with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)) as connection:
            connection.request("POST", "/predict", headers={"Content-Length": "9" * 5000})
            assert connection.getresponse().status == 413
    finally:
        child.terminate()
        child.communicate()


def test_the_server_refuses_what_a_gateway_or_a_web_page_could_mean_otherwise(tmp_path: Path) -> None:
    (tmp_path / "classifier.py").write_text("def predict(text):\n    return text\n")
    (tmp_path / "server.py").write_bytes(SERVER.read_bytes())
    child = subprocess.Popen(
        [sys.executable, tmp_path / "server.py", "0", "Models.example"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline().rpartition(":")[2])
        for name, (head, status) in HEADS.items():
            reply = exchange(port, head)
            assert reply.startswith(b"HTTP/1.1 %d " % status) and reply.count(b"HTTP/1.1 ") == 1, (name, reply)
            assert (status == 200) or b"Connection: close" in reply, (name, reply)
        leave(port)
    finally:
        child.terminate()
        assert child.communicate()[1] == ""
