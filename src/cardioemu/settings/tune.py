"""Settings of the tune job."""

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError
from cardioemu.settings.simulate import PARTS
from cardioemu.settings.train import TrainSettings
from cardioemu.sweeps.search import Dimension


@dataclass(frozen=True, config=PARTS)
class TuneSettings(TrainSettings):
    """Settings of the tune job: those of a training, and of the search."""

    sweep: dict[str, Dimension]
    trials: PositiveInt
    workers: PositiveInt
    warmup_epochs: NonNegativeInt

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trainer.processes > 1:
            raise UserError(
                "trainer.devices: a search trains each run in one process; set trainer.devices=1 and trainer.nodes=1"
            )
        if self.dry_run:
            raise UserError("dry_run: a search has none; cardioemu train dry_run=true shows what one training needs")
        if self.resume:
            raise UserError("resume: leave it out; the same command resumes a search")
