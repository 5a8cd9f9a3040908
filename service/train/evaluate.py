"""What a model does with the test set; scikit-learn computes the figures."""

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from service.data.dataset import Labels
from service.schemas import ClassReport, Evaluation
from service.specs.shapes import CLASSES


def evaluate(probabilities: NDArray[np.float32], labels: Labels, loss: str) -> Evaluation:
    """Loss, accuracy, confusion matrix and per-class figures.

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
    )
