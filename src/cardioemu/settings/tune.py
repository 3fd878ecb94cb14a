"""What `tune.py` is told."""

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.search import Part
from cardioemu.settings.simulate import PARTS
from cardioemu.settings.train import TrainSettings


@dataclass(frozen=True, config=PARTS)
class TuneSettings(TrainSettings):
    """What `tune.py` is told: a training, and what to vary of it."""

    sweep: dict[str, Part]
    trials: PositiveInt
    workers: PositiveInt
    warmup_epochs: NonNegativeInt
