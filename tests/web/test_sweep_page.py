"""Sweeps, in a browser. The API leads them; the worker is played by what a worker writes."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import FloatRect, Page, expect
from sqlalchemy import Engine

from service.specs.sweep import SweepSpec
from service.store import queue, results, sweeps
from service.store.database import writing
from tests.sweeps.support import finish

BASE = {"preset": "baseline", "dataset": "optdigits", "epochs": 2}
SPACE = {"batch_size": [32, 64], "optimizer.name": ["adadelta", "sgd"], "optimizer.learning_rate": [0.1, 1.0]}
DEADLINE_SECONDS = 30


@pytest.fixture
def create(api: httpx.Client) -> Callable[..., int]:
    """Begins a sweep of eight points, all at a time; returns its id."""

    def create(**given: Any) -> int:
        document = {"name": "sizes", "base": BASE, "space": SPACE, "parallel": 8} | given
        answer = api.post("/v1/sweeps", json=document)
        assert answer.status_code == 202, answer.text
        number: int = answer.json()["id"]
        return number

    return create


@pytest.fixture
def work(database: Engine, api: httpx.Client) -> Callable[[int], None]:
    """Trains what comes into the queue until the sweep has ended."""

    def work(sweep_id: int) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while api.get(f"/v1/sweeps/{sweep_id}").json()["state"] == "running":
            assert time.monotonic() < end, "the sweep does not end"
            with writing(database) as session:
                lease = queue.claim(session, "worker-1", 60)
            if lease is not None:
                finish(database, lease)

    return work


@pytest.fixture
def show(api: httpx.Client, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """Opens a path of the dashboard."""
    return lambda path, **given: open_page(str(api.base_url.join(path)), **given)


@pytest.fixture
def grid(create: Callable[..., int], work: Callable[[int], None], show: Callable[..., Page]) -> Page:
    """The page of a sweep of eight trials that has ended."""
    sweep_id = create()
    work(sweep_id)
    return show(f"/sweeps/{sweep_id}")


def box(page: Page, selector: str) -> FloatRect:
    page.locator(selector).scroll_into_view_if_needed()
    found = page.locator(selector).bounding_box()
    assert found is not None
    return found


def drag(page: Page, axis: str, start: float, end: float) -> None:
    """Drag along an axis, between shares of its height from above."""
    hit = box(page, f".hit[data-axis='{axis}']")
    x = hit["x"] + hit["width"] / 2
    page.mouse.move(x, hit["y"] + start * hit["height"])
    page.mouse.down()
    page.mouse.move(x, hit["y"] + end * hit["height"], steps=3)
    page.mouse.up()


def chosen(page: Page, column: int) -> set[str]:
    """What the rows that are not faded have in a column."""
    return set(page.locator(f"#trials tr:not(.out) > td:nth-child({column})").all_inner_texts())


def test_no_sweeps_yet(show: Callable[..., Page]) -> None:
    page = show("/sweeps")
    expect(page.get_by_role("heading", name="No sweeps yet")).to_be_visible()
    assert '"preset": "grid", "base": {"train_limit": 3000}' in page.locator("#first-sweep").inner_text()
    assert "numeral sweep create" in page.locator("#first-command").inner_text()


def test_the_table_of_sweeps_follows(
    show: Callable[..., Page], create: Callable[..., int], work: Callable[[int], None]
) -> None:
    sweep_id = create(name="<b id=injected>", tags=["red & blue"])
    page = show("/sweeps")
    row = page.get_by_role("row").filter(has_text="<b id=injected>")
    expect(row.locator(".badge.running")).to_be_visible()
    work(sweep_id)
    expect(row.locator(".badge.succeeded")).to_be_visible()
    expect(row).to_contain_text("8/8")
    expect(row).to_contain_text("74.00 %")
    expect(row).to_contain_text("batch_size 64")
    expect(page.locator("#injected")).to_have_count(0)
    expect(row.get_by_role("link", name="red & blue")).to_have_attribute("href", "/?tag=red+%26+blue")


def test_sweeps_are_in_pages(show: Callable[..., Page], database: Engine) -> None:
    spec = SweepSpec.model_validate({"base": BASE, "space": SPACE})
    with writing(database) as session:
        for _ in range(21):
            sweeps.cancel(session, sweeps.create(session, spec).id)
    page = show("/sweeps")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Newest").click()
    expect(page.get_by_role("row")).to_have_count(21)


def test_a_sweep_from_its_beginning_to_its_end(
    show: Callable[..., Page], create: Callable[..., int], work: Callable[[int], None], database: Engine
) -> None:
    sweep_id = create()
    page = show(f"/sweeps/{sweep_id}")
    expect(page.get_by_text("its trials wait for a worker")).to_be_visible()
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
        assert lease is not None
        results.start(session, lease, "cpu:0", 7850)
    expect(page.get_by_role("list").get_by_role("link", name="sizes, trial 1")).to_be_visible()
    finish(database, lease)
    expect(page.locator("#best")).to_contain_text("of trial 1")
    work(sweep_id)
    expect(page.locator("#head .badge.succeeded")).to_be_visible()
    rows = page.locator("#trials tbody tr")
    expect(rows).to_have_count(8)
    # Those that are equally good are in the order of their numbers.
    numbers = rows.locator("td:first-child").all_inner_texts()
    assert numbers == ["6", "8", "5", "7", "2", "4", "1", "3"]
    assert rows.first.inner_text().split()[:7] == ["6", "succeeded", "64", "adadelta", "1", "★", "74.00"]
    expect(page.locator("#best")).to_contain_text("74.00 % val_accuracy of trial 6; test accuracy 37.00 %")
    expect(page.get_by_role("link", name="Experiment 6", exact=True)).to_have_attribute("href", "/experiments/6")
    expect(page.get_by_role("link", name="Compare the best 5")).to_have_attribute(
        "href", "/compare?id=6&id=8&id=5&id=7&id=2"
    )
    expect(page.get_by_role("link", name="CSV")).to_have_attribute("href", f"/v1/sweeps/{sweep_id}/trials.csv")
    expect(page.locator("#history .point")).to_have_count(8)


def test_choosing_by_mouse(grid: Page) -> None:
    drag(grid, "p-batch_size", 0.0, 0.4)
    assert chosen(grid, 3) == {"64"}
    expect(grid.locator("#chosen")).to_have_text("4 of 8 trials chosen")
    expect(grid.locator("#parallel path.out")).to_have_count(4)
    drag(grid, "p-optimizer.name", 0.6, 1.0)
    assert (chosen(grid, 3), chosen(grid, 4)) == ({"64"}, {"adadelta"})
    grid.get_by_label("Only the chosen in the table").check()
    expect(grid.locator("#trials tbody tr:visible")).to_have_count(2)
    drag(grid, "p-batch_size", 0.5, 0.5)
    assert (chosen(grid, 3), chosen(grid, 4)) == ({"32", "64"}, {"adadelta"})
    grid.get_by_role("button", name="Choose all").click()
    expect(grid.locator("tr.out, path.out")).to_have_count(0)


def test_choosing_by_keyboard(grid: Page) -> None:
    grid.get_by_text("Choose by values").focus()
    grid.keyboard.press("Enter")
    grid.get_by_role("group", name="val. accuracy, %").get_by_label("at least").focus()
    grid.keyboard.type("50")
    assert chosen(grid, 3) == {"64"}
    grid.get_by_role("group", name="optimizer.name").get_by_label("sgd").focus()
    grid.keyboard.press("Space")
    assert (chosen(grid, 3), chosen(grid, 4)) == ({"64"}, {"adadelta"})
    expect(grid.locator(".brush")).to_have_count(2)


def test_a_choice_outlives_what_happens(
    show: Callable[..., Page], create: Callable[..., int], database: Engine, api: httpx.Client
) -> None:
    sweep_id = create()
    page = show(f"/sweeps/{sweep_id}")
    expect(page.locator("#trials tbody tr")).to_have_count(8)
    drag(page, "p-batch_size", 0.0, 0.4)
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
    assert lease is not None
    finish(database, lease)
    expect(page.locator("#trials .badge.succeeded")).to_have_count(1)
    assert chosen(page, 3) == {"64"}


def test_lines_and_rows_point_at_each_other(grid: Page) -> None:
    grid.get_by_role("link", name="6", exact=True).focus()
    expect(grid.locator("#readout")).to_contain_text("Trial 6 · batch_size 64 · optimizer.name adadelta")
    assert grid.locator("#parallel .lit").get_attribute("d")
    # Where the line of the worst ends, and the other three of its outcome.
    axis = box(grid, ".hit[data-axis='objective']")
    grid.mouse.move(axis["x"] - 30, axis["y"] + axis["height"] - 14)
    expect(grid.locator("#readout")).to_contain_text("val. accuracy, % 33")
    lit = grid.locator("#trials tr.lit")
    expect(lit).to_have_count(1)
    expect(lit).to_contain_text("33.00 %")


def test_the_table_of_two_parameters(grid: Page) -> None:
    cells = grid.locator("#grid tbody tr")
    assert [row.split() for row in cells.all_inner_texts()] == [
        ["adadelta", "49.00", "%", "58.00", "%"],
        ["sgd", "49.00", "%", "58.00", "%"],
    ]
    grid.get_by_label("Rows").select_option("batch_size")
    expect(grid.get_by_role("heading", name="batch_size × optimizer.learning_rate")).to_be_visible()
    assert [row.split() for row in cells.all_inner_texts()] == [
        ["32", "33.00", "%", "42.00", "%"],
        ["64", "65.00", "%", "74.00", "%"],
    ]
    shades = grid.locator("#grid td > a").evaluate_all("cells => cells.map(cell => cell.className)")
    assert (shades[0], shades[3]) == ("s0", "s5")
    expect(grid.get_by_role("link", name="74.00 %")).to_have_attribute("href", "/experiments/6")
    grid.get_by_label("Rows").select_option("optimizer.learning_rate")
    expect(grid.get_by_label("Columns")).to_have_value("optimizer.name")


def test_cancelling(show: Callable[..., Page], create: Callable[..., int], api: httpx.Client) -> None:
    sweep_id = create()
    page = show(f"/sweeps/{sweep_id}")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#head .badge.cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert api.get(f"/v1/sweeps/{sweep_id}").json()["state"] == "cancelled"


def test_a_sweep_that_failed_says_why(show: Callable[..., Page], database: Engine, api: httpx.Client) -> None:
    spec = SweepSpec.model_validate({"base": BASE, "space": {"batch_size": {"low": 1, "high": 9}}, "sampler": "random"})
    with writing(database) as session:
        sweep = sweeps.create(session, spec)
        sweeps.add_impossible(session, sweep, {"batch_size": 3}, 1, "It is <b>impossible</b>.")
        sweeps.finish(session, sweep, "failed", "No trial has succeeded.")
        sweep_id = sweep.id
    page = show(f"/sweeps/{sweep_id}", viewport={"width": 390, "height": 844})
    expect(page.locator("#error")).to_have_text("No trial has succeeded.")
    expect(page.get_by_text("It is <b>impossible</b>.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert api.get("/sweeps/99").status_code == 404
    assert api.get("/sweeps/x").status_code == 404
    assert api.get("/sweeps?cursor=0").status_code == 422
