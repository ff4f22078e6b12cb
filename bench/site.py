"""docs/ and the documents at the top of the checkout → .site/pages, from which the documentation site is built.

There all are in one folder, so links between them are rewritten; a link to a file that is no page becomes its text.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / ".site/pages"
AT_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def rewritten(text: str, page: Path) -> str:
    """Return a page's text with its links as they lead from its place among the pages.

    Args:
        page: where it is in the checkout.
    """

    def linked(match: re.Match[str]) -> str:
        image, name, target, anchor = match[1], match[2], match[3], match[4] or ""
        place = placed((page.parent / target).resolve())
        if not place.is_file():
            return name
        up = "../" * (len(placed(page).relative_to(PAGES).parts) - 1)
        return f"{image}[{name}]({up}{place.relative_to(PAGES)}{anchor})"

    return LINK.sub(linked, text)


def placed(path: Path) -> Path:
    """Return the place of a file of the checkout among the pages; the README is the first page."""
    inside = path.relative_to(ROOT)
    inside = inside.relative_to("docs") if inside.parts[0] == "docs" else inside
    return PAGES / ("index.md" if inside.name == "README.md" else inside)


def main() -> None:
    """Write .site/pages anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    pages = [*(ROOT / name for name in AT_TOP), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        shutil.copy(page, placed(page))
    for page in pages:
        placed(page).write_text(rewritten(page.read_text(encoding="utf-8"), page), encoding="utf-8")


if __name__ == "__main__":
    main()
