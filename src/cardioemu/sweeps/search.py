"""A search for good settings: an Optuna study in a folder, used by any number of processes."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import TrialPruned, UserError
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.runtime.machine import process_exists, process_identity

optuna.logging.set_verbosity(optuna.logging.WARNING)
logging.getLogger("optuna").propagate = False
warnings.filterwarnings("ignore", "The reported value is ignored because this `step`")

OWNER, FAILURE = "process", "failure"
Number = StrictInt | StrictFloat
Value = str | bool | int | float


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Dimension:
    """Values that one setting may have: a choice, or a number between two limits, an integer if both limits are.

    Attributes:
        choices: numbers, names of options, true or false.
        low: lower limit.
        high: upper limit.
        log: whether to sample on a logarithmic scale.
    """

    choices: list[StrictStr | StrictBool | Number] | None = None
    low: Number | None = None
    high: Number | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if self.choices and self.low is None and self.high is None:
            return
        if self.choices is not None or self.low is None or self.high is None or self.low >= self.high:
            raise UserError(
                f"sweep: got {self}; allowed are choices: [A, B, ...], or low: A and high: B with A less than B"
            )
        if self.log and self.low <= 0:
            raise UserError(f"sweep: got {self}; with log: true low must be above 0")

    def __str__(self) -> str:
        return f"choices {self.choices}, low {self.low}, high {self.high}, log {self.log}"

    def suggest(self, trial: Trial, address: str) -> Value:
        """Return the value that Optuna suggests."""
        if self.choices:
            value = trial.suggest_categorical(address, self.choices)
            assert value is not None
            return value
        assert self.low is not None
        assert self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(address, self.low, self.high, log=self.log)
        return trial.suggest_float(address, self.low, self.high, log=self.log)

    @property
    def extremes(self) -> Sequence[Value | None]:
        """All choices, or both limits."""
        return self.choices or [self.low, self.high]


SearchSpace = Mapping[str, Dimension]


class Search:
    """A study in a folder: finished trials, running trials with their processes, and the next trial.

    Args:
        folder: of the study; trial N has the run folder `trial-N` in it.
        space: dimensions by address.
        seed: of the sampler (TPE).
        warmup_epochs: epochs before which no trial is pruned.
    """

    def __init__(self, folder: Path, space: SearchSpace, seed: int, warmup_epochs: int) -> None:
        self.folder, self.space, self.seed = folder, space, seed
        self.pruner = optuna.pruners.MedianPruner(n_warmup_steps=warmup_epochs)
        # Absolute, since Optuna looks up the age of a lock that a killed process left by the path in it.
        self.storage = JournalStorage(JournalFileBackend(str((folder / "study.log").absolute())))
        with self._alone():
            self._study()

    def trials(self) -> list[FrozenTrial]:
        """Return all trials in their order."""
        return self._study().get_trials(deepcopy=False)

    def next_trial(self, trials: int) -> tuple[Trial, dict[str, Value]] | None:
        """Claim a trial of a dead process, or else a new trial while there are fewer than `trials`.

        Returns:
            The trial and its settings by address; None if no trial is left.
        """
        with self._alone():
            study = self._study()
            running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
            if left := [t for t in running if not process_exists(t.user_attrs.get(OWNER, ""))]:
                trial = Trial(study, left[0]._trial_id)
            elif len(study.get_trials(deepcopy=False)) < trials:
                trial = study.ask()
            else:
                return None
            trial.set_user_attr(OWNER, process_identity())
            return trial, {address: dimension.suggest(trial, address) for address, dimension in self.space.items()}

    @contextmanager
    def record_trial(self, trial: Trial) -> Iterator[dict[str, float]]:
        """End a trial: complete, with the metric that the block puts into the yielded mapping, pruned, or failed."""
        metrics: dict[str, float] = {}
        try:
            yield metrics
        except TrialPruned:
            self._study().tell(trial, state=TrialState.PRUNED)
        except Exception as error:
            trial.set_user_attr(FAILURE, str(error))
            self._study().tell(trial, state=TrialState.FAIL)
        else:
            self._study().tell(trial, metrics[VALIDATION_METRIC])

    def best(self) -> FrozenTrial | None:
        """Return the trial with the lowest error, None before a trial is complete."""
        complete = self._study().get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return min(complete, key=lambda trial: trial.value or 0.0, default=None)

    def _alone(self) -> FileLock:
        return FileLock(self.folder / ".study.lock")

    def _study(self) -> optuna.Study:
        # Seeded by the number of trials: one process suggests the same trials whether it was interrupted or not, and
        # several processes do not start with the same trial.
        study = optuna.create_study(storage=self.storage, study_name="study", load_if_exists=True, pruner=self.pruner)
        began = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=crc32(f"{self.seed} {began}".encode()), constant_liar=True)
        return study


def report_epoch(trial: Trial, error: float, epoch: int) -> None:
    """Report the error of an epoch to the study.

    Raises:
        TrialPruned: half of the other trials had a lower error at that epoch.
    """
    trial.report(error, epoch)
    if trial.should_prune():
        raise TrialPruned(f"pruned after epoch {epoch + 1}: half of the other trials had a lower error at that epoch")


def trial_overrides(trial: Mapping[str, object]) -> Sequence[str]:
    """Return the settings of a trial as overrides."""
    return [f"{address}={str(value).lower() if isinstance(value, bool) else value}" for address, value in trial.items()]
