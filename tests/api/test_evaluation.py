"""What a model does with the test set, image by image, over HTTP and on both databases."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from service import answers
from service.client import Client
from service.errors import ServiceError
from tests.api.conftest import REPORT, succeed

LABELS = np.array([3, 3, 5, 5, 8, 8, 0, 1], np.uint8)
IMAGES = np.random.default_rng(0).integers(0, 256, (len(LABELS), 28, 28), np.uint8)
PREDICTED = [3, 5, 3, 5, 3, 8, 0, 7]
CONFIDENCE = [0.99, 0.875, 0.625, 0.5, 0.875, 0.7, 0.6, 0.375]
MISTAKES = [
    {"index": 1, "actual": 3, "predicted": 5, "confidence": 0.875},
    {"index": 4, "actual": 8, "predicted": 3, "confidence": 0.875},
    {"index": 2, "actual": 5, "predicted": 3, "confidence": 0.625},
    {"index": 7, "actual": 1, "predicted": 7, "confidence": 0.375},
]


def softmax(predicted: list[int], confidence: list[float]) -> np.ndarray:
    """Outputs whose largest is the digit's, with this confidence; the others share the rest."""
    rest = (1 - np.array(confidence)) / 9
    outputs = np.repeat(rest[:, np.newaxis], 10, axis=1)
    outputs[np.arange(len(predicted)), predicted] = confidence
    return outputs.astype(np.float32)


def predictions(predicted: list[int], confidence: list[float]) -> Mapping[str, bytes]:
    """The artifact of a model that says this about `IMAGES`."""
    return {answers.ARTIFACT: answers.pack(answers.of(softmax(predicted, confidence), IMAGES, LABELS))}


def got_right(right: list[bool], labels: np.ndarray | None = None) -> Mapping[str, bytes]:
    """The artifact of a model that got so many black images right or wrong."""
    labels = np.zeros(len(right), np.uint8) if labels is None else labels
    predicted = np.where(right, labels, 9 - labels)
    outputs = np.eye(10, dtype=np.float32)[predicted]
    images = np.zeros((len(right), 28, 28), np.uint8)
    return {answers.ARTIFACT: answers.pack(answers.of(outputs, images, labels))}


@pytest.fixture
def tested(database: Engine) -> int:
    return succeed(database, files=predictions(PREDICTED, CONFIDENCE))


@pytest.fixture
def path(tested: int) -> str:
    return f"/v1/experiments/{tested}/misclassified"


def test_an_evaluation_has_its_calibration_error_and_top_confusions(api: httpx.Client, database: Engine) -> None:
    matrix = np.diag(np.full(10, 900))
    # Twelve pairs: the two smallest are left out, and equal ones stay in the matrix's order.
    pairs = [(4, 9, 12), (7, 2, 12), (9, 4, 7), *((0, digit, 3) for digit in range(1, 8)), (1, 0, 2), (2, 0, 1)]
    for actual, predicted, count in pairs:
        matrix[actual, predicted] = count
    report = REPORT.model_copy(
        update={"confusion_matrix": matrix.tolist(), "expected_calibration_error": 0.0123456789012345}
    )
    shown = api.get(f"/v1/experiments/{succeed(database, report=report)}/evaluation").json()
    assert shown["expected_calibration_error"] == 0.0123456789012345
    assert [tuple(pair.values()) for pair in shown["top_confusions"]] == pairs[:10]


def test_an_evaluation_from_before_has_them_as_far_as_they_are_known(
    api: httpx.Client, database: Engine, trained: int
) -> None:
    shown = api.get(f"/v1/experiments/{trained}/evaluation").json()
    assert shown["expected_calibration_error"] is None
    assert shown["top_confusions"] == []
    matrix = np.eye(10, dtype=int)
    matrix[3, 5] = 4
    old = succeed(database, report=REPORT.model_copy(update={"confusion_matrix": matrix.tolist()}))
    shown = api.get(f"/v1/experiments/{old}/evaluation").json()
    assert shown["top_confusions"] == [{"actual": 3, "predicted": 5, "count": 4}]


def test_mistakes_come_most_confident_first(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "items": [mistake | {"image": f"{path}/{mistake['index']}.png"} for mistake in MISTAKES],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"actual": 8}, [4]),
        ({"predicted": 3}, [4, 2]),
        ({"actual": 5, "predicted": 3}, [2]),
        ({"actual": 3, "predicted": 3}, []),
        ({"actual": 0}, []),
    ],
)
def test_mistakes_are_filtered_by_digits(api: httpx.Client, path: str, wanted: dict, found: list[int]) -> None:
    assert [item["index"] for item in api.get(path, params=wanted).json()["items"]] == found


def test_pages_hold_every_mistake_once(api: httpx.Client, path: str) -> None:
    for limit, sizes in ((1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3, 1]), (4, [4])):
        seen, found, cursor = [], [], 0
        while cursor is not None:
            page = api.get(path, params={"limit": limit, "cursor": cursor}).json()
            seen += [item["index"] for item in page["items"]]
            found.append(len(page["items"]))
            cursor = page["next_cursor"]
        assert (seen, found) == ([1, 4, 2, 7], sizes)
    assert api.get(path, params={"cursor": 2**31 - 1}).json() == {"items": [], "next_cursor": None}


def test_a_thumbnail_is_exactly_the_test_image(api: httpx.Client, path: str) -> None:
    for item in api.get(path).json()["items"]:
        answer = api.get(item["image"])
        assert answer.headers["Content-Type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))
            assert (np.asarray(image) == IMAGES[item["index"]]).all()


def test_a_thumbnail_that_is_known_is_not_sent_again(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}/1.png")
    etag = answer.headers["ETag"]
    assert answer.headers["Cache-Control"] == "no-cache"
    for known, status in ((etag, 304), (f'"other", {etag}', 304), ("*", 304), ('"other"', 200)):
        again = api.get(f"{path}/1.png", headers={"If-None-Match": known})
        assert (again.status_code, again.headers["ETag"]) == (status, etag)
    head = api.head(f"{path}/1.png")
    assert (head.content, head.headers["ETag"]) == (b"", etag)
    assert int(head.headers["Content-Length"]) == len(answer.content)
    assert api.get(f"{path}/4.png").headers["ETag"] != etag


def test_an_image_that_is_no_mistake_has_no_thumbnail(api: httpx.Client, path: str) -> None:
    for index in ("0", "8", "-1", "x", "²", "1.png", "%00", str(2**31), str(10**30)):
        answer = api.get(f"{path}/{index}.png", headers={"If-None-Match": "*"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), index


REFUSED = {
    "actual": (10, -1, "x", ""),
    "predicted": (10, -1, "3.5"),
    "limit": (0, 501, "x"),
    "cursor": (-1, 2**31, 10**30, "x"),
}


def test_what_cannot_be_asked_for_is_refused(api: httpx.Client, path: str) -> None:
    for field, values in REFUSED.items():
        for value in values:
            answer = api.get(path, params={field: value})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), (field, value)
            assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_before_it_is_evaluated_there_are_no_mistakes(
    api: httpx.Client, enqueue: Callable[..., int], trained: int
) -> None:
    for experiment_id, why in ((enqueue(), "is queued"), (trained, "before its answers were kept")):
        for path in ("misclassified", "misclassified/1.png"):
            problem = api.get(f"/v1/experiments/{experiment_id}/{path}").json()
            assert (problem["status"], problem["code"]) == (404, "not_reached")
            assert why in problem["detail"]
    for path in ("misclassified", "misclassified/1.png", "misclassified/x.png", "comparison?with=1"):
        assert api.get(f"/v1/experiments/99/{path}").json()["code"] == "unknown_experiment"


# The p-values are sums of binomial coefficients: 2 · (1 + 10) / 2¹⁰ and 2 · (1 + 10 + 45) / 2¹⁰.
@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value", "better"),
    [(1, 9, 0.021484375, "second"), (9, 1, 0.021484375, "first"), (8, 2, 0.109375, None), (0, 0, 1.0, None)],
)
def test_a_comparison_is_mcnemars_test(
    api: httpx.Client, database: Engine, only_first: int, only_second: int, p_value: float, better: str | None
) -> None:
    first = succeed(database, files=got_right([True] * (80 + only_first) + [False] * (only_second + 10)))
    theirs = [True] * 80 + [False] * only_first + [True] * only_second + [False] * 10
    second = succeed(database, files=got_right(theirs))
    assert api.get(f"/v1/experiments/{first}/comparison", params={"with": second}).json() == {
        "first": first,
        "second": second,
        "test_images": 90 + only_first + only_second,
        "both_right": 80,
        "only_first_right": only_first,
        "only_second_right": only_second,
        "both_wrong": 10,
        "accuracy_difference": (only_second - only_first) / (90 + only_first + only_second),
        "p_value": p_value,
        "better": {"first": first, "second": second, None: None}[better],
    }


def test_an_experiment_is_neither_better_nor_worse_than_itself(api: httpx.Client, tested: int) -> None:
    shown = api.get(f"/v1/experiments/{tested}/comparison", params={"with": tested}).json()
    assert (shown["p_value"], shown["better"], shown["accuracy_difference"]) == (1.0, None, 0.0)
    assert (shown["both_right"], shown["both_wrong"]) == (4, 4)


def test_what_was_tested_otherwise_is_not_compared(
    api: httpx.Client, database: Engine, tested: int, trained: int, enqueue: Callable[..., int]
) -> None:
    fewer = succeed(database, files=got_right([True] * 7))
    others = succeed(database, files=got_right([True] * 8))
    relabelled = succeed(database, files=got_right([True] * 8, labels=np.ones(8, np.uint8)))
    waiting = enqueue()
    for first, second, why in (
        (tested, fewer, "one of 8 images, one of 7"),
        (others, tested, "different test sets"),
        (others, relabelled, "different test sets"),
        (tested, trained, f"Experiment {trained} has no predictions.npz"),
        (waiting, tested, f"Experiment {waiting} is queued"),
    ):
        problem = api.get(f"/v1/experiments/{first}/comparison", params={"with": second}).json()
        assert (problem["status"], problem["code"]) == (409, "conflict")
        assert why in problem["detail"]
    unknown = api.get(f"/v1/experiments/{tested}/comparison", params={"with": 99}).json()
    assert (unknown["status"], unknown["code"]) == (404, "unknown_experiment")
    for given in ({}, {"with": "x"}, {"with": 0}, {"with": 2**31}):
        answer = api.get(f"/v1/experiments/{tested}/comparison", params=given)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "with")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_client_asks_for_all_of_it(api: httpx.Client, database: Engine, tested: int) -> None:
    worse = succeed(database, files=predictions([9] * 8, CONFIDENCE))
    with Client(str(api.base_url)) as client:
        found = list(client.misclassified(tested))
        assert [item.model_dump(exclude={"image"}) for item in found] == MISTAKES
        assert list(client.misclassified(tested, limit=3)) == found[:3]
        assert [item.index for item in client.misclassified(tested, actual=5, predicted=3)] == [2]
        assert client.thumbnail(tested, 1) == api.get(found[0].image).content
        assert client.comparison(tested, worse).only_first_right == 4
        refused: list[tuple[Callable[[], Any], int]] = [
            (lambda: list(client.misclassified(tested, actual=10)), 422),
            (lambda: client.thumbnail(tested, 0), 404),
            (lambda: client.comparison(tested, 99), 404),
        ]
        for ask, status in refused:
            with pytest.raises(ServiceError) as caught:
                ask()
            assert caught.value.status == status
