"""Pages of the site for the source that documents link to, as it is today.

A hook of MkDocs, which knows no file outside its folder. In a checkout the links lead to the files.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((\.\./[^)#\s]+|[\w/]+\.py)(?:#[^)\s]*)?\)")
"""A link to the source: out of ``docs``, or to a program in it."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file or folder outside that a document links to."""
    pages = Path(config.docs_dir).glob("*.md")
    for link in sorted({link for page in pages for link in LINK.findall(page.read_text())}):
        page = File.generated(config, page_of(link), content=content_of(source_of(link)))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a document to these pages."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    return LINK.sub(lambda link: f"]({page_of(link[1])})", markdown)


def source_of(link: str) -> Path:
    """Path from the repository's root of what a document links to."""
    return Path(link[3:] if link.startswith("../") else f"docs/{link}")


def page_of(link: str) -> str:
    """Page of the site for a link to the source."""
    return f"source/{source_of(link)}.md"


def content_of(source: Path) -> str:
    """Markdown of a page: the lines of a file, or the names in a folder."""
    title, path = f"# {source}\n\n", ROOT / source
    if path.is_dir():
        return title + "".join(f"- `{one.name}`\n" for one in sorted(path.glob("[!_.]*")))
    fence = "`" * 8  # more than a docstring has
    return f"{title}{fence}{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}{fence}\n"
