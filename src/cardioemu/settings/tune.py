"""What `tune.py` is told."""

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError
from cardioemu.settings.simulate import PARTS
from cardioemu.settings.train import TrainSettings
from cardioemu.sweeps.search import Dimension


@dataclass(frozen=True, config=PARTS)
class TuneSettings(TrainSettings):
    """What `tune.py` is told: a training, and what to vary of it."""

    sweep: dict[str, Dimension]
    trials: PositiveInt
    workers: PositiveInt
    warmup_epochs: NonNegativeInt

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trainer.processes > 1:
            raise UserError("trainer.devices: a search trains each run in one process; give 1 device on 1 node")
        if self.dry_run:
            raise UserError("dry_run: a search has none; python train.py dry_run=true says what one training takes")
        if self.resume:
            raise UserError("resume: a search goes on by the same command")
