"""How Sphinx builds the documentation."""

from __future__ import annotations

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))

project = "moxsmtp"
author = "The moxsmtp developers"
copyright = author
version = release = _project["project"]["version"]

exclude_patterns = ["_build"]
highlight_language = "text"
html_theme = "alabaster"
html_theme_options = {"description": _project["project"]["description"], "page_width": "64em"}
