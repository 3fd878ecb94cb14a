"""An emulator as a model of MLflow: logged with its run, registered under a name."""

import hashlib
import json
import logging
import os
from contextlib import suppress
from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from packaging.requirements import Requirement

from cardioemu.tracking.failures import FAILURES

NAME = "emulator"  # of the model in its run: runs:/RUN_ID/emulator
CHECKPOINT = "checkpoint"  # of the file in the model, as its MLmodel calls it
DIGEST = "checkpoint.sha256"  # tag of a model
CHAMPION = "champion"  # alias of the version registered last
PACKAGE = Path(__file__).parent.parent.parent

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it counts files, and a model has one
for name in ("mlflow.pyfunc", "mlflow.store.model_registry.abstract_store"):
    logging.getLogger(name).setLevel(logging.WARNING)


def log_emulator(client: MlflowClient, run_id: str, checkpoint: Path, register: str | None) -> str:
    """Record a checkpoint as the model of its run, which `mlflow models serve` can serve; return the model's id.

    It may be called again after an interrupted call or for a resumed run: the same checkpoint is recorded once, another
    one becomes a newer model, and `runs:/RUN_ID/emulator` refers to the newest.

    Args:
        client: of the database or server that holds the run.
        run_id: of the run that trained it.
        checkpoint: one that `load_emulator` loads.
        register: name of the registered model whose champion it becomes; None registers nothing.

    Raises:
        UserError: the checkpoint is damaged.
        MlflowException: MLflow refuses it.
    """
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    models = logged_models(client, run_id)
    for unfinished in (model for model in models if not is_complete(model)):  # a kill left it
        client.delete_logged_model(unfinished.model_id)
    model = next(filter(is_complete, models), None)
    if model is None or model.tags.get(DIGEST) != digest:
        model = _log(client, run_id, checkpoint, digest)
    outputs = client.get_run(run_id).outputs
    if not outputs or model.model_id not in {output.model_id for output in outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if register is not None:
        _register(client, model, register)
    return str(model.model_id)


def logged_models(client: MlflowClient, run_id: str, name: str = NAME) -> list[LoggedModel]:
    """Return the models of a run, unfinished ones included, the newest first."""
    experiment_id = client.get_run(run_id).info.experiment_id
    return list(client.search_logged_models([experiment_id], f"name = '{name}' AND source_run_id = '{run_id}'"))


def is_complete(model: LoggedModel) -> bool:
    """Return whether a model was logged completely."""
    return bool(model.status == LoggedModelStatus.READY)


def _log(client: MlflowClient, run_id: str, checkpoint: Path, digest: str) -> LoggedModel:
    experiment_id = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, NAME, run_id, tags={DIGEST: digest})
    try:
        with TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            inside = _save(saved, model, checkpoint)
            client.log_model_artifacts(model.model_id, str(saved))
        client.log_model_artifact(model.model_id, str(checkpoint), inside)
        return client.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        # MLflow itself resolves runs:/RUN_ID/emulator to the newest model, complete or not.
        with suppress(*FAILURES):
            client.delete_logged_model(model.model_id)
        raise


def _save(folder: Path, model: LoggedModel, checkpoint: Path) -> str:
    """Save a model without its checkpoint; return the folder in the model where the checkpoint belongs."""
    from cardioemu.emulator import load_emulator  # and torch

    emulator = load_emulator(checkpoint)
    inputs, samples = len(emulator.specification.scaled), emulator.window.output_samples
    description = Model(model.artifact_location, model.source_run_id, model_id=model.model_id)
    with TemporaryDirectory() as empty:
        # MLflow would copy gigabytes of checkpoint to /tmp. It gets an empty file of the same name, and the checkpoint
        # afterwards.
        stand_in = Path(empty) / checkpoint.name
        stand_in.touch()
        mlflow.pyfunc.save_model(
            folder,
            mlflow_model=description,
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={CHECKPOINT: str(stand_in)},
            # The model contains the code that it was trained with (< 1 MB): cardioemu is on no package index, and the
            # predictions of the model do not depend on later code.
            code_paths=[str(PACKAGE)],
            pip_requirements=_requirements(),
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype(np.float32), (-1, inputs))]),
                Schema([TensorSpec(np.dtype(np.float32), (-1, samples))]),
            ),
            input_example=np.ones((1, inputs), dtype=np.float32),  # the control
        )
    inside = Path(description.flavors["python_function"]["artifacts"][CHECKPOINT]["path"])
    (folder / inside).unlink()
    description.model_size_bytes = (description.model_size_bytes or 0) + checkpoint.stat().st_size
    description.save(folder / "MLmodel")
    return inside.parent.as_posix()


def _requirements() -> list[str]:
    """Return the requirements of cardioemu in their installed versions, without the tag of a local build."""
    needed = [Requirement(line) for line in requires("cardioemu") or []]
    return [
        f"{need.name}=={version(need.name).partition('+')[0]}"
        for need in needed
        if need.marker is None or need.marker.evaluate({"extra": ""})
    ]


def _register(client: MlflowClient, model: LoggedModel, name: str) -> None:
    """Make a model the champion of a registered name, as a new version unless it is a version already."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # By its location: MLflow looks up models:/MODEL_ID in the global database instead of the client's.
    source, run_id = model.artifact_location, model.source_run_id
    versions = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
    version_of_model = next((v for v in versions if v.source == source), None)
    if version_of_model is None:
        version_of_model = client.create_model_version(name, source, run_id, model_id=model.model_id)
    client.set_registered_model_alias(name, CHAMPION, version_of_model.version)
    # The page of a model shows its registered versions by a tag that a server sets and a local database does not.
    listed = json.loads(client.get_logged_model(model.model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if not any((entry["name"], str(entry["version"])) == (name, str(version_of_model.version)) for entry in listed):
        entry = {"name": name, "version": version_of_model.version}
        client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([*listed, entry])})
