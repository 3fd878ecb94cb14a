"""The checkpoint that the URI of an MLflow model refers to."""

import re
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
    """Return the checkpoint of a model that `log_emulator` recorded.

    As in MLflow, the model is looked up at MLFLOW_TRACKING_URI, or else in mlflow.db of the current folder.

    Args:
        uri: runs:/RUN_ID/emulator, models:/NAME@champion, models:/NAME/VERSION or models:/MODEL_ID.

    Returns:
        Path of the artifact if it is a local file, otherwise of a copy in the user's cache.

    Raises:
        UserError: the model does not exist, or is not an emulator.
    """
    tracking_uri = mlflow.get_tracking_uri()
    try:
        return _local_checkpoint(uri, tracking_uri)
    except UserError:
        raise
    except (*FAILURES, ValueError) as error:
        reason = re.sub("^[A-Z_]+: ", "", first_line(error).rstrip("."))  # without the error code of a server
        sentence = (
            f"checkpoint: got {uri}, which cannot be loaded from {tracking_uri} ({reason}); use an existing model, or "
            "set MLFLOW_TRACKING_URI to the database or server of the model"
        )
        raise UserError(re.sub(r"//[^/@ ]*@", "//", sentence)) from error  # no passwords


def _local_checkpoint(uri: str, tracking_uri: str) -> Path:
    location = _location(uri, tracking_uri)
    local = is_local_uri(location)
    with TemporaryDirectory() as folder:
        downloaded = mlflow.artifacts.download_artifacts(f"{location}/MLmodel", dst_path=None if local else folder)
        description = Model.load(downloaded)
    artifact = description.flavors.get("python_function", {}).get("artifacts", {}).get(CHECKPOINT)
    if artifact is None:
        raise UserError(f"checkpoint: got {uri}, which is not an emulator; use a model that cardioemu recorded")
    source = f"{location}/{artifact['path']}"
    if local:
        return Path(mlflow.artifacts.download_artifacts(source))
    key = content_key("model", server=tracking_uri, source=source)
    path = Path(platformdirs.user_cache_dir("cardioemu")) / "models" / key / Path(source).name
    if not path.exists():
        with atomic_write(path) as file, TemporaryDirectory(dir=path.parent) as folder:
            Path(mlflow.artifacts.download_artifacts(source, dst_path=folder)).replace(file)
    return path


def _location(uri: str, tracking_uri: str) -> str:
    """Return the location of a model's artifacts."""
    if not FORM.fullmatch(uri):
        raise UserError(f"checkpoint: got {uri}; allowed URIs of models are {FORMS}")
    if tracking_uri.startswith("sqlite:"):
        database = make_url(tracking_uri).database
        if database is None or not Path(database).is_file():  # MLflow would make it, empty
            raise UserError(
                f"checkpoint: got {uri}, but the database {database} does not exist; change to its folder, or set "
                "MLFLOW_TRACKING_URI to the database or server of the model"
            )
    if uri.startswith("models:/"):
        return str(ModelsArtifactRepository.get_underlying_uri(uri))
    _, run_id, name = uri.split("/")
    model = next(filter(is_complete, logged_models(MlflowClient(), run_id, name)), None)
    if model is None:
        raise UserError(
            f"checkpoint: got {uri}, but that run has no complete model {name}; use a run that has ended, or best.ckpt "
            "of its run folder"
        )
    return str(model.artifact_location)
