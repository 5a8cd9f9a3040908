"""The errors that Numeral raises on purpose.

    NumeralError
    ├── ConfigurationError         settings, schema or environment cannot work
    │   └── SchemaOutdated         `numeral db upgrade` would mend it
    ├── NotFound                   the caller named something that does not exist
    │   ├── UnknownExperiment
    │   ├── UnknownArtifact
    │   ├── UnknownModel
    │   ├── UnknownAlias
    │   ├── UnknownSweep
    │   └── NotReached             the experiment exists, but has not produced this yet
    ├── Conflict                   the request is well-formed, but the state forbids it
    │   ├── IllegalTransition
    │   ├── RequestInFlight
    │   ├── GateFailed             a model is not good enough for an alias
    │   └── ModelRefused           a model's file cannot be served
    ├── InvalidInput               the request's content cannot be used
    │   ├── InvalidImage
    │   ├── ImageTooLarge
    │   └── IdempotencyKeyReused
    ├── UnsupportedMedia           the request's content type is not one that is understood
    ├── Overloaded                 more waits to be classified than the service takes in
    ├── LeaseLost                  somebody else owns the experiment now; expected, never shown to users
    ├── TrainingFailed             ends an attempt; carries the code stored with the experiment
    │   ├── DatasetUnavailable     code dataset_unavailable
    │   ├── Diverged               code diverged
    │   └── ExportFailed           code export_failed
    └── ServiceError               raised by the client: what the service (or the way to it) answered
        └── Unreachable

Every class has a `code`, a stable machine-readable name. How a code becomes an HTTP status is the API's business
(`service.api.problems`).
"""

from typing import ClassVar


class NumeralError(Exception):
    """Base of all of Numeral's own errors; `str(error)` is one sentence for a person."""

    code: ClassVar[str] = "numeral_error"


class ConfigurationError(NumeralError):
    """The settings, the database schema or the installation cannot work as they are."""

    code = "configuration"


class SchemaOutdated(ConfigurationError):
    """The database's schema is older than this version's, or there is none yet."""

    code = "schema_outdated"


class NotFound(NumeralError):
    """Something that the caller named does not exist."""

    code = "not_found"


class UnknownExperiment(NotFound):
    """No experiment has this id."""

    code = "unknown_experiment"

    def __init__(self, experiment_id: object) -> None:
        super().__init__(f"There is no experiment {experiment_id}.")


class UnknownArtifact(NotFound):
    """The experiment has no artifact of this name (yet)."""

    code = "unknown_artifact"

    def __init__(self, experiment_id: int, name: str) -> None:
        super().__init__(f"Experiment {experiment_id} has no artifact {name!r}.")


class UnknownModel(NotFound):
    """A model was asked for by an alias or id that has none."""

    code = "unknown_model"


class UnknownAlias(NotFound):
    """No alias has this name."""

    code = "unknown_alias"

    def __init__(self, alias: str) -> None:
        super().__init__(f"There is no alias {alias!r}.")


class UnknownSweep(NotFound):
    """No sweep has this id."""

    code = "unknown_sweep"

    def __init__(self, sweep_id: object) -> None:
        super().__init__(f"There is no sweep {sweep_id}.")


class NotReached(NotFound):
    """The experiment exists, but it has not got as far as what was asked for."""

    code = "not_reached"


class Conflict(NumeralError):
    """The request is well-formed, but what it is about is in the wrong state for it."""

    code = "conflict"


class IllegalTransition(Conflict):
    """An experiment was asked to make a move that `service.states` does not allow."""

    code = "illegal_transition"


class RequestInFlight(Conflict):
    """A request with the same idempotency key is being carried out at this moment; ask again in a second."""

    code = "request_in_flight"


class GateFailed(Conflict):
    """A model did not pass what a promotion demands of it; the message has the figures."""

    code = "gate_failed"


class ModelRefused(Conflict):
    """A model's file is absent or broken, or does not say what it said when it was exported."""

    code = "model_refused"


class InvalidInput(NumeralError):
    """The content of a request cannot be used; the message says what is wrong with it."""

    code = "invalid_input"


class InvalidImage(InvalidInput):
    """An image is not an image, or not one that can be classified."""

    code = "invalid_image"


class ImageTooLarge(InvalidInput):
    """An image has more pixels than the service decodes."""

    code = "image_too_large"


class IdempotencyKeyReused(InvalidInput):
    """An idempotency key came with another request than the one that it was first sent with."""

    code = "idempotency_key_reused"


class UnsupportedMedia(NumeralError):
    """The request's content type is none of those that the route understands."""

    code = "unsupported_media"


class Overloaded(NumeralError):
    """More waits than is taken in; after `retry_seconds` there may be room."""

    code = "overloaded"

    def __init__(self, retry_seconds: int) -> None:
        super().__init__("The service has more to classify than it can: try again a little later.")
        self.retry_seconds = retry_seconds


class LeaseLost(NumeralError):
    """The writer no longer owns the experiment: its lease ran out, or it was given to another attempt."""

    code = "lease_lost"


class TrainingFailed(NumeralError):
    """A training cannot go on. The `code` is stored with the experiment."""

    code = "training_failed"


class DatasetUnavailable(TrainingFailed):
    """A dataset's files are not there and cannot be had; the message says which file to put where."""

    code = "dataset_unavailable"


class Diverged(TrainingFailed):
    """The training loss became NaN or infinite."""

    code = "diverged"


class ExportFailed(TrainingFailed):
    """The exported model could not be written, loaded or shown to agree with the trained one."""

    code = "export_failed"


class ServiceError(NumeralError):
    """The service refused a request of the client.

    Attributes:
        status: the HTTP status.
        problem: the problem document (RFC 9457), or an empty dict where the answer was none.
    """

    code = "service_error"

    def __init__(self, message: str, status: int = 0, problem: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class Unreachable(ServiceError):
    """No answer came from the service's address."""

    code = "unreachable"
