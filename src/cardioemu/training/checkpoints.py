"""Checkpoints that are complete or absent: written to a temporary file, fsynced, renamed."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils._pytree import tree_leaves

from cardioemu.common.errors import UserError
from cardioemu.common.metric_names import VALIDATION_METRIC
from cardioemu.common.text import plural
from cardioemu.emulator import read_checkpoint
from cardioemu.runtime.files import atomic_write, fsync_file
from cardioemu.runtime.machine import format_bytes, free_disk
from cardioemu.runtime.progress import log_message

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
TRAINING_KEYS = ("epoch", "state_dict", "optimizer_states", "pytorch-lightning_version")  # needed to resume


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saving that leaves the old checkpoint or the new one after a kill; loading of tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the checkpoint at `path`; an old `last.ckpt` becomes `previous.ckpt`.

        Raises:
            UserError: the disk is full, or refuses to write; existing checkpoints are kept.
        """
        path = Path(path)
        size = sum(leaf.nbytes for leaf in tree_leaves(checkpoint) if isinstance(leaf, torch.Tensor))
        if size > (free := free_disk(path.parent)):
            raise _save_error(path, f"it needs {format_bytes(size)}, {format_bytes(free)} are free")
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
                fsync_file(temporary)
                if path.name == LAST and path.exists():
                    path.replace(path.with_name(PREVIOUS))
        except (OSError, RuntimeError) as error:  # torch's writer turns an OSError into a RuntimeError
            raise _save_error(path, str(error).partition("\n")[0]) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read tensors and plain values, never code, also with `weights_only=False`."""
        return read_checkpoint(path, map_location)


def _save_error(path: Path, reason: str) -> UserError:
    return UserError(
        f"runs_dir: {path} cannot be saved ({reason}); free disk space, then run resume={path.parent}, which resumes "
        "from the last saved epoch (an evaluation resumes by the same command)"
    )


def find_resume_checkpoint(folder: Path) -> Path | None:
    """Return the newest intact checkpoint of a run folder to resume from; None if the folder has no checkpoint.

    Raises:
        UserError: the folder has checkpoints, and all are damaged.
    """
    path, _, damages = _newest(folder)
    for damage in damages:
        log_message(f"{damage}; resuming from {PREVIOUS}")
    return path


def check_epochs_left(folder: Path, max_epochs: int) -> None:
    """Check that the run in a folder, if there is one, has not finished more epochs than it is to have.

    Raises:
        UserError: it has, or all its checkpoints are damaged.
    """
    _, finished, _ = _newest(folder)
    if finished > max_epochs:
        raise UserError(
            f"trainer.max_epochs: got {max_epochs}, but the run has already finished {plural(finished, 'epoch')}; "
            f"give at least {finished}"
        )


def _newest(folder: Path) -> tuple[Path | None, int, list[str]]:
    """Return the newest intact checkpoint, its number of finished epochs, and messages about newer damaged ones."""
    damages: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                content = read_checkpoint(path)
                if missing := [key for key in TRAINING_KEYS if key not in content]:
                    raise UserError(f"checkpoint: {path} was not written by a training, since it has no {missing[0]}")
                return path, content["epoch"] + 1, damages
            except UserError as error:
                damages.append(str(error))
    if damages:
        raise UserError("\n".join(damages))
    return None, 0, []


class RelocatableCheckpoint(ModelCheckpoint):
    """Lightning's callback, but it remembers the best checkpoint when the run folder has been moved."""

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint, by the name of this class in the first versions."""
        return super().state_key.replace(type(self).__name__, "Checkpoint", 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with its paths in the present run folder."""
        folder = Path(str(self.dirpath))

        def relocate(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = {
            key: relocate(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")
        }
        models = {relocate(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": models, "dirpath": self.dirpath})


def checkpoint_callbacks(folder: Path, validate_every: int = 1) -> list[ModelCheckpoint]:
    """Return the callbacks that write `best.ckpt` (lowest val/rmse_mV) and `last.ckpt` (every validated epoch).

    Two callbacks, because a single one with a monitor and `save_last` stops updating `last.ckpt` at the best epoch.
    """
    common: dict[str, Any] = {"dirpath": folder, "auto_insert_metric_name": False, "enable_version_counter": False}
    best = RelocatableCheckpoint(
        filename=Path(BEST).stem,
        monitor=VALIDATION_METRIC,
        mode="min",
        save_weights_only=True,
        save_on_train_epoch_end=False,
        **common,
    )
    last = RelocatableCheckpoint(
        filename=Path(LAST).stem, save_on_train_epoch_end=True, every_n_epochs=validate_every, **common
    )
    return [best, last]
