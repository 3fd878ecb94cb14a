"""Checkpoints that are whole or absent: written beside their place, fsynced, renamed."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils._pytree import tree_leaves

from cardioemu.common.errors import UserError
from cardioemu.emulator import read_checkpoint
from cardioemu.runtime.files import atomic_write, fsync_file
from cardioemu.runtime.machine import format_bytes, free_disk
from cardioemu.runtime.progress import log_message

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves so that a kill leaves the old checkpoint or the new one; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint in place of `path`; the last one that training can go on from becomes the previous one.

        Raises:
            UserError: the disk has no room, or refuses; what is there is kept.
        """
        path = Path(path)
        size = sum(leaf.nbytes for leaf in tree_leaves(checkpoint) if isinstance(leaf, torch.Tensor))
        if size > free_disk(path.parent):
            raise _not_saved(
                path, f"it takes {format_bytes(size)}, of which {format_bytes(free_disk(path.parent))} are free"
            )
        try:
            with atomic_write(path) as temporary:
                torch.save(checkpoint, temporary)
                fsync_file(temporary)
                if path.name == LAST and path.exists():
                    path.replace(path.with_name(PREVIOUS))
        except (OSError, RuntimeError) as error:  # torch's writer turns the one into the other
            raise _not_saved(path, str(error).partition("\n")[0]) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Reads a checkpoint; `weights_only` is not negotiable."""
        return read_checkpoint(path, map_location)


def _not_saved(path: Path, why: str) -> UserError:
    return UserError(
        f"runs_dir: {path} cannot be saved ({why}); make room, then resume={path.parent} goes on from the last epoch "
        "that was saved; an evaluation does so by the same command"
    )


def find_resume_checkpoint(folder: Path) -> Path | None:
    """Finds the newest checkpoint of a run folder that training can go on from; None where there is none yet.

    Raises:
        UserError: there are some, and all are damaged.
    """
    path, _, damages = _newest(folder)
    for damage in damages:
        log_message(f"{damage}; going on from {PREVIOUS}")
    return path


def check_epochs(folder: Path, wanted: int) -> None:
    """Sees to it that the run of a folder has no more epochs behind it than it is to have.

    Raises:
        UserError: it has, or all its checkpoints are damaged.
    """
    refuse_fewer(_newest(folder)[1], wanted)


def refuse_fewer(done: int, wanted: int) -> None:
    """Refuses to go on with a run that has more epochs behind it than it is to have.

    Raises:
        UserError: it has.
    """
    if done > wanted:
        raise UserError(f"trainer.max_epochs: got {wanted}, but the run has {done} epochs behind it")


def _newest(folder: Path) -> tuple[Path | None, int, list[str]]:
    """Finds the newest whole checkpoint, the epochs behind it, and what is wrong with those that are newer."""
    damages: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                return path, read_checkpoint(path)["epoch"] + 1, damages
            except UserError as error:
                damages.append(str(error))
    if damages:
        raise UserError("\n".join(damages))
    return None, 0, []


class RelocatableCheckpoint(ModelCheckpoint):
    """Lightning's, which forgets what was best when the run folder has been moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state up with its paths in the folder where the run lies now."""
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = {key: moved(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        models = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": models, "dirpath": self.dirpath})


def checkpoint_callbacks(folder: Path, validate_every: int = 1) -> list[ModelCheckpoint]:
    """Returns the two callbacks behind `best.ckpt` (lowest val/rmse_mV) and `last.ckpt` (every validated epoch).

    Two, since one callback with both a monitor and `save_last` lets `last.ckpt` stand still at the best epoch.
    """
    common: dict[str, Any] = {"dirpath": folder, "auto_insert_metric_name": False, "enable_version_counter": False}
    best = RelocatableCheckpoint(
        filename=Path(BEST).stem,
        monitor="val/rmse_mV",
        mode="min",
        save_weights_only=True,
        save_on_train_epoch_end=False,
        **common,
    )
    last = RelocatableCheckpoint(
        filename=Path(LAST).stem, save_on_train_epoch_end=True, every_n_epochs=validate_every, **common
    )
    return [best, last]
