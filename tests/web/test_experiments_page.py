"""The table of experiments, in a browser."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from service.states import State
from service.store.database import writing
from tests.api.conftest import succeed
from tests.store.support import make_trial


def test_an_empty_service_says_what_to_do_next(page: Page) -> None:
    expect(page.get_by_role("heading", name="No experiments yet")).to_be_visible()
    assert "curl -X POST http://127.0.0.1" in page.locator("#first-curl").inner_text()
    expect(page.get_by_role("link", name="the form")).to_have_attribute("href", "/submit")


def test_a_submitted_experiment_comes_by_itself(page: Page, enqueue: Callable[..., int]) -> None:
    enqueue(name="just now")
    expect(page.get_by_role("link", name="just now")).to_be_visible()


def test_filters_are_in_the_address(
    api: httpx.Client, page: Page, enqueue: Callable[..., int], open_page: Callable[..., Page]
) -> None:
    enqueue(name="alpha", tags=["red"])
    enqueue(name="beta", tags=["blue"])
    expect(page.get_by_role("link", name="alpha")).to_be_visible()
    page.get_by_label("Name, tag or id").fill("ALP")
    expect(page.get_by_role("link", name="beta")).to_have_count(0)
    expect(page.get_by_role("link", name="alpha")).to_be_visible()
    assert page.url.endswith("/?q=ALP")
    again = open_page(page.url)
    expect(again.get_by_label("Name, tag or id")).to_have_value("ALP")
    expect(again.get_by_role("link", name="beta")).to_have_count(0)
    again.goto(str(api.base_url.join("/?tag=blue")))
    expect(again.get_by_role("link", name="beta")).to_be_visible()
    expect(again.get_by_role("link", name="alpha")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("link", name="beta")).to_be_visible()


def test_columns_of_what_differs_and_chosen_ones(page: Page, enqueue: Callable[..., int]) -> None:
    enqueue(batch_size=64)
    enqueue(batch_size=128, optimizer={"name": "adam", "learning_rate": 0.01})
    heads = page.get_by_role("columnheader")
    expect(heads.filter(has_text="batch_size")).to_be_visible()
    expect(heads.filter(has_text="optimizer.learning_rate")).to_be_visible()
    expect(heads.filter(has_text="epochs")).to_have_count(0)
    page.reload()
    page.get_by_text("Columns", exact=True).click()
    checked = page.locator("input[name=columns]:checked")
    for key in checked.evaluate_all("inputs => inputs.map(input => input.value)"):
        if key not in ("state", "spec.batch_size"):
            page.locator(f"input[name=columns][value='{key}']").uncheck()
    page.get_by_role("button", name="Show these").click()
    expect(heads).to_have_count(5)
    assert "columns=state&columns=spec.batch_size" in page.url


@pytest.mark.parametrize("column", ["best", "test", "id"])
def test_sorted_both_ways(api: httpx.Client, open_page: Callable[..., Page], database: Engine, column: str) -> None:
    succeed(database, "worse", watched=(0.5, 0.6))
    succeed(database, "better", watched=(0.9, 0.7))
    page = open_page(str(api.base_url.join(f"/?sort=-{column}")))
    names = page.locator("td.name > a:first-child")
    assert names.all_inner_texts() == ["better", "worse"]
    page.goto(str(api.base_url.join(f"/?sort={column}")))
    assert names.all_inner_texts() == (["better", "worse"] if column == "test" else ["worse", "better"])


def test_the_best_and_the_last_figure(api: httpx.Client, page: Page, database: Engine) -> None:
    succeed(database, "overtrained", watched=(0.9, 0.7))
    row = page.get_by_role("row").filter(has_text="overtrained")
    expect(row).to_contain_text("90.00 %")
    expect(row).to_contain_text("70.00 %")
    expect(row).to_contain_text("cpu:0")


def test_the_chosen_are_compared(page: Page, enqueue: Callable[..., int]) -> None:
    first, second = enqueue(), enqueue()
    page.get_by_label(f"Compare experiment {first}").check()
    # A change elsewhere leaves the choice as it is.
    third = enqueue()
    expect(page.get_by_label(f"Compare experiment {third}")).to_be_visible()
    expect(page.get_by_label(f"Compare experiment {first}")).to_be_checked()
    page.get_by_label(f"Compare experiment {second}").check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url("**/compare?*")
    assert page.url.endswith(f"/compare?id={second}&id={first}")


@pytest.mark.parametrize(
    ("query", "words"), [("state=nonsense", "state"), ("sort=nonsense", "sort"), ("page=0", "page"), ("page=x", "page")]
)
def test_a_view_that_cannot_be(api: httpx.Client, query: str, words: str) -> None:
    answer = api.get(f"/?{query}")
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("text/html")
    assert words in answer.text


def test_pages_beyond_the_first(api: httpx.Client, open_page: Callable[..., Page], enqueue: Callable[..., int]) -> None:
    for _ in range(101):
        enqueue()
    page = open_page(str(api.base_url))
    expect(page.get_by_text("1–100 of 101")).to_be_visible()
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("101–101 of 101")).to_be_visible()
    page.goto(str(api.base_url.join("/?page=7")))
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()


def test_states_that_an_experiment_goes_through(page: Page, bring: Callable[[State], int]) -> None:
    for state in State:
        bring(state)
    for state in State:
        expect(page.locator(f"td .badge.{state}")).to_be_visible()


def test_a_sweep_s_experiments_only(
    api: httpx.Client, open_page: Callable[..., Page], database: Engine, enqueue: Callable[..., int]
) -> None:
    ids = [enqueue(name=name) for name in ("alpha", "beta", "gamma")]
    with writing(database) as session:
        make_trial(session, *ids[:2])
    page = open_page(str(api.base_url.join("/sweeps/1")))
    page.get_by_role("link", name="Experiments", exact=True).nth(1).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Experiments of sweep 1")
    names = page.locator("td.name > a:first-child")
    expect(names).to_have_text(["beta", "alpha"])
    page.get_by_label("Name, tag or id").fill("alp")
    expect(names).to_have_text(["alpha"])
    assert page.url.endswith("/?q=alp&sweep=1")
