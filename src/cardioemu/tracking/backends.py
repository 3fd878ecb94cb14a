"""What runs are recorded in: a database file of one's own, or a team's server."""

import logging
import re
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from mlflow import MlflowClient
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError, first_line
from cardioemu.tracking.failures import FAILURES
from cardioemu.tracking.run import Run
from cardioemu.tracking.tracking import Tracking


@dataclass(frozen=True, kw_only=True)
class Sqlite(Tracking):
    """A database file of one's own.

    Attributes:
        database: SQLite file of all runs.
        artifacts: folder of figures, configs and the like.
    """

    database: Path
    artifacts: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        if re.search(r"\w\w:/", self.database.as_posix()):  # what it says may be a password
            raise UserError(
                "tracking.database: got an address; allowed is the path of an SQLite file, for a server "
                "tracking=server tracking.uri=http://HOST:PORT"
            )

    @property
    def store(self) -> str:
        """What `mlflow ui --backend-store-uri` takes."""
        return f"sqlite:///{self.database.resolve()}"

    def ui_location(self, run: Run) -> str:
        """Says that the UI is to be started, and its page."""
        return f"make ui, then http://127.0.0.1:5000/{run.page}"

    def connect(self) -> tuple[MlflowClient, str]:
        """Opens the database, made with its experiment when it is not there.

        Two processes on a fresh SQLite file would both set it up and fail, hence the lock.

        Raises:
            UserError: it cannot be opened or made.
        """
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        try:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.database}.lock"):
                client = MlflowClient(self.store)
                return client, self._experiment(client, self.artifacts.resolve().as_uri())
        except FAILURES as error:
            raise UserError(
                f"tracking.database: {self.database} cannot be opened or made ({first_line(error)}); "
                "give the path of a MLflow SQLite file, or of a new one in a folder that can be written"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Server(Tracking):
    """A team's MLflow server; user and password, or a token, come from the environment as MLflow reads them.

    Attributes:
        uri: address of the server, http:// or https://.
        offline: whether a run is kept on disk until it ends, so that it may begin without the server.
    """

    uri: str
    offline: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = urlsplit(self.uri)
        if parts.username or parts.password:
            raise UserError(
                "tracking.uri: got an address with a user or a password in it, which would be recorded; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"tracking.uri: got {self.uri!r}; allowed is http://HOST:PORT or https://HOST:PORT, here or in "
                "MLFLOW_TRACKING_URI"
            )

    @property
    def store(self) -> str:
        """The server's address."""
        return self.uri

    @property
    def waits(self) -> bool:
        """Whether the run is sent when it ends."""
        return self.offline

    def ui_location(self, run: Run) -> str:
        """Gives the server's page, once the run is there."""
        if run.id is None:
            return f"{self.uri}, once python sync.py has sent the run"
        try:
            return f"{self.uri}/{run.page}"
        except UserError:  # it has gone away since
            return self.uri

    def connect(self) -> tuple[MlflowClient, str]:
        """Asks the server for the experiment.

        Raises:
            UserError: it does not answer, or refuses.
        """
        try:
            client = MlflowClient(self.store)
            return client, self._experiment(client, None)
        except FAILURES as error:
            raise UserError(
                f"tracking.uri: the MLflow server at {self.uri} does not answer ({first_line(error)}); start "
                "it, or set tracking.offline=true and send the run later"
            ) from error
