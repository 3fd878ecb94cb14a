"""An emulator in MLflow: logged with its run, loaded by its URIs, registered."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from model_book import make_book, new_run, save_checkpoint, trace
from tiny_job import error_message, run_inside

from cardioemu import UserError, load_emulator
from cardioemu.tracking.registry import uris
from cardioemu.tracking.registry.log_model import log_emulator
from cardioemu.tracking.registry.uris import resolve_checkpoint

FORMS = "allowed URIs of models are runs:/RUN_ID/emulator, models:/NAME@champion"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return make_book(tmp_path_factory.mktemp("a book"))


@pytest.fixture(autouse=True)
def _here(book, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", book.uri)


def test_every_uri_loads_the_same_emulator(book):
    expected = trace(book.checkpoint)
    for uri in (f"runs:/{book.run}/emulator", "models:/tiny@champion", "models:/tiny/1", f"models:/{book.model}"):
        assert resolve_checkpoint(uri).is_relative_to(book.folder / "artifacts")  # in place
        np.testing.assert_array_equal(trace(uri), expected)
        np.testing.assert_array_equal(trace(Path(uri)), expected)


def test_what_the_model_says_of_itself(book):
    info = mlflow.models.get_model_info(f"models:/{book.model}")
    assert info.model_id == book.model
    assert info.run_id == book.run
    assert str(info.signature.inputs) == "[Tensor('float32', (-1, 5))]"
    assert str(info.signature.outputs) == "[Tensor('float32', (-1, 200))]"
    folder = resolve_checkpoint(f"models:/{book.model}").parent.parent
    assert json.loads((folder / "input_example.json").read_text()) == [[1.0] * 5]
    assert (folder / "code" / "cardioemu" / "emulator" / "emulator.py").is_file()
    requirements = (folder / "requirements.txt").read_text().split()
    assert all(line.count("==") == 1 and "+" not in line for line in requirements)
    assert any(line.startswith("torch==") for line in requirements)
    assert not any(line.startswith("pytest") for line in requirements)
    assert [output.model_id for output in book.client.get_run(book.run).outputs.model_outputs] == [book.model]


def test_a_model_elsewhere_is_fetched_once(book, monkeypatch, tmp_path):
    monkeypatch.setattr(uris, "is_local_uri", lambda uri: False)
    monkeypatch.setattr(uris.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    path = resolve_checkpoint("models:/tiny/1")
    assert path.is_relative_to(tmp_path / "cardioemu" / "models")
    assert path.read_bytes() == book.checkpoint.read_bytes()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    written = path.stat().st_mtime_ns
    assert resolve_checkpoint(f"models:/{book.model}") == path
    assert path.stat().st_mtime_ns == written


def test_the_same_checkpoint_is_logged_once(book):
    run = new_run(book)
    first = log_emulator(book.client, run, book.checkpoint, "once")
    assert log_emulator(book.client, run, book.checkpoint, "once") == first
    assert len(book.client.search_model_versions("name = 'once'")) == 1
    assert len(book.client.get_run(run).outputs.model_outputs) == 1


def test_a_run_that_went_on_has_a_newer_model(book, tmp_path):
    run = new_run(book)
    first = log_emulator(book.client, run, book.checkpoint, None)
    better = save_checkpoint(tmp_path / "best.ckpt", seed=1)
    second = log_emulator(book.client, run, better, None)
    assert second != first
    np.testing.assert_array_equal(trace(f"runs:/{run}/emulator"), trace(better))
    np.testing.assert_array_equal(trace(f"models:/{first}"), trace(book.checkpoint))
    assert mlflow.models.get_model_info(f"runs:/{run}/emulator").model_id == second  # MLflow's own opinion


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_cut_short_does_not_count(book, tmp_path, monkeypatch, killed):
    run = new_run(book)
    first = log_emulator(book.client, run, book.checkpoint, None)
    better = save_checkpoint(tmp_path / "best.ckpt", seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifact", _disk_is_full)
        if killed:
            patch.setattr(MlflowClient, "delete_logged_model", _disk_is_full)
        with pytest.raises(OSError, match="No space"):
            log_emulator(book.client, run, better, None)
    np.testing.assert_array_equal(trace(f"runs:/{run}/emulator"), trace(book.checkpoint))
    if not killed:
        assert mlflow.models.get_model_info(f"runs:/{run}/emulator").model_id == first
    second = log_emulator(book.client, run, better, None)
    found = book.client.search_logged_models([book.experiment], f"source_run_id = '{run}'")
    assert [(model.model_id, str(model.status)) for model in found] == [(second, "READY"), (first, "READY")]


def _disk_is_full(*_):
    raise OSError(28, "No space left on device")


def test_a_damaged_checkpoint_is_not_logged(book, tmp_path):
    run = new_run(book)
    broken = tmp_path / "best.ckpt"
    broken.write_bytes(book.checkpoint.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        log_emulator(book.client, run, broken, None)
    assert not book.client.search_logged_models([book.experiment], f"source_run_id = '{run}'")


def test_registering_moves_the_champion(book, tmp_path):
    better = save_checkpoint(tmp_path / "best.ckpt", seed=1)
    log_emulator(book.client, new_run(book), book.checkpoint, "contest")
    np.testing.assert_array_equal(trace("models:/contest@champion"), trace(book.checkpoint))
    model = log_emulator(book.client, new_run(book), better, "contest")
    np.testing.assert_array_equal(trace("models:/contest@champion"), trace(better))
    np.testing.assert_array_equal(trace("models:/contest/1"), trace(book.checkpoint))
    tags = book.client.get_logged_model(model).tags
    assert json.loads(tags["mlflow.modelVersions"]) == [{"name": "contest", "version": 2}]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("runs:/", FORMS),
        ("runs:/{run}", FORMS),
        ("runs:/{run}/emulator/best.ckpt", FORMS),
        ("models:/tiny", FORMS),
        ("models:/a/b/c", FORMS),
        ("models:tiny@champion", FORMS),
        ("runs:/0123/emulator", "Run with id=0123 not found"),
        ("runs:/it's/emulator", "Invalid value"),
        ("runs:/{run}/network", "that run has no complete model network; use a run that has ended"),
        ("models:/huge@champion", "Registered Model with name=huge not found"),
        ("models:/tiny@best", "Registered model alias best not found"),
        ("models:/tiny/99", "version=99) not found"),
        ("models:/m-0123", "'m-0123' not found"),
        ("models:/other/1", "which is not an emulator"),
        ("models:/gone/1", "No such artifact: 'MLmodel'"),
    ],
)
def test_a_mistaken_uri(book, uri, reason, tmp_path):
    for name in ("other", "gone"):
        _register_foreign(book, name, tmp_path)
    uri = uri.format(run=book.run)
    with pytest.raises(UserError) as error:
        load_emulator(uri)
    sentence = str(error.value)
    assert sentence.startswith(f"checkpoint: got {uri}")
    assert reason in sentence
    assert "\n" not in sentence


def _register_foreign(book, name, folder):
    """Registers a model that is no emulator, or that has no files."""
    if book.client.search_registered_models(f"name = '{name}'"):
        return
    model = book.client.create_logged_model(book.experiment, name)
    if name == "other":
        (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: theirs}}\n")
        book.client.log_model_artifacts(model.model_id, str(folder))
    book.client.create_registered_model(name)
    book.client.create_model_version(name, model.artifact_location)


def test_where_mlflow_looks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError, match=r"the database .*mlflow.db does not exist; change to its folder"):
        load_emulator("models:/tiny@champion")
    assert not list(tmp_path.iterdir())  # nor is there one now
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"which cannot be loaded from http://127\.0\.0\.1:1 ") as error:
        load_emulator("models:/tiny@champion")
    assert "secret" not in str(error.value)


def test_evaluate_takes_a_uri(tmp_path):
    result = run_inside("checkpoint=models:/huge@champion", cwd=tmp_path, check=False, script="evaluate.py")
    message = "checkpoint: got models:/huge@champion, which cannot be loaded from sqlite:///"
    assert error_message(result).startswith(message)
    assert result.stderr.count("\n") == 1


def test_mlflow_is_imported_for_a_uri_only(book):
    code = f"""
import sys, cardioemu
assert not {{"mlflow", "torch"}} & set(sys.modules)
cardioemu.load_emulator({str(book.checkpoint)!r})
assert "mlflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
