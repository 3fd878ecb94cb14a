"""The checkpoint behind the URI of a model of MLflow."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import platformdirs
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
from mlflow.utils.uri import is_local_uri
from sqlalchemy import make_url

from cardioemu.common.errors import UserError, first_line
from cardioemu.runtime.files import atomic_write, content_key
from cardioemu.tracking.failures import FAILURES
from cardioemu.tracking.registry.log_model import CHAMPION, CHECKPOINT, NAME, is_complete, logged_models

FORM = re.compile(r"runs:/[^/]+/[^/]+|models:/m-[^/@]+|models:/[^/@]+[/@][^/@]+")
FORMS = f"runs:/RUN_ID/{NAME}, models:/NAME@{CHAMPION}, models:/NAME/VERSION and models:/MODEL_ID"


def resolve_checkpoint(uri: str) -> Path:
    """Finds the checkpoint of a model that `log_emulator` recorded.

    It is looked for where MLflow looks by default: what MLFLOW_TRACKING_URI names, or else mlflow.db in the current
    folder.

    Args:
        uri: runs:/RUN_ID/emulator, models:/NAME@champion, models:/NAME/VERSION or models:/MODEL_ID.

    Returns:
        Its path: the artifact itself where that is a local file, otherwise a copy in the user's cache.

    Raises:
        UserError: there is no such model, or it is no emulator.
    """
    tracking_uri = mlflow.get_tracking_uri()
    with _told(uri, tracking_uri):
        location = _location(uri, tracking_uri)
        local = is_local_uri(location)
        with TemporaryDirectory() as folder:
            fetched = mlflow.artifacts.download_artifacts(f"{location}/MLmodel", dst_path=None if local else folder)
            description = Model.load(fetched)
        held = description.flavors.get("python_function", {}).get("artifacts", {}).get(CHECKPOINT)
        if held is None:
            raise UserError(f"checkpoint: got {uri}, a model of another program; give one of an emulator")
        source = f"{location}/{held['path']}"
        if local:
            return Path(mlflow.artifacts.download_artifacts(source))
        key = content_key("model", server=tracking_uri, source=source)
        path = Path(platformdirs.user_cache_dir("cardioemu")) / "models" / key / Path(source).name
        if not path.exists():
            with atomic_write(path) as file, TemporaryDirectory(dir=path.parent) as folder:
                Path(mlflow.artifacts.download_artifacts(source, dst_path=folder)).replace(file)
        return path


def _location(uri: str, tracking_uri: str) -> str:
    """Finds where the artifacts of a model lie."""
    if not FORM.fullmatch(uri):
        raise UserError(f"checkpoint: got {uri}; of MLflow's models allowed are {FORMS}")
    if tracking_uri.startswith("sqlite:"):
        database = make_url(tracking_uri).database
        if database is None or not Path(database).is_file():  # MLflow would make it, empty
            raise UserError(
                f"checkpoint: got {uri}, but there is no database {database}; go to the folder that holds it, or set "
                "MLFLOW_TRACKING_URI to that of the model"
            )
    if uri.startswith("models:/"):
        return str(ModelsArtifactRepository.get_underlying_uri(uri))
    _, run_id, name = uri.split("/")
    model = next(filter(is_complete, logged_models(MlflowClient(), run_id, name)), None)
    if model is None:
        raise UserError(
            f"checkpoint: got {uri}, but that run has no finished model {name}; give a run that has ended, or the "
            "best.ckpt of its run folder"
        )
    return str(model.artifact_location)


@contextmanager
def _told(uri: str, tracking_uri: str) -> Iterator[None]:
    """Turns what goes wrong on the way to a model into a sentence."""
    try:
        yield
    except UserError:
        raise
    except (*FAILURES, ValueError) as error:
        said = first_line(error).rstrip(".")
        said = re.sub("^[A-Z_]+: ", "", said)  # a server puts its error code in front
        sentence = (
            f"checkpoint: got {uri}, which {tracking_uri} does not give ({said}); give one that is there, or set "
            "MLFLOW_TRACKING_URI to where it is"
        )
        raise UserError(re.sub(r"//[^/@ ]*@", "//", sentence)) from error  # no passwords
