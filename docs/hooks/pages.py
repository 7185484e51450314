"""Pages of the site that stand elsewhere in the repository, and what the forge's Markdown says differently from mkdocs.

The forge shows README.md, CONTRIBUTING.md, CHANGELOG.md and benchmarks/README.md where they stand, and the site has
them as pages of its own. So a link is read as the forge reads it, and leads to the page of the site, or to the file in
the repository where the site has none. Addresses stand in pyproject.toml alone.
"""

import posixpath
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "index.md": "README.md",
    "speed.md": "benchmarks/README.md",
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
URLS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
FILES = tuple(f"{URLS['Repository']}/{kind}/main/" for kind in ("blob", "raw"))  # a file's page, and the file itself

FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)#\s]+)")  # the target of [text](target#heading)
TITLE = re.compile(r"^```(\w+) ([^\n=]+)$", re.MULTILINE)  # what the forge leaves out after the language


def on_config(config: Any) -> None:
    """Take the addresses from pyproject.toml."""
    config.site_url, config.repo_url = URLS["Documentation"], URLS["Repository"]
    config.repo_name = config.site_name


def on_files(files: Any, config: Any) -> None:
    """Add the pages that stand elsewhere."""
    from mkdocs.structure.files import File

    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page as mkdocs needs it."""
    return for_the_site(markdown, page.file.src_uri)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """ValueError where a page loads anything from another server: it has to work offline, and to tell nobody."""
    loads = _Loads()
    loads.feed(output)
    if loads.elsewhere:
        raise ValueError(f"{page.file.src_uri}: loads from elsewhere: {', '.join(loads.elsewhere)}")


class _Loads(HTMLParser):
    """Collects what a page loads from another server by itself; where a reader may go is none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("href" if tag == "link" else "src") or ""
        if address.startswith(("http:", "https:", "//")) and given.get("rel") not in ("canonical", "next", "prev"):
            self.elsewhere.append(address)


def for_the_site(markdown: str, page: str) -> str:
    """A page's Markdown as the forge reads it, as mkdocs has to read it."""
    parts = FENCED.split(markdown)  # text and fenced blocks in turn
    parts[::2] = [LINK.sub(lambda link: _on_the_site(link[1], page), text) for text in parts[::2]]
    parts[1::2] = [TITLE.sub(r'```\1 title="\2"', block) for block in parts[1::2]]
    return "".join(parts)


def _on_the_site(target: str, page: str) -> str:
    """Where a link of a page leads on the site."""
    if target.startswith(URLS["Documentation"]):
        return _relative(target.removeprefix(URLS["Documentation"]).replace(".html", ".md"), page)
    file = next((target.removeprefix(begin) for begin in FILES if target.startswith(begin)), target)
    if file == target:
        if ":" in target:
            return target  # somebody else's
        here = posixpath.dirname(ELSEWHERE.get(page, f"docs/{page}"))
        file = posixpath.normpath(posixpath.join(here, target))
    pages = {source: name for name, source in ELSEWHERE.items()}
    if file in pages or file.startswith("docs/"):
        return _relative(pages.get(file, file.removeprefix("docs/")), page)
    return FILES[0] + file


def _relative(other: str, page: str) -> str:
    """Another page or file of the site, as seen from a page."""
    return posixpath.relpath(other, posixpath.dirname(page) or ".")
