"""What a training leaves behind for serving: the ONNX model's second output, the serving card, the int8 model."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from service.card import Golden, ServingCard, Variant
from service.data import catalogue
from service.data.dataset import Dataset
from service.inference.calibration import calibrated
from service.inference.preprocess import VERSION
from service.specs.experiment import ExperimentSpec
from service.train import calibrate, quantise, task
from service.train.events import Finished
from service.train.export import Outputs, outputs_of

MakeSpec = Callable[..., ExperimentSpec]


@pytest.fixture(scope="module")
def mnist(datasets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return catalogue.load("mnist", datasets_dir, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def files(make_spec: MakeSpec, mnist: Dataset) -> dict[str, bytes]:
    return files_of(make_spec(dataset="mnist", train_limit=3000, epochs=4, int8=True), mnist)


@pytest.fixture(scope="module")
def card(files: dict[str, bytes]) -> ServingCard:
    return ServingCard.model_validate_json(files["serving.json"])


@pytest.fixture(scope="module")
def said(files: dict[str, bytes], mnist: Dataset) -> Outputs:
    return outputs_of(files["model.onnx"], mnist.test.images[..., np.newaxis])


def files_of(spec: ExperimentSpec, dataset: Dataset) -> dict[str, bytes]:
    last = list(task.run(spec, dataset))[-1]
    assert isinstance(last, Finished), last
    return last.files


def confidence(outputs: Outputs, card: ServingCard) -> NDArray[np.float32]:
    return calibrated(*outputs, card.temperature).max(axis=1)


def golden_images(golden: Golden) -> NDArray[np.uint8]:
    return np.frombuffer(golden.images, np.uint8).reshape(-1, 28, 28, 1)


def test_there_is_all_that_serving_takes(files: dict[str, bytes]) -> None:
    assert set(files) == {
        "model.keras",
        "model.onnx",
        "model.int8.onnx",
        "serving.json",
        "manifest.json",
        "predictions.npz",
    }


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_the_model_puts_out_probabilities_and_then_whether_it_is_a_digit(files: dict[str, bytes], name: str) -> None:
    session = onnxruntime.InferenceSession(files[name])
    assert [(value.name, value.shape[1:], value.type) for value in session.get_outputs()] == [
        ("probabilities", [10], "tensor(float)"),
        ("is_digit", [1], "tensor(float)"),
    ]
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 28, 28, 1)).astype(np.float32)
    probabilities, is_digit = session.run(None, {"pixels": pixels})
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (is_digit >= 0).all()
    assert (is_digit <= 1).all()


@pytest.mark.parametrize("variant", list(Variant))
def test_the_card_has_what_each_variant_says(
    files: dict[str, bytes], card: ServingCard, mnist: Dataset, variant: Variant
) -> None:
    model = files["model.onnx" if variant is Variant.FP32 else "model.int8.onnx"]
    golden = card.golden
    assert golden is not None
    images = golden_images(golden)
    assert len(images) == 32
    assert outputs_of(model, images).probabilities == pytest.approx(np.array(golden.probabilities[variant]), abs=1e-5)
    found = outputs_of(model, mnist.test.images[..., np.newaxis]).probabilities.argmax(axis=1)
    assert card.test_accuracy[variant] == (found == mnist.test.labels).mean()


def test_the_golden_images_are_of_every_digit(card: ServingCard, mnist: Dataset) -> None:
    assert card.golden is not None
    labels = {image.tobytes(): label for image, label in zip(mnist.test.images, mnist.test.labels, strict=True)}
    of_digit = np.bincount([labels[image.tobytes()] for image in golden_images(card.golden)])
    assert of_digit.tolist() == [4, 4, *[3] * 8] or sorted(of_digit.tolist()) == [*[3] * 8, 4, 4]


def test_the_card_says_how_it_was_calibrated(card: ServingCard) -> None:
    assert card.preprocess_version == VERSION
    assert (card.calibrated_on, card.calibration_images) == ("validation", 300)
    assert 0.1 < card.threshold <= calibrate.HIGHEST_THRESHOLD
    assert card.floor < card.threshold


def test_the_temperature_makes_the_labels_more_likely(mnist: Dataset, said: Outputs, card: ServingCard) -> None:
    def loss(temperature: float) -> float:
        likely = calibrated(*said, temperature)[np.arange(len(mnist.test)), mnist.test.labels]
        return -float(np.log(likely).mean())

    fitted = calibrate.fitted_temperature(said, mnist.test.labels)
    assert loss(fitted) <= loss(1.0)
    assert loss(fitted) <= min(loss(fitted * 1.05), loss(fitted / 1.05))
    assert 0.5 < card.temperature / fitted < 2


def test_no_test_image_is_under_the_floor_and_few_are_under_the_threshold(said: Outputs, card: ServingCard) -> None:
    sure = confidence(said, card)
    assert sure.min() > card.floor
    assert (sure >= card.threshold).mean() > 0.98


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "faint"])
def test_noise_is_refused(files: dict[str, bytes], card: ServingCard, kind: str) -> None:
    rng = np.random.default_rng(5)
    size = (200, 28, 28, 1)
    noise = {
        "uniform": rng.uniform(0, 255, size),
        "gaussian": rng.normal(128, 50, size),
        "faint": rng.uniform(0, 90, size),
    }
    outputs = outputs_of(files["model.onnx"], noise[kind].clip(0, 255).astype(np.uint8))
    assert (confidence(outputs, card) < card.threshold).all()


def test_the_same_training_gives_the_same_files(make_spec: MakeSpec, optdigits: Dataset) -> None:
    spec = make_spec(train_limit=300, epochs=1)
    first, second = files_of(spec, optdigits), files_of(spec, optdigits)
    assert first["model.onnx"] == second["model.onnx"]
    assert first["serving.json"] == second["serving.json"]
    assert first["predictions.npz"] == second["predictions.npz"]


@pytest.mark.parametrize("on", ["test", "none"])
def test_without_a_split_the_test_set_calibrates(make_spec: MakeSpec, optdigits: Dataset, on: str) -> None:
    card = ServingCard.model_validate_json(
        files_of(make_spec(validation={"on": on}, train_limit=100, epochs=1), optdigits)["serving.json"]
    )
    assert (card.calibrated_on, card.calibration_images) == ("test", len(optdigits.test))


def test_an_int8_model_that_loses_too_much_is_not_kept(
    make_spec: MakeSpec, optdigits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoilt(model: bytes, images: NDArray[np.uint8]) -> bytes:
        graph = onnx.load_from_string(model)
        [bias] = [constant for constant in graph.graph.initializer if constant.name == "probabilities/dense/bias"]
        bias.raw_data = np.array([100, *[0] * 9], np.float32).tobytes()
        return graph.SerializeToString()

    monkeypatch.setattr(quantise, "quantise", spoilt)
    files = files_of(make_spec(int8=True, train_limit=300), optdigits)
    assert "model.int8.onnx" not in files
    assert ServingCard.model_validate_json(files["serving.json"]).test_accuracy.keys() == {Variant.FP32}
    assert "int8 model is not kept" in capsys.readouterr().out


def test_a_quantisation_that_fails_leaves_the_experiment_alone(
    make_spec: MakeSpec, optdigits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(model: bytes, images: NDArray[np.uint8]) -> bytes:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(quantise, "quantise", failing)
    assert "model.int8.onnx" not in files_of(make_spec(int8=True, train_limit=100, epochs=1), optdigits)
    assert "no such kernel" in capsys.readouterr().out


def test_one_training_image_is_enough(make_spec: MakeSpec, optdigits: Dataset) -> None:
    files = files_of(
        make_spec(train_limit=10, validation={"on": "split", "fraction": 0.9}, epochs=1, int8=True), optdigits
    )
    assert ServingCard.model_validate_json(files["serving.json"]).calibrated_on == "test"


ARCHITECTURES = {
    "softmax on pixels": [{"type": "flatten"}],
    "flatten twice, normalise, dense without bias": [
        {"type": "conv2d", "filters": 3, "padding": "same", "strides": [2, 3], "use_bias": False, "activation": "silu"},
        {"type": "flatten"},
        {"type": "flatten"},
        {"type": "batch_normalization"},
        {"type": "activation", "activation": "gelu"},
        {"type": "dense", "units": 12, "use_bias": False, "activation": "leaky_relu"},
    ],
    "global pooling": [
        {"type": "conv2d", "filters": 8, "kernel_size": [5, 4], "activation": "elu"},
        {"type": "batch_normalization"},
        {"type": "average_pooling2d", "pool_size": [3, 3], "strides": [2, 2], "padding": "same"},
        {"type": "max_pooling2d", "pool_size": [2, 3], "strides": [1, 2], "padding": "same"},
        {"type": "conv2d", "filters": 6, "activation": "gelu"},
        {"type": "global_average_pooling2d"},
    ],
    "a map straight into the softmax": [
        {"type": "conv2d", "filters": 16, "activation": "tanh"},
        {"type": "dropout", "rate": 0.2},
        {"type": "flatten"},
        {"type": "activation", "activation": "sigmoid"},
    ],
}


@pytest.mark.parametrize("layers", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_every_architecture_gets_its_files(
    make_spec: MakeSpec, optdigits: Dataset, layers: list[dict[str, object]]
) -> None:
    # The export fails an experiment whose ONNX model disagrees with the trained one.
    spec = make_spec(model={"layers": layers}, train_limit=300, epochs=1, int8=True)
    files = files_of(spec, optdigits)
    card = ServingCard.model_validate_json(files["serving.json"])
    assert math.isfinite(card.temperature)
    assert card.floor < confidence(outputs_of(files["model.onnx"], optdigits.test.images[..., np.newaxis]), card).min()
