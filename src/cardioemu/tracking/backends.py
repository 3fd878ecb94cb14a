"""Where runs are recorded: a local database file, or a team's server."""

import logging
import re
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from mlflow import MlflowClient
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError
from cardioemu.tracking.failures import failures_as_user_error
from cardioemu.tracking.run import Run
from cardioemu.tracking.tracking import Tracking


@dataclass(frozen=True, kw_only=True)
class Sqlite(Tracking):
    """A local database file.

    Attributes:
        database: SQLite file of all runs.
        artifacts: folder of their artifacts: figures, configs, tables.
    """

    database: Path
    artifacts: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        if re.search(r"\w\w:/", self.database.as_posix()):  # not repeated in the message: it may hold a password
            raise UserError(
                "tracking.database: got an address; allowed is the path of an SQLite file; for a server set "
                "tracking=server tracking.uri=http://HOST:PORT"
            )

    @property
    def store(self) -> str:
        """Argument of `mlflow ui --backend-store-uri`."""
        return f"sqlite:///{self.database.resolve()}"

    def ui_location(self, run: Run) -> str:
        """Return the command that starts the user interface, and the page."""
        return f"cardioemu ui, then http://127.0.0.1:5000/{self._page(run)}"

    def connect(self) -> tuple[MlflowClient, str]:
        """Open the database, which is created if needed."""
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        with failures_as_user_error(
            f"tracking.database: got {self.database}, which cannot be opened or created (REASON); allowed is an SQLite "
            "file of MLflow, or a new file in a writable folder"
        ):
            self.database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.database}.lock"):  # two processes that set up one file would both fail
                client = MlflowClient(self.store)
                return client, self._experiment(client, self.artifacts.resolve().as_uri())


@dataclass(frozen=True, kw_only=True)
class Server(Tracking):
    """A team's MLflow server; MLflow reads user and password, or a token, from the environment.

    Attributes:
        uri: address of the server, http:// or https://.
    """

    uri: str

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
                f"tracking.uri: got {self.uri!r}; allowed is http://HOST:PORT or https://HOST:PORT; set it here or in "
                "MLFLOW_TRACKING_URI"
            )

    @property
    def store(self) -> str:
        """Address of the server."""
        return self.uri

    def ui_location(self, run: Run) -> str:
        """Return the page of the server."""
        if run.id is None:
            return f"{self.uri}, after cardioemu sync has sent the run"
        try:
            return f"{self.uri}/{self._page(run)}"
        except UserError:  # the server cannot be reached any more
            return self.uri

    def connect(self) -> tuple[MlflowClient, str]:
        """Connect to the server."""
        with failures_as_user_error(
            f"tracking.uri: the MLflow server at {self.uri} does not answer (REASON); start it, or set "
            "tracking.offline=true and send the run later"
        ):
            client = MlflowClient(self.store)
            return client, self._experiment(client, None)
