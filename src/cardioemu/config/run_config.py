"""The config of a run: saved with it, read again, compared, and changed where a resumed run may change it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cardioemu.common.errors import UserError, first_line
from cardioemu.common.old_names import update_config
from cardioemu.config.build import resolved_dict
from cardioemu.runtime.files import atomic_write

CONFIG = "config.yaml"
CHANGEABLE = ("trainer", "evaluation", "tracking", "memory_check")


def with_overrides(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """Return a copy of a config with other values at some addresses; a value replaces a whole node."""
    copy = config.copy()
    for address, value in values.items():
        OmegaConf.update(copy, address, value, merge=False)
    return copy


def save_run_config(config: DictConfig, folder: Path) -> None:
    """Write the resolved config as `config.yaml` of a run folder; create the folder."""
    with atomic_write(folder / CONFIG) as file:
        file.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")


def load_run_config(folder: Path) -> DictConfig:
    """Return the config of a run folder; names of earlier versions are replaced by the present ones.

    Raises:
        UserError: the file is damaged.
    """
    try:
        saved = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        if not saved or not isinstance(saved, dict):
            raise ValueError("it has no settings")
        return OmegaConf.create(update_config(saved))
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise UserError(
            f"resume: {folder / CONFIG} is not the config of a run ({first_line(error)}); restore the file, or start a "
            "new run in another folder"
        ) from error


def check_same_run(config: DictConfig, folder: Path) -> None:
    """Raise a UserError if the run in a folder, for example of a requeued job, has other settings.

    Settings that may change on resume are not compared.
    """
    if not (folder / CONFIG).is_file():
        return
    for address, was, is_now in _differences(resolved_dict(load_run_config(folder)), resolved_dict(config)):
        if address.split(".")[0] in CHANGEABLE:
            continue
        raise UserError(
            f"{address}: got {is_now!r}, but the run in {folder} has {was!r}; choose another folder, or resume that "
            f"run with resume={folder}"
        )


def _differences(one: Any, other: Any, address: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(one.get(key), other.get(key), f"{address}.{key}".lstrip("."))
    elif one != other:
        yield address, one, other


def open_run_to_resume(folder: str, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Return the config of a run, with the overrides that are allowed on resume, and its folder.

    Raises:
        UserError: no such run folder, or an override of a setting that the run has already used.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(f"resume: got {folder or 'nothing'}, which is not a run folder (it has no {CONFIG})")
    config = load_run_config(path.parent)
    for override in overrides:
        address = override.partition("=")[0]
        node = OmegaConf.select(config, address, default=config)
        changeable = address.split(".")[0] in CHANGEABLE
        if changeable and node is config:
            raise UserError(f"{address}: there is no such setting; {path} has all settings")
        if not changeable or isinstance(node, DictConfig):
            raise UserError(
                f"{address}: cannot be changed on resume; only single settings under {', '.join(CHANGEABLE)} can"
            )
        try:
            config.merge_with_dotlist([override])
            resolved_dict(config)
        except (OmegaConfBaseException, YAMLError) as error:
            raise UserError(f"{override}: cannot be parsed as setting=value ({first_line(error)})") from error
    return config, path.parent.absolute()
