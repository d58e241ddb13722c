"""Where the page's files lie: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def static() -> Path:
    """The folder. Raises FileNotFoundError where an installation lacks it."""
    here = Path(__file__).parent
    # an editable installation has no packaged files
    for folder in (here / "_static", here.parent / "static"):
        if (folder / "index.html").is_file():
            return folder
    raise FileNotFoundError(f"the page's files are missing: neither {here / '_static'} nor a checkout's static/")
