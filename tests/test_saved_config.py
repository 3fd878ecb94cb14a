"""The config that a run folder holds: the same settings again, and what of them may change on the way."""

import re
from pathlib import Path

import pytest
from tiny_job import TINY

from cardioemu import UserError
from cardioemu.config.build import build, resolved_dict
from cardioemu.config.compose import compose_config
from cardioemu.config.run_config import open_run_to_resume, save_run_config
from cardioemu.settings.train import TrainSettings


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that has begun."""
    save_run_config(compose_config("train", TINY)[0], tmp_path / "run")
    return tmp_path / "run"


def test_the_saved_config_builds_the_same_settings(begun):
    config, folder = open_run_to_resume(str(begun), [])
    assert folder == begun
    assert resolved_dict(config) == resolved_dict(compose_config("train", TINY)[0])
    assert "${" not in (begun / "config.yaml").read_text()


def test_what_a_begun_run_may_change(begun):
    changes = ["trainer.max_epochs=9", "tracking.database=other.db"]
    changes += ["trainer.patience=20", "tracking.run_name=other"]  # which were null
    settings = build(open_run_to_resume(str(begun), changes)[0], TrainSettings)
    assert (settings.trainer.max_epochs, settings.trainer.patience) == (9, 20)
    assert (settings.tracking.database, settings.tracking.run_name) == (Path("other.db"), "other")


@pytest.mark.parametrize("override", ["model.hidden=3", "seed=1", "trainer=gpu", "design.n=3"])
def test_what_a_begun_run_may_not_change(begun, override):
    address = re.escape(override.partition("=")[0])
    with pytest.raises(UserError, match=rf"^{address}: cannot be changed on resume; only single settings under"):
        open_run_to_resume(str(begun), [override])


def test_a_setting_that_is_none(begun):
    with pytest.raises(UserError, match=r"^trainer.max_epoch: there is no such setting; .*config.yaml has all"):
        open_run_to_resume(str(begun), ["trainer.max_epoch=9"])


@pytest.mark.parametrize("content", [b"", b"- a", b"model: [", b"\xff\xfe", b"a: ${b"], ids=str)
def test_a_damaged_config(begun, content):
    (begun / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"^resume: .*config.yaml is not the config of a run \(.*\); restore the file"):
        open_run_to_resume(str(begun), [])


@pytest.mark.parametrize("override", ["tracking.run_name=[a", "trainer.max_epochs=${nothing}"])
def test_what_cannot_be_read(begun, override):
    with pytest.raises(UserError, match=rf"^{re.escape(override)}: cannot be parsed as setting=value"):
        open_run_to_resume(str(begun), [override])


def test_the_folder_is_the_same_wherever_it_is_asked_from(begun, monkeypatch):
    monkeypatch.chdir(begun.parent)
    assert open_run_to_resume("run", [])[1] == begun
