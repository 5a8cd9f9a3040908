"""Fills an MLflow store with finished runs: six epochs of four metrics, and eight parameters each.

<an environment with mlflow>/bin/python mlflow_runs.py sqlite:///runs.db 2000
"""

import sys
import time

from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.tracking import MlflowClient

PARAMETERS = ("batch_size", "seed", "epochs", "optimizer", "learning_rate", "dataset", "loss", "model")
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def main() -> None:
    """Fill it; prints the experiment's id."""
    uri, count = sys.argv[1], int(sys.argv[2])
    client = MlflowClient(uri)
    experiment = client.create_experiment("digits")
    for number in range(count):
        run = client.create_run(experiment, run_name=f"experiment {number}").info.run_id
        now = int(time.time() * 1000)
        metrics = [Metric(name, epoch / (number + 7), now, epoch) for name in METRICS for epoch in range(1, 7)]
        parameters = [Param(name, str(number % 4)) for name in PARAMETERS]
        client.log_batch(run, metrics, parameters, [RunTag("night", "1")])
        client.set_terminated(run, RunStatus.to_string(RunStatus.FINISHED))
    print(experiment)


if __name__ == "__main__":
    main()
