"""MLflow, known to this package only: one database, runs that end as what they were."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis
from pydantic.dataclasses import dataclass
from sqlalchemy.exc import SQLAlchemyError

from cardioemu.errors import UserError
from cardioemu.machine import rank
from cardioemu.tracking.provenance import git_state, machine, packages

RUN_ID = "mlflow_run_id"
PARENT = "mlflow.parentRunId"
# Without it the UI greets with pages for language models, where training runs are hard to find.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True)
class Tracking:
    """Where runs are recorded.

    Attributes:
        database: SQLite file of all runs.
        artifacts: folder of figures, configs and the like.
        experiment: name under which the runs stand in the UI.
        run_name: shown in the UI; None takes the run folder's name, a sweep sets what distinguishes each run.
        parent_run_id: the sweep this run belongs to; set by a sweep itself.
    """

    database: Path
    artifacts: Path
    experiment: str
    run_name: str | None = None
    parent_run_id: str | None = None

    @property
    def uri(self) -> str:
        """What `mlflow ui --backend-store-uri` takes."""
        return f"sqlite:///{self.database.resolve()}"

    def client(self) -> tuple[MlflowClient, str]:
        """Opens the database, made with its experiment when it is not there, and returns the experiment's id with it.

        Two processes on a fresh SQLite file would both set it up and fail, hence the lock.
        """
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        try:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.database}.lock"):
                client = MlflowClient(self.uri)
                experiment = client.get_experiment_by_name(self.experiment)
                if experiment is not None:
                    return client, experiment.experiment_id
                location = self.artifacts.resolve().as_uri()
                return client, client.create_experiment(self.experiment, location, tags=EXPERIMENT_TAGS)
        except (OSError, MlflowException, SQLAlchemyError) as error:
            raise UserError(
                f"tracking.database: {self.database} cannot be opened or made ({str(error).splitlines()[0]}); "
                "give the path of a MLflow SQLite file, or of a new one in a folder that can be written"
            ) from error

    @contextmanager
    def run(self, name: str, config: Mapping[str, Any], folder: Path | None = None) -> Iterator["Run"]:
        """Opens a run, or the one that `folder` was begun with, and ends it as finished, failed or killed.

        Args:
            name: shown in the UI where `run_name` is not set.
            config: the resolved config, recorded as flat params.
            folder: the run folder, which remembers the run's id for a later resume.

        Of several processes that train together the first records the run.
        """
        if rank() > 0:
            yield Unrecorded()
            return
        client, experiment_id = self.client()
        remembered = folder / RUN_ID if folder else None
        if remembered and remembered.exists():
            run = Run(client, experiment_id, remembered.read_text(encoding="utf-8").strip())
            try:
                client.update_run(run.id, status="RUNNING")
            except MlflowException as error:
                raise UserError(
                    f"tracking.database: {self.database} does not hold the run {run.id} of {folder}; "
                    "resume where it began, or give its database"
                ) from error
        else:
            tags = {
                "mlflow.runName": self.run_name or name,
                **({PARENT: self.parent_run_id} if self.parent_run_id else {}),
            }
            run = Run(client, experiment_id, client.create_run(experiment_id, tags=tags).info.run_id)
            if remembered:
                remembered.write_text(run.id, encoding="utf-8")
        run.describe(config)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            client.set_terminated(run.id, status)


class Run:
    """One MLflow run that is being written."""

    def __init__(self, client: MlflowClient, experiment_id: str, run_id: str) -> None:
        self.client, self.experiment_id, self.id = client, experiment_id, run_id

    @property
    def page(self) -> str:
        """Where the UI shows the runs of this experiment, below its address."""
        return f"#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    def describe(self, config: Mapping[str, Any]) -> None:
        """Records the config as params and the code, packages and machine as tags and artifacts."""
        tags, diff = git_state()
        known = self.client.get_run(self.id).data.params
        # A param cannot be written twice: a resumed run keeps the ones it began with.
        params = [Param(key, str(value)) for key, value in flat(config).items() if key not in known]
        self.client.log_batch(self.id, params=params, tags=[RunTag(*tag) for tag in (tags | machine()).items()])
        self.client.log_text(self.id, packages(), "environment.txt")
        if diff:
            self.client.log_text(self.id, diff, "git.diff")

    def params(self, values: Mapping[str, Any]) -> None:
        """Records facts that the config does not hold: hashes, counts."""
        known = self.client.get_run(self.id).data.params
        self.client.log_batch(self.id, params=[Param(k, str(v)) for k, v in values.items() if k not in known])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Records numbers at an epoch."""
        now = get_current_time_millis()
        self.client.log_batch(self.id, metrics=[Metric(key, float(v), now, step) for key, v in values.items()])

    def image(self, figure: Figure, key: str, step: int) -> None:
        """Records a figure as one step of an image with a slider in the UI."""
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.client.log_image(self.id, np.asarray(canvas.buffer_rgba())[..., :3].copy(), key=key, step=step)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Records a copy of a file."""
        self.client.log_artifact(self.id, str(path), folder)


class Unrecorded(Run):
    """What a process is given whose run another records."""

    def __init__(self) -> None:
        self.id = ""

    def params(self, values: Mapping[str, Any]) -> None:
        """Records nothing."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Records nothing."""

    def image(self, figure: Figure, key: str, step: int) -> None:
        """Records nothing."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Records nothing."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings to dotted names; lists stay values.

    {"model": {"hidden": 256}, "seed": 1} -> {"model.hidden": 256, "seed": 1}
    """
    result: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        elif key != "_partial_":  # how Hydra builds a part: nothing to tell runs apart by
            result[f"{prefix}{key}"] = value
    return result
