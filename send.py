"""Send what runs have kept on disk while MLflow could not be reached: `python send.py tracking=server`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.common.errors import UserError
from cardioemu.config.config import build
from cardioemu.config.launch import launch
from cardioemu.runtime.progress import progress_bar, tell
from cardioemu.settings.sync import SendSettings
from cardioemu.sweeps.parent_run import summarise
from cardioemu.tracking import SWEEPS, waiting


def send(config: DictConfig, _: Path) -> None:
    """Sends it, sweeps before the runs below them; a folder that MLflow does not take is told and left.

    Raises:
        UserError: something goes on waiting.
    """
    settings = build(config, SendSettings)
    folders = waiting(settings.runs_dir)
    sent, left, sweeps = 0, 0, set()
    with progress_bar(len(folders), "send", "run") as bar:
        for folder in folders:
            try:
                records, sweep = settings.tracking.send(folder)
                sent += records
                sweeps.add(sweep)
            except UserError as error:
                tell(str(error))
                left += 1
            bar.update()
    for folder in (settings.runs_dir / SWEEPS).glob("*"):
        if (run := settings.tracking.reopened(folder)).id in sweeps:
            summarise(settings.tracking, run)
    print(f"{sent} records of {len(folders) - left} runs were sent")
    if left:
        raise UserError(f"runs_dir: the records of {left} runs go on waiting; run the same command again later")


if __name__ == "__main__":
    launch(send, Path(__file__).parent / "conf", SendSettings)
