"""Batch jobs: their settings, their scripts, and a campaign through an imitation of SLURM."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from dask_faults import CELLS, assert_same
from psutil import process_iter
from pydantic import ValidationError
from small_campaign import run, wait_for

from cardioemu.common.errors import UserError
from cardioemu.config.compose import validate_command_line
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import Executor
from cardioemu.simulation.campaigns import cluster_jobs

JOB = {"cores": 2, "memory": "4 GB"}


def executor_of(*overrides):
    arguments = ["design=sobol", "design.n=8", *overrides]
    ((_, _, settings),) = validate_command_line("simulate", arguments, False, SimulateSettings)
    return settings.campaign


# The config


def test_two_ways_to_use_dask():
    assert executor_of("campaign=dask") == executor_of("campaign.executor=dask") == Executor(executor="dask")
    assert Executor().job_script() is Executor(executor="dask").job_script() is None  # no jobs


SETTINGS = ("cores=16", "memory=64 GB", "walltime='04:30:00'", "queue=gpu", "local_directory=/scratch")
SETTINGS += ("job_script_prologue=[module load gcc]",)
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
    settings, head = SCRIPTS[system]
    settings = [f"campaign.job.{setting}" for setting in (*SETTINGS, *settings)]
    script = executor_of(f"campaign={system}", *settings).job_script().splitlines()
    prefix = {"slurm": "#SBATCH", "pbs": "#PBS", "lsf": "#BSUB"}[system]
    for line in head:
        assert any(found.startswith(f"{prefix} {line}") for found in script), "\n".join(script)
    assert "module load gcc" in script
    (worker,) = (line for line in script if "dask_worker" in line)
    for part in ("--nthreads 1 ", "--nworkers 16 ", "--local-directory /scratch", "--dashboard-address 127.0.0.1:0"):
        assert part in worker


@pytest.mark.program
def test_ctrl_c_is_not_changed():
    code = (
        "import signal; from cardioemu.simulation import Executor\n"
        f"Executor(executor='dask', cluster='slurm', job={JOB}).job_script()\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def no_job(got, reason, system="slurm"):
    return rf"campaign\.job: got {got}, .* no {system.upper()} job \({reason}.*\); see conf/campaign/{system}\.yaml$"


BAD = {
    "cluster 'slrum'": (
        {"cluster": "slrum"},
        r"campaign\.cluster: got 'slrum'; allowed is one of local, slurm, pbs, lsf or the address of a scheduler, "
        r"as tcp://host:8786$",
    ),
    "no cores": ({"job": {"memory": "4 GB"}}, no_job("memory='4 GB'", "You must specify how much cores and memory")),
    "no memory": ({"job": {"cores": 1, "memory": None}}, no_job("cores=1", "You must specify how much cores and")),
    "no job": ({}, no_job("no settings", "You must specify how much cores and memory")),
    "cores": ({"job": JOB | {"cores": 0}}, no_job("cores=0", "division by zero")),
    "cores of text": ({"job": JOB | {"cores": "many"}}, no_job("cores='many'", "")),
    "memory": ({"job": JOB | {"memory": 16}}, no_job(".*memory=16", "")),
    "memory of text": ({"job": JOB | {"memory": "a lot"}}, no_job(".*memory='a lot'", "Could not interpret 'alot'")),
    "memory without unit": ({"job": JOB | {"memory": "16"}}, no_job(".*memory='16'", "")),
    "misspelt": ({"job": JOB | {"walltme": "1"}}, no_job(".*walltme='1'", ".*unexpected keyword argument 'walltme'")),
    "fixed": ({"job": JOB | {"processes": 4}}, no_job(".*processes=4", ".*multiple values for .* 'processes'")),
    "another system's": (
        {"cluster": "lsf", "job": JOB | {"account": "x"}},
        no_job(".*account='x'", ".*unexpected keyword argument 'account'", "lsf"),
    ),
    "a job here": (
        {"cluster": "local", "job": JOB},
        r"campaign\.job: got settings of batch jobs with executor dask and cluster local; set campaign=slurm, ",
    ),
    "a cluster with the local executor": (
        {"executor": "local", "cluster": "tcp://node1:8786"},
        r"campaign\.cluster: got 'tcp://node1:8786', which needs Dask workers; set campaign=dask$",
    ),
    "workers with the local executor": (
        {"executor": "local", "cluster": "local", "workers": 4},
        r"campaign\.workers: got 4, but campaign=local is one process; set campaign\.workers=null$",
    ),
    "workers of a scheduler": (
        {"cluster": "tcp://node1:8786", "workers": 4},
        r"campaign\.workers: got 4, but tcp://node1:8786 has its workers; set campaign\.workers=null$",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_settings(case):
    settings, message = BAD[case]
    with pytest.raises(ValidationError) as raised:
        Executor(**{"executor": "dask", "cluster": "slurm"} | settings)
    (error,) = (found["ctx"]["error"] for found in raised.value.errors())
    assert isinstance(error, UserError)
    assert re.match(message, str(error))
    assert "\n" not in str(error)


def test_wrong_settings_of_the_command():
    with pytest.raises(UserError, match=r"^campaign.cluster: got 'slrum'; allowed is one of local, .*8786$"):
        executor_of("campaign.cluster=slrum")
    with pytest.raises(
        UserError, match=r"^campaign.job: got cores=0, memory='4 GB', .* no SLURM job \(division by zero\); "
    ):
        executor_of("campaign=slurm", "campaign.job.cores=0")


def test_without_the_cluster_extra(monkeypatch):
    for module in ("dask", "distributed", "dask_jobqueue"):
        monkeypatch.setitem(sys.modules, module, None)
    message = 'campaign: executor dask with cluster {} needs the cluster extra; pip install "cardioemu[cluster]"'
    for cluster in ("local", "slurm", "pbs", "lsf"):
        with pytest.raises(ValidationError, match=re.escape(message.format(cluster))):
            Executor(executor="dask", cluster=cluster, job=None if cluster == "local" else JOB)
    with pytest.raises(UserError, match=rf"^{re.escape(message.format('slurm'))}$"):
        executor_of("campaign=slurm")
    assert executor_of("campaign=local") == Executor()


# A batch system

SBATCH = """cp "$1" "$0.$$.sh"  # its name is reused
(sleep 2; exec setsid bash "$0.$$.sh") > "$0.$$.log" 2>&1 < /dev/null &
echo "Submitted batch job $!"
"""
SCANCEL = 'kill -- "-$1"'


@pytest.fixture
def commands(tmp_path, monkeypatch, small_shards):
    """Put commands, given as shell scripts, in front of all others."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def put(**scripts):
        for name, script in scripts.items():
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/bash\n{script}\n")
            path.chmod(0o755)

    return put


def by_slurm(cell, folder, **job):
    executor = Executor(executor="dask", cluster="slurm", job={"cores": 2, "memory": "4 GB", "interface": "lo", **job})
    return run(cell, folder, CELLS, executor=executor)


@pytest.mark.cluster
def test_a_campaign_through_slurm(cell, commands, tmp_path, capfd):
    commands(sbatch=SBATCH, scancel=SCANCEL)
    store = by_slurm(cell, tmp_path / "traces", local_directory=str(tmp_path))
    assert_same(store, run(cell, tmp_path / "local", CELLS))
    err = capfd.readouterr().err
    assert err.count("waiting for the workers of slurm\n") == 1
    assert "Traceback" not in err
    (log,) = tmp_path.glob("bin/sbatch.*.log")
    assert "Start worker at" in log.read_text()
    wait_for(lambda: not any(str(tmp_path) in " ".join(p.info["cmdline"] or []) for p in process_iter(["cmdline"])), 20)


@pytest.mark.cluster
def test_a_refused_job(cell, commands, tmp_path, capfd):
    commands(sbatch="echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1", scancel="exit 1")
    with pytest.raises(UserError) as raised:
        by_slurm(cell, tmp_path / "traces", queue="gpuu")
    assert str(raised.value) == "campaign.job: SLURM refused a job: sbatch: error: invalid partition specified: gpuu"
    assert "Traceback" not in capfd.readouterr().err


def test_no_slurm_here(cell, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster_jobs, "shutil", SimpleNamespace(which=lambda command: None))
    message = r"^campaign\.cluster: got slurm, but its command sbatch is not on PATH; run this on a machine that"
    with pytest.raises(UserError, match=message):
        by_slurm(cell, tmp_path)
