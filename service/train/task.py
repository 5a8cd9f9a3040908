"""One experiment from its spec to its files, as a stream of events."""

import math
import traceback
from collections.abc import Iterator

import keras

from service import answers
from service.card import ARTIFACT, ONNX_ARTIFACTS, Variant
from service.data.dataset import Dataset, Split, hold_out
from service.errors import Diverged, TrainingFailed
from service.schemas import Result
from service.specs.experiment import ExperimentSpec
from service.train import detector, models, quantise
from service.train.calibrate import card
from service.train.callbacks import AskInterrupted, Emit
from service.train.checkpoint import Origin, Unusable, origin_of, unpack
from service.train.evaluate import evaluate
from service.train.events import Evaluated, Event, Failed, Finished, Interrupted, Started
from service.train.export import Exported, export, outputs_of
from service.train.manifest import device, manifest
from service.train.saver import Saver
from service.train.trainer import as_input, fit
from service.train.training import Training


def run(
    spec: ExperimentSpec,
    dataset: Dataset,
    checkpoint: bytes | None = None,
    *,
    checkpoint_seconds: float = 30.0,
    emit: Emit = lambda event: None,
    interrupted: AskInterrupted = lambda: False,
) -> Iterator[Event]:
    """Train, evaluate and export. Yields the events of `service.train.events`; never raises for what a training does.

    Args:
        spec: what to train.
        dataset: the whole dataset; the spec's `train_limit` and validation are cut from it here.
        checkpoint: the content of a Checkpoint of the same spec and dataset, to go on from. The outcome is the same, to
            the last bit, as if the training had not been interrupted. One that cannot be used is mentioned in the log,
            and the training begins anew.
        checkpoint_seconds: time from one checkpoint to the next, at least; 0 makes one after each step.
        emit: called within epochs, with the fraction of all steps that are done and the checkpoints that are due.
        interrupted: asked after each step whether the training shall stop there. Evaluation and export are not steps.
    """
    try:
        yield from _run(spec, dataset, checkpoint, checkpoint_seconds, emit, interrupted)
    except TrainingFailed as error:
        yield Failed(error.code, str(error))
    except Exception as error:
        # The traceback goes to the experiment's log; the record gets one line.
        traceback.print_exc()
        if _is_out_of_memory(error):
            yield Failed("out_of_memory", "The device ran out of memory: use a smaller batch size or model.")
        else:
            yield Failed("training_error", f"{type(error).__name__}: {str(error).partition(chr(10))[0][:500]}")


def _run(
    spec: ExperimentSpec,
    dataset: Dataset,
    checkpoint: bytes | None,
    checkpoint_seconds: float,
    emit: Emit,
    interrupted: AskInterrupted,
) -> Iterator[Event]:
    dataset_sha256 = dataset.sha256()
    limited = dataset.limited(spec.train_limit)
    train, validation = _validation(spec, limited)

    keras.utils.set_random_seed(spec.seed)
    model = models.build(spec)
    training = Training(models.for_training(model, spec), spec, len(train))
    origin = origin_of(spec, dataset_sha256)
    if checkpoint is not None:
        _go_on(training, checkpoint, origin)
    yield Started(device(), model.count_params(), dataset_sha256, epoch=len(training.history))

    for event in fit(training, train, validation, Saver(training, origin, checkpoint_seconds), emit, interrupted):
        yield event
        if isinstance(event, Interrupted):
            return

    digit_or_not = detector.train(train.images, spec.seed)
    # The report is about the exported model, the one that will be served.
    exported = export(model, digit_or_not, spec, as_input(dataset.test))
    evaluation = evaluate(exported.outputs.probabilities, dataset.test.labels, spec.loss)
    if not math.isfinite(evaluation.loss):
        raise Diverged("The training diverged: the model's loss on the test set is not a number.")
    yield Evaluated(evaluation)

    seconds = sum(metrics.seconds for metrics in training.history)
    result = Result(
        test_loss=evaluation.loss,
        test_accuracy=evaluation.accuracy,
        parameters=model.count_params(),
        train_seconds=seconds,
        images_per_second=len(train) * len(training.history) / seconds,
    )
    answered = answers.of(exported.outputs.probabilities, dataset.test.images, dataset.test.labels)
    files = {
        "model.keras": exported.keras,
        "manifest.json": manifest(spec, limited, dataset_sha256, exported),
        answers.ARTIFACT: answers.pack(answered),
        **_to_serve(spec, exported, train, validation, dataset.test),
    }
    yield Finished(result, files)


def _to_serve(
    spec: ExperimentSpec, exported: Exported, train: Split, validation: Split | None, test: Split
) -> dict[str, bytes]:
    """The model in each precision that is kept, and the card that says how it is to be served."""
    models_kept, said = {Variant.FP32: exported.onnx}, {Variant.FP32: exported.outputs}
    if spec.int8:
        quantised = quantise.kept(exported, train.images, test)
        if quantised is not None:
            models_kept[Variant.INT8], said[Variant.INT8] = quantised
    held_out = None
    if validation is not None and spec.validation.on == "split":
        held_out = validation, outputs_of(exported.onnx, as_input(validation))
    content = card(test, said, held_out).model_dump_json(indent=2).encode() + b"\n"
    return {ARTIFACT: content} | {ONNX_ARTIFACTS[variant]: model for variant, model in models_kept.items()}


def _go_on(training: Training, checkpoint: bytes, origin: Origin) -> None:
    try:
        training.restore(unpack(checkpoint, origin))
    except Unusable as error:
        print(f"The checkpoint cannot be used, so the training begins anew: {error}.")  # noqa: T201  (the experiment's log)


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
