"""How runs are recorded, begin and end, whatever they are recorded in."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import TrialPruned, UserError, first_line
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import rank
from cardioemu.tracking.child_runs import tabulate_child_runs
from cardioemu.tracking.failures import FAILURES
from cardioemu.tracking.provenance import code_digest, command, git_state, machine, packages
from cardioemu.tracking.recorder import PARENT, RUN_ID, UNSENT_PARENT, Recorder
from cardioemu.tracking.run import NullRun, Run
from cardioemu.tracking.stale_runs import close_stale_runs, process_tags
from cardioemu.tracking.system_metrics import system_metrics

JOB = "job"  # tag with the key of a job
# Without it the UI greets with pages for language models, where training runs are hard to find.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True, kw_only=True)
class Tracking(ABC):
    """Where runs are recorded.

    Attributes:
        experiment: name under which the runs stand in the UI.
        run_name: shown in the UI; None takes the run folder's name, a sweep sets what distinguishes each run.
        parent_run_id: the sweep this run belongs to; set by a sweep itself.
        register: name under which the run's model is registered, as its champion; None registers none.
    """

    experiment: str
    run_name: str | None = None
    parent_run_id: str | None = None
    register: str | None = None

    def __post_init__(self) -> None:
        if self.register is not None and (not self.register.strip() or set(self.register) & set("/:@")):
            raise UserError(f"tracking.register: got {self.register!r}; a name without / : @ is allowed, or null")

    @property
    @abstractmethod
    def store(self) -> str:
        """What MLflow calls the tracking URI."""

    @abstractmethod
    def connect(self) -> tuple[MlflowClient, str]:
        """Opens what runs are recorded in, and returns the experiment's id with it, made where it is not there.

        Raises:
            UserError: it cannot be reached.
        """

    @abstractmethod
    def ui_location(self, run: Run) -> str:
        """Says where a user sees the run beside the others."""

    @property
    def waits(self) -> bool:
        """Whether nothing is to be sent before a run ends."""
        return False

    def check(self) -> None:
        """Sees to it that a run could begin.

        Raises:
            UserError: it could not.
        """
        if not self.waits:
            self.connect()

    @contextmanager
    def run(self, name: str, config: Mapping[str, Any], folder: Path, job: str = "") -> Iterator[Run]:
        """Opens a run, or the one that `folder` was begun with, and ends it as finished, failed or killed.

        Args:
            name: shown in the UI where `run_name` is not set.
            config: the resolved config, recorded as flat params.
            folder: the run folder, which remembers the run's id for a later resume.
            job: key of all that determines the run.

        Of several processes that train together the first records the run. A run of a sweep begins even where MLflow
        cannot be reached any more, and is sent later.
        """
        if rank() > 0:
            yield NullRun()
            return
        run = Run(Recorder(self.connect, folder), offline=self.waits or not self._cleared())
        git, diff = git_state()
        resumed = (folder / RUN_ID).exists()
        run.begin(self._tags(name, job, resumed) | git)
        run.params(flatten(config))
        run.text(packages(), "environment.txt")
        if diff:
            run.text(diff, "git.diff")
        status = "FAILED"
        try:
            with system_metrics(run):
                yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except TrialPruned as error:
            status = "KILLED"
            run.tags({"stopped": str(error)})
            raise
        except Exception as error:
            run.tags({"failure": first_line(error), "mlflow.note.content": f"Failed: {error}"})
            raise
        finally:
            run.end(status)

    def _tags(self, name: str, job: str, resumed: bool) -> dict[str, str]:
        """Tags that a run has from its first moment on; a resumed one keeps its name and its first command."""
        once = {"mlflow.runName": self.run_name or name, "command": command(), "code": code_digest()}
        parent = {PARENT: self.parent_run_id} if self.parent_run_id else {}
        again = {"resumed.command": command(), "failure": "", "stopped": "", "mlflow.note.content": ""}
        begun = again if resumed else once | parent
        return begun | machine() | process_tags() | ({JOB: job} if job else {})

    def find_finished(self, job: str) -> tuple[str, dict[str, float]] | None:
        """Finds a finished run of the same job, and takes it under this sweep; returns its id and last metrics."""
        if self.waits:
            return None
        try:
            with self._answering():
                client, experiment_id = self.connect()
                same = f"tags.{JOB} = '{job}' and attributes.status = 'FINISHED'"
                for run in client.search_runs([experiment_id], same, max_results=1):
                    if self.parent_run_id and run.data.tags.get(PARENT) != self.parent_run_id:
                        client.set_tag(run.info.run_id, PARENT, self.parent_run_id)
                        if self.run_name:  # by which this sweep knows its jobs
                            client.set_tag(run.info.run_id, "mlflow.runName", self.run_name)
                    return run.info.run_id, run.data.metrics
        except UserError:  # MLflow went away: the job is done, and recorded later
            pass
        return None

    def child_runs(self, parent: Run) -> pd.DataFrame | None:
        """Lists the runs below a run (`tracking.children`); None while that has not been sent.

        Raises:
            UserError: MLflow cannot be reached.
        """
        if self.waits or parent.id is None:
            return None
        with self._answering():
            client, experiment_id = self.connect()
            close_stale_runs(client, experiment_id)
            return tabulate_child_runs(client, experiment_id, parent.id)

    def resume_run(self, folder: Path) -> Run:
        """Returns the run of a run folder, to send or record more of it."""
        return Run(Recorder(self.connect, folder))

    def sync(self, folder: Path) -> tuple[int, str]:
        """Sends what waits in a run folder.

        Returns:
            How many records that were, and the id of the sweep that the run belongs to, its own if it is one.

        Raises:
            UserError: MLflow cannot be reached, or does not take it, or the run still goes on, and sends by itself.
        """
        run = self.resume_run(folder)
        waiting = len(run.outbox)
        with folder_lock(folder, "sent", "runs_dir", wait=False), self._answering():
            run.sync()
            assert run.id is not None
            tags = run.recorder.client.get_run(run.id).data.tags
        return waiting, tags.get(PARENT, run.id)

    def _cleared(self) -> bool:
        """Ends what died before; a run of a sweep may begin even where that fails, and then this returns False."""
        try:
            with self._answering():
                close_stale_runs(*self.connect())
        except UserError:
            if self.parent_run_id is None:
                raise
            return False
        return True

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what MLflow fails with into a sentence."""
        try:
            yield
        except UserError:
            raise
        except FAILURES as error:
            raise UserError(f"tracking: MLflow at {self.store} does not do it ({first_line(error)})") from error

    def _experiment(self, client: MlflowClient, artifacts: str | None) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(self.experiment, artifacts, tags=EXPERIMENT_TAGS))


def parent_reference(run: Run) -> str:
    """Returns what `parent_run_id` of the runs below a run is to be, whether it has been sent or not."""
    return run.id or f"{UNSENT_PARENT}{run.recorder.folder.resolve()}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings to dotted names; lists stay values.

    {"model": {"hidden": 256}, "seed": 1} -> {"model.hidden": 256, "seed": 1}
    """
    result: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result |= flatten(value, f"{prefix}{key}.")
        elif key != "_partial_":  # how Hydra builds a part: nothing to tell runs apart by
            result[f"{prefix}{key}"] = value
    return result
