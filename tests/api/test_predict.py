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
from PIL import Image
from sqlalchemy import Engine

OCTETS = {"Content-Type": "application/octet-stream"}


def png(pixels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def digits(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [prediction["digit"] for prediction in answer.json()["predictions"]]


@pytest.fixture
def wide() -> np.ndarray:
    """A picture that stays where it is when it is brought into MNIST's form: a wide bar above its centre of mass."""
    image = np.zeros((28, 28), np.uint8)
    image[10:18, 4:24] = 255
    return image


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

    def test_a_picture(self, api: httpx.Client, wide: np.ndarray) -> None:
        answer = api.post("/v1/predict", content=png(wide), headers={"Content-Type": "image/png"})
        assert digits(answer) == [4]

    def test_a_form_with_several_pictures(self, api: httpx.Client, wide: np.ndarray) -> None:
        files = [("file", ("a.png", png(wide))), ("file", ("b.png", png(255 - wide)))]
        assert digits(api.post("/v1/predict", files=files)) == [4, 4]

    def test_json_with_base64_and_data_urls(self, api: httpx.Client, wide: np.ndarray) -> None:
        text = base64.b64encode(png(wide)).decode()
        answer = api.post("/v1/predict", json={"images": [text, f"data:image/png;base64,{text}", [0] * 784]})
        assert digits(answer)[:2] == [4, 4]

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
    assert answer["model"] == {"id": trained, "name": "bands", "alias": "production"}
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


def test_predictions_are_counted(api: httpx.Client, trained: int, bands: list[np.ndarray], database: Engine) -> None:
    api.post("/v1/predict", content=np.stack(bands).tobytes(), headers=OCTETS)
    text = api.get("/metrics").text
    assert f'numeral_predicted_images_total{{model="{trained}"}} 10.0' in text
    assert 'numeral_http_requests_total{method="POST",route="/v1/predict",status="200"} 1.0' in text
    assert 'numeral_experiments{state="succeeded"} 1.0' in text
