"""The config files all build, and every mistake of a command line is reported before anything is written."""

import re
from pydoc import locate

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tiny_job import JOBS, ROOT, run_cli, run_inside

from cardioemu import UserError
from cardioemu.config import overrides
from cardioemu.config.build import build, resolved_dict
from cardioemu.config.compose import validate_command_line
from cardioemu.settings.train import TrainSettings
from cardioemu.windowing import WindowRule

CONF = ROOT / "conf"
NEEDED = {"evaluate": ["checkpoint=best.ckpt"]}
CELLS = "cells.csv"  # of design=file


def config_of(name, *changes):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides=[*NEEDED.get(name, []), *changes])


def groups(name):
    """The groups that a job's config takes one option of."""
    defaults = OmegaConf.load(CONF / f"{name}.yaml").defaults
    return [group for entry in defaults if isinstance(entry, DictConfig) for group in entry if "hydra" not in group]


OPTIONS = [
    (name, group, option.stem)
    for name in JOBS
    for group in groups(name)
    for option in sorted((CONF / group).glob("*.yaml"))
]


MODELS = "coordinate, decoder, lstm, lstm2, lstm3, mlp, registered"


@pytest.mark.parametrize(("name", "group", "option"), OPTIONS)
def test_every_option_builds(name, group, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    (tmp_path / CELLS).write_text("INa,ICaL,IK1,IKr,IKur\n0.5,1,1,1,1\n")
    changes = [f"{group}={option}", *([f"design.path={CELLS}"] if option == "file" else [])]
    if option == "rule":  # which leaves the window to say
        changes += ["windowing.length_ms=500", "windowing.samples=100"]
    elif option == "beat":
        changes.append("simulator.duration_ms=25000")
    elif group == "windowing":  # each with the traces that are long enough for it
        changes.append(f"experiment={option}")
    config, why_not = config_of(name, *changes), ""
    if group == "trainer" and option != "cpu" and not torch.cuda.is_available():
        why_not = "^trainer.accelerator: got 'gpu'; no CUDA device is visible"
    if option == "beat":  # which the networks there are cannot learn
        why_not = "^windowing.length_ms: got cycle, but a network predicts windows of a fixed length"
    if why_not:
        with pytest.raises(UserError, match=why_not):
            build(config, JOBS[name])
        return
    settings = build(config, JOBS[name])
    assert set(JOBS[name].__dataclass_fields__) == set(config)  # nothing that nothing reads
    if target := resolved_dict(config).get(group, {}).get("_target_"):  # an experiment or a sweep has none
        part = getattr(settings, group)
        assert getattr(part, "func", type(part)) is locate(target)


def test_every_file_is_an_option_of_some_job():
    used = {CONF / f"{name}.yaml" for name in JOBS} | {CONF / group / f"{option}.yaml" for _, group, option in OPTIONS}
    hydra_files = {CONF / "hydra" / "run_folder.yaml", CONF / "hydra" / "no_folder.yaml"}
    assert set(CONF.rglob("*.yaml")) == used | hydra_files


def test_presets_fit_their_traces():
    for name, *expected, duration_ms in (
        ("published_points", 10000, 0.05, 3, 10000, 5000),
        ("published_literal", 10000, 1.0, 3, 10000, 100000),
        ("followup", 12000, 0.05, 4, 4900, 5000),
    ):
        settings = build(config_of("train", f"experiment={name}"), TrainSettings)
        rule = settings.windowing
        assert [rule.samples, rule.interval_ms, rule.count, rule.output_samples] == expected
        assert (rule.offset_ms, rule.settle_ms, rule.align, rule.start) == (50, 1000, "interpolated", "threshold")
        assert settings.simulator.duration_ms == duration_ms


def test_beat_is_one_steady_cycle():
    config = config_of("train", "windowing=beat", "simulator.duration_ms=25000")
    rule = WindowRule(**{key: value for key, value in resolved_dict(config)["windowing"].items() if key != "_target_"})
    assert rule.length_ms == "cycle"
    assert (rule.samples, rule.count, rule.offset_ms, rule.settle_ms, rule.choose) == (10000, 1, 0, 20000, "last")


def test_a_setting_reaches_the_part_it_names():
    changes = ("model.hidden=12", "optimizer.rho=0.5", "trainer.max_epochs=7", "seed=3")
    settings = build(config_of("train", *changes), TrainSettings)
    network = settings.model(samples=4, inputs=5)
    assert network.lstm[0].hidden == 12
    assert settings.optimizer(network.parameters()).defaults["rho"] == 0.5
    assert settings.data.seed == 3  # one seed for all
    assert settings.trainer.max_epochs == 7


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A current folder in which nothing may be written."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.iterdir())


def mistakes(*arguments, name="train", sweep=False):
    with pytest.raises(UserError) as error:
        validate_command_line(name, arguments, sweep, JOBS[name])
    return str(error.value).splitlines()


SHOWN = {
    "model.hiden=12": "model.hiden: there is no such setting; did you mean model.hidden?",
    "model.hidden=-3": "model.hidden: got -3; it must be greater than 0",
    "trainer.max_epochs=abc": "trainer.max_epochs: got 'abc'; it must be a valid integer, unable to parse string as an "
    "integer",
    "simulator.variant=foo": "simulator.variant: got 'foo'; allowed is one of notebook, program, corrected",
}


@pytest.mark.program
def test_a_mistake_on_the_command_line(empty):
    argument, sentence = next(iter(SHOWN.items()))
    result = run_cli(argument, cwd=empty, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", sentence + "\n")


def test_mistakes_of_a_sweep_on_the_command_line(empty):
    result = run_inside("-m", *SHOWN, "seed=1,2", cwd=empty, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert sorted(result.stderr.splitlines()) == sorted(SHOWN.values())


@pytest.mark.parametrize("before", [[], ["-m"]], ids=["", "-m"])
@pytest.mark.parametrize("argument", SHOWN)
def test_a_mistake_of_a_run_or_a_sweep(argument, before, empty):
    result = run_inside(*before, argument, cwd=empty, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", SHOWN[argument] + "\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model=foo"], f"model: got 'foo'; it must be one of {MODELS}"),
        (["model=null"], f"model: got None; it must be one of {MODELS}"),
        (["~model"], "model: this must be given"),
        (["~data.batch_size"], "data.batch_size: this must be given"),
        (["windowing.interval_ms=0.1"], "windowing: length_ms 500 is not samples x interval_ms = 10000 x 0.1; change "
         "one of them, or set it to null, so that it follows from the other two"),
        (["windowing.length_ms=circle"],
         "windowing.length_ms: got 'circle'; it must be a length in ms above 0, or cycle"),
        (["memory_check=ignore"], "memory_check: got 'ignore'; it must be 'refuse' or 'warn'"),
        (["modle=lstm"], "modle: there is no such setting; did you mean model?"),
        (["hidden=12"], "hidden: there is no such setting; did you mean model.hidden?"),
        (["model.normalise=12"], "model.normalise: got 12; it must be a valid boolean, unable to interpret input"),
        (["design=factorial", "design.levels_of={IKr: [0, -1]}"],
         "design.levels_of.IKr[1]: got -1; it must be greater than or equal to 0"),
        (["design=sobol", "design.ranges={Ikr: [0, 1]}"],
         "design.ranges: 'Ikr' is not a scaled conductance; did you mean IKr?"),
        (["solver.atol={V: 0}"], "solver.atol.V: got 0; it must be greater than 0"),
        (["optimizer.rho=1"], "optimizer.rho: got 1; it must be less than 1"),
        (["data.duplicates=twice"], "data.duplicates: got 'twice'; it must be 'keep' or 'once'"),
        (["data.validation=0.5", "data.test=0.5"], "data: got validation=0.5 and test=0.5, which leave no cell to "
         "train on; their sum must be below 1"),
        (["evaluation.every_epochs=0"], "evaluation.every_epochs: got 0; it must be greater than 0"),
        (["evaluation.cells=0"], "evaluation.cells: got 0; it must be greater than 0"),
        (["data.seed=-1"], "data.seed: got -1; it must be greater than or equal to 0"),
        (["design=factorial", "design.levels=[0,a]"],
         "design.levels[1]: got 'a'; it must be a valid number, unable to parse string as a number"),
        (["model.hidden"],
         "model.hidden: cannot be parsed as setting=value (Error parsing override 'model.hidden')"),
        (["model.hidden=3,4"], "model.hidden=3,4: several values make a sweep; add -m, or write a list as [a,b]"),
        (["+model.depth=3"], "model.depth: there is no such setting; known are samples, inputs, hidden, "
             "lstm_layers, dense_layers, dead_weights, normalise"),
        (["+extra=1"], None),
        (["hydra/launcher=foo"], None),
        (["hydra.nonsense=1"], None),
        (["model._target_=cardioemu.models.SedLSTM"], None),
        (["simulator.model=nowhere.mmt"], None),
        (["milestones=[4,6]", "trainer.validate_every=4", "trainer.max_epochs=8"],
         "milestones: got 6; allowed are multiples of trainer.validate_every=4, because only validated epochs are "
         "tested"),
        (["simulator.duration_ms=2900", "windowing.length_ms=2000"],
         "simulator.duration_ms: got 2900, but a window of 2000 ms after windowing.settle_ms=1000 needs at least "
         "2949.8; increase it, or shorten the windows"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(arguments, sentence, empty, capsys):
    (found,) = mistakes(*arguments)
    assert sentence is None or found == sentence
    assert found.startswith((re.split(r"[./=]", arguments[0].lstrip("+~"))[0], "config: "))
    assert capsys.readouterr() == ("", "")


def test_several_mistakes_are_all_reported(empty):
    found = mistakes("model.hiden=12", "trainer.max_epochs=abc", "design=foo", "optimizer.lr=0", "dry_run=x")
    addresses = ["design", "model.hiden", "optimizer.lr", "trainer.max_epochs", "dry_run"]
    assert [line.partition(":")[0] for line in found] == addresses  # first what addresses nothing


def test_a_sweep_is_checked_as_a_whole(empty):
    found = mistakes("model.hidden=3,-4,5,-6", "trainer.max_epochs=range(1,3)", sweep=True)
    assert found == [f"model.hidden: got {value}; it must be greater than 0" for value in (-4, -6)]
    found = mistakes("windowing=published_points,foo", sweep=True)
    known = "beat, followup, published_literal, published_points, rule, steady"
    assert found == [f"windowing: got 'foo'; it must be one of {known}"]


def test_jobs_of_a_sweep():
    jobs = validate_command_line("train", ["model.hidden=3,4", "trainer.max_epochs=range(1,4)"], True, TrainSettings)
    found = [(job.settings.model.keywords["hidden"], job.settings.trainer.max_epochs) for job in jobs]
    assert found == [(hidden, epochs) for hidden in (3, 4) for epochs in (1, 2, 3)]
    line = ["seed=1", "model.hidden=3,4", "trainer.max_epochs=2"]
    assert list(overrides.sweep_overrides(line)) == ["model.hidden=3,4"]
    assert list(overrides.fixed_addresses(line)) == ["seed", "trainer.max_epochs"]
    repeated = ["model.hidden=8", *line]  # swept after all
    assert list(overrides.fixed_addresses(repeated)) == ["seed", "trainer.max_epochs"]


def test_launchers_can_be_chosen_and_change_no_setting(empty):
    line = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "hydra.sweep.dir=there", "model.hidden=3"]
    (job,) = validate_command_line("train", line, False, TrainSettings)
    assert resolved_dict(job.config) == resolved_dict(config_of("train", "model.hidden=3"))


def test_help_needs_no_right_config(empty):
    shown = run_inside("--cfg", "job", "model.hidden=3", cwd=empty).stdout
    assert OmegaConf.create(shown).model.hidden == 3
