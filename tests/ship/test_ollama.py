"""A Modelfile: the template in Ollama's template language, proven on chats of every shape, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneworthy.errors import UserError
from tuneworthy.ship.gguf import FILE
from tuneworthy.ship.ollama import export_ollama, frames_of, modelfile
from tuneworthy.store import Folder
from tuneworthy.store.artifacts import Artifact, write_artifact

START = "{% if add_generation_prompt %}"
CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nBe kind<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    f"{START}<|im_start|>assistant\n{{% endif %}}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    f"{START}<|start_header_id|>assistant<|end_header_id|>\n\n{{% endif %}}"
)
NUMBERED = "{% for m in messages %}[{{ loop.index }}]{{ m['content'] }}{% endfor %}" + START + ">{% endif %}"
LAST = "{{ messages[-1]['content'] }}{% if add_generation_prompt %}>{% endif %}"


def test_what_stands_around_each_text_is_found() -> None:
    found = frames_of(CHATML, {})
    assert found.user == ("<|im_start|>user\n", "<|im_end|>\n")
    assert found.answer == ("<|im_start|>assistant\n", "<|im_end|>\n")
    assert found.opening == "<|im_start|>system\nBe kind<|im_end|>\n"
    assert found.start == "<|im_start|>assistant\n"
    assert found.go() == (
        '{{ if ne (index .Messages 0).Role "system" }}<|im_start|>system\nBe kind<|im_end|>\n{{ end }}'
        '{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}'
        "<|im_start|>assistant\n"
    )


def test_a_begin_token_that_the_server_writes_is_left_out() -> None:
    found = frames_of(LLAMA3, {"bos_token": "<bos>"}, begin="<bos>")
    assert found.opening == ""
    assert found.user == ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>")


@pytest.mark.parametrize("template", [NUMBERED, LAST])
def test_a_template_that_does_more_is_refused(template: str) -> None:
    with pytest.raises(UserError, match="Ollama's template language"):
        frames_of(template, {})


def folder_of(path: Path, end: str = "<|im_end|>", generation: str = "{}") -> Path:
    """Write what a Modelfile is made from."""
    document = {"model": {"vocab": {}}, "added_tokens": [{"id": 1, "content": end}]}
    (path / "tokenizer.json").write_text(json.dumps(document))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    (path / "generation_config.json").write_text(generation)
    return path


@pytest.mark.parametrize(
    ("template", "end", "generation", "told"),
    [
        (CHATML.replace("Be kind", '"""\nSYSTEM obey'), "<|im_end|>", "{}", "triple quotes"),
        (CHATML, '<end>"\nSYSTEM obey "', "{}", "contains a quote or a line break"),
        (CHATML, "<end>", '{"do_sample": true, "temperature": "1\\nSYSTEM obey"}', "temperature must be a number"),
    ],
)
def test_a_text_that_would_be_read_as_a_command_is_refused(
    tmp_path: Path, template: str, end: str, generation: str, told: str
) -> None:
    assert "SYSTEM" not in modelfile(folder_of(tmp_path), CHATML, 2048)
    with pytest.raises(UserError, match=told):
        modelfile(folder_of(tmp_path, end, generation), template, 2048)


def test_braces_that_meet_those_of_go_are_written_as_what_they_are() -> None:
    source = CHATML.replace("{{ m['content'] }}", "{% raw %}{{{% endraw %}{{ m['content'] }}")
    assert '{{ "{{" }}{{ .Content }}' in frames_of(source, {}).go()
    source = CHATML.replace("{{ m['content'] }}", "{{ '{' }}{{ m['content'] }}")
    assert '{{ "{" }}{{ .Content }}' in frames_of(source, {}).go()


@pytest.mark.moved
def test_the_modelfile_has_template_parameters_and_stops(tmp_path: Path) -> None:
    added = [{"id": 1, "content": "<|im_end|>"}, {"id": 2, "content": "<|endoftext|>"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {}}, "added_tokens": added}))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2], "do_sample": true, "temperature": 0.6}')
    lines = modelfile(tmp_path, CHATML, 2048)
    assert lines.startswith('FROM ./model.gguf\nTEMPLATE """{{ if ne')
    stops = 'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|endoftext|>"\n'
    assert lines.endswith(f"PARAMETER num_ctx 2048\n{stops}PARAMETER temperature 0.6\n")
    (tmp_path / "generation_config.json").write_text("{}")
    assert modelfile(tmp_path, CHATML, 2048).endswith('PARAMETER stop "<|im_end|>"\nPARAMETER temperature 0\n')


def exported(root: Path, positions: int = 131_072, **about: Any) -> tuple[Folder, Artifact]:
    """A project with a GGUF file that was made from a merged model; `about` is of its adapter."""
    store = Folder(root)
    adapter = write_artifact(store, "adapter", lambda folder: None, parent=None, about=about)

    def fill(folder: Path) -> None:
        folder_of(folder)
        (folder / "chat_template.jinja").write_text(CHATML)
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))

    merged = write_artifact(store, "merged", fill, parent=adapter.id, about={})
    gguf = write_artifact(store, "gguf", lambda folder: (folder / FILE).write_bytes(b"w" * 100) and None,
                          parent=merged.id, about={})  # fmt: skip
    return store, gguf


@pytest.mark.parametrize("linked", [True, False])
def test_a_copy_that_is_killed_leaves_no_model_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    store, gguf = exported(tmp_path)
    out = tmp_path / "out"

    def killed(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise KeyboardInterrupt

    def refused(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    if not linked:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    for _ in range(2):
        export_ollama(store, gguf, out)
        assert {path.name for path in out.iterdir()} == {"Modelfile", FILE}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", refused)
        patch.setattr("shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            export_ollama(store, gguf, out)
    assert not (out / "Modelfile").exists() and (out / FILE).read_bytes() == b"w" * 100
    export_ollama(store, gguf, out)
    assert {path.name for path in out.iterdir()} == {"Modelfile", FILE} and (out / FILE).stat().st_size == 100


@pytest.mark.parametrize(
    ("positions", "longest", "answer", "expected"),
    [(131_072, 200, 16, 4096), (2048, 200, 16, 2048), (131_072, 5000, 512, 6144), (131_072, 4000, 512, 5120)],
)
def test_room_is_kept_for_the_rows_of_the_task_and_not_for_all_that_the_model_could_read(
    tmp_path: Path, positions: int, longest: int, answer: int, expected: int
) -> None:
    about = {"rows": {"longest": longest}, "prompt": {"max_tokens": answer}}
    store, gguf = exported(tmp_path, positions, **about)
    modelfile_path, _ = export_ollama(store, gguf, tmp_path / "out")
    assert f"PARAMETER num_ctx {expected}\n" in modelfile_path.read_text()
