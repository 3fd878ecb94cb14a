"""What a run records, and how MLflow takes it."""

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.image import imread
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import client as mlflow_client
from mlflow.utils.time import get_current_time_millis

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.common.text import plural
from cardioemu.runtime.files import atomic_write
from cardioemu.runtime.progress import log_message
from cardioemu.tracking.failures import failures_as_user_error
from cardioemu.tracking.outbox import Outbox
from cardioemu.tracking.registry.log_model import log_emulator
from cardioemu.tracking.summary import summarise
from cardioemu.tracking.ui import page, save_views

RUN_ID = "mlflow_run_id"  # file of the run folder
FIRST = "Overview"  # the first section of charts on a run's page
PARENT, DESCRIPTION = "mlflow.parentRunId", "mlflow.note.content"
UNSENT_PARENT = "unsent:"  # and the folder of a parent that has no id yet
# A run's page shows thumbnails of 256 pixels, too small to see an AP. Full-size thumbnails fill their card.
mlflow_client.compress_image_size = lambda image, max_size=None: image


class Run:
    """What a job records of itself; no failure of MLflow ends the job.

    A method turns what it records into plain values, which its `_send_...` gives to MLflow, now or later from the disk.

    Args:
        connect: returns a client and the experiment's id.
        folder: the run folder, which holds the run's id; paths in records are relative to it.
        deferred: whether all records are kept until the run ends.
    """

    def __init__(self, connect: Callable[[], tuple[MlflowClient, str]], folder: Path, deferred: bool = False) -> None:
        self.connect, self.folder = connect, folder
        self.outbox = Outbox(folder, deferred)

    @cached_property
    def _connection(self) -> tuple[MlflowClient, str]:
        return self.connect()

    @property
    def _client(self) -> MlflowClient:
        return self._connection[0]

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the run's experiment."""
        return self._connection[1]

    @property
    def id(self) -> str | None:
        """MLflow's id of the run, None before it was sent."""
        return _read_id(self.folder)

    @property
    def _id(self) -> str:
        assert self.id is not None, "a run's first record is begin"
        return self.id

    def begin(self, tags: Mapping[str, str], required: bool = True) -> None:
        """Create the run, or resume it after sending its pending records.

        Raises:
            UserError: MLflow is required now, and cannot be reached or has no such run.
        """
        arguments = {"tags": dict(tags), "time_ms": get_current_time_millis()}
        if not required:
            self._record("begin", **arguments)
            return
        with failures_as_user_error("tracking: the run cannot be recorded (REASON)"):
            self.sync()
            self._perform("begin", arguments)

    def _send_begin(self, tags: dict[str, str], time_ms: int) -> None:
        if (parent := tags.get(PARENT, "")).startswith(UNSENT_PARENT):
            sweep = parent.removeprefix(UNSENT_PARENT)
            if (parent_id := _read_id(Path(sweep))) is None:
                raise UserError(f"tracking: the runs of the sweep {sweep} are sent after it, and it is not sent yet")
            tags = tags | {PARENT: parent_id}
        if self.id is None:
            run = self._client.create_run(self.experiment_id, start_time=time_ms, tags=tags)
            with atomic_write(self.folder / RUN_ID) as file:
                file.write_text(run.info.run_id, encoding="utf-8")
            return
        try:
            self._send_tags(tags)  # before the status: a running run of a dead process would be closed as stale
            self._client.update_run(self.id, status="RUNNING")
        except MlflowException as error:
            if error.get_http_status_code() != 404:
                raise
            raise UserError(
                f"tracking: the run {self.id} of {self.folder} does not exist there; resume with the database or "
                f"server where it started, or delete {self.folder / RUN_ID} for a new run"
            ) from error

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._record("tags", values=dict(values))

    def _send_tags(self, values: dict[str, str]) -> None:
        self._client.log_batch(self._id, tags=[RunTag(*item) for item in values.items()])

    def params(self, values: Mapping[str, Any]) -> None:
        """Record params; those that the run has keep their values, since MLflow allows no change."""
        self._record("params", values={key: str(value) for key, value in values.items()})

    def _send_params(self, values: dict[str, str]) -> None:
        known = self._client.get_run(self._id).data.params
        self._client.log_batch(self._id, params=[Param(*item) for item in values.items() if item[0] not in known])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record metrics at an epoch; the same metric at the same time counts once."""
        numbers = {key: float(value) for key, value in values.items()}
        if VALIDATION_METRIC in numbers:  # a copy, since charts are sorted by name and test/... precedes val/...
            numbers[f"{FIRST}/val_rmse_mV"] = numbers[VALIDATION_METRIC]
        self._record("metrics", values=numbers, step=step, time_ms=get_current_time_millis())

    def _send_metrics(self, values: dict[str, float], step: int, time_ms: int) -> None:
        self._client.log_batch(self._id, metrics=[Metric(key, v, time_ms, step) for key, v in values.items()])

    def summary(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record the main values of a test, at an epoch or, without a curve, at step 0."""
        self.metrics(summarise(values), step)

    def image(self, figure: Figure, name: str, step: int) -> None:
        """Record a figure as one step of a picture with a slider, in the first section of charts."""
        figure.savefig(png := BytesIO())
        key = re.sub(r"[^\w./ -]", "_", f"{FIRST}/{name}", flags=re.ASCII)  # MLflow allows no other letters
        text = b64encode(png.getvalue()).decode()
        self._record("image", png=text, key=key, step=step, time_ms=get_current_time_millis())

    def _send_image(self, key: str, step: int, time_ms: int, png: str = "", path: str = "") -> None:
        source = BytesIO(b64decode(png)) if png else self.folder / path  # a file of an earlier version
        self._client.log_image(self._id, imread(source)[..., :3], key=key, step=step, timestamp=time_ms)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a file, which must keep its place until it is sent."""
        self._record("file", path=self._relative(path), folder=folder)

    def _send_file(self, path: str, folder: str | None) -> None:
        self._client.log_artifact(self._id, str(self.folder / path), folder)

    def text(self, text: str, name: str) -> None:
        """Record a text as a file."""
        self._record("text", text=text, name=name)

    def _send_text(self, text: str, name: str) -> None:
        self._client.log_text(self._id, text, name)

    def describe(self, text: str, pages: Mapping[str, str]) -> None:
        """Set the description: Markdown, with links to pages of the run by title ("": the view of its child runs)."""
        self._record("describe", text=text, pages=dict(pages))

    def _send_describe(self, text: str, pages: dict[str, str]) -> None:
        run, view = f"#/experiments/{self.experiment_id}/runs/{self._id}", page(self.experiment_id, self._id)
        links = [
            f"[{title}]({f'{run}/{name}?workflowType=machine_learning' if name else view})"
            for title, name in pages.items()
        ]
        self._send_tags({DESCRIPTION: f"{text}\n\n{' · '.join(links)}"})

    def view(self, settings: Sequence[str]) -> None:
        """Show the settings of a sweep in the table of runs, and save a view of its runs."""
        self._record("view", settings=list(settings))

    def _send_view(self, settings: list[str]) -> None:
        save_views(self._client, self._client.get_experiment(self.experiment_id), settings, self._id)

    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Record the "traces" or "windows" in a folder, with their key as digest and counts as profile."""
        texts = {"source": json.dumps({"uri": source}), "profile": json.dumps(profile)}
        self._record("dataset", name=name, digest=digest, **texts)

    def _send_dataset(self, name: str, digest: str, source: str, profile: str) -> None:
        dataset = Dataset(name, digest, source_type="local", source=source, profile=profile)
        self._client.log_inputs(self._id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def model(self, checkpoint: Path, register: str | None) -> None:
        """Record a checkpoint as a model that can be served, and register it under a name if one is given."""
        self._record("model", path=self._relative(checkpoint), register=register)

    def _send_model(self, path: str, register: str | None) -> None:
        log_emulator(self._client, self._id, self.folder / path, register)

    def end(self, status: str) -> None:
        """End the run; print how many records are still pending."""
        self.outbox.next_attempt = 0.0
        self._record("end", status=status, time_ms=get_current_time_millis())
        if pending := len(self.outbox):
            log_message(
                f"tracking: {plural(pending, 'record')} pending in {self.outbox.folder}; run cardioemu sync when "
                "MLflow can be reached"
            )

    def _send_end(self, status: str, time_ms: int) -> None:
        self._client.set_terminated(self._id, status, time_ms)

    def sync(self) -> None:
        """Send the pending records.

        Raises:
            One of FAILURES: MLflow cannot be reached, or refuses a record; it stays pending.
        """
        self.outbox.sync(self._perform)

    def _record(self, call: str, **arguments: Any) -> None:
        self.outbox.deliver(call, arguments, self._perform)

    def _perform(self, call: str, arguments: dict[str, Any]) -> None:
        getattr(self, f"_send_{call}")(**arguments)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)


class NullRun(Run):
    """The run of a process that records nothing, since another process does."""

    id = None

    def __init__(self) -> None:
        self.folder = Path()

    def _record(self, call: str, **arguments: Any) -> None:
        pass


def _read_id(folder: Path) -> str | None:
    path = folder / RUN_ID
    return path.read_text(encoding="utf-8").strip() if path.exists() else None
