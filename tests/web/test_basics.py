"""What holds for every page: nothing from elsewhere, no script of others, readable for all, quick."""

import base64
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from service.specs.sweep import SweepSpec
from service.store import sweeps
from service.store.database import writing
from tests.api.conftest import REPORT, succeed
from tests.api.test_evaluation import CONFIDENCE, PREDICTED, predictions
from tests.web.support import ATTACK, fill

AXE = "axe-core/-/axe-core-4.14.1.tgz"
AXE_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="

PAGES = [
    "/",
    "/experiments/1",
    "/compare?id=1&id=2",
    "/sweeps",
    "/sweeps/1",
    "/submit",
    "/draw",
    "/models",
    "/workers",
    "/experiments/4711",
]


@pytest.fixture
def full(database: Engine) -> None:
    """Something on every page, with names that would be dangerous as markup."""
    matrix = [[0] * 10 for _ in range(10)]
    matrix[3][5] = matrix[8][3] = matrix[5][3] = matrix[1][7] = 1
    report = REPORT.model_copy(update={"confusion_matrix": matrix})
    files = predictions(PREDICTED, CONFIDENCE)
    for name in (ATTACK, "another"):
        succeed(database, name, tags=[ATTACK[:60]], report=report, files=files, watched=(0.5, 0.9))
    given = {
        "name": ATTACK,
        "tags": [ATTACK[:60]],
        "base": {"preset": "baseline", "name": ATTACK},
        "space": {"batch_size": [64, 128], "seed": [1, 2]},
    }
    with writing(database) as session:
        sweeps.create(session, SweepSpec.model_validate(given))


@pytest.mark.parametrize("path", PAGES)
def test_names_are_inert_and_the_policy_is_strict(
    api: httpx.Client, open_page: Callable[..., Page], full: None, path: str
) -> None:
    answer = api.get(path)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    page = open_page("about:blank")
    if "4711" in path:
        # The browser's console calls that an error.
        page.route("**/4711", lambda route: route.fulfill(status=200, body=answer.text, content_type="text/html"))
    page.goto(str(api.base_url.join(path)))
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert page.title() != "owned"
    assert page.locator("img[src='x']").count() == 0


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> str:
    """Deque's rules for pages that all can use, from npm's registry."""
    cached = Path(pytestconfig.cache.mkdir("axe")) / f"{AXE_SHA512[:8].replace('/', '-')}.js"
    if not cached.exists():
        registry = "https://registry.npmjs.org"
        try:
            package = httpx.get(f"{registry}/{AXE}", timeout=30).raise_for_status().content
        except httpx.HTTPError as error:
            pytest.skip(f"axe-core cannot be had from {registry}: {error}")
        assert base64.b64encode(hashlib.sha512(package).digest()).decode() == AXE_SHA512
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None
            cached.write_bytes(script.read())
    return cached.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES[:-1])
def test_axe_finds_no_serious_violation(
    api: httpx.Client, open_page: Callable[..., Page], full: None, axe: str, path: str, scheme: str
) -> None:
    page = open_page(str(api.base_url.join(path)), color_scheme=scheme)
    # Through the debugger: the page's policy would not let it in.
    found: list[dict[str, Any]] = page.evaluate(f"async () => {{ {axe}; return (await axe.run()).violations }}")
    assert [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ] == []


@pytest.mark.parametrize("path", PAGES[:-1])
def test_no_page_scrolls_sideways_on_a_phone(
    api: httpx.Client, open_page: Callable[..., Page], full: None, path: str
) -> None:
    page = open_page(str(api.base_url.join(path)), viewport={"width": 390, "height": 844}, has_touch=True)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_the_api_is_described_without_help_from_elsewhere(api: httpx.Client, open_page: Callable[..., Page]) -> None:
    page = open_page(str(api.base_url.join("/docs")))
    expect(page.get_by_role("heading", name="Numeral")).to_be_visible()


def test_what_pages_load_is_asked_for_once(api: httpx.Client) -> None:
    style = api.get("/static/style.css")
    assert style.headers["Cache-Control"] == "no-cache"
    again = api.get("/static/style.css", headers={"If-None-Match": style.headers["ETag"]})
    assert again.status_code == 304
    page = api.get("/experiments/4711").text
    assert "plotly" not in page
    assert api.get("/static/../settings.py").status_code == 404
    assert api.get("/static/%2e%2e/rendering.py").status_code == 404


def test_a_full_table_filters_and_sorts(api: httpx.Client, open_page: Callable[..., Page], database: Engine) -> None:
    fill(database, 150, epochs=2)
    page = open_page(str(api.base_url.join("/?state=succeeded&sort=-test&tag=night")))
    shown = page.locator("td .badge").all_inner_texts()
    assert len(shown) > 20
    assert set(shown) == {"succeeded"}
    accuracies = [float(text.rstrip(" %")) for text in page.locator("td strong").all_inner_texts()]
    assert accuracies == sorted(accuracies, reverse=True)
