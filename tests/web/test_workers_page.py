"""The workers, in a browser."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, update

from service.store import results, workers
from service.store.clock import now
from service.store.database import writing
from service.store.leases import Lease
from service.store.tables import Worker

ODD = "<img src=x onerror=alert(1)>"


@pytest.fixture
def workers_page(api: httpx.Client, open_page: Callable[..., Page]) -> Page:
    return open_page(str(api.base_url.join("/workers")))


def register(database: Engine, name: str = "worker-1", slots: int = 2) -> None:
    with writing(database) as session:
        workers.register(session, name=name, host="box", pid=4711, device="cpu:0", slots=slots, version="0.1.0")


def test_without_workers_it_says_how_to_start_one(workers_page: Page, enqueue: Callable[..., int]) -> None:
    expect(workers_page.get_by_role("heading", name="No workers")).to_be_visible()
    expect(workers_page.locator("#start-worker")).to_have_text("numeral worker")
    enqueue()
    expect(workers_page.get_by_text("1 experiment waits for one.")).to_be_visible()


def test_a_worker_and_what_it_trains(
    workers_page: Page, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    register(database)
    # No experiment has changed: the page looks by itself.
    row = workers_page.get_by_role("row").filter(has_text="worker-1")
    expect(row).to_contain_text("alive")
    expect(row).to_contain_text("nothing")
    for text in ("box", "4711", "cpu:0", "0.1.0"):
        expect(row).to_contain_text(text)
    running = enqueue(name=ODD, epochs=4)
    enqueue()
    lease = claim()
    link = row.get_by_role("link", name=f"{running} · {ODD}")
    expect(link).to_have_attribute("href", f"/experiments/{running}")
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
        results.progress(session, lease, 0.75)
    expect(row.get_by_label(f"Progress of experiment {running}")).to_have_js_property("value", 0.75)
    expect(workers_page.get_by_text("1 of 2")).to_be_visible()
    expect(workers_page.get_by_role("link", name="1", exact=True)).to_have_attribute("href", "/?state=queued")


def test_one_that_is_silent(workers_page: Page, database: Engine, enqueue: Callable[..., int]) -> None:
    enqueue()
    register(database, "lively")
    register(database, "lost", slots=5)
    with writing(database) as session:
        session.execute(update(Worker).where(Worker.name == "lost").values(last_beat_at=now(-3600)))
    lost = workers_page.get_by_role("row").filter(has_text="lost")
    expect(lost.get_by_text("silent")).to_be_visible()
    expect(lost).to_contain_text("1 hr. ago")
    assert workers_page.locator("td.name").all_inner_texts() == ["lively", "lost"]
    expect(workers_page.get_by_text("1 of 2")).to_be_visible()
    expect(workers_page.get_by_text("0 of 2")).to_be_visible()
    with writing(database) as session:
        workers.unregister(session, "lively")
    expect(workers_page.get_by_text("Nobody trains what waits.")).to_be_visible()
