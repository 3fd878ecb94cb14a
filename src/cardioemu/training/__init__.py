"""Training: the LightningModule, optimiser, callbacks and checkpoints."""

from cardioemu.training.calibration import calibrate
from cardioemu.training.callbacks import EpochMetrics, Figures, Milestones, Report
from cardioemu.training.checkpoints import BEST, LAST, PREVIOUS, check_epochs, resumable
from cardioemu.training.memory.preflight import Preflight, TrainingJob
from cardioemu.training.module import EmulatorModule
from cardioemu.training.optimizers.rmsprop import KerasRMSprop
from cardioemu.training.optimizers.soap import SOAP
from cardioemu.training.output_smoothing import smooth
from cardioemu.training.trainer import Accelerator, fit, make_trainer

__all__ = [
    "BEST",
    "LAST",
    "PREVIOUS",
    "SOAP",
    "Accelerator",
    "EmulatorModule",
    "EpochMetrics",
    "Figures",
    "KerasRMSprop",
    "Milestones",
    "Preflight",
    "Report",
    "TrainingJob",
    "calibrate",
    "check_epochs",
    "fit",
    "make_trainer",
    "resumable",
    "smooth",
]
