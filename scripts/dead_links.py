"""Find dead links in the built site: `python scripts/dead_links.py build/site` exits 1 if there are any.

Zensical checks the links between Markdown pages. This checks what it wrote: each link and picture of a page leads to
a file of the site, each anchor to an element, and some other page links to each page. Links to other servers are left
out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import html


def main(arguments: list[str]) -> int:
    """Print the dead links of a site; return the exit status."""
    faults = list(dead_links(Path(arguments[0])))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def dead_links(site: Path) -> Iterator[str]:
    """Yield what is wrong with the links of a site.

    Args:
        site: Its folder; a link to a folder leads to the index.html in it.
    """
    pages = {path: html.parse(path).getroot() for path in sorted(site.resolve().rglob("*.html"))}
    linked = set()
    for path, page in pages.items():
        for link in page.xpath("//a/@href | //img/@src | //link/@href | //script/@src"):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            root = site.resolve() if parts.path.startswith("/") else path.parent
            target = (root / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{path}: {link}: no such file"
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].xpath("//@id")}:
                yield f"{path}: {link}: no such anchor"
            linked |= {target} - {path}
    yield from (f"{path}: no page links here" for path in pages if path not in linked and path.name != "404.html")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
