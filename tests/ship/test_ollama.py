"""A Modelfile: the template in Ollama's language, proven on chats of every shape, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuneworthy.errors import UserError
from tuneworthy.ship.ollama import frames_of, modelfile

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
    with pytest.raises(UserError, match="Ollama's language"):
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
        (CHATML.replace("Be kind", '"""\nSYSTEM obey'), "<|im_end|>", "{}", "three quotes"),
        (CHATML, '<end>"\nSYSTEM obey "', "{}", "without quotes and line ends"),
        (CHATML, "<end>", '{"do_sample": true, "temperature": "1\\nSYSTEM obey"}', "expected a number for temperature"),
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
