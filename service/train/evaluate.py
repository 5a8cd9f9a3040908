"""What a model does with the test set; scikit-learn computes the figures."""

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from service.data.dataset import Labels
from service.schemas import ClassReport, Evaluation
from service.specs.shapes import CLASSES

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""


def evaluate(probabilities: NDArray[np.float32], labels: Labels, loss: str) -> Evaluation:
    """Loss, accuracy, confusion matrix, per-class figures and calibration error.

    Args:
        probabilities: `(n, 10)`, one row per image.
        labels: `(n,)` true digits.
        loss: name of the loss the model was trained with.
    """
    digits = np.arange(CLASSES)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    mean_loss = keras.ops.mean(keras.losses.get(loss)(one_hot, probabilities))
    # A digit that is never predicted has precision 0 here, without a warning.
    per_class = precision_recall_fscore_support(labels, predicted, labels=digits, zero_division=0.0)
    return Evaluation(
        loss=float(keras.ops.convert_to_numpy(mean_loss)),
        accuracy=float(accuracy_score(labels, predicted)),
        labels=digits.tolist(),
        confusion_matrix=confusion_matrix(labels, predicted, labels=digits).tolist(),
        per_class=[
            ClassReport(label=int(label), precision=precision, recall=recall, f1=f1, support=int(support))
            for label, precision, recall, f1, support in zip(digits, *per_class, strict=True)
        ],
        expected_calibration_error=calibration_error(probabilities.max(axis=1), predicted == labels),
    )


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """How far confidence and accuracy are apart, from 0 to 1: the expected calibration error of Guo et al. 2017 ("On
    Calibration of Modern Neural Networks", equation 3), over equal-width bins that are open below and closed above.

    Args:
        confidence: `(n,)` probabilities of the predicted digits.
        right: `(n,)`, whether these are the true ones.
    """
    exact = confidence.astype(np.float64)
    bins = np.clip(np.ceil(exact * BINS).astype(np.int64) - 1, 0, BINS - 1)
    # A bin's share times its gap: the sizes cancel out.
    gaps = np.bincount(bins, weights=exact - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(exact))
