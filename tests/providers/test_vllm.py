"""vLLM as the tool starts it: the arguments, the health wait, the log, and an end that comes with the tool's own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tuneworthy.config.models import Vllm
from tuneworthy.errors import OutsideFault, ProviderError, UserError
from tuneworthy.providers import open_provider
from tuneworthy.providers.vllm_server import Launch, VllmServer, environment, free_port, last_error_line, rank_limit
from tuneworthy.providers.weights import write_tensors
from tuneworthy.types import Request

STAND_IN = f"""#!{sys.executable}
import http.server, json, os, subprocess, sys
from pathlib import Path
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["HF_HUB_OFFLINE"].encode())
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["messages"][-1]["content"] == "die":
            os._exit(1)
        choice = {{"message": {{"role": "assistant", "content": asked["model"]}}, "finish_reason": "stop"}}
        told = json.dumps({{"choices": [choice], "usage": {{"prompt_tokens": 1, "completion_tokens": 1}}}}).encode()
        self.send_response(200); self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told))); self.end_headers(); self.wfile.write(told)
    def log_message(self, *arguments):
        pass
arguments = sys.argv[1:]
if "broken" in arguments[1]:
    print("ValueError: LoRA rank 64 is greater than max_lora_rank 16"); sys.exit(1)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path(arguments[1], "pids").write_text(f"{{os.getpid()}} {{worker.pid}}")
http.server.HTTPServer(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "vllm"
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return str(path)


def server_of(tmp_path: Path, program: str, model: str = "model") -> VllmServer:
    (tmp_path / model).mkdir(exist_ok=True)
    launch = Launch(model=tmp_path / model, name="tuned", port=free_port(), executable=program)
    return VllmServer(launch, tmp_path / "log")


def gone(pid: int, patience_s: float = 30.0) -> bool:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_the_command_is_neutral_closed_and_fits_the_adapter(tmp_path: Path) -> None:
    launch = Launch(model=tmp_path, name="tuned", port=8123, adapter=tmp_path / "a b", max_rank=32, context=512)
    argv = launch.argv()
    for name, value in {"--host": "127.0.0.1", "--port": "8123", "--generation-config": "vllm", "--max-lora-rank": "32",
                        "--served-model-name": "base", "--lora-modules": f"tuned={tmp_path}/a b"}.items():  # fmt: skip
        assert argv[argv.index(name) + 1] == value
    assert "--enable-lora" in argv and f"'tuned={tmp_path}/a b'" in launch.line()
    assert "--enable-lora" not in Launch(model=tmp_path, name="tuned", port=1).argv()


@pytest.mark.parametrize(("rank", "limit"), [(1, 1), (8, 8), (9, 16), (32, 32), (33, 64), (512, 512)])
def test_the_limit_is_the_least_that_fits(rank: int, limit: int) -> None:
    assert rank_limit(rank) == limit


def test_a_rank_that_no_limit_fits_is_refused() -> None:
    with pytest.raises(UserError, match="supports at most"):
        rank_limit(513)


def test_nothing_is_fetched_and_the_cache_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    assert environment()["VLLM_CPU_KVCACHE_SPACE"] == "1"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    made = environment()
    assert (made["HF_HUB_OFFLINE"], made["VLLM_NO_USAGE_STATS"], made["VLLM_CPU_KVCACHE_SPACE"]) == ("1", "1", "4")


def test_it_answers_when_it_is_started_and_everything_is_gone_when_it_is_stopped(tmp_path: Path, program: str) -> None:
    server = server_of(tmp_path, program)
    server.start(60)
    try:
        with urllib.request.urlopen(f"{server.address}/health") as answer:
            assert answer.read() == b"1"
        pids = [int(pid) for pid in (tmp_path / "model" / "pids").read_text().split()]
    finally:
        server.stop()
    server.stop()
    assert not server.alive
    assert all(gone(pid) for pid in pids)


def test_a_server_that_ends_at_once_tells_its_last_words(tmp_path: Path, program: str) -> None:
    with pytest.raises(OutsideFault, match="LoRA rank 64 is greater"):
        server_of(tmp_path, program, "broken").start(60)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The program"):
        server_of(tmp_path, str(tmp_path / "nowhere")).start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_when_the_tool_is_killed(tmp_path: Path, program: str, number: signal.Signals) -> None:
    server = server_of(tmp_path, program)
    code = (
        "import sys, time; from pathlib import Path; sys.path[:0] = sys.argv[4].split(':')\n"
        "from tuneworthy.providers.vllm_server import Launch, VllmServer\n"
        "VllmServer(Launch(model=Path(sys.argv[1]), name='t', port=int(sys.argv[2]), executable=sys.argv[3]),"
        " Path(sys.argv[1], 'log')).start(60)\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    tool = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "model"), str(server.launch.port), program, ":".join(sys.path)],
        stdout=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert tool.stdout is not None
    with tool:
        assert tool.stdout.readline() == b"ready\n"
        pids = [int(pid) for pid in (tmp_path / "model" / "pids").read_text().split()]
        os.kill(tool.pid, number)
        assert all(gone(pid) for pid in pids)


def test_the_last_words_are_the_last_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_error_line(log) == "its log is empty"
    log.write_text("fine\nRuntimeError: no memory\nshutting down\n")
    assert last_error_line(log) == "RuntimeError: no memory"


def model_folder(folder: Path, **config: object) -> Path:
    folder.mkdir()
    write_tensors(folder / "model.safetensors", [("a", "F32", (2,))], lambda name: bytes(8))
    name = "adapter_config.json" if "r" in config else "config.json"
    (folder / name).write_text(json.dumps(config))
    return folder


def ask(text: str) -> Request:
    return Request(messages=({"role": "user", "content": text},), max_tokens=8)


def test_a_model_behind_it_answers_and_a_server_that_ended_is_started_again(tmp_path: Path, program: str) -> None:
    model_folder(tmp_path / "model", architectures=["LlamaForCausalLM"])
    provider = open_provider("tuned", Vllm(provider="vllm", model="model", executable=program), tmp_path)

    async def use() -> None:
        try:
            assert (await provider.complete(ask("hello"))).text == "tuned"
            first = (tmp_path / "model" / "pids").read_text()
            with pytest.raises(ProviderError):
                await provider.complete(ask("die"))
            while not gone(int(first.split()[0])):
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            assert (await provider.complete(ask("again"))).text == "tuned"
            assert (tmp_path / "model" / "pids").read_text() != first
        finally:
            await provider.close()
            await provider.close()

    asyncio.run(use())
    assert provider.identity["provider"] == "vllm"
    assert all(gone(int(pid)) for pid in (tmp_path / "model" / "pids").read_text().split())


def test_an_adapter_changes_the_identity_and_sets_the_limit(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    model_folder(tmp_path / "adapter", r=4, peft_type="LORA", rank_pattern={"q_proj": 24})
    config = Vllm(provider="vllm", model="model", adapter="adapter")
    provider = open_provider("tuned", config, tmp_path)
    assert provider.identity["adapter"]
    assert "--max-lora-rank 32" in provider._launch.line()  # type: ignore[attr-defined]
    bare = open_provider("tuned", config.model_copy(update={"adapter": None}), tmp_path)
    assert bare.identity != provider.identity


def test_what_may_not_be_loaded_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", auto_map={"AutoModel": "x.Y"})
    with pytest.raises(UserError, match="auto_map"):
        open_provider("tuned", Vllm(provider="vllm", model="model"), tmp_path)
    with pytest.raises(UserError, match="needs a safetensors folder"):
        open_provider("tuned", Vllm(provider="vllm", model="nowhere"), tmp_path)
