"""Pictures of every page, wide and narrow, light and dark, of a service that has really trained: `make screenshots`.

python tests/web/screenshots.py FOLDER
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from service.client import Client
from tests.service.conftest import find_free_port
from tests.web.support import draw_seven

CHECKOUT = Path(__file__).resolve().parents[2]
SIZES = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")
EXPERIMENTS = (
    {"preset": "fast", "name": "fast, 4 epochs", "epochs": 4, "train_limit": 12000, "validation": {"on": "split"}},
    {"preset": "fast", "name": "fast, small batches", "batch_size": 64, "train_limit": 6000, "epochs": 3},
    {"preset": "fast", "name": "fast, another seed", "seed": 7, "train_limit": 6000, "epochs": 3},
)
SWEEP = {
    "name": "rates and batches",
    "base": {"preset": "fast", "train_limit": 2000, "validation": {"on": "split"}},
    "space": {"optimizer.learning_rate": [0.003, 0.01, 0.03], "batch_size": [64, 128]},
}


def main() -> None:
    """Train, look, keep."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with _service() as url, Client(url) as client, sync_playwright() as playwright:
        first, *_ = [_trained(client, request) for request in EXPERIMENTS]
        sweep = client.create_sweep(SWEEP).id
        while client.sweep(sweep).state == "running":
            time.sleep(0.5)
        pages = {
            "experiments": "/",
            "experiment": f"/experiments/{first}",
            "compare": "/compare?id=1&id=2&id=3",
            "sweeps": "/sweeps",
            "sweep": f"/sweeps/{sweep}",
            "submit": "/submit?preset=fast",
            "draw": "/draw?model=1&model=2",
            "models": "/models",
            "workers": "/workers",
        }
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height in SIZES.items():
            for scheme in SCHEMES:
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                for name, path in pages.items():
                    page.goto(url + path, wait_until="load")
                    if name == "draw":
                        draw_seven(page)
                        expect(page.locator(".verdict .digit").first).to_have_text("7")
                    elif name in ("experiment", "compare"):
                        page.locator(".chart .main-svg").first.wait_for()
                    _load_pictures(page)
                    page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
        browser.close()


@contextmanager
def _service() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as data:
        port = find_free_port()
        shared = CHECKOUT.parent / "shared"
        given = {} if "NUMERAL_DATASETS_DIR" in os.environ else {"NUMERAL_DATASETS_DIR": str(shared)}
        command = [sys.executable, "-m", "service", "up", "--port", str(port), "--data-dir", data]
        with subprocess.Popen(command, env=os.environ | given, cwd=CHECKOUT) as process:
            try:
                with Client(f"http://127.0.0.1:{port}") as client:
                    client.wait_until_ready(60)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def _trained(client: Client, request: dict[str, object]) -> int:
    experiment_id = client.submit(request).id
    list(client.events(experiment_id))
    assert client.experiment(experiment_id).state == "succeeded"
    return experiment_id


def _load_pictures(page: Page) -> None:
    # Pictures below the window are loaded when they come into view.
    page.evaluate("() => { for (const image of document.images) image.loading = 'eager' }")
    page.wait_for_function("() => [...document.images].every(image => image.complete)")


if __name__ == "__main__":
    main()
