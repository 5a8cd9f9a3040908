"""Settings: the one place where the environment is read.

Entry points build a `Settings` and pass it (or a value of it) on; no other module reads `os.environ`.
"""

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import AliasChoices, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import ConfigurationError

MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Every setting of the service. Each is read from `NUMERAL_<NAME>` unless it says otherwise."""

    model_config = SettingsConfigDict(env_prefix="NUMERAL_", frozen=True, populate_by_name=True)

    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL (`sqlite:///…` or `postgresql://…`); without it, SQLite in the data directory.",
    )
    data_dir: Path = Field(
        default=Path("numeral-data"),
        description="Where the SQLite database and the demo's log are kept.",
    )
    datasets_dir: Path | None = Field(
        default=None,
        description="A folder with dataset files (`mnist.npz`) that is looked at before the cache and the network.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("numeral"),
        description="Where downloaded datasets are kept; by default the user's cache folder.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the API listens on.")
    engine: Literal["local"] = Field(
        default="local", description="What runs trainings: `local` is one child process per experiment."
    )
    slots: int = Field(default=1, ge=1, le=64, description="How many experiments one worker trains at a time.")
    keras_backend: Literal["tensorflow", "jax"] = Field(
        default="tensorflow",
        validation_alias=AliasChoices("KERAS_BACKEND"),
        description="Keras backend that trainings run on (read from `KERAS_BACKEND`, without prefix).",
    )
    lease_seconds: float = Field(
        default=30.0, ge=1, description="How long a worker that is not heard of keeps its experiment, in seconds."
    )
    heartbeat_seconds: float = Field(
        default=2.0,
        gt=0,
        description="How often a worker renews its leases and says that it is alive, in seconds.",
    )
    poll_seconds: float = Field(
        default=0.25,
        gt=0,
        description="How often an event stream looks at the database, and a worker that nothing woke, in seconds.",
    )
    checkpoint_seconds: float = Field(
        default=30.0,
        ge=0,
        description="Time between a training's checkpoints, in seconds; what came after one is lost with the worker.",
    )
    retry_seconds: float = Field(
        default=2.0,
        ge=0,
        description="Pause before a second attempt after a lost process, in seconds; doubles with each further one.",
    )
    grace_seconds: float = Field(
        default=20.0,
        ge=0,
        description="How long a worker that is told to end waits for its trainings' checkpoints, in seconds.",
    )
    max_body_bytes: int = Field(
        default=32 * MEBIBYTE, ge=1024, description="Largest request body that is accepted, in bytes (413 beyond it)."
    )
    max_image_pixels: int = Field(
        default=25_000_000,
        ge=1,
        description="Largest picture that is decoded, in pixels; a request's pictures may have 4 times as many in all.",
    )
    api_processes: int = Field(
        default=1, ge=1, le=256, description="How many processes of the API share its port (Linux only beyond 1)."
    )
    inference_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads that classify in one API process; by default its share of the processors it may use.",
    )
    max_batch: int = Field(default=32, ge=1, le=1024, description="Most images that are classified in one go.")
    max_waiting_requests: int = Field(
        default=256,
        ge=1,
        description="With so many requests waiting in one API process, further ones are answered 429.",
    )
    model_memory_bytes: int = Field(
        default=1024 * MEBIBYTE,
        ge=1,
        description="Memory for loaded models in one API process, in bytes; those used last are kept, one at least.",
    )
    server: str = Field(
        default="http://127.0.0.1:8000", description="Service that the command line and the Python client talk to."
    )
    api_key: str | None = Field(
        default=None, description="Sent by the client as a bearer token, for servers behind an authenticating proxy."
    )

    @field_validator("heartbeat_seconds")
    @classmethod
    def _beats_twice_a_lease(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds")
        if lease is not None and value > lease / 2:
            raise ValueError(f"it must be at most half of the lease, which is {lease:g} s")
        return value

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force: the given one, or SQLite in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'numeral.db'}"


def load_settings(**overrides: object) -> Settings:
    """Build settings from the environment; an override that is None is as if it were not given.

    Raises:
        ConfigurationError: a value does not parse; the message names the variable.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        variable = name if name.isupper() else f"NUMERAL_{name.upper()}"
        raise ConfigurationError(
            f"{variable}={first['input']!r} is not usable: {first['msg'].removeprefix('Value error, ')}"
        ) from None
