"""The main job through the running service: submit, follow, read, download, classify."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from service.client import Client
from service.data import catalogue
from service.errors import ServiceError
from service.states import State
from tests.service.conftest import Service

MEBIBYTE = 2**20


def test_the_process_stays_small_before_the_first_job(fresh_service: Service) -> None:
    assert psutil.Process(fresh_service.pid).memory_info().rss < 200 * MEBIBYTE


def test_a_submitted_experiment_is_followed_to_its_end(client: Client, quick: dict[str, object]) -> None:
    experiment = client.submit(quick)
    assert experiment.state == State.QUEUED
    events = list(client.events(experiment.id))
    numbered = [event.type for event in events if event.type != "progress"]
    assert numbered == ["queued", "running", "started", *["epoch"] * 4, "succeeded"]
    ended = client.experiment(experiment.id)
    assert ended.state == State.SUCCEEDED
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.created_at <= ended.started_at < ended.finished_at
    assert [row.epoch for row in client.metrics(experiment.id)] == [1, 2, 3, 4]


def test_the_served_model_has_exactly_the_reported_accuracy(client: Client, trained: int, tmp_path: Path) -> None:
    dataset = catalogue.load("optdigits", None, tmp_path)
    evaluation = client.evaluation(trained)
    assert np.sum(evaluation.confusion_matrix) == len(dataset.test)
    answer = client.predict_bytes(dataset.test.images.tobytes(), model=str(trained))
    digits = np.array([prediction.digit for prediction in answer.predictions])
    assert (digits == dataset.test.labels).mean() == evaluation.accuracy
    assert client.experiment(trained).result.test_accuracy == evaluation.accuracy


def test_what_it_gets_wrong_can_be_looked_at(client: Client, trained: int, tmp_path: Path) -> None:
    test = catalogue.load("optdigits", None, tmp_path).test
    evaluation = client.evaluation(trained)
    assert evaluation.expected_calibration_error is not None
    assert 0 < evaluation.expected_calibration_error < 0.5
    wrong = list(client.misclassified(trained, limit=1000))
    matrix = np.array(evaluation.confusion_matrix)
    assert 0 < len(wrong) == matrix.sum() - np.trace(matrix)
    assert [item.confidence for item in wrong] == sorted((item.confidence for item in wrong), reverse=True)
    answer = client.predict_bytes(test.images[[item.index for item in wrong]].tobytes(), model=str(trained))
    assert [prediction.digit for prediction in answer.predictions] == [item.predicted for item in wrong]
    assert [int(test.labels[item.index]) for item in wrong] == [item.actual for item in wrong]
    with Image.open(io.BytesIO(client.thumbnail(trained, wrong[-1].index))) as image:
        assert (np.asarray(image) == test.images[wrong[-1].index]).all()
    most = evaluation.top_confusions[0]
    assert len(list(client.misclassified(trained, actual=most.actual, predicted=most.predicted))) == most.count


def test_a_digit_sent_as_a_picture_comes_back_as_a_number(client: Client, trained: int, tmp_path: Path) -> None:
    test = catalogue.load("optdigits", None, tmp_path).test
    pictures = []
    for index, image in enumerate(test.images):
        buffer = io.BytesIO()
        # Dark on light, three times as large: as a scan would be.
        Image.fromarray(255 - image).resize((84, 84)).save(buffer, "PNG")
        pictures.append((f"{index}.png", buffer.getvalue()))
    answer = client.predict_files(pictures, model=str(trained))
    digits = np.array([prediction.digit for prediction in answer.predictions])
    # Scaled 8×8 digits do not fill MNIST's box, pictures are made to: some are read wrongly for that.
    assert (digits == test.labels).mean() > 0.75


def test_artifacts_are_what_the_list_says(client: Client, trained: int) -> None:
    listed = {item.name: item for item in client.artifacts(trained)}
    assert listed.keys() == {"log.txt", "manifest.json", "model.keras", "model.onnx", "predictions.npz", "serving.json"}
    for name, item in listed.items():
        content = client.download(trained, name)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (item.size, item.sha256)


def test_a_manifests_spec_trains_to_the_same_figures(client: Client, trained: int) -> None:
    spec = json.loads(client.download(trained, "manifest.json"))["spec"]
    again = client.submit(spec).id
    list(client.events(again))
    first, second = client.metrics(trained), client.metrics(again)
    assert [row.model_dump(exclude={"seconds"}) for row in first] == [
        row.model_dump(exclude={"seconds"}) for row in second
    ]
    assert client.evaluation(trained) == client.evaluation(again)
    compared = client.comparison(trained, again)
    assert compared.both_right + compared.both_wrong == compared.test_images
    assert (compared.p_value, compared.better) == (1.0, None)


def test_progress_arrives_within_an_epoch_and_a_running_experiment_is_cancelled(
    client: Client, quick: dict[str, object]
) -> None:
    endless = client.submit(quick | {"epochs": 10_000, "batch_size": 1}).id
    fractions = []
    for event in client.events(endless):
        if event.type != "progress":
            continue
        fractions.append(event.data["fraction"])
        if len(fractions) == 4:
            client.cancel(endless)
    assert fractions == sorted(fractions)
    assert client.experiment(endless).state == State.CANCELLED
    with pytest.raises(ServiceError, match="cancelled"):
        client.cancel(endless)


def test_mnist_is_trained_and_served(client: Client, datasets_dir: Path, tmp_path: Path) -> None:
    spec = {"preset": "baseline", "train_limit": 2000, "epochs": 1, "validation": {"on": "none"}}
    experiment = client.submit(spec).id
    list(client.events(experiment))
    ended = client.experiment(experiment)
    assert ended.state == State.SUCCEEDED, ended.error
    test = catalogue.load("mnist", datasets_dir, tmp_path).test
    answer = client.predict_bytes(test.images.tobytes(), model=str(experiment))
    digits = np.array([prediction.digit for prediction in answer.predictions])
    assert (digits == test.labels).mean() == ended.result.test_accuracy > 0.6
