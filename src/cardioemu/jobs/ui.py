"""Open the recorded runs in MLflow's user interface: `cardioemu ui port=5001`."""

from pathlib import Path

from omegaconf import DictConfig

from cardioemu.config.launch import launch
from cardioemu.settings.ui import UiSettings
from cardioemu.tracking.ui import serve_ui


def main() -> None:
    """Run the job as the command line asks."""
    launch("ui", ui, UiSettings)


def ui(settings: UiSettings, config: DictConfig, folder: Path) -> None:
    """Serve the user interface until Ctrl-C; config and run folder are not used."""
    serve_ui(settings.database, settings.port)
