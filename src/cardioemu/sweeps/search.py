"""A search for good settings: an Optuna study in a folder, on which any number of processes work."""

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
    """What one setting may be: one of some choices, or a number between two others, whole if both are.

    Attributes:
        choices: numbers, names of options, true or false.
        low: smallest number.
        high: largest number.
        log: whether to look as closely at a tenth as at ten times as much.
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
        """Has Optuna choose."""
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
        """All choices, or both ends."""
        return self.choices or [self.low, self.high]


SearchSpace = Mapping[str, Dimension]


class Search:
    """A study in a folder: what has been tried, what is being tried by whom, what to try next.

    Args:
        folder: of the study; trial N has the run folder `trial-N` in it.
        space: what is searched, by address.
        seed: of the sampler (TPE).
        warmup_epochs: before which no trial is given up.
    """

    def __init__(self, folder: Path, space: SearchSpace, seed: int, warmup_epochs: int) -> None:
        self.folder, self.space, self.seed = folder, space, seed
        self.pruner = optuna.pruners.MedianPruner(n_warmup_steps=warmup_epochs)
        # Absolute: of a lock that a kill has left, Optuna looks at the age of what it points to.
        self.storage = JournalStorage(JournalFileBackend(str((folder / "study.log").absolute())))
        with self._alone():
            self._study()

    def trials(self) -> list[FrozenTrial]:
        """All trials, in their order."""
        return self._study().get_trials(deepcopy=False)

    def next_trial(self, trials: int) -> tuple[Trial, dict[str, Value]] | None:
        """Takes a trial that a process left when it died, or else a new one while there are fewer than `trials`.

        Returns:
            The trial and its settings by address; None when nothing is left to do.
        """
        with self._alone():
            study = self._study()
            left = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
            left = [t for t in left if not process_exists(t.user_attrs.get(OWNER, ""))]
            if left:
                trial = Trial(study, left[0]._trial_id)
            elif len(study.get_trials(deepcopy=False)) < trials:
                trial = study.ask()
            else:
                return None
            trial.set_user_attr(OWNER, process_identity())
            return trial, {address: part.suggest(trial, address) for address, part in self.space.items()}

    @contextmanager
    def record_trial(self, trial: Trial) -> Iterator[dict[str, float]]:
        """Ends a trial as complete, with the error that the block put into the yielded mapping, given up, or failed."""
        found: dict[str, float] = {}
        try:
            yield found
        except TrialPruned:
            self._study().tell(trial, state=TrialState.PRUNED)
        except Exception as error:
            trial.set_user_attr(FAILURE, str(error))
            self._study().tell(trial, state=TrialState.FAIL)
        else:
            self._study().tell(trial, found[VALIDATION_METRIC])

    def best(self) -> FrozenTrial | None:
        """The trial with the least error, None before one is complete."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return min(complete, key=lambda trial: trial.value or 0.0, default=None)

    def _alone(self) -> FileLock:
        return FileLock(self.folder / ".study.lock")

    def _study(self) -> optuna.Study:
        # Seeded anew by what is there already: one process gives the same trials whether it was interrupted or not,
        # and several do not all begin alike.
        study = optuna.create_study(storage=self.storage, study_name="study", load_if_exists=True, pruner=self.pruner)
        began = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=crc32(f"{self.seed} {began}".encode()), constant_liar=True)
        return study


def report_epoch(trial: Trial, error: float, epoch: int) -> None:
    """Tells the study of an epoch's error.

    Raises:
        Stopped: other trials did better by then.
    """
    trial.report(error, epoch)
    if trial.should_prune():
        raise TrialPruned(f"given up after epoch {epoch + 1}: half of the other trials did better by then")


def trial_overrides(trial: Mapping[str, object]) -> Sequence[str]:
    """Writes the settings of a trial as overrides."""
    return [f"{address}={str(value).lower() if isinstance(value, bool) else value}" for address, value in trial.items()]
