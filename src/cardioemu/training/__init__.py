"""Training: the LightningModule, optimisers, callbacks, checkpoints, calibration and active learning."""

from cardioemu.training.active_learning import ActiveLearning
from cardioemu.training.calibration import calibrate, choose_smoothing
from cardioemu.training.callbacks import EpochMetrics, Milestones, PredictionPlots, PruningCallback
from cardioemu.training.checkpoints import BEST, LAST, PREVIOUS, check_epochs_left, find_resume_checkpoint
from cardioemu.training.memory.preflight import Preflight, TrainingJob
from cardioemu.training.module import EmulatorModule
from cardioemu.training.optimizers.rmsprop import KerasRMSprop
from cardioemu.training.optimizers.soap import SOAP
from cardioemu.training.trainer import Accelerator, TrainerSettings, fit

__all__ = [
    "BEST",
    "LAST",
    "PREVIOUS",
    "SOAP",
    "Accelerator",
    "ActiveLearning",
    "EmulatorModule",
    "EpochMetrics",
    "KerasRMSprop",
    "Milestones",
    "PredictionPlots",
    "Preflight",
    "PruningCallback",
    "TrainerSettings",
    "TrainingJob",
    "calibrate",
    "check_epochs_left",
    "choose_smoothing",
    "find_resume_checkpoint",
    "fit",
]
