"""The comparison of experiments, in a browser."""

from collections.abc import Callable

import httpx
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Engine

from service import answers, schemas
from service.store import results
from service.store.database import writing
from service.store.leases import Lease
from service.web import heat
from tests.api.conftest import REPORT, succeed

MARKUP = "<b id=injected>bold</b>"


def right(count: int) -> dict[str, bytes]:
    """The artifact of a model that got the first `count` of 100 black images right."""
    outputs = np.eye(10, dtype=np.float32)[np.where(np.arange(100) < count, 0, 1)]
    black = np.zeros((100, 28, 28), np.uint8)
    return {answers.ARTIFACT: answers.pack(answers.of(outputs, black, np.zeros(100, np.uint8)))}


def confused(mistakes: int) -> schemas.Evaluation:
    """A report on ten images of each digit, so many zeros of which were taken for ones."""
    matrix = (10 * np.eye(10, dtype=int)).tolist()
    matrix[0][:2] = [10 - mistakes, mistakes]
    return REPORT.model_copy(update={"confusion_matrix": matrix})


@pytest.fixture
def compare(api: httpx.Client, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """Opens the comparison of some experiments."""
    return lambda *ids, **given: open_page(
        str(api.base_url.join("/compare")) + "?" + "&".join(f"id={i}" for i in ids), **given
    )


def row(page: Page, part: str, title: str) -> Locator:
    return page.locator(f"#{part} tr").filter(has=page.get_by_role("rowheader", name=title, exact=True)).locator("td")


def test_too_few_to_compare(compare: Callable[..., Page], enqueue: Callable[..., int]) -> None:
    page = compare()
    expect(page.get_by_role("heading", name="Nothing to compare yet")).to_be_visible()
    expect(page.get_by_role("link", name="the table")).to_have_attribute("href", "/")
    page = compare(enqueue())
    expect(page.get_by_text("choose another one")).to_be_visible()
    expect(page.get_by_text("No epoch is finished yet")).to_be_visible()


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("id=7", 404, "There is no experiment 7."),
        ("id=9999999999999999999", 404, "There is no experiment"),
        ("id=x", 422, "id[0]"),
        ("id=-1", 422, "id[0]"),
        ("&".join(["id=1"] * 201), 422, "at most 200"),
    ],
)
def test_what_cannot_be_compared(api: httpx.Client, query: str, status: int, words: str) -> None:
    answer = api.get(f"/compare?{query}")
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (status, "text/html")
    assert words in answer.text


def test_only_what_differs_is_shown(compare: Callable[..., Page], enqueue: Callable[..., int]) -> None:
    layers = [{"type": "flatten"}, {"type": "dense", "units": 64}]
    wider = [{"type": "flatten"}, {"type": "dense", "units": 128}]
    first = enqueue(name=MARKUP, model={"layers": layers}, tags=[MARKUP])
    second = enqueue(name="other", model={"layers": wider}, batch_size=64)
    page = compare(first, second, first)
    heads = page.locator("#differences").get_by_role("rowheader")
    assert heads.all_inner_texts() == ["What differs", "tags", "model.layers[1].units", "batch_size"]
    assert row(page, "differences", "model.layers[1].units").all_inner_texts() == ["64", "128"]
    assert row(page, "differences", "tags").all_inner_texts() == [f'["{MARKUP}"]', "[]"]
    expect(page.get_by_role("link", name=MARKUP)).to_have_attribute("href", f"/experiments/{first}")
    expect(page.locator("#injected")).to_have_count(0)


def test_figures_and_the_best_of_each(
    compare: Callable[..., Page], database: Engine, enqueue: Callable[..., int]
) -> None:
    calibrated = REPORT.model_copy(update={"expected_calibration_error": 0.0123})
    first = succeed(database, "first", watched=(0.9, 0.7))
    second = succeed(database, "second", watched=(0.5, 0.8), report=calibrated)
    page = compare(first, second, enqueue())
    watched = row(page, "figures", "Best val. accuracy")
    assert watched.all_inner_texts() == ["90.00 % ★ epoch 1", "80.00 % epoch 2", "–"]
    expect(watched.first.get_by_label("the best")).to_be_visible()
    assert row(page, "figures", "Test accuracy").all_inner_texts() == ["100.00 %", "100.00 %", "–"]
    assert row(page, "figures", "Calibration error").all_inner_texts() == ["–", "0.0123", "–"]


def test_mcnemars_test_against_the_first(compare: Callable[..., Page], database: Engine) -> None:
    first, better = succeed(database, files=right(90)), succeed(database, files=right(96))
    alike, old = succeed(database, files=right(91)), succeed(database)
    page = compare(first, better, alike, old)
    rows = page.locator("#tested tbody tr")
    assert rows.nth(0).inner_text().split("\t") == [
        str(better),
        "90",
        "0",
        "6",
        "4",
        "+6.00 %",
        "0.031",
        f"{better} is better",
    ]
    assert rows.nth(1).inner_text().split("\t")[-2:] == ["1", "may be chance"]
    expect(page.locator("#tested .conflict")).to_contain_text(f"Experiments {first} and {old} cannot be compared")


def test_confusion_matrices_and_their_difference(compare: Callable[..., Page], database: Engine) -> None:
    first, second = succeed(database, report=confused(3)), succeed(database, report=confused(1))
    elsewhere = succeed(database, report=confused(1), dataset="optdigits")
    page = compare(first, second, elsewhere)
    assert page.locator(f"#matrix-{first} tbody tr").first.inner_text().split()[:3] == ["0", "7", "3"]
    cells = page.locator(f"#difference-{second} tbody tr").first.locator("td > *")
    assert cells.all_inner_texts() == ["+2", "-2", *["0"] * 8]
    assert cells.evaluate_all("cells => cells.map(cell => cell.className)")[:3] == ["s5", "s5", "s0"]
    expect(page.get_by_text(f"It was tested on other images than {first}.")).to_be_visible()
    expect(page.locator(f"#difference-{first}, #difference-{elsewhere}")).to_have_count(0)


def test_a_curve_comes_and_says_its_parameters(
    compare: Callable[..., Page], database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    other, running = enqueue(name="other", batch_size=32), enqueue(name=MARKUP, batch_size=64, priority=9)
    lease = claim()
    page = compare(other, running)
    expect(page.get_by_text("No epoch is finished yet")).to_be_visible()
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
        figures = {"train_loss": 0.5, "train_accuracy": 0.8, "val_loss": None, "val_accuracy": None}
        results.epoch(session, lease, schemas.EpochMetrics(epoch=1, seconds=1.0, learning_rate=1.0, **figures))
    expect(page.locator("#loss .point")).to_have_count(1)
    page.locator("#loss .point").scroll_into_view_if_needed()
    box = page.locator("#loss .point").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"])
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = page.locator("#loss .hoverlayer")
    expect(label).to_contain_text(MARKUP)
    expect(label).to_contain_text("batch_size 64")
    expect(label).to_contain_text("0.5000")


def test_leaving_one_out(compare: Callable[..., Page], enqueue: Callable[..., int]) -> None:
    first, second, third = enqueue(name="one"), enqueue(name="two", epochs=2), enqueue(name="three", epochs=3)
    page = compare(first, second, third)
    page.get_by_label("Smoothing").fill("0.5")
    page.get_by_role("link", name=f"leave out {first}").click()
    expect(page.get_by_role("columnheader")).to_have_count(2)
    assert page.url.endswith(f"/compare?id={second}&id={third}")
    expect(page.locator("#legend li")).to_have_count(2)
    expect(page.get_by_label("Smoothing")).to_have_value("0.5")
    page.get_by_role("link", name=f"as reference {third}").click()
    expect(row(page, "differences", "epochs")).to_have_text(["3", "2"])


def test_fifty_on_a_small_screen(compare: Callable[..., Page], database: Engine, enqueue: Callable[..., int]) -> None:
    ids = [
        succeed(database, files=right(90 + index % 3), report=confused(index % 3), epochs=2 + index)
        for index in range(12)
    ]
    page = compare(
        *ids, *(enqueue(name=f"waits {index}") for index in range(38)), viewport={"width": 390, "height": 844}
    )
    expect(page.get_by_role("columnheader", name="waits 37")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_text("Only the first 10 of 12 are tested.")).to_be_visible()
    expect(page.get_by_text("Only the first 6 of 12 are shown.")).to_be_visible()
    wide = page.get_by_role("region", name="The experiments side by side")
    assert wide.evaluate("wide => { wide.scrollLeft = wide.scrollWidth; return wide.scrollLeft > 1000; }")
    expect(page.get_by_role("rowheader", name="Test accuracy")).to_be_in_viewport()


def test_shades() -> None:
    assert [[(cell.count, cell.shade) for cell in row] for row in heat.cells([[9, 1], [4, 0]])] == [
        [(9, "s5"), (1, "w3")],
        [(4, "w5"), (0, "s0")],
    ]
    assert [[cell.shade for cell in row] for row in heat.difference([[9, 1], [4, 6]], [[10, 0], [8, 2]])] == [
        ["s3", "s3"],
        ["w5", "w5"],
    ]
