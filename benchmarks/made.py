"""Models made by hand, as large as `baseline`: what they see does not matter, only which one answers."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import Engine

from service.data.catalogue import CATALOGUE
from service.schemas import ClassReport, Evaluation, Result
from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import fingerprint
from service.store import queue, results
from service.store.database import writing

UNITS = 6000
PARAMETERS = 784 * UNITS + UNITS * 10
LEASE_SECONDS = 60
CLASSES = 10


def succeed(database: Engine, seed: int) -> int:
    """An experiment that has succeeded with such a model; its id. The queue must be empty."""
    spec = ExperimentSpec.model_validate({"preset": "baseline", "name": f"made-{seed}"})
    with writing(database) as session:
        queue.enqueue(session, spec)
    with writing(database) as session:
        lease = queue.claim(session, "maker", LEASE_SECONDS)
        assert lease is not None
        identity = fingerprint(lease.spec, CATALOGUE[lease.spec.dataset].sha256)
        results.start(session, lease, "cpu", PARAMETERS, fingerprint=identity)
        results.succeed(session, lease, _result(), _evaluation(), {"model.onnx": _onnx(seed)}, b"")
    return lease.experiment_id


def _onnx(seed: int) -> bytes:
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values: NDArray[np.float32] = random.normal(0, 0.01, shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "first"], ["sums"]),
            helper.make_node("Relu", ["sums"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "second"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"]),
        ],
        "made",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [None, 28, 28, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, CLASSES])],
        [weights("first", 784, UNITS), weights("second", UNITS, CLASSES)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def _result() -> Result:
    return Result(
        test_loss=0.1, test_accuracy=1.0, parameters=PARAMETERS, train_seconds=1.0, images_per_second=60_000.0
    )


def _evaluation() -> Evaluation:
    return Evaluation(
        loss=0.1,
        accuracy=1.0,
        labels=list(range(CLASSES)),
        confusion_matrix=np.eye(CLASSES, dtype=int).tolist(),
        per_class=[ClassReport(label=label, precision=1.0, recall=1.0, f1=1.0, support=1) for label in range(CLASSES)],
    )
