"""How runs are recorded, begin and end, independent of where."""

import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import TrialPruned, UserError, first_line
from cardioemu.runtime.locks import folder_lock
from cardioemu.runtime.machine import process_exists, rank
from cardioemu.tracking.child_runs import tabulate_child_runs
from cardioemu.tracking.failures import failures_as_user_error
from cardioemu.tracking.params import select_params
from cardioemu.tracking.provenance import HOST, PROCESS, code_digest, command, git_state, machine, packages
from cardioemu.tracking.run import DESCRIPTION, PARENT, UNSENT_PARENT, NullRun, Run
from cardioemu.tracking.system_metrics import system_metrics
from cardioemu.tracking.ui import RUNS, page, save_views

JOB = "job"  # tag with the key of a job
# Without it the user interface opens pages for language models, which hide training runs.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True, kw_only=True)
class Tracking(ABC):
    """Where runs are recorded.

    Attributes:
        experiment: name of the experiment in MLflow.
        run_name: name of the run; None: the job's own name. A sweep sets it to the settings of each run.
        parent_run_id: id of the sweep that the run belongs to; set by a sweep.
        register: name under which the run's model is registered, as its champion; None: it is not registered.
        offline: whether a run is kept on disk until it ends, so that it can begin without the server.
    """

    experiment: str
    run_name: str | None = None
    parent_run_id: str | None = None
    register: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if self.register is not None and (not self.register.strip() or set(self.register) & set("/:@")):
            raise UserError(f"tracking.register: got {self.register!r}; allowed is a name without / : @, or null")

    @property
    @abstractmethod
    def store(self) -> str:
        """MLflow's tracking URI."""

    @abstractmethod
    def connect(self) -> tuple[MlflowClient, str]:
        """Open the database or server, and create the experiment if needed; return a client and the experiment's id.

        Raises:
            UserError: it cannot be reached.
        """

    @abstractmethod
    def ui_location(self, run: Run) -> str:
        """Return where a user sees the run next to others."""

    def check(self) -> None:
        """Raise a UserError if a run could not begin."""
        if not self.offline:
            self.connect()

    @contextmanager
    def run(self, name: str, config: Mapping[str, Any], folder: Path, job: str = "") -> Iterator[Run]:
        """Open a run, or resume the run whose id the run folder holds; end it as finished, failed or killed.

        Of several processes that train together only the first records. A run of a sweep begins even if MLflow cannot
        be reached any more, and is sent later.

        Args:
            name: shown in MLflow if `run_name` is not set.
            config: resolved; `select_params` chooses what is recorded of it.
            folder: the run folder.
            job: key of everything that determines the results; the tag by which `find_finished` finds the run.
        """
        if rank() > 0:
            yield NullRun()
            return
        run = Run(self.connect, folder, deferred=self.offline)
        if not self.offline:
            with suppress(UserError), self._connected() as connection:
                close_stale_runs(*connection)
        git, diff = git_state()
        tags = self._tags(name, job, resumed=run.id is not None) | git
        run.begin(tags, required=not (self.offline or self.parent_run_id))
        run.params(select_params(config, sys.argv[1:], self.run_name or ""))
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
            run.tags({"failure": first_line(error), DESCRIPTION: f"Failed: {error}"})
            raise
        finally:
            run.end(status)

    def _tags(self, name: str, job: str, resumed: bool) -> dict[str, str]:
        """Return the tags of a run that begins; a resumed run keeps its name and its first command."""
        tags = machine() | ({JOB: job} if job else {})
        if resumed:
            return tags | {"resumed.command": command(), "failure": "", "stopped": "", DESCRIPTION: ""}
        tags |= {"mlflow.runName": self.run_name or name, "command": command(), "code": code_digest()}
        return tags | ({PARENT: self.parent_run_id} if self.parent_run_id else {})

    def find_finished(self, job: str) -> tuple[str, dict[str, float]] | None:
        """Find a finished run of the same job and move it to this sweep; return its id and last metrics."""
        if self.offline:
            return None
        # If MLflow went away, the job runs and is recorded later.
        with suppress(UserError), self._connected() as (client, experiment_id):
            same = f"tags.{JOB} = '{job}' and attributes.status = 'FINISHED'"
            for run in client.search_runs([experiment_id], same, max_results=1):
                if self.parent_run_id and run.data.tags.get(PARENT) != self.parent_run_id:
                    client.set_tag(run.info.run_id, PARENT, self.parent_run_id)
                    if self.run_name:  # the settings of the run within this sweep
                        client.set_tag(run.info.run_id, "mlflow.runName", self.run_name)
                return run.info.run_id, run.data.metrics
        return None

    def child_runs(self, parent: Run) -> pd.DataFrame | None:
        """Return the table of a sweep's runs (`tabulate_child_runs`), None while the sweep has not been sent.

        Raises:
            UserError: MLflow cannot be reached.
        """
        if self.offline or parent.id is None:
            return None
        with self._connected() as (client, experiment_id):
            close_stale_runs(client, experiment_id)
            return tabulate_child_runs(client, experiment_id, parent.id)

    def resume_run(self, folder: Path) -> Run:
        """Return the run of a run folder, to send or record more of it."""
        return Run(self.connect, folder)

    def sync(self, folder: Path) -> tuple[int, str]:
        """Send the pending records of a run folder; return their number and the id of the run's sweep, or its own.

        Raises:
            UserError: MLflow cannot be reached or refuses a record, or the run is still active and sends them itself.
        """
        run = self.resume_run(folder)
        pending = len(run.outbox)
        with folder_lock(folder, "sent", "runs_dir", wait=False), self._connected() as (client, _):
            run.sync()
            assert run.id is not None
            tags = client.get_run(run.id).data.tags
        return pending, tags.get(PARENT, run.id)

    @contextmanager
    def _connected(self) -> Iterator[tuple[MlflowClient, str]]:
        """Connect; convert failures of MLflow inside the block into user errors."""
        with failures_as_user_error(f"tracking: MLflow at {self.store} failed (REASON)"):
            yield self.connect()

    def _experiment(self, client: MlflowClient, artifacts: str | None) -> str:
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            experiment = client.get_experiment(client.create_experiment(self.experiment, artifacts, EXPERIMENT_TAGS))
        save_views(client, experiment)
        return str(experiment.experiment_id)

    def _page(self, run: Run) -> str:
        """Return the table of the run's sweep, or of all runs, relative to the address of the user interface."""
        parent = self.parent_run_id
        return page(run.experiment_id, RUNS if parent is None or parent.startswith(UNSENT_PARENT) else parent)


def close_stale_runs(client: MlflowClient, experiment_id: str) -> None:
    """End the running runs of this host whose process no longer exists, as killed at the time of their last metric."""
    running = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment_id], running):
        if not process_exists(run.data.tags[PROCESS]):
            times_ms = [metric.timestamp for metric in run.data.to_proto().metrics]
            client.set_terminated(run.info.run_id, "KILLED", max([run.info.start_time, *times_ms]))


def parent_reference(run: Run) -> str:
    """Return the `parent_run_id` for the child runs of a run, which may not have an id yet."""
    return run.id or f"{UNSENT_PARENT}{run.folder.resolve()}"
