"""The canvas and what models say about it, in a browser."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, Route, expect
from sqlalchemy import Engine

from tests.api.conftest import brightest_band_onnx, succeed
from tests.web.conftest import Watched
from tests.web.support import draw

Open = Callable[..., Page]

# Playwright does not show bodies that are blobs.
RECORD = """
const { fetch } = window;
window.asked = [];
window.fetch = (path, options) => {
  if (options?.body instanceof Blob) asked.push({ path, body: options.body });
  return fetch(path, options);
};
"""
ASKED = """async () => {
  const { path, body } = asked.at(-1);
  return [path, body.type, [...new Uint8Array(await body.arrayBuffer())]];
}"""
SEEN = """() => {
  const { data } = document.getElementById("pixels").getContext("2d").getImageData(0, 0, 28, 28);
  const rows = Array.from({ length: 28 }, (_, row) => data.slice(4 * 28 * row, 4 * 28 * (row + 1)));
  return rows.map((row) => [...row].filter((_, index) => index % 4 === 0));
}"""
GIVE = """([event, holder, bytes]) => {
  const given = new DataTransfer();
  given.items.add(new File([Uint8Array.from(bytes)], "seven.png", { type: "image/png" }));
  const kind = event === "paste" ? ClipboardEvent : DragEvent;
  document.body.dispatchEvent(new kind(event, { [holder]: given, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def open_draw(api: httpx.Client, open_page: Open) -> Open:
    """Opens the page at an address; what it asks is recorded there."""

    def open_draw(path: str = "/draw", **given: object) -> Page:
        page = open_page(str(api.base_url.join(path)), **given)
        page.add_init_script(RECORD)
        page.reload()
        return page

    return open_draw


@pytest.fixture
def page(trained: int, open_draw: Open) -> Page:
    """The page of a service with one model."""
    return open_draw()


SEVEN = ((0.3, 0.2), (0.7, 0.2), (0.45, 0.85))
BAR = ((0.5, 0.1), (0.5, 0.9))


class Asked(NamedTuple):
    """A picture as it was sent."""

    path: str
    kind: str
    body: bytes


def sent(page: Page) -> Asked:
    """What was sent last, when it is answered."""
    expect(page.locator("#verdicts")).to_have_attribute("aria-busy", "false")
    path, kind, body = page.evaluate(ASKED)
    return Asked(path, kind, bytes(body))


def answered(api: httpx.Client, asked: Asked) -> dict[str, Any]:
    """What the API answers to the same."""
    answer = api.post(asked.path, content=asked.body, headers={"Content-Type": asked.kind}).raise_for_status()
    [prediction] = answer.json()["predictions"]
    return prediction


def verdict(page: Page, label: str) -> Locator:
    return page.get_by_role("region", name=f"What {label} says")


def expect_verdict(card: Locator, prediction: dict[str, Any]) -> None:
    digit, probabilities = prediction["digit"], prediction["probabilities"]
    expect(card.locator(".digit")).to_have_text("?" if digit is None else str(digit))
    words = "Not a digit" if digit is None else f"{100 * prediction['confidence']:.1f} % sure"
    expect(card.locator(".claim")).to_have_text(words)
    expect(card.locator("td.number")).to_have_text([f"{100 * each:.1f} %" for each in probabilities])
    expect(card.locator(".took")).to_have_text(re.compile(r"model \d+ · \d+ ms round trip"))


def picture(digit_colour: str = "black", ground: str = "white") -> bytes:
    """A PNG of a 7, wider than high."""
    drawn = Image.new("RGB", (120, 80), ground)
    ImageDraw.Draw(drawn).line([(40, 15), (75, 15), (55, 68)], digit_colour, 7, joint="curve")
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


def test_a_drawing_is_predicted_and_shown_as_the_model_sees_it(api: httpx.Client, page: Page) -> None:
    expect(page.locator(".claim")).to_have_text("Nothing drawn yet")
    draw(page, SEVEN)
    asked = sent(page)
    assert asked.path == "/v1/models/production/predict?explain=true"
    prediction = answered(api, asked)
    expect_verdict(verdict(page, "production"), prediction)
    assert page.evaluate(SEEN) == prediction["explanation"]["pixels"]
    expect(page.locator("#polarity")).to_have_text("dark on light")
    box = prediction["explanation"]["box"]
    expect(page.locator("#found")).to_contain_text(f"{box['width']}×{box['height']} pixels")
    expect(page.locator("#box")).to_be_visible()
    seen = "not a digit" if prediction["digit"] is None else prediction["digit"]
    expect(page.locator("#said")).to_contain_text(f"production: {seen}")


def test_predicts_while_a_stroke_goes_on(page: Page) -> None:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 80, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=5)
    expect(page.locator(".took")).to_contain_text("ms round trip")
    expect(page.locator("#verdicts")).to_have_attribute("aria-busy", "true")
    page.mouse.up()
    expect(page.locator("#verdicts")).to_have_attribute("aria-busy", "false")


def test_what_is_sent_does_not_depend_on_the_scheme(trained: int, open_draw: Open) -> None:
    page = open_draw(color_scheme="dark", device_scale_factor=2)
    draw(page, BAR)
    body = sent(page).body
    drawing = Image.open(io.BytesIO(body)).convert("RGB")
    assert drawing.size == (280, 280)
    assert drawing.getpixel((5, 5)) == (255, 255, 255)
    assert drawing.getpixel((140, 140)) == (0, 0, 0)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download the picture").click()
    assert downloading.value.suggested_filename == "digit.png"
    assert Path(downloading.value.path()).read_bytes() == body


def test_a_finger_draws_and_the_page_stays_where_it_is(api: httpx.Client, trained: int, open_draw: Open) -> None:
    phone = {"width": 390, "height": 844}
    page = open_draw(viewport=phone, has_touch=True, is_mobile=True)
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    places = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] * (9 - step) / 10} for step in range(8)]
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:1]})
    for place in places[1:]:
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    prediction = answered(api, sent(page))
    expect_verdict(verdict(page, "production"), prediction)
    assert prediction["explanation"]["box"]["height"] == pytest.approx(0.7 * 280 + 22, abs=5)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == phone["width"]


def test_undo_and_clear(page: Page) -> None:
    claim, undo = page.locator(".claim"), page.get_by_role("button", name="Undo")
    draw(page, SEVEN)
    expect(claim).not_to_have_text("Nothing drawn yet")
    page.keyboard.press("Escape")
    expect(claim).to_have_text("Nothing drawn yet")
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
    assert not any(map(any, page.evaluate(SEEN)))
    page.keyboard.press("Control+z")
    expect(claim).not_to_have_text("Nothing drawn yet")
    undo.click()
    expect(claim).to_have_text("Nothing drawn yet")
    expect(undo).to_be_disabled()


def test_drawn_by_keyboard_and_from_a_sample(api: httpx.Client, page: Page) -> None:
    page.get_by_role("application", name="Drawing area").focus()
    for key in ("Space", *["ArrowDown"] * 12, "Space"):
        page.keyboard.press(key)
    box = answered(api, sent(page))["explanation"]["box"]
    assert box["height"] == pytest.approx(120 + 22, abs=4)
    assert box["width"] == pytest.approx(22, abs=4)
    page.get_by_role("button", name="Sample 4").press("Enter")
    prediction = answered(api, sent(page))
    assert prediction["explanation"]["box"]["width"] > 100
    expect_verdict(verdict(page, "production"), prediction)
    assert page.evaluate(SEEN) == prediction["explanation"]["pixels"]


def test_models_side_by_side_are_in_the_address(api: httpx.Client, database: Engine, open_draw: Open) -> None:
    first = succeed(database, "first")
    second = succeed(database, "second", files={"model.onnx": brightest_band_onnx(turn=3)})
    third = succeed(database, "third", files={"model.onnx": brightest_band_onnx(turn=5)})
    page = open_draw(f"/draw?model={second}&model=production")
    expect(page.get_by_role("combobox", name="Model")).to_have_value(str(second))
    page.get_by_role("button", name="Sample 7").click()
    body = sent(page).body
    page.get_by_text("Compare models (2)").click()
    page.get_by_role("checkbox", name=f"model {third} third").check()
    assert page.url.endswith(f"/draw?model={second}&model=production&model={third}")
    shown = {f"model {second}": second, "production": first, f"model {third}": third}
    expect(page.locator(".verdict .who")).to_have_text(list(shown))
    digits = set()
    for label, model in shown.items():
        prediction = answered(api, Asked(f"/v1/models/{model}/predict", "image/png", body))
        expect_verdict(verdict(page, label), prediction)
        digits.add(prediction["digit"])
    expect(page.locator("#agreement")).to_have_text(
        "The models disagree." if len(digits) > 1 else "None of the models sees a digit."
    )
    page.get_by_role("combobox", name="Model").select_option(str(first))
    expect(page.locator(".verdict .who")).to_have_text([f"model {first}", "production", f"model {third}"])
    assert page.url.endswith(f"/draw?model={first}&model=production&model={third}")
    curl = page.locator("#curl").text_content() or ""
    assert re.findall(r"/v1/models/(\w+)/predict", curl) == [str(first), "production", str(third)]


def test_a_picture_is_sent_as_it_is(api: httpx.Client, page: Page) -> None:
    data = picture("white", "navy")
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Upload a picture").press("Enter")
    choosing.value.set_files({"name": "seven.png", "mimeType": "image/png", "buffer": data})
    asked = sent(page)
    assert asked.body == data
    expect_verdict(verdict(page, "production"), answered(api, asked))
    expect(page.get_by_alt_text("The picture seven.png")).to_be_visible()
    expect(page.locator("#polarity")).to_have_text("light on dark")
    # The first stroke takes the picture away.
    draw(page, BAR)
    expect(page.locator("#preview")).to_be_hidden()
    expect(page.locator("#polarity")).to_have_text("dark on light")


@pytest.mark.parametrize(("event", "holder"), [("paste", "clipboardData"), ("drop", "dataTransfer")])
def test_a_picture_is_pasted_or_dropped(api: httpx.Client, page: Page, event: str, holder: str) -> None:
    data = picture()
    page.evaluate(GIVE, [event, holder, list(data)])
    asked = sent(page)
    assert asked.body == data
    prediction = answered(api, asked)
    expect_verdict(verdict(page, "production"), prediction)
    assert page.evaluate(SEEN) == prediction["explanation"]["pixels"]


def test_what_is_no_picture_is_refused_beside_the_canvas(page: Page, watched: Watched) -> None:
    file = {"name": "<b>notes</b>.txt", "mimeType": "text/plain", "buffer": b"seven"}
    page.locator("#file").set_input_files(file)
    expect(page.locator("#problem")).to_contain_text("not a picture of a known format")
    expect(page.locator("#sent")).to_have_text("<b>notes</b>.txt, as it is")
    page.get_by_role("button", name="Sample 1").click()
    expect(page.locator("#problem")).to_be_empty()
    expect(page.locator("#polarity")).to_have_text("dark on light")
    assert [error for error in watched.errors if "422" not in error] == []
    watched.errors.clear()


def test_a_service_without_models_says_what_to_do_next(api: httpx.Client, open_page: Open, database: Engine) -> None:
    page = open_page(str(api.base_url.join("/draw")))
    expect(page.get_by_role("heading", name="No model yet")).to_be_visible()
    expect(page.get_by_role("link", name="submit an experiment")).to_have_attribute("href", "/submit")
    expect(page.get_by_text("numeral demo", exact=True)).to_be_visible()
    succeed(database)
    expect(page.get_by_role("application", name="Drawing area")).to_be_visible()


def test_unknown_and_too_many_models_in_the_address(api: httpx.Client, database: Engine, open_page: Open) -> None:
    made = [succeed(database, f"number {number}") for number in range(7)]
    page = open_page(str(api.base_url.join("/draw?model=999&model=&model=<b>")))
    expect(page.get_by_text("There is no model '999'.")).to_be_visible()
    expect(page.get_by_text("There is no model '<b>'.")).to_be_visible()
    expect(page.locator(".verdict .who")).to_have_text(["production"])
    page.goto(str(api.base_url.join("/draw?" + "&".join(f"model={each}" for each in made))))
    expect(page.locator(".verdict .who")).to_have_text([f"model {each}" for each in made[:6]])
    expect(page.get_by_text("At most 6 models")).to_be_visible()
    page.get_by_text("Compare models (6)").click()
    expect(page.get_by_role("checkbox", name="number 6")).to_be_disabled()


def test_a_slow_answer_does_not_overwrite_a_later_one(api: httpx.Client, page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/predict?explain=true", hold_the_first)
    with page.expect_request("**/predict?explain=true"):
        page.get_by_role("button", name="Sample 1").click()
    # The page gives the first up as soon as it asks again.
    with page.expect_event("requestfailed") as given_up:
        page.get_by_role("button", name="Sample 8").click()
    assert given_up.value == held[0].request
    prediction = answered(api, sent(page))
    expect_verdict(verdict(page, "production"), prediction)
    assert page.evaluate(SEEN) == prediction["explanation"]["pixels"]
