"""Build the site of ``docs/``: no warning, and no page that loads anything from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "docs"
LOADED = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "link": "href"}
REMOTE = ("http:", "https:", "//")


class Loaded(HTMLParser):
    """Collects the addresses from which a page loads something by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a tag that loads."""
        found = dict(attrs).get(LOADED.get(tag, ""))
        if found:
            self.addresses.append(found)


def remote_assets(html: str) -> list[str]:
    """Return the addresses elsewhere from which a page loads something."""
    loaded = Loaded()
    loaded.feed(html)
    return [address for address in loaded.addresses if address.startswith(REMOTE)]


def main() -> int:
    """Build the site, look at every page, and return the exit code."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    # The theme's authors advertise their next tool on the terminal.
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet)
    if built.returncode != 0:
        return built.returncode
    pages = sorted(SITE.rglob("*.html"))
    found = [
        f"{page.relative_to(SITE)} loads {address}"
        for page in pages
        for address in remote_assets(page.read_text(encoding="utf-8"))
    ]
    print("\n".join([*found, f"{len(pages)} pages in {SITE}, {len(found)} remote assets"]))
    return int(bool(found) or not pages)


if __name__ == "__main__":
    raise SystemExit(main())
