"""One experiment from its spec to its files, as a stream of events."""

import math
import traceback
from collections.abc import Iterator

import keras

from service.data.dataset import Dataset, Split, hold_out
from service.errors import Diverged, TrainingFailed
from service.schemas import Result
from service.specs.experiment import ExperimentSpec
from service.train import models
from service.train.evaluate import evaluate
from service.train.events import EpochEnd, Evaluated, Event, Failed, Finished, Started
from service.train.export import export
from service.train.manifest import device, manifest
from service.train.trainer import ReportFraction, as_input, fit


def run(spec: ExperimentSpec, dataset: Dataset, report: ReportFraction = lambda fraction: None) -> Iterator[Event]:
    """Train, evaluate and export. Yields the events of `service.train.events`; never raises for what a training does.

    Args:
        spec: what to train.
        dataset: the whole dataset; the spec's `train_limit` and validation are cut from it here.
        report: called between epochs with the fraction of all steps that are done.
    """
    try:
        yield from _run(spec, dataset, report)
    except TrainingFailed as error:
        yield Failed(error.code, str(error))
    except Exception as error:
        # The traceback goes to the experiment's log; the record gets one line.
        traceback.print_exc()
        if _is_out_of_memory(error):
            yield Failed("out_of_memory", "The device ran out of memory: use a smaller batch size or model.")
        else:
            yield Failed("training_error", f"{type(error).__name__}: {str(error).partition(chr(10))[0][:500]}")


def _run(spec: ExperimentSpec, dataset: Dataset, report: ReportFraction) -> Iterator[Event]:
    limited = dataset.limited(spec.train_limit)
    train, validation = _validation(spec, limited)

    keras.utils.set_random_seed(spec.seed)
    model = models.build(spec)
    yield Started(device=device(), parameters=model.count_params())

    epochs = []
    for metrics in fit(models.for_training(model, spec), spec, train, validation, report):
        epochs.append(metrics)
        yield EpochEnd(metrics)

    # The report is about the exported model, the one that will be served.
    exported = export(model, spec, as_input(dataset.test))
    evaluation = evaluate(exported.probabilities, dataset.test.labels, spec.loss)
    if not math.isfinite(evaluation.loss):
        raise Diverged("The training diverged: the model's loss on the test set is not a number.")
    yield Evaluated(evaluation)

    seconds = sum(metrics.seconds for metrics in epochs)
    result = Result(
        test_loss=evaluation.loss,
        test_accuracy=evaluation.accuracy,
        parameters=model.count_params(),
        train_seconds=seconds,
        images_per_second=len(train) * len(epochs) / seconds,
    )
    files = {
        "model.keras": exported.keras,
        "model.onnx": exported.onnx,
        "manifest.json": manifest(spec, limited, dataset.sha256(), exported.largest_difference),
    }
    yield Finished(result, files)


def _validation(spec: ExperimentSpec, dataset: Dataset) -> tuple[Split, Split | None]:
    match spec.validation.on:
        case "test":
            return dataset.train, dataset.test
        case "split":
            return hold_out(dataset.train, spec.validation.fraction, spec.seed)
        case "none":
            return dataset.train, None


def _is_out_of_memory(error: Exception) -> bool:
    # Each backend has a class of its own for this; all of them carry the gRPC status's name.
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "ResourceExhausted" in repr(error)
