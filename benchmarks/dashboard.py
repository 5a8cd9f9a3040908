"""How long the table of experiments takes until it can be used, with 2,000 of them; beside MLflow's where it is there.

    python benchmarks/dashboard.py
    python benchmarks/dashboard.py --mlflow ENVIRONMENT          # a virtual environment with mlflow; pairs, in turn

A browser without any cache opens the page: the time from its request until the first row is shown and the page's own
scripts have run. Then the page is asked for again as often as it is while it is looked at, without a browser: that is
what each look costs the server.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from servers import HOST, Server, free_port, numeral

from service.store.database import migrate, open_engine
from tests.web.support import fill

LOOKS = 20


def main() -> None:
    """Fill, open, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mlflow", type=Path, metavar="ENVIRONMENT")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    given = parser.parse_args()

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(_numeral(folder, given.experiments))
        opened: dict[str, Callable[[Page], None]] = {"numeral": lambda page: _open_numeral(page, ours.url)}
        if given.mlflow:
            theirs, experiment = _mlflow(folder, given.mlflow, given.experiments)
            stack.enter_context(theirs)
            opened["mlflow"] = lambda page: _open_mlflow(page, f"{theirs.url}/#/experiments/{experiment}/runs")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        seconds: dict[str, list[float]] = {name: [] for name in opened}
        for _ in range(given.rounds + 1):
            for name, opens in opened.items():
                seconds[name].append(_timed(browser, opens))
        browser.close()
        for name, times in seconds.items():
            # The first round fills what the servers keep in memory.
            print(f"{name}: usable after {_told(times[1:])}; at first {times[0]:.2f} s")
        if given.mlflow:
            pairs = zip(seconds["mlflow"][1:], seconds["numeral"][1:], strict=True)
            print(f"mlflow / numeral, median of pairs: {statistics.median(a / b for a, b in pairs):.1f}")
        _print_looks(ours.url)


def _numeral(folder: Path, experiments: int) -> Server:
    engine = open_engine(f"sqlite:///{folder / 'numeral.db'}")
    migrate(engine)
    fill(engine, experiments)
    engine.dispose()
    server = numeral(folder)
    _wait(f"{server.url}/readyz")
    return server


def _mlflow(folder: Path, environment: Path, runs: int) -> tuple[Server, str]:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    script = Path(__file__).parent / "peers" / "mlflow_runs.py"
    command = [environment / "bin" / "python", script, uri, str(runs)]
    experiment = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout.split()[-1]
    port = free_port()
    serve = ["server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port), "--workers", "1"]
    server = Server([str(environment / "bin" / "mlflow"), *serve], port, {}, folder / "mlflow.log")
    _wait(f"{server.url}/health")
    return server, experiment


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(url).raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _timed(browser: Browser, opens: Callable[[Page], None]) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    begun = time.perf_counter()
    opens(page)
    seconds = time.perf_counter() - begun
    context.close()
    return seconds


def _open_numeral(page: Page, url: str) -> None:
    page.goto(url, wait_until="commit")
    # The button goes when the page's scripts have run.
    page.locator("#find.hidden").wait_for(state="attached")
    page.locator("td.name a").first.wait_for()


def _open_mlflow(page: Page, url: str) -> None:
    page.goto(url, wait_until="commit")
    page.get_by_role("link", name="experiment ").first.wait_for(timeout=60_000)


def _print_looks(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        times = []
        for _ in range(LOOKS):
            begun = time.perf_counter()
            size = len(client.get("/").raise_for_status().content)
            times.append(time.perf_counter() - begun)
        print(f"the page alone: {_told(times, 1000)} ms, {size / 1024:.0f} KiB")


def _told(times: list[float], scale: int = 1) -> str:
    return f"{statistics.median(times) * scale:.3g} ({min(times) * scale:.3g}–{max(times) * scale:.3g})"


if __name__ == "__main__":
    main()
