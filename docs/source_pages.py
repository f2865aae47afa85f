"""Pages of the site for the source that documents link to, as it is today.

A hook of MkDocs, which knows no file outside its folder. In a checkout the links lead to the files.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+|[\w/]+\.py)(?:#[^)\s]*)?\)")
"""A link that may lead to the source: out of its folder, or to a program in ``docs``."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file or folder outside that a document links to."""
    docs = Path(config.docs_dir)
    pages = [(page, page.relative_to(docs)) for page in docs.rglob("*.md")]
    sources = {one for page, uri in pages for one in sources_of(page.read_text(), str(uri))}
    for source in sorted(sources):
        page = File.generated(config, page_of(source), content=content_of(source))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a document to these pages."""
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown

    def led(link: re.Match[str]) -> str:
        source = source_of(link[1], uri)
        return f"]({os.path.relpath(page_of(source), Path(uri).parent)})" if source else link[0]

    return LINK.sub(led, markdown)


def sources_of(markdown: str, uri: str) -> Iterator[Path]:
    """All that a document of the path ``uri`` in ``docs`` links to outside."""
    for link in LINK.findall(markdown):
        if source := source_of(link, uri):
            yield source


def source_of(link: str, uri: str) -> Path | None:
    """Path from the repository's root of what a link leads to, unless it is a document."""
    path = Path(os.path.normpath(Path("docs", uri).parent / link))
    return path if path.parts[0] != "docs" or path.suffix == ".py" else None


def page_of(source: Path) -> str:
    """Page of the site for a file or folder of the source."""
    return f"source/{source}.md"


def content_of(source: Path) -> str:
    """Markdown of a page: the lines of a file, or the names in a folder."""
    title, path = f"# {source}\n\n", ROOT / source
    if path.is_dir():
        return title + "".join(f"- `{one.name}`\n" for one in sorted(path.glob("[!_.]*")))
    fence = "`" * 8  # more than a docstring has
    return f"{title}{fence}{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}{fence}\n"
