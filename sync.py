"""Send what runs have kept on disk while MLflow could not be reached: `python sync.py tracking=server`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.common.errors import UserError
from cardioemu.config.config import build
from cardioemu.config.launch import launch
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.settings.sync import SyncSettings
from cardioemu.sweeps.parent_run import summarise_sweep
from cardioemu.tracking import SWEEPS, pending_folders


def sync(config: DictConfig, _: Path) -> None:
    """Sends it, sweeps before the runs below them; a folder that MLflow does not take is told and left.

    Raises:
        UserError: something goes on waiting.
    """
    settings = build(config, SyncSettings)
    folders = pending_folders(settings.runs_dir)
    sent, left, sweeps = 0, 0, set()
    with progress_bar(len(folders), "send", "run") as bar:
        for folder in folders:
            try:
                records, sweep = settings.tracking.sync(folder)
                sent += records
                sweeps.add(sweep)
            except UserError as error:
                log_message(str(error))
                left += 1
            bar.update()
    for folder in (settings.runs_dir / SWEEPS).glob("*"):
        if (run := settings.tracking.resume_run(folder)).id in sweeps:
            summarise_sweep(settings.tracking, run)
    print(f"{sent} records of {len(folders) - left} runs were sent")
    if left:
        raise UserError(f"runs_dir: the records of {left} runs go on waiting; run the same command again later")


if __name__ == "__main__":
    launch(sync, Path(__file__).parent / "conf", SyncSettings)
