"""The form that submits an experiment, in a browser."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from service.specs.experiment import Submission
from service.specs.presets import PRESETS
from service.web import form
from tests.web.conftest import Watched

ODD = """it's "x" <img src=x onerror=alert(1)> $HOME `id` \\ é"""


@pytest.fixture
def submit_page(api: httpx.Client, open_page: Callable[..., Page]) -> Callable[..., Page]:
    def show(query: str = "", **given: object) -> Page:
        page = open_page(str(api.base_url.join(f"/submit{query}")), **given)
        ready(page)
        return page

    return show


def ready(page: Page) -> None:
    expect(page.locator("#verdict")).to_have_text("Ready to be submitted.")


def choose(page: Page, preset: str) -> None:
    page.locator(f"input[name=preset][value='{preset}']").check()


def submitted(page: Page, api: httpx.Client) -> dict[str, Any]:
    """What is stored after the form was sent."""
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/experiments/*", wait_until="commit")
    answer = api.get("/v1/experiments/" + page.url.rsplit("/", 1)[1])
    spec: dict[str, Any] = answer.json()["spec"]
    return spec


def resolved(api: httpx.Client, **given: object) -> dict[str, Any]:
    answer = api.post("/v1/experiments/validate", json=given)
    spec: dict[str, Any] = answer.raise_for_status().json()["spec"]
    return spec


def request(page: Page) -> dict[str, Any]:
    """What the page says that it would send."""
    said: dict[str, Any] = json.loads(page.locator("#json").text_content() or "")
    return said


def test_every_field_has_its_place() -> None:
    names = [name for group in form.GROUPS for name in group.fields]
    assert sorted(names) == sorted(set(Submission.model_fields) - {"preset"})
    assert all(set(group.rare) < set(group.fields) for group in form.GROUPS)


def test_presets_as_they_are(submit_page: Callable[..., Page]) -> None:
    page = submit_page("?preset=best")
    assert request(page) == {"preset": "best"}
    for preset in PRESETS:
        choose(page, preset)
        expect(page.get_by_label("Name", exact=True)).to_have_value(preset)
        assert request(page) == {"preset": preset}
        assert page.url.endswith(f"/submit?preset={preset}")
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_label("Priority").fill("5")
    page.get_by_label("Epochs", exact=True).fill("3")
    # What a preset says nothing about stays.
    choose(page, "fast")
    assert request(page) == {"preset": "fast", "name": "mine", "priority": 5}
    ready(page)


@pytest.mark.parametrize("preset", ["best", ""])
def test_a_preset_is_submitted(api: httpx.Client, submit_page: Callable[..., Page], preset: str) -> None:
    page = submit_page(f"?preset={preset}")
    asked = request(page)
    assert asked == ({"preset": preset} if preset else form.SCRATCH)
    assert submitted(page, api) == resolved(api, **asked)


def test_fields_of_every_kind(api: httpx.Client, submit_page: Callable[..., Page]) -> None:
    page = submit_page()
    choose(page, "best")
    page.get_by_label("Name", exact=True).fill(ODD)
    page.get_by_label("Tags").fill("a, b")
    page.get_by_label("Tags").press("Enter")
    page.get_by_label("Tags").fill("<b>")
    page.get_by_label("Train limit").fill("500")
    page.get_by_label("Remove a").click()
    page.get_by_label("Optimizer", exact=True).select_option("sgd")
    page.get_by_label("Nesterov").check()
    page.get_by_label("Final fraction").fill("0.25")
    page.get_by_label("Validation", exact=True).select_option("test")
    page.get_by_label("Early stopping", exact=True).check()
    page.get_by_label("Patience").fill("7")
    page.get_by_label("Rotation").fill("1e-1")
    page.get_by_label("Elastic").uncheck()
    page.get_by_label("Int8").check()
    changes = {
        "name": ODD,
        "tags": ["b", "<b>"],
        "train_limit": 500,
        "optimizer": {"name": "sgd", "nesterov": True},
        "schedule": {"name": "cosine", "final_fraction": 0.25},
        "validation": {"on": "test"},
        "early_stopping": {"patience": 7},
        "augmentation": {"rotation": 0.1, "elastic": None},
        "int8": True,
    }
    assert request(page) == {"preset": "best"} | changes
    spec = submitted(page, api)
    assert spec == resolved(api, preset="best", **changes)
    assert spec["schedule"]["warmup_epochs"] == 1.0
    assert spec["augmentation"]["shift"] == 0.07


def test_layers_are_added_moved_copied_and_removed(
    api: httpx.Client, submit_page: Callable[..., Page], watched: Watched
) -> None:
    page = submit_page("?preset=")
    rows = page.locator(".layer")
    expect(page.locator("#parameters")).to_have_text("50,890")
    page.get_by_label("Type of a new layer").select_option("conv2d")
    page.get_by_role("button", name="Add a layer").click()
    expect(rows.nth(2)).to_contain_text("a conv2d layer takes a map")
    rows.nth(2).get_by_label("Filters").fill("4")
    rows.nth(2).get_by_label("Kernel size: height").fill("5")
    page.get_by_label("Move layer 3 up").click()
    expect(page.get_by_label("Move layer 2 up")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Copy layer 1").click()
    page.get_by_label("Remove layer 4").click()
    ready(page)
    assert [row.split()[0] for row in rows.locator("summary").all_inner_texts()] == ["conv2d", "conv2d", "flatten"]
    expect(rows.nth(0).locator(".layer-size")).to_have_text("24×26×4, 64")
    layer = {"type": "conv2d", "filters": 4, "kernel_size": [5, 3]}
    model = {"layers": [layer, layer, {"type": "flatten"}]}
    assert all("422" in error for error in watched.errors)
    watched.errors.clear()
    assert request(page) == {"model": model}
    assert submitted(page, api) == resolved(api, model=model)


def test_what_the_service_refuses_is_said_at_the_field(submit_page: Callable[..., Page], watched: Watched) -> None:
    page = submit_page("?preset=fast")

    def field(path: str) -> str:
        return f'[data-field="{path}"]'

    size = page.get_by_label("Batch size")
    size.fill("0")
    expect(page.locator(field("batch_size"))).to_contain_text("Input should be greater than or equal to 1")
    expect(size).to_have_attribute("aria-invalid", "true")
    expect(size).to_have_accessible_description("Input should be greater than or equal to 1")
    size.fill("")
    expect(page.locator(field("batch_size"))).to_contain_text("valid integer")
    size.fill("16")
    ready(page)
    expect(size).not_to_have_attribute("aria-invalid", "true")

    page.get_by_label("Dataset").fill("nonsense")
    expect(page.locator(field("dataset"))).to_contain_text("there are: mnist, optdigits")
    page.get_by_label("Dataset").fill("mnist")

    # A folded layer unfolds where it is refused.
    first = page.locator(".layer").first
    first.locator("summary").click()
    first.get_by_label("Kernel size: width").fill("29")
    expect(first.locator(field("model.layers[0].kernel_size"))).to_contain_text(
        "29 is larger than the layer's 28×28 input"
    )
    first.locator("summary").click()
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(first.get_by_label("Kernel size: height")).to_be_focused()
    assert page.url.endswith("/submit?preset=fast")
    assert all("422" in error for error in watched.errors)
    watched.errors.clear()


def test_an_experiment_again_with_changes(
    api: httpx.Client, submit_page: Callable[..., Page], enqueue: Callable[..., int]
) -> None:
    source = enqueue(preset="best", name=ODD, tags=["a,b"], epochs=3, augmentation=None)
    page = submit_page(f"?from={source}")
    expect(page.get_by_role("link", name=f"experiment {source}")).to_have_attribute("href", f"/experiments/{source}")
    expect(page.get_by_label("Name", exact=True)).to_have_value(ODD)
    page.get_by_label("Seed").fill("1")
    changes = {"name": ODD, "tags": ["a,b"], "epochs": 3, "seed": 1, "augmentation": None}
    assert request(page) == {"preset": "best"} | changes
    assert submitted(page, api) == api.get(f"/v1/experiments/{source}").json()["spec"] | {"seed": 1}
    # What was typed is still there when one comes back.
    page.go_back()
    expect(page.get_by_label("Seed")).to_have_value("1")
    page.get_by_role("button", name="Undo all changes").click()
    expect(page.get_by_label("Seed")).to_have_value("0")


@pytest.mark.parametrize("code", ["curl", "python"])
def test_the_code_beside_it_does_the_same(api: httpx.Client, submit_page: Callable[..., Page], code: str) -> None:
    page = submit_page()
    choose(page, "best")
    page.get_by_label("Name", exact=True).fill(ODD)
    page.get_by_label("Early stopping", exact=True).check()
    page.get_by_label("Restore best").uncheck()
    page.get_by_label("Remove layer 2", exact=True).click()
    ready(page)
    text = page.locator(f"#{code}").text_content() or ""
    command = ["sh", "-c", f"{text} --silent --fail"] if code == "curl" else [sys.executable, "-c", text]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    [mine] = api.get("/v1/experiments").json()["items"]
    assert mine["name"] == ODD
    assert submitted(page, api) == mine["spec"]


def test_sent_again_it_is_the_same_experiment(
    api: httpx.Client, submit_page: Callable[..., Page], watched: Watched
) -> None:
    page = submit_page()

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/experiments", lose_the_answer, times=1)
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    [lost] = api.get("/v1/experiments").json()["items"]
    submitted(page, api)
    assert page.url.endswith(f"/experiments/{lost['id']}")
    # Once it is there, the same form is another experiment.
    page.go_back()
    ready(page)
    submitted(page, api)
    assert len(api.get("/v1/experiments").json()["items"]) == 2
    watched.errors.clear()


def test_an_experiment_that_is_there_already_is_shown(
    api: httpx.Client, submit_page: Callable[..., Page], trained: int
) -> None:
    page = submit_page(f"?from={trained}")
    page.get_by_label("Reuse").check()
    assert submitted(page, api) == api.get(f"/v1/experiments/{trained}").json()["spec"]
    assert page.url.endswith(f"/experiments/{trained}")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("?preset=nonsense", 404, "there are: baseline"), ("?from=7", 404, "experiment 7"), ("?from=x", 422, "from")],
)
def test_what_it_cannot_start_from(api: httpx.Client, query: str, status: int, words: str) -> None:
    answer = api.get(f"/submit{query}")
    assert answer.status_code == status
    assert words in answer.text


def test_without_scripts_it_says_how(api: httpx.Client) -> None:
    hint = api.get("/submit").text.split("<noscript>")[1].split("</noscript>")[0]
    assert f"curl -X POST {api.base_url.join('/v1/experiments')}" in hint
