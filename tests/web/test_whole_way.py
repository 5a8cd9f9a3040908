"""From the form to the digit, as a person goes: a real service, a real training on MNIST, a real browser."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from service.client import Client
from tests.service.conftest import Service, quick, service
from tests.web.support import draw_seven

__all__ = ["quick", "service"]

TRAINING_MS = 240_000
"""The worker imports Keras first, on whatever machine this is."""


@pytest.fixture
def earlier(service: Service, quick: dict[str, object]) -> int:
    """The id of an experiment that has taken `production`."""
    with Client(service.url) as client:
        experiment_id = client.submit(quick).id
        list(client.events(experiment_id))
        assert client.alias("production").experiment_id == experiment_id
    return experiment_id


def test_submit_watch_look_promote_draw(
    service: Service, earlier: int, datasets_dir: Path, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{service.url}/submit")

    page.get_by_role("radio", name="fast").check()
    page.get_by_label("Name").fill("from the form")
    page.get_by_label("Train limit").fill("8000")
    page.get_by_label("Epochs").fill("3")
    expect(page.locator("main")).to_contain_text('"epochs": 3')
    page.get_by_role("button", name="Submit").click()

    # Nothing is reloaded from here to the end of the training.
    page.wait_for_url("**/experiments/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("from the form")
    page.evaluate("() => { window.untouched = true }")
    expect(page.locator("#accuracy .main-svg").first).to_be_visible(timeout=TRAINING_MS)
    expect(page.locator("#head .badge")).to_have_text("succeeded", timeout=TRAINING_MS)
    assert page.evaluate("() => document.getElementById('accuracy').data[0].y.length") == 3
    assert page.evaluate("() => window.untouched")

    cell = page.locator("table.heat tbody a").first
    count = int(cell.inner_text())
    cell.click()
    expect(page.locator(".digits li")).to_have_count(count)
    page.wait_for_function(
        "() => [...document.images].every(image => image.src.endsWith('svg') || image.naturalWidth > 0)"
    )

    experiment_id = int(urlsplit(page.url).path.split("/")[-1])
    page.get_by_role("button", name="Promote to production").click()
    expect(page.locator("#head").get_by_role("link", name="production")).to_be_visible()
    with Client(service.url) as client:
        promoted = client.alias("production").experiment_id
    assert promoted == experiment_id != earlier

    page.get_by_role("link", name="Draw", exact=True).click()
    draw_seven(page)
    expect(page.locator(".verdict .digit").first).to_have_text("7")
