"""Jobs of batch systems: what is asked of them, their scripts, and a campaign through a SLURM that is made up."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from dask_faults import CELLS, assert_same
from hydra import compose, initialize_config_dir
from pydantic import ValidationError
from small_campaign import DURATION, SOLVER
from tiny_job import ROOT

from cardioemu.common.errors import UserError
from cardioemu.config.config import build
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import Executor, campaign
from cardioemu.simulation.campaigns import jobs

JOB = {"cores": 2, "memory": "4 GB"}


def engine_of(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("simulate", overrides=["design=sobol", "design.n=8", *overrides])
    return build(config, SimulateSettings).campaign


# The config


def test_two_ways_to_ask_for_dask():
    assert engine_of("campaign=dask") == engine_of("campaign.engine=dask") == Executor(executor="dask")


ASKED = ("cores=16", "memory=64 GB", "walltime='04:30:00'", "queue=gpu", "local_directory=/scratch")
ASKED += ("job_script_prologue=[module load gcc]",)
SCRIPTS = {
    "slurm": (
        ("account=heart", "job_extra_directives=['--exclude=node7']"),
        ("-p gpu", "-A heart", "--cpus-per-task=16", "--mem=60G", "-t 04:30:00", "--exclude=node7"),
    ),
    "pbs": (
        ("account=heart", "job_extra_directives=['-l software=x']"),
        ("-q gpu", "-A heart", "-l select=1:ncpus=16:mem=60GB", "-l walltime=04:30:00", "-l software=x"),
    ),
    "lsf": (
        ("project=heart", "job_extra_directives=['-R \"select[avx512]\"']"),
        ("-q gpu", '-P "heart"', "-n 16", "-M 64000", "-W 04:30", '-R "select[avx512]"'),
    ),
}


@pytest.mark.parametrize("system", SCRIPTS)
def test_the_script_of_a_job(system):
    asked, head = SCRIPTS[system]
    asked = [f"campaign.job.{setting}" for setting in (*ASKED, *asked)]
    script = engine_of(f"campaign={system}", *asked).job_script().splitlines()
    prefix = {"slurm": "#SBATCH", "pbs": "#PBS", "lsf": "#BSUB"}[system]
    for line in head:
        assert any(found.startswith(f"{prefix} {line}") for found in script), "\n".join(script)
    assert "module load gcc" in script
    (worker,) = (line for line in script if "dask_worker" in line)
    for part in ("--nthreads 1 ", "--nworkers 16 ", "--local-directory /scratch", "--dashboard-address 127.0.0.1:0"):
        assert part in worker


def test_no_jobs_no_script():
    assert Executor().job_script() is None
    assert Executor(executor="dask").job_script() is None


def test_ctrl_c_stays_what_it_was():
    code = (
        "import signal; from cardioemu.simulation import Engine\n"
        f"Engine(engine='dask', cluster='slurm', job={JOB}).job_script()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


BAD = {
    "cluster 'slrum'": (
        {"cluster": "slrum"},
        "campaign.cluster: got 'slrum', allowed is one of local, slurm, pbs, lsf or the address of a scheduler, "
        "as tcp://host:8786",
    ),
    "no cores": ({"job": {"memory": "4 GB"}}, "campaign.job.cores: a SLURM job needs it, like 16; see campaign=slurm"),
    "no memory": (
        {"job": {"cores": 1, "memory": None}},
        "campaign.job.memory: a SLURM job needs it, like 32 GB; see campaign=slurm",
    ),
    "no job": ({}, "campaign.job.cores: a SLURM job needs it, like 16; see campaign=slurm"),
    "cores": ({"job": JOB | {"cores": 0}}, "campaign.job.cores: got 0, allowed is a whole number from 1"),
    "cores of text": ({"job": JOB | {"cores": "many"}}, "campaign.job.cores: got 'many', allowed is a whole number"),
    "memory": (
        {"job": JOB | {"memory": 16}},
        'campaign.job.memory: got 16, allowed is a size with its unit, like "16 GB"',
    ),
    "memory of text": ({"job": JOB | {"memory": "a lot"}}, "campaign.job.memory: got 'a lot', allowed is a size"),
    "memory without unit": ({"job": JOB | {"memory": "16"}}, "campaign.job.memory: got '16', allowed is a size"),
    "little memory": (
        {"job": JOB | {"cores": 16}},
        "campaign.job.memory: got '4 GB' for 16 cores, allowed is 0.5 GB per core or more: "
        "every core is a worker of its own",
    ),
    "walltime": ({"job": JOB | {"walltime": 3600}}, "campaign.job.walltime: got 3600, allowed is a time in quotes"),
    "queue": ({"job": JOB | {"queue": 7}}, "campaign.job.queue: got 7, allowed is a text"),
    "directives": (
        {"job": JOB | {"job_extra_directives": "-x"}},
        "campaign.job.job_extra_directives: got '-x', allowed is a list of texts",
    ),
    "misspelt": (
        {"job": JOB | {"walltme": "1"}},
        "campaign.job.walltme: a SLURM job has no such setting; did you mean walltime?",
    ),
    "settled": ({"job": JOB | {"processes": 4}}, "campaign.job.processes: a SLURM job has no such setting; "),
    "another system's": (
        {"cluster": "lsf", "job": JOB | {"account": "x"}},
        "campaign.job.account: a LSF job has no such setting; ",
    ),
    "a job here": (
        {"cluster": "local", "job": JOB},
        "campaign.job: with engine dask and cluster local there are no jobs; give campaign=slurm, campaign=pbs, ",
    ),
    "a cluster, but no engine": (
        {"engine": "local", "cluster": "tcp://node1:8786"},
        "campaign.cluster: got 'tcp://node1:8786', which is for Dask workers; give campaign=dask",
    ),
    "workers, but no engine": (
        {"engine": "local", "cluster": "local", "workers": 4},
        "campaign.workers: got 4, but campaign=local is one process; leave it null",
    ),
    "workers of a scheduler": (
        {"cluster": "tcp://node1:8786", "workers": 4},
        "campaign.workers: got 4, but tcp://node1:8786 has its own workers; leave it null",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told_before_any_work(case):
    settings, sentence = BAD[case]
    with pytest.raises(ValidationError) as raised:
        Executor(**{"engine": "dask", "cluster": "slurm"} | settings)
    (error,) = (found["ctx"]["error"] for found in raised.value.errors())
    assert isinstance(error, UserError)
    assert str(error).startswith(sentence)
    assert "\n" not in str(error)


def test_it_is_told_by_the_command_too():
    with pytest.raises(UserError, match=r"^campaign.cluster: got 'slrum', allowed is one of local, .*8786$"):
        engine_of("campaign.cluster=slrum")
    with pytest.raises(UserError, match=r"^campaign.job.cores: got 0, allowed is a whole number from 1$"):
        engine_of("campaign=slurm", "campaign.job.cores=0")


# A batch system

SBATCH = """cp "$1" "$0.$$.sh"  # whose name is given to another file soon
(sleep 2; exec setsid bash "$0.$$.sh") > "$0.$$.log" 2>&1 < /dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = 'kill -- "-$1"'


@pytest.fixture
def commands(tmp_path, monkeypatch, small_shards):
    """Puts commands before all others, given as the text of shell scripts."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def put(**texts):
        for name, text in texts.items():
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(0o755)

    return put


def by_slurm(cell, folder, **job):
    engine = Executor(executor="dask", cluster="slurm", job={"cores": 2, "memory": "4 GB", "interface": "lo", **job})
    return campaign(cell, CELLS, DURATION, SOLVER, folder, engine)


def test_a_campaign_through_slurm(cell, commands, tmp_path, capfd):
    commands(sbatch=SBATCH, scancel=SCANCEL)
    store = by_slurm(cell, tmp_path / "traces", local_directory=str(tmp_path))
    assert_same(store, campaign(cell, CELLS, DURATION, SOLVER, tmp_path / "local"))
    told = capfd.readouterr().err
    assert told.count("waiting for the workers of slurm\n") == 1
    assert "Traceback" not in told
    (log,) = tmp_path.glob("bin/sbatch.*.log")
    assert "Start worker at" in log.read_text()
    end = time.monotonic() + 20
    while any(str(tmp_path) in line for line in commands_that_run()):
        assert time.monotonic() < end
        time.sleep(0.1)


def commands_that_run():
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_text()
        except OSError:
            continue


def test_a_job_that_is_refused(cell, commands, tmp_path, capfd):
    commands(sbatch="echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1", scancel="exit 1")
    with pytest.raises(UserError) as raised:
        by_slurm(cell, tmp_path / "traces", queue="gpuu")
    assert (
        str(raised.value) == "campaign.job: SLURM has refused a job: sbatch: error: invalid partition specified: gpuu"
    )
    assert "Traceback" not in capfd.readouterr().err


def test_no_slurm_here(cell, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "shutil", SimpleNamespace(which=lambda command: None))
    with pytest.raises(UserError, match=r"SLURM jobs are submitted with sbatch, which is not on PATH; run this where"):
        by_slurm(cell, tmp_path)
