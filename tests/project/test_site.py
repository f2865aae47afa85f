"""The documents as a site: every page has its place, and the whole is built without a warning."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Loader(yaml.SafeLoader):
    """PyYAML's, which passes over the objects of Python that MkDocs' file may name."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(nav):
    """Files that a navigation names, in its order."""
    if isinstance(nav, str):
        return [nav]
    return [page for one in nav for part in one.values() for page in pages_of(part)]


def test_the_navigation_names_every_page_once():
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]
    files = [path for path in DOCS.rglob("*.*") if path.suffix in (".md", ".ipynb")]
    pages = [str(path.relative_to(DOCS)) for path in files]
    assert sorted(pages_of(nav)) == sorted(pages)
    groups = ["Home", "Tutorials", "How-to", "Reference", "Explanation"]
    assert [group for part in nav for group in part] == groups


def test_the_site_is_built_without_a_warning_and_its_links_lead_into_the_source(tmp_path):
    needed = ("mkdocs", "material", "mkdocs_jupyter", "mkdocstrings")
    if not all(map(importlib.util.find_spec, needed)):
        pytest.skip("needs pip install -e '.[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "excluded from the built site" not in done.stderr
    page = (tmp_path / "architecture.html").read_text()
    links = re.findall(r'href="(source/[^"#]+)"', page)
    assert "source/search/module.py.html" in links
    assert [link for link in links if not (tmp_path / link).exists()] == []
    tutorial = (tmp_path / "tutorials/photos-to-a-phone.html").read_text()
    assert 'href="../source/README.md.html"' in tutorial
    shown = re.sub(r"<[^>]+>", "", (tmp_path / "source/search/module.py.html").read_text())
    assert "class SearchModule" in shown
    assert (tmp_path / "python.html").exists()
    calls = re.sub(r"<[^>]+>", "", (tmp_path / "reference/api.html").read_text())
    assert "an arch.json, or the name of a published network such as mnasnet_a1" in calls
    assert "&gt;&gt;&gt; published_spec" in calls
    assert not (tmp_path / "options.py").exists()
