"""A client of the service's HTTP API; returns `service.schemas`, raises `service.errors`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypedDict, Unpack

import httpx
import httpx_sse
from pydantic import ValidationError

from service import schemas
from service.card import Variant
from service.errors import InvalidInput, ServiceError, Unreachable
from service.promotion import AliasTarget
from service.schemas import DEFAULT_ALIAS
from service.specs.experiment import ExperimentSpec
from service.specs.sweep import SweepSpec
from service.states import TERMINAL, State
from service.transport import Transport, segment

RECONNECT_SECONDS = 1.0
RESTART_SECONDS = 60.0
STATES = frozenset(State)
"""The events that tell of a new state."""


class StreamEvent(NamedTuple):
    """One server-sent event: its type, its JSON, and its number; `progress` has none."""

    type: str
    data: dict[str, Any]
    number: int | None


class PredictOptions(TypedDict, total=False):
    """How images are to be classified; what is left out, or None, is the service's default.

    Attributes:
        preprocess: what happens to an image before the model sees it.
        explain: answer with what the model saw, too.
        threshold: confidence from 0 to 1 under which an image is not taken for a digit.
    """

    preprocess: schemas.Preprocess | None
    explain: bool | None
    threshold: float | None


class Client:
    """Talks to one service.

    Every method raises `Unreachable` if no answer comes, `ServiceError` with the problem document's text if the service
    refuses (or answers as Numeral would not), and `InvalidInput` for what cannot be sent at all.
    """

    def __init__(self, server: str, api_key: str | None = None, timeout: float = 60.0) -> None:
        self._transport = Transport(server, api_key, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def health(self) -> schemas.Health:
        """What `/readyz` answers."""
        return self._transport.get(schemas.Health, "/readyz")

    def wait_until_ready(self, seconds: float) -> schemas.Health:
        """Ask until the service is ready; raises the last error when `seconds` are over."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.health()
            except ServiceError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def submit(
        self, spec: ExperimentSpec | Mapping[str, Any], *, idempotency_key: str | None = None, reuse: bool = False
    ) -> schemas.Experiment:
        """Put an experiment into the queue.

        Args:
            spec: what to train.
            idempotency_key: sent again with the same spec, it gives the same experiment instead of a second one.
            reuse: queue nothing if an experiment with the same spec, data and code has succeeded; it is returned.
        """
        body = spec.model_dump(mode="json") if isinstance(spec, ExperimentSpec) else dict(spec)
        if reuse:
            body["reuse"] = True
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._transport.ask(schemas.Experiment, "POST", "/v1/experiments", json=body, headers=headers)

    def experiment(self, experiment_id: int) -> schemas.Experiment:
        """One experiment's record."""
        return self._transport.get(schemas.Experiment, f"/v1/experiments/{experiment_id}")

    def experiments(
        self, *, state: State | None = None, tag: str | None = None, sweep: int | None = None, limit: int = 50
    ) -> Iterator[schemas.Experiment]:
        """Newest first, at most `limit`; further pages are fetched as they are needed."""
        for page in self._transport.pages(schemas.Page, "/v1/experiments", limit, state=state, tag=tag, sweep=sweep):
            yield from page.items

    def cancel(self, experiment_id: int) -> schemas.Experiment:
        """Cancel: a queued or paused experiment at once, a running one as soon as its worker sees it."""
        return self._ask(experiment_id, "cancel")

    def pause(self, experiment_id: int) -> schemas.Experiment:
        """Let it wait: a queued experiment at once, a running one as soon as its worker has stored a checkpoint."""
        return self._ask(experiment_id, "pause")

    def resume(self, experiment_id: int) -> schemas.Experiment:
        """Let a paused experiment go on from its checkpoint, or withdraw the request to pause a running one."""
        return self._ask(experiment_id, "resume")

    def retry(self, experiment_id: int) -> schemas.Experiment:
        """Begin a failed or cancelled experiment anew."""
        return self._ask(experiment_id, "retry")

    def delete(self, experiment_id: int) -> None:
        """Forget an experiment with all that belongs to it. Not while it runs, or while an alias means its model."""
        self._transport.delete(f"/v1/experiments/{experiment_id}")

    def attempts(self, experiment_id: int) -> list[schemas.Attempt]:
        """Which worker held it from when until when, and what ended that."""
        return self._transport.get(schemas.Attempts, f"/v1/experiments/{experiment_id}/attempts").items

    def metrics(self, experiment_id: int) -> list[schemas.EpochMetrics]:
        """The epochs that are finished."""
        return self._transport.get(schemas.Metrics, f"/v1/experiments/{experiment_id}/metrics").items

    def evaluation(self, experiment_id: int) -> schemas.Evaluation:
        """What the exported model does with the test set."""
        return self._transport.get(schemas.Evaluation, f"/v1/experiments/{experiment_id}/evaluation")

    def misclassified(
        self, experiment_id: int, *, actual: int | None = None, predicted: int | None = None, limit: int = 50
    ) -> Iterator[schemas.Misclassified]:
        """The test images that the model takes for another digit, most confident first, at most `limit`; further pages
        are fetched as they are needed."""
        path = f"/v1/experiments/{experiment_id}/misclassified"
        pages = self._transport.pages(schemas.MisclassifiedPage, path, limit, actual=actual, predicted=predicted)
        for page in pages:
            yield from page.items

    def thumbnail(self, experiment_id: int, index: int) -> bytes:
        """A misclassified test image as a PNG of 28×28 grey pixels, by its place in the test set."""
        return self._transport.send("GET", f"/v1/experiments/{experiment_id}/misclassified/{index}.png").content

    def comparison(self, experiment_id: int, other: int) -> schemas.Comparison:
        """Whether one of two experiments is better on the same test images, or the difference may be chance."""
        path = f"/v1/experiments/{experiment_id}/comparison"
        return self._transport.get(schemas.Comparison, path, params={"with": other})

    def artifacts(self, experiment_id: int) -> list[schemas.Artifact]:
        """An experiment's files, without their content."""
        return self._transport.get(schemas.Artifacts, f"/v1/experiments/{experiment_id}/artifacts").items

    def download(self, experiment_id: int, name: str) -> bytes:
        """A file's content."""
        path = f"/v1/experiments/{experiment_id}/artifacts/{segment(name)}"
        return self._transport.send("GET", path).content

    def presets(self) -> list[schemas.Preset]:
        """All presets."""
        return self._transport.get(schemas.Presets, "/v1/presets").items

    def datasets(self) -> list[schemas.Dataset]:
        """All datasets."""
        return self._transport.get(schemas.Datasets, "/v1/datasets").items

    def create_sweep(self, spec: SweepSpec | Mapping[str, Any]) -> schemas.SweepDetails:
        """Begin a sweep."""
        body = spec.model_dump(mode="json") if isinstance(spec, SweepSpec) else dict(spec)
        return self._transport.ask(schemas.SweepDetails, "POST", "/v1/sweeps", json=body)

    def sweep(self, sweep_id: int) -> schemas.SweepDetails:
        """One sweep with its trials, the best first."""
        return self._transport.get(schemas.SweepDetails, f"/v1/sweeps/{sweep_id}")

    def sweeps(self, *, limit: int = 20) -> Iterator[schemas.Sweep]:
        """Newest first, at most `limit`; further pages are fetched as they are needed."""
        for page in self._transport.pages(schemas.Sweeps, "/v1/sweeps", limit):
            yield from page.items

    def sweep_table(self, sweep_id: int) -> str:
        """A sweep's trials as CSV, the best first."""
        return self._transport.send("GET", f"/v1/sweeps/{sweep_id}/trials.csv").text

    def cancel_sweep(self, sweep_id: int) -> schemas.SweepDetails:
        """End a sweep, and all of its trials."""
        return self._transport.ask(schemas.SweepDetails, "POST", f"/v1/sweeps/{sweep_id}/cancel")

    def workers(self) -> list[schemas.Worker]:
        """The workers that have not said goodbye."""
        return self._transport.get(schemas.Workers, "/v1/workers").items

    def models(self) -> list[schemas.Model]:
        """All models, newest first."""
        return self._transport.get(schemas.Models, "/v1/models").items

    def model(self, reference: str | int) -> schemas.ModelDetails:
        """One model with its files, by an alias or its id."""
        return self._transport.get(schemas.ModelDetails, f"/v1/models/{segment(str(reference))}")

    def aliases(self) -> list[schemas.Alias]:
        """The names that models are served under, and what each means."""
        return self._transport.get(schemas.Aliases, "/v1/models/aliases").items

    def alias(self, alias: str) -> schemas.Alias:
        """What an alias means, and what it found out as a shadow."""
        return self._transport.get(schemas.Alias, _alias(alias))

    def history(self, alias: str = DEFAULT_ALIAS) -> list[schemas.AliasChange]:
        """What an alias has meant, newest first."""
        return self._transport.get(schemas.AliasHistory, f"{_alias(alias)}/history").items

    def promote(
        self,
        experiment_id: int,
        alias: str = DEFAULT_ALIAS,
        *,
        variant: Variant = Variant.FP32,
        shadows: str | None = None,
        minimum_accuracy: float | None = None,
        not_worse: bool = False,
    ) -> schemas.Alias:
        """Let an alias mean an experiment's model from now on.

        Args:
            experiment_id: whose model.
            alias: what it shall be called.
            variant: the precision that it is served in.
            shadows: another alias; what that is asked this alias's model answers, too, to be compared.
            minimum_accuracy: gate: its test accuracy at least.
            not_worse: gate: as accurate as what the alias means, on the same test set.
        """
        try:
            target = AliasTarget(
                experiment_id=experiment_id,
                variant=variant,
                shadows=shadows,
                minimum_accuracy=minimum_accuracy,
                not_worse=not_worse,
            )
        except ValidationError as error:
            raise InvalidInput(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}.") from None
        return self._transport.ask(schemas.Alias, "PUT", _alias(alias), json=target.model_dump(mode="json"))

    def rollback(self, alias: str = DEFAULT_ALIAS) -> schemas.Alias:
        """Let an alias mean what it meant before it was set last. A second time leads back."""
        return self._transport.ask(schemas.Alias, "POST", f"{_alias(alias)}/rollback")

    def delete_alias(self, alias: str) -> None:
        """Let an alias mean nothing. Its history stays."""
        self._transport.delete(_alias(alias))

    def events(self, experiment_id: int, after: int = 0) -> Iterator[StreamEvent]:
        """An experiment's events until it has ended; those of a retried one go on after its earlier end. A stream that
        breaks, or that the service ends because it shuts down, is taken up again where it ended."""
        seen = after
        while True:
            try:
                # Asked before the stream: what has ended by then is told of in it, to the last event.
                over = self.experiment(experiment_id).state in TERMINAL
                for event in self._transport.events(f"/v1/experiments/{experiment_id}/events", seen):
                    # An event without an id of its own repeats the last one.
                    number = int(event.id) if event.id and event.event != "progress" else None
                    seen = number or seen
                    if event.event in STATES:
                        over = event.event in TERMINAL
                    yield StreamEvent(event.event, event.json(), number)
            except httpx_sse.SSEError:
                raise ServiceError(f"{self._transport.server} does not answer as Numeral does.") from None
            except (httpx.TransportError, Unreachable):
                over = False
            if over:
                return
            time.sleep(RECONNECT_SECONDS)
            self.wait_until_ready(RESTART_SECONDS)

    def predict_files(
        self, files: Sequence[tuple[str, bytes]], model: str | None = None, **options: Unpack[PredictOptions]
    ) -> schemas.Predictions:
        """Classify encoded pictures, given as (name, content)."""
        return self._predict(model, options, files=[("file", file) for file in files])

    def predict_numbers(
        self, images: Sequence[Any], model: str | None = None, **options: Unpack[PredictOptions]
    ) -> schemas.Predictions:
        """Classify images of 28×28 or 784 numbers in 0–255 each."""
        return self._predict(model, options, json={"images": list(images)})

    def predict_bytes(
        self, pixels: bytes, model: str | None = None, **options: Unpack[PredictOptions]
    ) -> schemas.Predictions:
        """Classify N × 784 unsigned bytes."""
        return self._predict(model, options, content=pixels, headers={"Content-Type": "application/octet-stream"})

    def _predict(self, model: str | None, options: PredictOptions, **request: Any) -> schemas.Predictions:
        path = f"/v1/models/{segment(model)}/predict" if model else "/v1/predict"
        given = {name: value for name, value in options.items() if value is not None}
        return self._transport.ask(schemas.Predictions, "POST", path, params=given, **request)

    def _ask(self, experiment_id: int, what: str) -> schemas.Experiment:
        return self._transport.ask(schemas.Experiment, "POST", f"/v1/experiments/{experiment_id}/{what}")


def _alias(alias: str) -> str:
    return f"/v1/models/aliases/{segment(alias)}"
