"""What serving does beside answering: shadows, room for models, refusing what is too much."""

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from service.settings import Settings
from service.store import artifacts
from service.store.database import writing
from tests.api.conftest import brightest_band_onnx

OCTETS = {"Content-Type": "application/octet-stream"}
STAGING = "/v1/models/aliases/staging"


def ask(api: httpx.Client, images: np.ndarray, reference: str = "production") -> httpx.Response:
    return api.post(f"/v1/models/{reference}/predict", content=images.tobytes(), headers=OCTETS)


def eventually(look: Callable[[], object], wanted: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < end, f"{seen} instead of {wanted}"


@pytest.fixture
def turned(make_model: Callable[[str], int], trained: int, database: Engine) -> int:
    """A model that sees another digit than the trained one in every image."""
    model_id = make_model("turned")
    with writing(database) as session:
        artifacts.put(session, model_id, "model.onnx", brightest_band_onnx(turn=1))
    return model_id


def test_a_shadow_s_disagreements_are_counted_and_nobody_else_sees_them(
    api: httpx.Client, trained: int, turned: int, bands: list[np.ndarray]
) -> None:
    def counted() -> tuple[int, int]:
        alias = api.get(STAGING).json()
        return alias["shadow_images"], alias["shadow_disagreements"]

    api.put(STAGING, json={"experiment_id": turned, "shadows": "production"}).raise_for_status()
    blank = np.zeros((1, 28, 28), np.uint8)
    answer = ask(api, np.concatenate([np.stack(bands), blank])).json()
    assert answer["model"]["id"] == trained
    assert [each["digit"] for each in answer["predictions"]] == [*range(10), None]
    eventually(counted, (10, 10))

    # The same model agrees with itself, and begins to count anew.
    api.put(STAGING, json={"experiment_id": trained, "shadows": "production"}).raise_for_status()
    ask(api, np.stack(bands))
    eventually(counted, (10, 0))

    # What the shadow is asked itself is not counted.
    ask(api, np.stack(bands), "staging")
    api.put(STAGING, json={"experiment_id": trained}).raise_for_status()
    ask(api, np.stack(bands))
    assert counted() == (0, 0)


class TestLittleMemory:
    """Room for one model, so that each request for another one loads it."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"model_memory_bytes": 1})

    def test_models_take_each_other_s_place(
        self, api: httpx.Client, trained: int, turned: int, bands: list[np.ndarray]
    ) -> None:
        def seen(turn: int) -> list[int]:
            answer = ask(api, np.stack(bands), str((trained, turned)[turn % 2])).raise_for_status().json()
            return [each["digit"] for each in answer["predictions"]]

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(seen, range(40)))
        assert answers == [list(range(10)), [*range(1, 10), 0]] * 20


class TestOverload:
    """Only two requests may wait."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_waiting_requests": 2, "inference_threads": 1})

    @pytest.mark.usefixtures("trained")
    def test_what_is_too_much_is_refused_and_the_rest_answered(self, api: httpx.Client) -> None:
        many = np.full((20_000, 28, 28), 7, np.uint8)
        many[:, :3] = 255
        together = threading.Barrier(8)

        def one(_: int) -> httpx.Response:
            with httpx.Client(base_url=api.base_url, timeout=60) as client:
                together.wait()
                return ask(client, many)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(one, range(8)))
        accepted = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert accepted
        assert refused
        assert len(accepted) + len(refused) == 8
        for answer in refused:
            assert answer.json()["code"] == "overloaded"
            assert int(answer.headers["Retry-After"]) >= 1
        for answer in accepted:
            assert {each["digit"] for each in answer.json()["predictions"]} == {0}
        assert ask(api, many[:1]).status_code == 200

    @pytest.mark.usefixtures("trained")
    def test_pictures_that_wait_to_be_decoded_count_too(self, api: httpx.Client) -> None:
        buffer = io.BytesIO()
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 255, (1500, 1500), np.uint8)).save(buffer, "PNG")
        together = threading.Barrier(16)

        def one(_: int) -> int:
            with httpx.Client(base_url=api.base_url, timeout=60) as client:
                together.wait()
                answer = client.post("/v1/predict", content=buffer.getvalue(), headers={"Content-Type": "image/png"})
                return answer.status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(one, range(16)))
        assert set(statuses) == {200, 429}


def test_a_request_whose_client_has_gone_is_no_error(api: httpx.Client, trained: int, bands: list[np.ndarray]) -> None:
    content = np.stack(bands * 2000).tobytes()
    with pytest.raises(httpx.ReadTimeout):
        api.post("/v1/predict", content=content, headers=OCTETS, timeout=httpx.Timeout(10, read=0.001))
    assert ask(api, np.stack(bands)).status_code == 200
    assert 'status="500"' not in api.get("/metrics").text
