"""Send the records that runs kept on disk while MLflow was unreachable: `cardioemu sync tracking=server`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.common.errors import UserError, first_line
from cardioemu.common.text import plural
from cardioemu.config.launch import launch
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.settings.sync import SyncSettings
from cardioemu.sweeps.parent_run import summarise_sweep
from cardioemu.tracking import SWEEPS, pending_folders


def main() -> None:
    """Run the job as the command line asks."""
    launch("sync", sync, SyncSettings)


def sync(settings: SyncSettings, config: DictConfig, folder: Path) -> None:
    """Send the pending records, those of a sweep before those of its runs; config and run folder are not used.

    Raises:
        UserError: some records could not be sent; they stay on disk.
    """
    folders = pending_folders(settings.runs_dir)
    sent, failed, sweeps = 0, 0, set()
    with progress_bar(len(folders), "sync", "run") as bar:
        for pending in folders:
            try:
                records, sweep = settings.tracking.sync(pending)
                sent += records
                sweeps.add(sweep)
            except Exception as error:  # of damaged records too, which must not keep those of other runs back
                known = isinstance(error, UserError)
                log_message(str(error) if known else f"{pending}: its records cannot be sent ({first_line(error)})")
                failed += 1
            bar.update()
    for sweep_folder in (settings.runs_dir / SWEEPS).glob("*"):
        if (run := settings.tracking.resume_run(sweep_folder)).id in sweeps:
            summarise_sweep(settings.tracking, run)
    print(f"sent {plural(sent, 'record')} of {plural(len(folders) - failed, 'run')}")
    if failed:
        raise UserError(
            f"runs_dir: the records of {plural(failed, 'run')} are still pending; run the same command again later"
        )
