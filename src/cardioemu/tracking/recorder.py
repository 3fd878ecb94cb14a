"""The calls of a run on MLflow; each takes plain values only, so that it can be stored on disk."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.image import imread
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import client as mlflow_client

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import atomic_write
from cardioemu.tracking.registry.log_model import log_emulator
from cardioemu.tracking.ui import page, save_views

RUN_ID = "mlflow_run_id"
PARENT, DESCRIPTION = "mlflow.parentRunId", "mlflow.note.content"
# A run's page shows thumbnails of 256 pixels, too small to see an AP. Full-size thumbnails fill their card.
mlflow_client.compress_image_size = lambda image, max_size=None: image
UNSENT_PARENT = "unsent:"  # and the folder of a parent that has no id yet


class Recorder:
    """Performs the calls of one run.

    Args:
        connect: returns a client and the experiment's id.
        folder: the run folder, which holds the run's id; paths in calls are relative to it.
    """

    def __init__(self, connect: Callable[[], tuple[MlflowClient, str]], folder: Path) -> None:
        self.connect, self.folder = connect, folder

    @cached_property
    def _connection(self) -> tuple[MlflowClient, str]:
        return self.connect()

    @property
    def client(self) -> MlflowClient:
        """A client of the database or server."""
        return self._connection[0]

    @property
    def experiment_id(self) -> str:
        """Id of the run's experiment."""
        return self._connection[1]

    @property
    def run_id(self) -> str | None:
        """Id of the run, None before MLflow has it."""
        return _read_run_id(self.folder)

    @property
    def _run(self) -> str:
        assert self.run_id is not None, "a run's first call is begin"
        return self.run_id

    def perform(self, call: str, arguments: Mapping[str, Any]) -> None:
        """Perform one call by its name."""
        getattr(self, call)(**arguments)

    def begin(self, tags: dict[str, str], time_ms: int) -> None:
        """Create the run, or resume the one whose id the folder holds.

        Raises:
            UserError: MLflow has no run of that id.
        """
        if (parent := tags.get(PARENT, "")).startswith(UNSENT_PARENT):
            sweep = parent.removeprefix(UNSENT_PARENT)
            if (parent_id := _read_run_id(Path(sweep))) is None:
                raise UserError(f"tracking: the runs of the sweep {sweep} are sent after it, and it is not sent yet")
            tags = tags | {PARENT: parent_id}
        if (run_id := self.run_id) is None:
            run_id = self.client.create_run(self.experiment_id, start_time=time_ms, tags=tags).info.run_id
            with atomic_write(self.folder / RUN_ID) as file:
                file.write_text(run_id, encoding="utf-8")
            return
        try:
            self.tags(tags)  # before the status: a running run of a dead process would be closed as stale
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.get_http_status_code() != 404:
                raise
            raise UserError(
                f"tracking: the run {run_id} of {self.folder} does not exist there; resume with the database or server "
                f"where it started, or delete {self.folder / RUN_ID} for a new run"
            ) from error

    def tags(self, values: dict[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self._run, tags=[RunTag(*item) for item in values.items()])

    def params(self, values: dict[str, str]) -> None:
        """Record params; those that the run has keep their values, since MLflow allows no change."""
        known = self.client.get_run(self._run).data.params
        params = [Param(*item) for item in values.items() if item[0] not in known]
        self.client.log_batch(self._run, params=params)

    def metrics(self, values: dict[str, float], step: int, time_ms: int) -> None:
        """Record metrics at a step; the same metric at the same time counts once."""
        self.client.log_batch(self._run, metrics=[Metric(key, v, time_ms, step) for key, v in values.items()])

    def image(self, key: str, step: int, time_ms: int, png: str = "", path: str = "") -> None:
        """Record a picture as one step of an image with a slider; an earlier version kept it as a file, at `path`."""
        image = imread(BytesIO(b64decode(png)) if png else self.folder / path)[..., :3]
        self.client.log_image(self._run, image, key=key, step=step, timestamp=time_ms)

    def file(self, path: str, folder: str | None) -> None:
        """Record a copy of a file."""
        self.client.log_artifact(self._run, str(self.folder / path), folder)

    def text(self, text: str, name: str) -> None:
        """Record a text as a file."""
        self.client.log_text(self._run, text, name)

    def describe(self, text: str, pages: dict[str, str]) -> None:
        """Set the description: a text in Markdown and, by title, links to pages of the run or to its view."""
        run, view = f"#/experiments/{self.experiment_id}/runs/{self._run}", page(self.experiment_id, self._run)
        links = [
            f"[{title}]({f'{run}/{name}?workflowType=machine_learning' if name else view})"
            for title, name in pages.items()
        ]
        self.tags({DESCRIPTION: f"{text}\n\n{' · '.join(links)}"})

    def view(self, settings: list[str]) -> None:
        """Show the settings of a sweep in the table of runs, and save a view of its runs."""
        save_views(self.client, self.client.get_experiment(self.experiment_id), settings, self._run)

    def dataset(self, name: str, digest: str, source: str, profile: str) -> None:
        """Record what the run was made from."""
        dataset = Dataset(name, digest, source_type="local", source=source, profile=profile)
        self.client.log_inputs(self._run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def model(self, path: str, register: str | None) -> None:
        """Record a checkpoint as a model that can be served."""
        log_emulator(self.client, self._run, self.folder / path, register)

    def end(self, status: str, time_ms: int) -> None:
        """End the run."""
        self.client.set_terminated(self._run, status, time_ms)


def _read_run_id(folder: Path) -> str | None:
    path = folder / RUN_ID
    return path.read_text(encoding="utf-8").strip() if path.exists() else None
