"""One experiment's page, in a browser."""

import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from service import schemas
from service.states import State
from service.store import experiments, queue, results
from service.store.database import reading, writing
from service.store.leases import Lease
from tests.api.conftest import REPORT, succeed
from tests.api.test_evaluation import CONFIDENCE, PREDICTED, predictions
from tests.web.conftest import Watched

Open = Callable[[int], Page]


@pytest.fixture
def look(api: httpx.Client, open_page: Callable[..., Page]) -> Open:
    """Opens an experiment's page."""
    return lambda experiment_id: open_page(str(api.base_url.join(f"/experiments/{experiment_id}")))


def epoch(number: int, accuracy: float) -> schemas.EpochMetrics:
    return schemas.EpochMetrics(
        epoch=number,
        train_loss=1.0 / number,
        train_accuracy=accuracy,
        val_loss=1.1 / number,
        val_accuracy=accuracy,
        seconds=1.0,
        learning_rate=0.1,
    )


def points(page: Page, chart: str) -> dict[str, list[float]]:
    """What a chart shows, by the names of its lines."""
    lines = page.evaluate("id => document.getElementById(id).data.map(line => [line.name, Array.from(line.y)])", chart)
    return dict(lines)


def test_curves_grow_as_epochs_end(
    look: Open, enqueue: Callable[..., int], claim: Callable[[], Lease], database: Engine
) -> None:
    page = look(enqueue(epochs=3))
    expect(page.get_by_text("The first epoch has not ended yet.")).to_be_visible()
    lease = claim()
    with writing(database) as session:
        results.start(session, lease, "gpu:0 Test", 1000)
        results.epoch(session, lease, epoch(1, 0.5))
    expect(page.locator("#accuracy .main-svg").first).to_be_visible()
    page.wait_for_function("() => document.getElementById('accuracy').data.length === 2")
    assert points(page, "accuracy") == {"train": [0.5], "validation": [0.5]}
    with writing(database) as session:
        results.epoch(session, lease, epoch(2, 0.75))
    page.wait_for_function("() => document.getElementById('accuracy').data[0].y.length === 2")
    assert points(page, "loss") == {"train": [1.0, 0.5], "validation": [1.1, 0.55]}
    expect(page.get_by_text("2/3")).to_be_visible()
    expect(page.get_by_text("gpu:0 Test")).to_be_visible()
    expect(page.locator("#attempts")).to_contain_text("trains now")


def test_smoothing_leaves_the_raw_line_behind(look: Open, database: Engine) -> None:
    page = look(succeed(database, watched=(0.2, 0.8)))
    page.get_by_label("Smoothing").fill("0.5")
    lines = page.evaluate("document.getElementById('accuracy').data.map(line => Array.from(line.y))")
    # Corrected for its start: (0.2·½ + 0.8)·½ / ¾.
    assert [round(value, 6) for value in lines[3]] == [0.2, 0.6]
    assert lines[2] == [0.2, 0.8]
    page.get_by_label("logarithmic loss").check()
    assert page.evaluate("document.getElementById('loss').layout.yaxis.type") == "log"


def test_a_cell_opens_the_digits_behind_it(look: Open, database: Engine) -> None:
    matrix = [[0] * 10 for _ in range(10)]
    matrix[3][5] = matrix[8][3] = matrix[5][3] = matrix[1][7] = 1
    report = REPORT.model_copy(update={"confusion_matrix": matrix})
    page = look(succeed(database, report=report, files=predictions(PREDICTED, CONFIDENCE)))
    digits = page.locator(".digits li")
    expect(digits).to_have_count(4)
    page.get_by_label("1 times 8 taken for 3").click()
    expect(digits).to_have_count(1)
    expect(digits).to_contain_text("87.50 %")
    expect(page.get_by_role("heading", name="Each 8 that was taken for 3")).to_be_visible()
    # The picture itself, at its true size.
    page.wait_for_function("() => document.querySelector('.digits img').naturalWidth === 28")
    assert page.url.endswith("?actual=8&predicted=3")
    page.go_back()
    expect(digits).to_have_count(4)


def test_what_an_owner_may_do(look: Open, enqueue: Callable[..., int], api: httpx.Client) -> None:
    page = look(enqueue())
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#head .badge")).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#head .badge")).to_have_text("queued")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#head .badge")).to_have_text("cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#head .badge")).to_have_text("queued")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No experiments yet")).to_be_visible()
    assert api.get("/v1/experiments").json()["items"] == []


def test_what_is_refused_is_told(look: Open, enqueue: Callable[..., int], api: httpx.Client, watched: Watched) -> None:
    experiment_id = enqueue()
    page = look(experiment_id)
    # Somebody else was quicker, and the page has not heard of it: its stream does not get through.
    page.route("**/v1/**events", lambda route: route.abort())
    page.reload()
    api.post(f"/v1/experiments/{experiment_id}/cancel")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("cancelled")
    watched.errors.clear()


def test_promoted(look: Open, trained: int, make_model: Callable[[str], int], api: httpx.Client) -> None:
    other = make_model("another")
    page = look(other)
    page.get_by_role("button", name="Promote to production").click()
    expect(page.get_by_role("link", name="production")).to_be_visible()
    expect(page.get_by_role("button", name="Promote to production")).to_have_count(0)
    assert api.get("/v1/models/aliases/production").json()["experiment_id"] == other


def test_a_failure_says_why(look: Open, bring: Callable[[State], int]) -> None:
    page = look(bring(State.FAILED))
    expect(page.get_by_role("heading", name="Failed: diverged")).to_be_visible()
    expect(page.get_by_text("The loss became NaN.").first).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


@pytest.mark.parametrize("given", [{"preset": "baseline", "epochs": 3}, {"model": {"layers": [{"type": "flatten"}]}}])
def test_what_is_copied_submits_the_same(look: Open, api: httpx.Client, given: dict[str, object]) -> None:
    name = 'it\'s "mine" $HOME `id` \\ <img src=x onerror=alert(1)>'
    first = api.post("/v1/experiments", json=given | {"name": name}).json()
    page = look(first["id"])
    for snippet, interpreter in (("curl", "bash"), ("python", sys.executable)):
        subprocess.run([interpreter, "-c", page.locator(f"#{snippet}").inner_text()], capture_output=True, check=True)
    assert [item["spec"] for item in api.get("/v1/experiments").json()["items"]] == [first["spec"]] * 3


def test_markup_in_names_is_text(look: Open, enqueue: Callable[..., int]) -> None:
    attack = "<img src=x onerror=document.title='owned'>"
    page = look(enqueue(name=attack, tags=[attack, "</script><script>document.title='owned'</script>"]))
    expect(page.get_by_role("heading", level=1)).to_have_text(attack)
    expect(page.locator("#head .tag")).to_have_count(2)
    assert page.locator("main img").count() == 0
    assert page.title() == f"{attack} · Numeral"


@pytest.mark.parametrize("path", ["/experiments/4711", "/experiments/nonsense", "/experiments/1?actual=77"])
def test_what_is_not_there(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<h1>" in answer.text


def test_attempts_tell_who_trained_and_why_it_ended(
    look: Open, enqueue: Callable[..., int], claim: Callable[[], Lease], database: Engine
) -> None:
    page = look(enqueue())
    expect(page.locator("#attempts")).to_contain_text("No worker has taken it yet.")
    lease = claim()
    with writing(database) as session:
        queue.lose(session, lease, "process_killed", "The training process was killed.", 0)
    expect(page.locator("#attempts li")).to_have_count(1)
    expect(page.locator("#attempts")).to_contain_text("lost: the training process was killed")
    expect(page.locator("#attempts")).to_contain_text("worker-1")
    with reading(database) as session:
        assert experiments.get(session, lease.experiment_id).state == State.QUEUED
