"""The artifact `predictions.npz`: what a model said about each image of a test set, and the images that it got wrong.

Training writes it, the API reads it, without the dataset: that may lie on another machine.
"""

import hashlib
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARTIFACT = "predictions.npz"


@dataclass(frozen=True)
class Answers:
    """What a model said about `n` test images, in their order, `m` of them wrongly.

    Attributes:
        predicted: `(n,)` digits.
        confidence: `(n,)`, the largest output of the exported model's softmax, not calibrated.
        wrong_index: `(m,)` places of the misclassified images in the test set, ascending.
        wrong_actual: `(m,)` the digits that they are.
        wrong_images: `(m, 28, 28)`, 0–255, light strokes on a dark ground.
        test_sha256: a hash of the test set's images and labels.
    """

    predicted: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    wrong_index: NDArray[np.int32]
    wrong_actual: NDArray[np.uint8]
    wrong_images: NDArray[np.uint8]
    test_sha256: str

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def right(self) -> NDArray[np.bool_]:
        """`(n,)`, whether each image was classified correctly."""
        right = np.ones(len(self), np.bool_)
        right[self.wrong_index] = False
        return right


def of(probabilities: NDArray[np.float32], images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Answers:
    """What a model answers to a test set.

    Args:
        probabilities: `(n, 10)`, what it put out.
        images: `(n, 28, 28)`.
        labels: `(n,)` true digits.
    """
    predicted = probabilities.argmax(axis=1).astype(np.uint8)
    wrong = np.flatnonzero(predicted != labels)
    return Answers(
        predicted=predicted,
        confidence=probabilities.max(axis=1).astype(np.float32),
        wrong_index=wrong.astype(np.int32),
        wrong_actual=labels[wrong].astype(np.uint8),
        wrong_images=images[wrong],
        test_sha256=_sha256(images, labels),
    )


def pack(answers: Answers) -> bytes:
    """As the artifact's content: an npz archive without pickle, an array an attribute. The same for equal answers."""
    # NumPy gives the archive's members no time.
    entries: dict[str, Any] = asdict(answers)
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **entries)
    return file.getvalue()


def unpack(content: bytes) -> Answers:
    """The answers that `pack` made into these bytes."""
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return Answers(**arrays | {"test_sha256": str(arrays["test_sha256"])})


def _sha256(*arrays: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
