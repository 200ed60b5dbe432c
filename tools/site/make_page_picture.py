"""Makes docs/images/page.webp: the page with four photographs of the gallery, colored by the shipped model.

python tools/site/make_page_picture.py

It wants Chromium, and starts a service of its own.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.quality.asking import service  # noqa: E402 - the project need not be installed

OUT = ROOT / "docs" / "images" / "page.webp"
PHOTOGRAPHS = [
    ROOT / "docs" / "images" / "gallery" / "old" / f"{name}.jpg"
    for name in ("1870ssphinx", "1899sodafountain", "locomotive1880s", "1880sbrooklynbridge")
]
"""All in the public domain; docs/gallery.md says whose."""
SIZE = {"width": 1400, "height": 925}
QUALITY = 82
PATIENCE_S = 60


def photograph_page(address: str) -> bytes:
    """Return the page with all photographs in color, the first one large, as PNG."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]  # A TypedDict.
        page.goto(address)
        page.set_input_files("#files", [str(path) for path in PHOTOGRAPHS])
        expect(page.get_by_text("4 in color")).to_be_visible(timeout=PATIENCE_S * 1000)
        expect(page.locator("#variants img[src]")).to_have_count(4, timeout=PATIENCE_S * 1000)
        page.mouse.move(1, 1)
        page.wait_for_load_state("networkidle")
        expect(page.locator("#toast")).not_to_have_class("on", timeout=PATIENCE_S * 1000)
        page.wait_for_timeout(500)  # It fades.
        picture = page.screenshot()
        browser.close()
    return picture


def main() -> None:
    """Start a service, photograph its page and write the picture."""
    with service(None) as address:
        picture = photograph_page(address)
    Image.open(io.BytesIO(picture)).convert("RGB").save(OUT, quality=QUALITY, method=6)
    sys.stdout.write(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
