"""The Open Inference Protocol, as Triton's client speaks it; and what no client should send."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from service.settings import Settings

# What does not depend on the database.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

INFER = "/v2/models/numeral/infer"
JSON_BYTES = "Inference-Header-Content-Length"


@pytest.fixture
def triton(api: httpx.Client) -> Iterator[InferenceServerClient]:
    """Triton's own client of the API."""
    with InferenceServerClient(f"{api.base_url.host}:{api.base_url.port}", concurrency=8) as client:
        yield client


@pytest.fixture
def images(bands: list[np.ndarray]) -> np.ndarray:
    """`(10, 28, 28)`, one image of each digit."""
    return np.stack(bands)


def tensor(pixels: np.ndarray, binary: bool = True, name: str = "pixels") -> InferInput:
    given = InferInput(name, list(pixels.shape), np_to_triton_dtype(pixels.dtype))
    return given.set_data_from_numpy(pixels, binary_data=binary)


def digits(result: InferResult) -> list[int]:
    digit, probabilities = result.as_numpy("digit"), result.as_numpy("probabilities")
    assert (digit.dtype, digit.shape) == (np.int64, (len(probabilities),))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (len(digit), 10))
    assert (probabilities.argmax(axis=1) == digit).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    return digit.tolist()


@on_sqlite
@pytest.mark.usefixtures("trained")
class TestTritonClient:
    @pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
    def test_every_shape_and_datatype(self, triton: InferenceServerClient, images: np.ndarray, binary: bool) -> None:
        for shape in ((-1, 28, 28, 1), (-1, 28, 28), (-1, 784)):
            for kind in (np.uint8, np.float32):
                given = tensor(images.reshape(shape).astype(kind), binary)
                assert digits(triton.infer("numeral", [given])) == list(range(10)), (shape, kind)
        for kind in (np.uint16, np.uint32, np.uint64, np.int16, np.int32, np.int64, np.float16, np.float64):
            given = tensor(images.astype(kind), binary)
            assert digits(triton.infer("numeral", [given])) == list(range(10)), kind

    def test_every_form_of_the_same_image_gets_the_same_answer(
        self, api: httpx.Client, triton: InferenceServerClient
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
        forms = [tensor(pixels.astype(kind), binary) for kind in (np.uint8, np.float32) for binary in (True, False)]
        answers = [triton.infer("numeral", [form]).as_numpy("probabilities") for form in forms]
        answers.append(
            triton.infer("numeral", [forms[0]], outputs=wanted("probabilities", False)).as_numpy("probabilities")
        )
        for answer in answers[1:]:
            np.testing.assert_array_equal(answer, answers[0])
        octets = api.post("/v1/predict", content=pixels.tobytes(), headers={"Content-Type": "application/octet-stream"})
        ours = [prediction["probabilities"] for prediction in octets.json()["predictions"]]
        np.testing.assert_allclose(answers[0], ours, atol=1e-6)

    def test_fractions_are_not_rounded(self, triton: InferenceServerClient) -> None:
        pixels = np.zeros((1, 784), np.float32)
        pixels[0, 3 * 78 : 4 * 78] = 0.4
        for binary in (True, False):
            answer = triton.infer("numeral", [tensor(pixels, binary)]).as_numpy("probabilities")
            assert answer[0, 3] > answer[0, 4]

    def test_outputs_are_those_that_were_asked_for(self, triton: InferenceServerClient, images: np.ndarray) -> None:
        outputs = [*wanted("digit", False), *wanted("probabilities", True)]
        result = triton.infer("numeral", [tensor(images)], outputs=outputs)
        assert digits(result) == list(range(10))
        assert [output["name"] for output in result.get_response()["outputs"]] == ["digit", "probabilities"]
        assert "data" in result.get_output("digit")
        assert result.get_output("probabilities")["parameters"] == {"binary_data_size": 400}
        alone = triton.infer("numeral", [tensor(images)], outputs=wanted("digit", True))
        assert alone.as_numpy("probabilities") is None
        assert alone.as_numpy("digit").tolist() == list(range(10))

    def test_several_at_once(self, triton: InferenceServerClient, images: np.ndarray) -> None:
        asked = [triton.async_infer("numeral", [tensor(images[digit : digit + 1])]) for digit in list(range(10)) * 5]
        assert [digits(request.get_result()) for request in asked] == [[digit] for digit in range(10)] * 5

    def test_the_id_comes_back(self, triton: InferenceServerClient, images: np.ndarray, trained: int) -> None:
        answer = triton.infer("production", [tensor(images)], request_id="é-1").get_response()
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("é-1", "production", str(trained))
        assert "id" not in triton.infer("production", [tensor(images)]).get_response()

    def test_ten_thousand_images_in_one_request(self, triton: InferenceServerClient, images: np.ndarray) -> None:
        assert digits(triton.infer("numeral", [tensor(np.tile(images, (1000, 1, 1)))])) == list(range(10)) * 1000

    def test_parameters_that_change_nothing_are_ignored(
        self, triton: InferenceServerClient, images: np.ndarray
    ) -> None:
        result = triton.infer("numeral", [tensor(images)], priority=3, timeout=10, parameters={"mine": "x"})
        assert digits(result) == list(range(10))

    def test_errors_can_be_read(self, triton: InferenceServerClient, images: np.ndarray) -> None:
        attempts: dict[str, Callable[[], Any]] = {
            "There is no model 'nobody'": lambda: triton.infer("nobody", [tensor(images)]),
            "one input, 'pixels'; given: 'image'": lambda: triton.infer("numeral", [tensor(images, name="image")]),
            "shape is [10, 784, 1]": lambda: triton.infer("numeral", [tensor(images.reshape(10, 784, 1))]),
            "datatype is 'BOOL'": lambda: triton.infer("numeral", [tensor(images > 0)]),
            "reach from -1 to 255": lambda: triton.infer("numeral", [tensor(np.where(images, images, -1.0))]),
            "Output 'logits'": lambda: triton.infer("numeral", [tensor(images)], outputs=wanted("logits", True)),
            "classification": lambda: triton.infer(
                "numeral", [tensor(images)], outputs=[InferRequestedOutput("digit", class_count=2)]
            ),
            "Shared memory": lambda: triton.infer("numeral", [shared(images)]),
            "Content-Encoding 'gzip'": lambda: triton.infer(
                "numeral", [tensor(images)], request_compression_algorithm="gzip"
            ),
            "There is no version 'staging'": lambda: triton.get_model_metadata("numeral", "staging"),
            "nothing at /v2/models/numeral/config": lambda: triton.get_model_config("numeral"),
            "nothing at /v2/repository/models/numeral/unload": lambda: triton.unload_model("numeral"),
        }
        for message, attempt in attempts.items():
            with pytest.raises(InferenceServerException) as caught:
                attempt()
            assert message in caught.value.message()
            assert caught.value.status() in ("404", "415", "422")


def wanted(name: str, binary: bool) -> list[InferRequestedOutput]:
    return [InferRequestedOutput(name, binary_data=binary)]


def shared(pixels: np.ndarray) -> InferInput:
    given = InferInput("pixels", list(pixels.shape), "UINT8")
    given.set_shared_memory("region", pixels.nbytes)
    return given


def test_metadata(triton: InferenceServerClient, trained: int, make_model: Callable[[str], int]) -> None:
    second = make_model("second")
    server = triton.get_server_metadata()
    assert (server["name"], server["extensions"]) == ("numeral", ["binary_tensor_data"])
    model = triton.get_model_metadata("numeral")
    assert model["versions"] == [str(second), str(trained)]
    assert model["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 28, 28, 1]}]
    assert model["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "digit", "datatype": "INT64", "shape": [-1]},
    ]
    assert triton.get_model_metadata("production")["versions"] == [str(trained)]
    assert triton.get_model_metadata("production", str(second))["versions"] == [str(second)]
    index = [(entry["name"], entry["version"], entry["state"]) for entry in triton.get_model_repository_index()]
    assert index == [
        ("production", str(trained), "READY"),
        ("numeral", str(second), "READY"),
        ("numeral", str(trained), "READY"),
    ]


def test_versions_are_experiments(
    api: httpx.Client,
    triton: InferenceServerClient,
    trained: int,
    make_model: Callable[[str], int],
    images: np.ndarray,
) -> None:
    second = make_model("second")
    api.put("/v1/models/aliases/staging", json={"experiment_id": second}).raise_for_status()

    def answered_by(name: str, version: int | str = "") -> int:
        return int(triton.infer(name, [tensor(images)], model_version=str(version)).get_response()["model_version"])

    assert answered_by("numeral") == answered_by("production") == trained
    assert answered_by("staging") == second
    assert answered_by("numeral", second) == answered_by("production", second) == second
    api.put("/v1/models/aliases/production", json={"experiment_id": second}).raise_for_status()
    assert answered_by("numeral") == answered_by("production") == second
    assert answered_by("production", trained) == trained


def test_readiness(
    triton: InferenceServerClient, database: Engine, enqueue: Callable[..., int], make_model: Callable[[str], int]
) -> None:
    queued = enqueue()
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert not triton.is_model_ready("numeral")
    assert triton.get_model_metadata("numeral")["versions"] == []
    model = make_model("first")
    assert triton.is_model_ready("numeral")
    assert triton.is_model_ready("production", str(model))
    assert not triton.is_model_ready("staging")
    assert not triton.is_model_ready("staging", str(model))
    assert not triton.is_model_ready("numeral", str(queued))
    assert not triton.is_model_ready("numeral", "production")
    with pytest.raises(InferenceServerException, match=f"no model '{queued}'"):
        triton.infer("numeral", [tensor(np.zeros((1, 784), np.uint8))], model_version=str(queued))


def request(**changes: Any) -> dict[str, Any]:
    given = {"name": "pixels", "shape": [1, 784], "datatype": "UINT8", "data": [0] * 784} | changes
    return {"inputs": [{name: value for name, value in given.items() if value is not None}]}


def binary(size: int, shape: tuple[int, ...] = (1, 784), datatype: str = "UINT8") -> bytes:
    return json.dumps(
        request(shape=shape, datatype=datatype, data=None, parameters={"binary_data_size": size})
    ).encode()


def raw(head: bytes, rest: bytes = b"", length: object = None) -> tuple[bytes, dict[str, str]]:
    return head + rest, {JSON_BYTES: str(len(head) if length is None else length)}


DIGITS = "9" * 4300

REFUSED: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing": (b"", {}),
    "not JSON": (b"{", {}),
    "a list": (b"[]", {}),
    "not UTF-8": (b'{"inputs": [], "id": "\xff"}', {}),
    "half a surrogate": (b'{"inputs": [], "id": "\\ud800"}', {}),
    "brackets without end": (b'{"inputs": ' + b"[" * 100_000, {}),
    "brackets without end in what is ignored": (b'{"x": ' + b"[" * 100_000, {}),
    "no inputs": (b'{"inputs": []}', {}),
    "two inputs": (json.dumps({"inputs": request()["inputs"] * 2}).encode(), {}),
    "null for inputs": (b'{"inputs": null}', {}),
    "no data": (json.dumps(request(data=None)).encode(), {}),
    "data and bytes": raw(json.dumps(request(parameters={"binary_data_size": 784})).encode(), bytes(784)),
    "bytes nobody announced": raw(json.dumps(request()).encode(), bytes(784)),
    "no images": (json.dumps(request(shape=[0, 784], data=[])).encode(), {}),
    "no shape": (json.dumps(request(shape=[])).encode(), {}),
    "negative images": (json.dumps(request(shape=[-1, 784])).encode(), {}),
    "more images than numbers": (json.dumps(request(shape=[2, 784])).encode(), {}),
    "an endless shape": (json.dumps(request(shape=[2**31, 784])).encode(), {}),
    "a shape beyond all bounds": (json.dumps(request()).replace("[1, 784]", f"[{DIGITS}, 784]").encode(), {}),
    "29 rows": (json.dumps(request(shape=[1, 29, 28], data=[0] * 812)).encode(), {}),
    "ragged rows": (json.dumps(request(data=[[0] * 783, [0]])).encode(), {}),
    "too deep": (json.dumps(request(data=[[[0] * 784]])).encode(), {}),
    "too bright": (json.dumps(request(data=[0] * 783 + [256])).encode(), {}),
    "negative": (json.dumps(request(datatype="FP32", data=[0] * 783 + [-0.5])).encode(), {}),
    "fractions for bytes": (json.dumps(request(data=[0.5] * 784)).encode(), {}),
    "NaN": (json.dumps(request(datatype="FP32", data=[float("nan")] * 784)).encode(), {}),
    "infinite digits": (json.dumps(request()).replace("[0,", f"[{DIGITS}9,").encode(), {}),
    "texts": (json.dumps(request(data=["0"] * 784)).encode(), {}),
    "one text with all brackets": (json.dumps(request(data="[" + "," * 783 + "]")).encode(), {}),
    "objects": (json.dumps(request(data=[{}] * 784)).encode(), {}),
    "null": (json.dumps(request(data=[None] * 784)).encode(), {}),
    "a datatype nobody knows": (json.dumps(request(datatype="UINT7")).encode(), {}),
    "texts for a datatype": (json.dumps(request(datatype="BYTES")).encode(), {}),
    "truncated": raw(binary(784), bytes(783)),
    "too long": raw(binary(784), bytes(785)),
    "a wrong size": raw(binary(783), bytes(783)),
    "a negative size": raw(binary(-1), bytes(784)),
    "a huge size": raw(binary(2**62), bytes(784)),
    "a size beyond all bounds": raw(binary(int(DIGITS)), bytes(784)),
    "a huge tensor": raw(binary(784, (2**31, 784)), bytes(784)),
    "another datatype's size": raw(binary(784, datatype="FP32"), bytes(784)),
    "NaN bytes": raw(binary(4 * 784, datatype="FP32"), b"\xff" * 4 * 784),
    "infinite bytes": raw(binary(2 * 784, datatype="FP16"), b"\x00\x7c" * 784),
    "negative bytes": raw(binary(784, datatype="INT8"), b"\xff" * 784),
    "integers that would wrap around": raw(binary(8 * 784, datatype="INT64"), (256).to_bytes(8, "little") * 784),
    "JSON longer than the body": raw(binary(784), bytes(784), 10**6),
    "JSON of endless length": raw(binary(784), bytes(784), 10**30),
    "JSON of no length": raw(binary(784), bytes(784), 0),
    "JSON of negative length": raw(binary(784), bytes(784), -1),
    "JSON of a length that is no number": raw(binary(784), bytes(784), "1e2"),
    "JSON cut short": raw(binary(784), bytes(784), 20),
    "no header": (binary(784) + bytes(784), {}),
    "an output twice": (json.dumps(request() | {"outputs": [{"name": "digit"}] * 2}).encode(), {}),
    "an output nobody knows": (json.dumps(request() | {"outputs": [{"name": "x"}]}).encode(), {}),
    "a text for a flag": (json.dumps(request() | {"parameters": {"binary_data_output": "yes"}}).encode(), {}),
}


@on_sqlite
@pytest.mark.usefixtures("trained")
def test_nonsense_is_refused(api: httpx.Client) -> None:
    for name, (body, headers) in REFUSED.items():
        answer = api.post(INFER, content=body, headers=headers)
        assert answer.status_code == 422, (name, answer.text)
        problem = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert problem["error"] == problem["detail"]
        assert len(problem["error"]) < 6000
    assert api.post(INFER, json=request()).json()["outputs"][1]["shape"] == [1]


@on_sqlite
@pytest.mark.usefixtures("trained")
def test_json_may_be_nested_or_flat(api: httpx.Client, images: np.ndarray) -> None:
    pixels = images.reshape(10, 28, 28, 1)
    for data in (pixels.ravel(), pixels):
        body = request(shape=pixels.shape, data=data.tolist())
        for content in (json.dumps(body), json.dumps(body, indent=1)):
            answer = api.post(INFER, content=content).json()
            assert answer["outputs"][1] == {
                "name": "digit",
                "datatype": "INT64",
                "shape": [10],
                "data": list(range(10)),
            }


def test_every_error_is_one_that_clients_understand(api: httpx.Client) -> None:
    causes = {
        "/v2/nothing": 404,
        "/v2/models": 404,
        "/v2/models/NUL%00": 404,
        "/v2/models/7/ready": 404,
        "/v2/models/²": 404,
        "/v2/models/numeral/versions/0": 404,
        f"/v2/models/numeral/versions/{2**64}": 404,
        "/v2/models/numeral/versions/²/ready": 404,
        INFER: 405,
    }
    for path, status in causes.items():
        answer = api.get(path)
        assert answer.status_code == status, path
        assert answer.json()["error"]
    assert answer.headers["Allow"] == "POST"
    assert api.post(INFER, json=request()).json()["code"] == "unknown_model"
    too_large = api.post(INFER, content=bytes(33 * 1024 * 1024))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
    too_large = api.post(INFER, content=(bytes(1024 * 1024) for _ in range(33)))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")


@on_sqlite
class TestOverload:
    """Only one request may wait."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_waiting_requests": 1, "inference_threads": 1})

    @pytest.mark.usefixtures("trained")
    def test_what_is_too_much_is_refused_for_a_while(self, api: httpx.Client, images: np.ndarray) -> None:
        many = np.concatenate([images] * 2000)
        content = json.dumps(
            {
                "inputs": [
                    {
                        "name": "pixels",
                        "datatype": "UINT8",
                        "shape": many.shape,
                        "parameters": {"binary_data_size": many.nbytes},
                    }
                ]
            }
        ).encode()
        headers = {JSON_BYTES: str(len(content))}
        together = threading.Barrier(8)

        def one(_: int) -> httpx.Response:
            with httpx.Client(base_url=api.base_url, timeout=60) as client:
                together.wait()
                return client.post(INFER, content=content + many.tobytes(), headers=headers)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(one, range(8)))
        assert {answer.status_code for answer in answers} == {200, 429}
        for answer in answers:
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.json()["code"] == "overloaded"
                assert answer.json()["error"]


def test_classifications_are_counted(api: httpx.Client, trained: int) -> None:
    api.post(INFER, json=request()).raise_for_status()
    text = api.get("/metrics").text
    assert f'numeral_predicted_images_total{{model="{trained}"}} 1.0' in text
    assert 'route="/v2/models/{name}/infer",status="200"' in text


HEADERS = st.none() | st.integers(-10, 400).map(str) | st.text("0123456789-+x", max_size=12)
HEADS = st.sampled_from([head for head, _ in REFUSED.values() if len(head) < 5000]) | st.binary(max_size=50)


@on_sqlite
@pytest.mark.usefixtures("trained")
def test_anything_gets_an_answer(api: httpx.Client) -> None:
    @settings(max_examples=100)
    @given(body=HEADS, cut=st.integers(0, 6000), header=HEADERS)
    def answered(body: bytes, cut: int, header: str | None) -> None:
        headers = {} if header is None else {JSON_BYTES: header}
        answer = api.post(INFER, content=body[:cut], headers=headers)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]

    answered()
