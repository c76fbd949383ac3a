"""The pictures of the dashboard in README.md and docs/: pages of a run, as PNG files of few colours.

    fbfl run --dataset mnist-5k --servers 12 --devices 36 --rounds 12 --attack sign_flipping --malicious 2 \
        --aggregator multi_krum --aggregator-arg num_byzantine=2 --aggregator-arg num_selected=8 --consensus pbft \
        --mobility random_waypoint --mobility-arg max_speed=15 --mobility-arg collect_rounds=1 --output runs/pictured
    python -m tests.browser.pictures runs/pictured docs
"""

import sys
from pathlib import Path

from PIL import Image

from tests.browser.starting import dashboard
from tests.support.browser import Browser, browser

PAGES = {
    "dashboard-overview.png": ("/", "figure.chart polyline", 790),
    "dashboard-updates.png": ("/updates/5", "#distances", 650),
}
"""Path, what has to be there, and the height (pixels) of each picture."""
COLOURS = 200


def draw(run: Path, folder: Path) -> None:
    """Write the pictures of a run into a folder."""
    with browser() as window, dashboard("--run", run.name, cwd=run.parent) as url:
        window.open(url + "/")
        window.wait(lambda: "not re-executed" in window.text())
        for name, (page, wanted, height) in PAGES.items():
            _draw(window, url + page, wanted, folder / name, height)


def _draw(window: Browser, url: str, wanted: str, path: Path, height: int) -> None:
    window.open(url)
    window.wait(lambda: window.count(wanted) > 0)
    with Image.open(window.picture(path)) as whole:
        shown = whole.convert("RGB").crop((0, 0, whole.width, min(height, whole.height)))
    shown.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
