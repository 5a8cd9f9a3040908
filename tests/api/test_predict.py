"""Classifying over HTTP: the four forms of a body, and all that is not an image."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from sqlalchemy import Engine

from service import schemas
from service.inference.preprocess import VERSION, to_mnist
from service.settings import Settings

OCTETS = {"Content-Type": "application/octet-stream"}


def png(pixels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def digits(answer: httpx.Response) -> list[int | None]:
    assert answer.status_code == 200, answer.text
    return [prediction["digit"] for prediction in answer.json()["predictions"]]


@pytest.fixture
def drawing() -> np.ndarray:
    """A stroke, dark on light."""
    image = Image.new("L", (60, 80), "white")
    ImageDraw.Draw(image).line([(15, 15), (45, 15), (20, 65)], fill=20, width=7)
    return np.asarray(image)


@pytest.fixture
def seen(api: httpx.Client, trained: int, drawing: np.ndarray) -> int:
    """What the model sees in the drawing, once it is brought into MNIST's form."""
    pixels = to_mnist(Image.fromarray(drawing)).pixels
    [digit] = digits(api.post("/v1/predict", content=pixels.tobytes(), headers=OCTETS))
    return digit


@pytest.mark.usefixtures("trained")
class TestForms:
    """The `band` images are made so that the model's answer is known."""

    def test_json_rows(self, api: httpx.Client, bands: list[np.ndarray]) -> None:
        answer = api.post("/v1/predict", json={"images": [image.tolist() for image in bands]})
        assert digits(answer) == list(range(10))

    def test_json_flat_and_fractional_numbers(self, api: httpx.Client, bands: list[np.ndarray]) -> None:
        answer = api.post("/v1/predict", json={"images": [(image / 2).ravel().tolist() for image in bands]})
        assert digits(answer) == list(range(10))

    def test_octets(self, api: httpx.Client, bands: list[np.ndarray]) -> None:
        assert digits(api.post("/v1/predict", content=np.stack(bands).tobytes(), headers=OCTETS)) == list(range(10))

    def test_a_picture(self, api: httpx.Client, drawing: np.ndarray, seen: int) -> None:
        answer = api.post("/v1/predict", content=png(drawing), headers={"Content-Type": "image/png"})
        assert digits(answer) == [seen]

    def test_a_form_with_several_pictures(self, api: httpx.Client, drawing: np.ndarray, seen: int) -> None:
        files = [("file", ("a.png", png(drawing))), ("file", ("b.png", png(255 - drawing)))]
        assert digits(api.post("/v1/predict", files=files)) == [seen, seen]

    def test_json_with_base64_and_data_urls(self, api: httpx.Client, drawing: np.ndarray, seen: int) -> None:
        text = base64.b64encode(png(drawing)).decode()
        answer = api.post("/v1/predict", json={"images": [text, f"data:image/png;base64,{text}", [0] * 784]})
        assert digits(answer) == [seen, seen, None]

    def test_ten_thousand_images_in_one_request(self, api: httpx.Client, bands: list[np.ndarray]) -> None:
        content = np.stack(bands * 1000).tobytes()
        assert digits(api.post("/v1/predict", content=content, headers=OCTETS)) == list(range(10)) * 1000

    def test_many_at_once(self, api: httpx.Client, bands: list[np.ndarray]) -> None:
        def ask(digit: int) -> list[int]:
            return digits(api.post("/v1/predict", content=bands[digit].tobytes(), headers=OCTETS))

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, list(range(10)) * 10)) == [[digit] for digit in range(10)] * 10


def test_the_answer_names_the_model_and_gives_probabilities(
    api: httpx.Client, trained: int, bands: list[np.ndarray]
) -> None:
    answer = api.post("/v1/predict", content=bands[7].tobytes(), headers=OCTETS).json()
    assert answer["model"] == {"id": trained, "name": "bands", "alias": "production", "variant": "fp32"}
    [prediction] = answer["predictions"]
    assert prediction["confidence"] == prediction["probabilities"][7] == max(prediction["probabilities"])
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_a_model_is_asked_by_alias_or_id(
    api: httpx.Client, trained: int, make_model: Callable[[str], int], bands: list[np.ndarray]
) -> None:
    second = make_model("second")
    api.put("/v1/models/aliases/staging", json={"experiment_id": second}).raise_for_status()

    def answered_by(path: str) -> int:
        return api.post(path, content=bands[1].tobytes(), headers=OCTETS).json()["model"]["id"]

    assert answered_by("/v1/predict") == trained
    assert answered_by("/v1/models/staging/predict") == second
    assert answered_by(f"/v1/models/{second}/predict") == second
    api.put("/v1/models/aliases/production", json={"experiment_id": second}).raise_for_status()
    assert answered_by("/v1/predict") == second


def test_models_are_listed_with_their_aliases(
    api: httpx.Client, trained: int, make_model: Callable[[str], int]
) -> None:
    second = make_model("second")
    items = api.get("/v1/models").json()["items"]
    assert [(item["id"], item["aliases"]) for item in items] == [(second, []), (trained, ["production"])]


def test_an_alias_cannot_mean_an_experiment_without_a_model(api: httpx.Client) -> None:
    queued = api.post("/v1/experiments", json={"preset": "baseline"}).json()["id"]
    answer = api.put("/v1/models/aliases/production", json={"experiment_id": queued})
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"


def bomb() -> bytes:
    """20,000 × 20,000 white pixels in a few dozen kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = (20_000).to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(20_000 * 2501), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animated() -> bytes:
    frames = [Image.new("L", (28, 28), shade) for shade in (0, 255)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


REFUSED_PICTURES = {
    "a text file": (b"this is not a picture\n", 422, "invalid_image"),
    "a truncated picture": (
        png(np.random.default_rng(0).integers(0, 255, (99, 99), np.uint8))[:500],
        422,
        "invalid_image",
    ),
    "an animated GIF": (animated(), 422, "invalid_image"),
    "a bomb": (bomb(), 413, "image_too_large"),
}


@pytest.mark.parametrize(("content", "status", "code"), REFUSED_PICTURES.values(), ids=REFUSED_PICTURES.keys())
@pytest.mark.parametrize("form", ["raw", "multipart", "base64"])
def test_what_is_no_usable_picture_is_refused(
    api: httpx.Client, form: str, content: bytes, status: int, code: str
) -> None:
    match form:
        case "raw":
            answer = api.post("/v1/predict", content=content, headers={"Content-Type": "image/png"})
        case "multipart":
            answer = api.post("/v1/predict", files={"file": ("digit.png", content)})
        case _:
            answer = api.post("/v1/predict", json={"images": [base64.b64encode(content).decode()]})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.get("/livez").status_code == 200


REFUSED_JSON = {
    "29 × 28": json.dumps({"images": [[[0] * 28] * 29]}),
    "NaN": f'{{"images": [[{"0, " * 783} NaN]]}}',
    "too bright": f'{{"images": [[{"0, " * 783} 256]]}}',
    "negative": f'{{"images": [[{"0, " * 783} -1]]}}',
    "ragged": '{"images": [[[1], [1, 2]]]}',
    "text": '{"images": ["cat"]}',
    "true": '{"images": [true]}',
    "nothing in it": '{"images": []}',
    "null": '{"images": null}',
    "no images": "{}",
    "a list": "[]",
    "an unknown field": '{"images": [[]], "modle": "x"}',
    "not JSON": '{"images": [',
}


@pytest.mark.parametrize("body", REFUSED_JSON.values(), ids=REFUSED_JSON.keys())
def test_json_that_is_no_images_is_refused(api: httpx.Client, body: str) -> None:
    answer = api.post("/v1/predict", content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_the_image_at_fault_is_named(api: httpx.Client) -> None:
    answer = api.post("/v1/predict", json={"images": [[0] * 784, [[0] * 28] * 29]})
    assert "images[1]" in answer.json()["detail"]
    assert "29×28" in answer.json()["detail"]


@pytest.mark.parametrize("length", [0, 783, 785])
def test_octets_of_a_wrong_length_are_refused(api: httpx.Client, length: int) -> None:
    answer = api.post("/v1/predict", content=bytes(length), headers=OCTETS)
    assert answer.status_code == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", ""])
def test_an_unknown_content_type_is_refused(api: httpx.Client, kind: str) -> None:
    answer = api.post("/v1/predict", content=b"x", headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_a_form_without_a_picture_is_refused(api: httpx.Client) -> None:
    assert api.post("/v1/predict", files={"image": b"x"}).status_code == 422


def test_a_broken_form_is_refused(api: httpx.Client) -> None:
    answer = api.post("/v1/predict", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["Content-Type"] == "application/problem+json"


class TestOptions:
    """They may be in the query, the JSON body, or a form."""

    def test_preprocess_none_takes_a_picture_as_it_is(self, api: httpx.Client, trained: int, bands: list) -> None:
        for digit, image in enumerate(bands):
            answer = api.post("/v1/predict?preprocess=none", content=png(image), headers={"Content-Type": "image/png"})
            assert digits(answer) == [digit]

    def test_preprocess_none_wants_28_by_28_pixels(self, api: httpx.Client, trained: int, drawing: np.ndarray) -> None:
        answer = api.post("/v1/predict?preprocess=none", files={"file": png(drawing)})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
        assert "60×80" in answer.json()["detail"]

    def test_preprocess_mnist_treats_numbers_as_a_picture(self, api: httpx.Client, trained: int) -> None:
        rng = np.random.default_rng(0)
        small = np.asarray(Image.fromarray(rng.integers(0, 255, (28, 28), np.uint8)))
        expected = to_mnist(Image.fromarray(small)).pixels.tolist()
        in_body = {"images": [small.tolist()], "preprocess": "mnist", "explain": True}
        in_query = api.post("/v1/predict?preprocess=mnist&explain=1", content=small.tobytes(), headers=OCTETS)
        for answer in (api.post("/v1/predict", json=in_body), in_query):
            assert answer.json()["predictions"][0]["explanation"]["pixels"] == expected

    @pytest.mark.parametrize("where", ["query", "form"])
    def test_explain_says_what_the_model_saw(
        self, api: httpx.Client, trained: int, drawing: np.ndarray, where: str
    ) -> None:
        files = {"file": ("seven.png", png(drawing))}
        if where == "query":
            answer = api.post("/v1/predict?explain=true", files=files)
        else:
            answer = api.post("/v1/predict", files=files, data={"explain": "true"})
        explanation = schemas.Predictions.model_validate(answer.json()).predictions[0].explanation
        assert explanation is not None
        assert explanation.pixels == to_mnist(Image.fromarray(drawing)).pixels.tolist()
        assert (explanation.preprocess, explanation.preprocess_version) == ("mnist", VERSION)
        assert explanation.polarity == "dark_on_light"
        assert explanation.box is not None
        assert explanation.box.left == pytest.approx(12, abs=3)
        assert explanation.box.height == pytest.approx(57, abs=6)

    def test_numbers_are_explained_as_they_were_sent(self, api: httpx.Client, trained: int, bands: list) -> None:
        answer = api.post("/v1/predict", json={"images": [bands[2].tolist()], "explain": True}).json()
        explanation = answer["predictions"][0]["explanation"]
        assert explanation["pixels"] == bands[2].tolist()
        assert (explanation["preprocess"], explanation["box"], explanation["polarity"]) == ("none", None, None)

    def test_without_explain_there_is_no_explanation(self, api: httpx.Client, trained: int, bands: list) -> None:
        answer = api.post("/v1/predict", content=bands[0].tobytes(), headers=OCTETS).json()
        assert "explanation" not in answer["predictions"][0]

    def test_a_digit_below_the_threshold_is_not_named(self, api: httpx.Client, trained: int) -> None:
        # Half of two bands: the model is torn between two digits.
        torn = np.zeros(784, np.uint8)
        torn[78 : 3 * 78] = 200
        body = {"images": [torn.reshape(28, 28).tolist()]}
        [sure] = api.post("/v1/predict", json=body | {"threshold": 0}).json()["predictions"]
        assert (sure["digit"] in (1, 2), sure["reason"]) == (True, None)
        [unsure] = api.post("/v1/predict", json=body | {"threshold": 0.9}).json()["predictions"]
        assert (unsure["digit"], unsure["reason"]) == (None, "uncertain")
        assert unsure["probabilities"] == sure["probabilities"]
        assert unsure["confidence"] < 0.9

    @pytest.mark.parametrize("shade", [0, 7, 255])
    def test_nothing_is_no_digit(self, api: httpx.Client, trained: int, shade: int) -> None:
        body = {"images": [[shade] * 784], "threshold": 0}
        [prediction] = api.post("/v1/predict", json=body).json()["predictions"]
        assert (prediction["digit"], prediction["reason"]) == (None, "blank")
        assert prediction["probabilities"] == [0.1] * 10

    def test_an_empty_page_is_no_digit(self, api: httpx.Client, trained: int) -> None:
        page = np.full((300, 200), 240, np.uint8)
        answer = api.post("/v1/predict", content=png(page), headers={"Content-Type": "image/png"}).json()
        assert answer["predictions"][0]["reason"] == "blank"

    @pytest.mark.parametrize(
        "query", ["treshold=0.5", "threshold=2", "threshold=nan", "preprocess=best", "explain=perhaps", "a=1&" * 50]
    )
    def test_what_is_no_option_is_refused(self, api: httpx.Client, trained: int, bands: list, query: str) -> None:
        answer = api.post(f"/v1/predict?{query}", content=bands[0].tobytes(), headers=OCTETS)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_openapi_describes_predictions(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    operation = document["paths"]["/v1/models/{reference}/predict"]["post"]
    assert {each["name"] for each in operation["parameters"]} == {"reference", "preprocess", "explain", "threshold"}
    names = {"Predictions", "Prediction", "Explanation", "Preprocess", "Box", "Polarity", "Reason", "ServedModel"}
    assert names <= document["components"]["schemas"].keys()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_predicts(api: httpx.Client, method: str) -> None:
    answer = api.request(method, "/v1/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json()["code"] == "method_not_allowed"


def test_a_body_over_the_limit_is_refused(api: httpx.Client, trained: int, settings: Settings) -> None:
    content = bytes(settings.max_body_bytes + 1)
    answers = [
        api.post("/v1/predict", content=content, headers=OCTETS),
        api.post("/v1/predict", content=(content[start : start + 2**20] for start in range(0, len(content), 2**20))),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(413, "body_too_large")] * 2


def test_predictions_are_counted(api: httpx.Client, trained: int, bands: list[np.ndarray], database: Engine) -> None:
    api.post("/v1/predict", content=np.stack(bands).tobytes(), headers=OCTETS)
    text = api.get("/metrics").text
    assert f'numeral_predicted_images_total{{model="{trained}"}} 10.0' in text
    assert 'numeral_http_requests_total{method="POST",route="/v1/predict",status="200"} 1.0' in text
    assert 'numeral_experiments{state="succeeded"} 1.0' in text
