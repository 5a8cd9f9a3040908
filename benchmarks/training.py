"""Seconds of an epoch: the service's training loop beside stock Keras `fit`, same model, same data, in turn.

    uv run python benchmarks/training.py --images 6000 --pairs 3
    KERAS_BACKEND=jax uv run python benchmarks/training.py --images 60000 --pairs 5      # on a GPU box

Both run `baseline` without validation and without export; the first pair compiles and is not counted. The stock side is
what the notebook did: pixels divided by 255 in advance, `shuffle=True`. Data are random images: only time is measured.
"""

import argparse
import platform
import statistics
import time

import keras
import numpy as np

from service.data.dataset import Split
from service.specs.experiment import ExperimentSpec
from service.train import models, trainer
from service.train.checkpoint import origin_of
from service.train.manifest import device
from service.train.saver import Saver
from service.train.training import Training

SPEC = ExperimentSpec.model_validate({"preset": "baseline", "epochs": 1, "validation": {"on": "none"}})


def ours(split: Split):
    """Trains an epoch with the service's loop."""
    compiled = models.for_training(models.build(SPEC), SPEC)

    def epoch() -> None:
        training = Training(compiled, SPEC, len(split))
        saver = Saver(training, origin_of(SPEC, dataset_sha256=""), seconds=30.0)
        list(trainer.fit(training, split, None, saver, lambda event: None, lambda: False))

    return epoch


def stock(split: Split):
    """Trains an epoch with `fit` on scaled floats."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adadelta(1.0), "categorical_crossentropy", metrics=["accuracy"])
    pixels = split.images[..., np.newaxis].astype(np.float32) / 255
    targets = np.eye(10, dtype=np.float32)[split.labels]

    def epoch() -> None:
        model.fit(pixels, targets, batch_size=SPEC.batch_size, epochs=1, verbose=0)

    return epoch


def seconds(work) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure pairs and print their medians and ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()

    random = np.random.default_rng(0)
    split = Split(
        random.integers(0, 256, (arguments.images, 28, 28), np.uint8),
        random.integers(0, 10, arguments.images, np.uint8),
    )
    sides = {"ours": ours(split), "stock Keras fit": stock(split)}
    for work in sides.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(arguments.pairs):
        # Which side goes first alternates, so that a machine that slows down is fair to both.
        for name in sorted(sides, reverse=bool(pair % 2)):
            times[name].append(seconds(sides[name]))

    print(f"{keras.backend.backend()} on {device()}, {platform.machine()}, {arguments.images:,} images an epoch")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:16} {median:8.2f} s an epoch  {arguments.images / median:10,.0f} images/s")
    ratios = [mine / other for mine, other in zip(*times.values(), strict=True)]
    print(f"{'ratio':16} {statistics.median(ratios):8.2f}  (ours / stock, median of {len(ratios)} pairs)")


if __name__ == "__main__":
    main()
