"""A dead link on the built site is found, whatever it leads to."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "dead_links.py"


def load() -> ModuleType:
    spec = spec_from_file_location("tuneworthy_dead_links", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load()


def write_site(folder: Path, links: str) -> Path:
    """Write two pages that link to each other, and a picture; `links` stand on the second."""
    (folder / "guides").mkdir()
    (folder / "picture.svg").write_text("<svg/>")
    (folder / "index.html").write_text('<a href="guides/one.html#begin">one</a><h2 id="end of it">End</h2>')
    (folder / "guides" / "one.html").write_text(f'<h2 id="begin">Begin</h2><a href="../index.html">up</a>{links}')
    return folder


ALIVE = (
    '<a href="#begin">a</a><a href="/">b</a><a href="..">c</a><a href="../index.html#end%20of%20it">d</a>'
    '<img src="../picture.svg"><a href="https://example.com/x">e</a><a href="mailto:a@example.com">f</a>'
)


def test_a_site_whose_links_all_lead_somewhere_has_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(write_site(tmp_path, ALIVE))]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ('<a href="two.html">x</a>', "two.html: no such file"),
        ('<a href="/guides/two.html">x</a>', "/guides/two.html: no such file"),
        ('<img src="picture.svg">', "picture.svg: no such file"),
        ('<a href="#end">x</a>', "#end: no such anchor"),
        ('<a href="../index.html#begin">x</a>', "../index.html#begin: no such anchor"),
    ],
)
def test_a_dead_link_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], link: str, fault: str) -> None:
    assert script.main([str(write_site(tmp_path, ALIVE + link))]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f"one.html: {fault}")


def test_a_page_that_no_other_links_to_is_found(tmp_path: Path) -> None:
    site = write_site(tmp_path, "")
    (site / "lost.html").write_text('<a href="lost.html">me</a>')
    assert [fault.rpartition("/")[2] for fault in script.dead_links(site)] == ["lost.html: no page links here"]
