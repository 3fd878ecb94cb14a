"""One run: its records are sent immediately, or kept on disk while MLflow cannot be reached."""

import json
import os
import re
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from mlflow.utils.time import get_current_time_millis

from cardioemu.common.errors import first_line
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.common.text import plural
from cardioemu.runtime.progress import log_message
from cardioemu.tracking.failures import FAILURES, failures_as_user_error
from cardioemu.tracking.outbox import Outbox
from cardioemu.tracking.recorder import Recorder
from cardioemu.tracking.summary import summarise

FIRST = "Overview"  # the first section of charts on a run's page
RETRY_S = 30.0  # between a failure and the next attempt; training continues meanwhile


class Run:
    """What a job records of itself; no failure of MLflow ends the job. If deferred, records are kept until its end."""

    def __init__(self, recorder: Recorder, deferred: bool = False) -> None:
        self.recorder, self.outbox = recorder, Outbox(recorder.folder)
        self._next_attempt = float("inf") if deferred else 0.0
        self._lock = threading.Lock()  # the system metrics come from another thread

    @property
    def id(self) -> str | None:
        """MLflow's id of the run, None before it was sent."""
        return self.recorder.run_id

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._call("tags", values=dict(values))

    def params(self, values: Mapping[str, Any]) -> None:
        """Record params; one that the run has keeps its value."""
        self._call("params", values={key: str(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record metrics at an epoch."""
        numbers = {key: float(value) for key, value in values.items()}
        if VALIDATION_METRIC in numbers:  # a copy, since charts are sorted by name and test/... precedes val/...
            numbers[f"{FIRST}/val_rmse_mV"] = numbers[VALIDATION_METRIC]
        self._call("metrics", values=numbers, step=step, time_ms=get_current_time_millis())

    def summary(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record the main values of a test, at an epoch or, without a curve, at step 0."""
        self.metrics(summarise(values), step)

    def image(self, figure: Figure, name: str, step: int) -> None:
        """Record a figure as one step of a picture with a slider, in the first section of charts."""
        figure.savefig(png := BytesIO())
        key = re.sub(r"[^\w./ -]", "_", f"{FIRST}/{name}", flags=re.ASCII)  # MLflow allows no other letters
        text = b64encode(png.getvalue()).decode()
        self._call("image", png=text, key=key, step=step, time_ms=get_current_time_millis())

    def file(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a file, which must keep its place until it is sent."""
        self._call("file", path=path, folder=folder)

    def text(self, text: str, name: str) -> None:
        """Record a text as a file."""
        self._call("text", text=text, name=name)

    def describe(self, text: str, pages: Mapping[str, str]) -> None:
        """Set the description: Markdown, with links to pages of the run by title ("": the view of its child runs)."""
        self._call("describe", text=text, pages=dict(pages))

    def view(self, settings: Sequence[str]) -> None:
        """Show the settings of a sweep in the table of runs, and save a view of its runs."""
        self._call("view", settings=list(settings))

    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Record the "traces" or "windows" in a folder, with their key as digest and counts as profile."""
        self._call("dataset", name=name, digest=digest, source=json.dumps({"uri": source}), profile=json.dumps(profile))

    def model(self, checkpoint: Path, register: str | None) -> None:
        """Record a checkpoint as a model that can be served, and register it under a name if one is given."""
        self._call("model", path=checkpoint, register=register)

    def begin(self, tags: Mapping[str, str]) -> None:
        """Create the run, or resume it after sending its pending records.

        Raises:
            UserError: MLflow cannot be reached, or has no such run.
        """
        arguments = {"tags": dict(tags), "time_ms": get_current_time_millis()}
        if self._next_attempt:
            self.outbox.append("begin", arguments)
            return
        with failures_as_user_error("tracking: the run cannot be recorded (REASON)"):
            self.sync()
            self.recorder.perform("begin", arguments)

    def end(self, status: str) -> None:
        """End the run; print how many records are still pending."""
        self._next_attempt = 0.0
        self._call("end", status=status, time_ms=get_current_time_millis())
        if pending := len(self.outbox):
            log_message(
                f"tracking: {plural(pending, 'record')} pending in {self.outbox.folder}; run cardioemu sync when "
                "MLflow can be reached"
            )

    def sync(self) -> None:
        """Send the pending records.

        Raises:
            One of FAILURES: MLflow cannot be reached, or refuses a record; it stays pending.
        """
        with self._lock:
            self.outbox.sync(self.recorder.perform)

    def _call(self, call: str, **arguments: Any) -> None:
        if "path" in arguments:  # relative, so that the run folder may be moved before its records are sent
            arguments["path"] = os.path.relpath(arguments["path"], self.recorder.folder)
        with self._lock:
            if time.monotonic() >= self._next_attempt:
                try:
                    self.outbox.sync(self.recorder.perform)
                    self.recorder.perform(call, arguments)
                    return
                except FAILURES as error:
                    if self._next_attempt == 0.0:
                        log_message(
                            f"tracking: MLflow cannot record the run ({first_line(error)}); its records are kept in "
                            f"{self.outbox.folder} and sent later"
                        )
                    self._next_attempt = time.monotonic() + RETRY_S
            self.outbox.append(call, arguments)


class NullRun(Run):
    """The run of a process that records nothing, since another process does."""

    id = None

    def __init__(self) -> None:
        pass

    def _call(self, call: str, **arguments: Any) -> None:
        pass
