"""The models and their aliases, in a browser."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Engine, update

from service.store import aliases
from service.store.database import writing
from service.store.tables import Experiment
from tests.api.conftest import brightest_band_onnx, succeed
from tests.web.conftest import Watched

ODD = """<img src=x onerror=alert(1)> "quoted" it's"""


@pytest.fixture
def models_page(api: httpx.Client, open_page: Callable[..., Page]) -> Callable[[], Page]:
    return lambda: open_page(str(api.base_url.join("/models")))


def row(page: Page, name: str) -> Locator:
    return page.locator("#listing tbody tr").filter(has_text=name)


def card(page: Page, alias: str) -> Locator:
    return page.get_by_role("region", name=f"Alias {alias}")


def test_without_models_it_says_what_to_do(models_page: Callable[[], Page], database: Engine) -> None:
    page = models_page()
    expect(page.get_by_role("heading", name="No models yet")).to_be_visible()
    expect(page.get_by_role("heading", name="Set an alias")).to_be_hidden()
    # The first one comes by itself, and with it all that can be done.
    succeed(database, ODD)
    expect(row(page, ODD)).to_be_visible()
    expect(card(page, "production")).to_contain_text(ODD)
    expect(page.get_by_role("heading", name="Set an alias")).to_be_visible()


def test_what_is_known_of_each(
    models_page: Callable[[], Page], database: Engine, api: httpx.Client, make_model: Callable[[str], int]
) -> None:
    make_model("first")
    second = succeed(database, "second", files={"model.int8.onnx": brightest_band_onnx()}, dataset="optdigits")
    page = models_page()
    assert page.locator("#listing td.name").all_inner_texts() == ["second", "first"]
    expect(row(page, "second").get_by_role("link", name="second")).to_have_attribute("href", f"/experiments/{second}")
    expect(row(page, "second")).to_contain_text("optdigits")
    expect(row(page, "second")).to_contain_text("100.00 %")
    expect(row(page, "second")).to_contain_text("7,850")
    expect(row(page, "first")).to_contain_text("production")
    with page.expect_download() as download:
        row(page, "second").get_by_role("link", name="model.int8.onnx").click()
    assert download.value.path().read_bytes() == brightest_band_onnx()


def test_the_best_of_each_dataset(
    models_page: Callable[[], Page], database: Engine, make_model: Callable[[str], int]
) -> None:
    worse = make_model("worse")
    make_model("better")
    succeed(database, "elsewhere", dataset="optdigits")
    with writing(database) as session:
        session.execute(update(Experiment).where(Experiment.id == worse).values(test_accuracy=0.97))
    page = models_page()
    best = page.locator("#listing tbody tr").filter(has=page.get_by_text("best", exact=True))
    assert best.locator("td.name").all_inner_texts() == ["elsewhere", "better"]


def test_promote_and_roll_back(
    models_page: Callable[[], Page], api: httpx.Client, make_model: Callable[[str], int]
) -> None:
    first, second = make_model("first"), make_model("second")
    page = models_page()
    production = card(page, "production")
    expect(production.get_by_role("button", name="Roll back")).to_have_count(0)
    row(page, "second").get_by_role("button", name="Promote").click()
    expect(production).to_contain_text(f"{second} · second")
    expect(row(page, "second")).to_contain_text("production")
    expect(row(page, "second").get_by_role("button", name="Promote")).to_have_count(0)
    assert api.get("/v1/models/aliases/production").json()["experiment_id"] == second
    production.get_by_text("History").click()
    production.get_by_role("button", name=f"Roll back to {first}").click()
    expect(production).to_contain_text(f"{first} · first")
    # The history stays unfolded when the page is brought up to date.
    changes = production.locator("tbody tr")
    expect(changes).to_have_count(3)
    expect(changes.first).to_contain_text("rolled back")
    expect(changes.last).to_contain_text("the first model there was")


def test_an_alias_is_set_and_deleted(
    models_page: Callable[[], Page], api: httpx.Client, make_model: Callable[[str], int]
) -> None:
    make_model("first")
    second = make_model("second")
    page = models_page()
    page.get_by_label(f"Set an alias for model {second}").click()
    expect(page.get_by_label("Alias", exact=True)).to_be_focused()
    # A model that comes meanwhile leaves the choice as it is.
    make_model("third")
    expect(row(page, "third")).to_be_visible()
    page.get_by_label("Alias", exact=True).fill("candidate")
    page.get_by_label("Shadows").select_option("production")
    page.get_by_label("only if not worse").check()
    page.get_by_role("button", name="Set", exact=True).click()
    expect(card(page, "candidate")).to_contain_text("Shadows production: no images yet.")
    found = api.get("/v1/models/aliases/candidate").json()
    assert (found["experiment_id"], found["shadows"]) == (second, "production")
    page.once("dialog", lambda dialog: dialog.accept())
    card(page, "candidate").get_by_role("button", name="Delete").click()
    expect(card(page, "candidate")).to_have_count(0)
    assert api.get("/v1/models/aliases/candidate").status_code == 404


def test_what_a_shadow_saw(
    models_page: Callable[[], Page], api: httpx.Client, database: Engine, make_model: Callable[[str], int]
) -> None:
    make_model("first")
    target = {"experiment_id": make_model("second"), "shadows": "production"}
    api.put("/v1/models/aliases/candidate", json=target).raise_for_status()
    with writing(database) as session:
        aliases.count_shadow(session, "candidate", 1, 12_000, 30)
    expect(card(models_page(), "candidate")).to_contain_text("12,000 images, 30 seen differently (0.25 %).")


@pytest.mark.parametrize(
    ("alias", "variant", "words"),
    [("Not A Name", "fp32", "use lower-case letters"), ("staging", "int8", "has no model in int8")],
)
def test_what_is_refused_is_said_at_the_form(
    models_page: Callable[[], Page], trained: int, watched: Watched, alias: str, variant: str, words: str
) -> None:
    page = models_page()
    page.get_by_label("Alias", exact=True).fill(alias)
    page.get_by_label("Variant").select_option(variant)
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.locator("#alias-problem")).to_contain_text(words)
    watched.errors.clear()


def test_a_narrow_window_scrolls_only_the_tables(
    api: httpx.Client, open_page: Callable[..., Page], database: Engine
) -> None:
    succeed(database, "a name of many words " * 9)
    page = open_page(str(api.base_url.join("/models")), viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
