"""One run that is being recorded: sent at once, or kept on disk while MLflow cannot be reached."""

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from matplotlib.figure import Figure

from cardioemu.common.errors import UserError, first_line
from cardioemu.runtime.progress import log_message
from cardioemu.tracking.failures import FAILURES
from cardioemu.tracking.outbox import Outbox
from cardioemu.tracking.recorder import Recorder

WAIT_S = 30.0  # after a failure, before the next try: training goes on meanwhile


class Run:
    """What a job records of itself; no failure of MLflow takes the job down.

    Args:
        recorder: performs the calls.
        offline: whether to send nothing before the end.
    """

    def __init__(self, recorder: Recorder, offline: bool = False) -> None:
        self.recorder, self.outbox = recorder, Outbox(recorder.folder)
        self._next_try = float("inf") if offline else 0.0
        self._one = threading.RLock()  # the system's metrics come from a thread of their own

    @property
    def id(self) -> str | None:
        """MLflow's id of the run, None before it has been sent."""
        return self.recorder.run_id

    @property
    def page(self) -> str:
        """Where the UI shows the runs of this experiment, below its address."""
        return f"#/experiments/{self.recorder.experiment_id}/runs?workflowType=machine_learning"

    def tags(self, values: Mapping[str, str]) -> None:
        """Sets tags."""
        self._call("tags", values=dict(values))

    def params(self, values: Mapping[str, Any]) -> None:
        """Records facts; one that is known keeps its value."""
        self._call("params", values={key: str(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Records numbers at an epoch."""
        self._call("metrics", values={key: float(v) for key, v in values.items()}, step=step, time_ms=now_ms())

    def image(self, figure: Figure, key: str, step: int) -> None:
        """Records a figure as one step of an image with a slider in the UI."""
        path = self.outbox.folder / f"{uuid4().hex}.png"
        with self._one:  # the other thread may remove the folder when it is empty
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
            self._call("image", path=self._relative(path), key=key, step=step, time_ms=now_ms())

    def file(self, path: Path, folder: str | None = None) -> None:
        """Records a copy of a file, which must stay where it is until it is sent."""
        self._call("file", path=self._relative(path), folder=folder)

    def text(self, text: str, name: str) -> None:
        """Records a text as a file."""
        self._call("text", text=text, name=name)

    def dataset(self, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Records what the run was made from.

        Args:
            name: "traces" or "windows".
            digest: the key of everything that determines it.
            source: its folder.
            profile: counts, shown beside it.
        """
        self._call("dataset", name=name, digest=digest, source=json.dumps({"uri": source}), profile=json.dumps(profile))

    def model(self, checkpoint: Path, register: str | None) -> None:
        """Records a checkpoint as a model that can be served, and registers it under a name if one is given."""
        self._call("model", path=self._relative(checkpoint), register=register)

    def begin(self, tags: Mapping[str, str]) -> None:
        """Makes the run on MLflow, or takes it up again; what waits of it is sent first.

        Raises:
            UserError: MLflow cannot be reached, or has no such run.
        """
        arguments = {"tags": dict(tags), "time_ms": now_ms()}
        if self._next_try:
            self.outbox.keep("begin", arguments)
            return
        try:
            self.sync()
            self.recorder.perform("begin", arguments)
        except UserError:
            raise
        except FAILURES as error:
            raise UserError(f"tracking: the run cannot be recorded ({first_line(error)})") from error

    def end(self, status: str) -> None:
        """Ends the run, and tells if something of it still waits."""
        self._next_try = 0.0
        self._call("end", status=status, time_ms=now_ms())
        if waiting := len(self.outbox):
            log_message(
                f"tracking: {waiting} records of the run wait in {self.outbox.folder}; "
                "python sync.py sends them once MLflow can be reached"
            )

    def sync(self) -> None:
        """Sends what waits.

        Raises:
            One of FAILURES: MLflow cannot be reached, or does not take it; it goes on waiting.
        """
        with self._one:
            self.outbox.sync(self.recorder.perform)

    def _call(self, call: str, **arguments: Any) -> None:
        with self._one:
            if time.monotonic() >= self._next_try:
                try:
                    self.outbox.sync(self.recorder.perform)
                    self.recorder.perform(call, arguments)
                    self.outbox.discard(arguments)
                    return
                except FAILURES as error:
                    self._keep_on(error)
            self.outbox.keep(call, arguments)

    def _keep_on(self, error: Exception) -> None:
        if self._next_try == 0.0:
            log_message(
                f"tracking: MLflow does not take what the run records ({first_line(error)}); it waits in "
                f"{self.outbox.folder} and is sent later"
            )
        self._next_try = time.monotonic() + WAIT_S

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.recorder.folder)


class NullRun(Run):
    """What a process is given whose run another records."""

    id = None
    page = ""

    def __init__(self) -> None:
        pass

    def image(self, figure: Figure, key: str, step: int) -> None:
        """Records nothing."""

    def _call(self, call: str, **arguments: Any) -> None:
        pass

    def _relative(self, path: Path) -> str:
        return str(path)


def now_ms() -> int:
    """Returns the time as MLflow has it."""
    return time.time_ns() // 1_000_000
