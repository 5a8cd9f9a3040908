"""Which model answers: the alias or id of a request, resolved and loaded, the last used ones kept."""

from collections import OrderedDict
from threading import Lock

from sqlalchemy import Engine

from service.inference.session import ClassifierSession
from service.schemas import ServedModel
from service.store import artifacts, registry
from service.store.database import reading


class Models:
    """Loads models out of the database and keeps at most `size` of them."""

    def __init__(self, database: Engine, size: int, threads: int) -> None:
        self._database = database
        self._size = size
        self._threads = threads
        self._loaded: OrderedDict[int, ClassifierSession] = OrderedDict()
        self._lock = Lock()

    def get(self, reference: str) -> tuple[ServedModel, ClassifierSession]:
        """The model that an alias or an id stands for at this moment, ready to run.

        Raises:
            UnknownModel: there is none.
        """
        with reading(self._database) as session:
            model = registry.resolve(session, reference)
        # Loading under the lock: many requests for a new model load it once. A model's file never changes, so one that
        # is loaded stays right.
        with self._lock:
            loaded = self._loaded.pop(model.id, None) or self._load(model.id)
            self._loaded[model.id] = loaded
            while len(self._loaded) > self._size:
                self._loaded.popitem(last=False)
        return model, loaded

    def _load(self, experiment_id: int) -> ClassifierSession:
        with reading(self._database) as session:
            onnx = artifacts.get(session, experiment_id, "model.onnx").content
        return ClassifierSession(onnx, self._threads)
