"""Every study in miniature: the commands of its README, in a copy of the programs where numbers are smaller."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_references import cvodes_is_missing
from tiny_job import ROOT, environment

pytestmark = pytest.mark.study

STUDIES = sorted(readme.parent.name for readme in (ROOT / "experiments").glob("*/README.md"))
COPIED = ("train.py", "evaluate.py", "conf", "benchmarks", "experiments")
# In which file what is replaced by what. Whatever is not there any more fails the test.
EVERYWHERE = {
    "conf/design/rays.yaml": {r"levels: \[.*\]": "levels: [0.4, 0.8, 1.2]"},
    "conf/model/lstm.yaml": {"hidden: 256": "hidden: 8"},
    "conf/trainer/cpu.yaml": {"max_epochs: 600": "max_epochs: 2"},
}
SMALLER = {
    "ap_start": {},
    "data_volume": {
        "benchmarks/data_volume.py": {
            r"CELLS = \(.*\)": "CELLS = (48, 64)",
            r"STEPS, BATCH = .*": "STEPS, BATCH = 6, 32",
            "design.n=1000": "design.n=32",
        }
    },
    "emulators": {
        "conf/experiment/steady.yaml": {
            "transient_ms: 45000.0": "transient_ms: 1000.0",
            "n: 4096": "n: 48",
            "batch_size: 512": "batch_size: 32",
            "max_epochs: 1000": "max_epochs: 2",
            "validate_every: 50": "validate_every: 1",
        },
        "conf/experiment/active.yaml": {"n: 2048": "n: 32", "cells: 4096": "cells: 48"},
        "conf/experiment/best.yaml": {
            "n: 8192": "n: 32",
            "cells: 16384": "cells: 48",
            "validation: 0.05": "validation: 0.2",
            "test: 0.02": "test: 0.2",
            "width: 128": "width: 16",
            r"max_epochs: \d+": "max_epochs: 2",
            "validate_every: 100": "validate_every: 1",
        },
        "conf/train.yaml": {"max_epochs: 200": "max_epochs: 2", "candidates: 65536": "candidates: 256"},
        "experiments/emulators/README.md": {
            r"design\.n=\d+": "design.n=48",
            r"max_epochs=\d+": "max_epochs=2",
            r"validate_every=\d+": "validate_every=1",
            r"data\.(validation|test)=0\.\d+": r"data.\1=0.2",
            "hidden=2048": "hidden=8",
            r"python evaluate\.py": "python evaluate.py published_lstm=false",
            "width=128": "width=16",
            "=[39]0000": "=1000",
            r"best\.ckpt 40": "best.ckpt 4",
            r"networks 0\.5 4": "networks",
            "python .*/settling.py corrected\n": "",  # the same with another variant
        },
        "experiments/emulators/networks.py": {
            "CELLS, MIDDLE, MINUTES = .*": "CELLS, MIDDLE, MINUTES = (48,), 48, 0.02",
            "VALIDATIONS, TRIED_STEPS = .*": "VALIDATIONS, TRIED_STEPS = 1, 4",
            r"design\.n=2000": "design.n=48",
            r"model\.cells=4096": "model.cells=32",
            r"data\.(validation|test)=0\.\d+": r"data.\1=0.2",
            r' +"(mlp, .*|lstm[23])": .*\n': "",  # one network of each kind is enough
        },
        "experiments/emulators/settling.py": {"CELLS, AFTER_MS = 2048": "CELLS, AFTER_MS = 32"},
        "benchmarks/gradients.py": {"> 0.99": ">= 0"},  # of hardly any training
        "benchmarks/prediction.py": {r"BATCHES = \{.*\}": "BATCHES = {1: 1, 8: 1}"},
    },
    "epoch_sweep": {
        "conf/experiment/epoch_sweep.yaml": {
            r"milestones: \[.*\]": "milestones: [1, 2]",
            "max_epochs: 600": "max_epochs: 2",
        },
        "experiments/epoch_sweep/README.md": {"max_epochs=25,50,100,200,400,600": "max_epochs=1,2"},
    },
    "published_biomarkers": {},
    "quickstart": {"experiments/quickstart/README.md": {"design.n=500": "design.n=32"}},
    "published": {
        "conf/experiment/published.yaml": {"hidden: 12000": "hidden: 8"},
        "experiments/published/README.md": {r"benchmarks/training\.py": "benchmarks/training.py 512"},
    },
    "published_literal": {},
    "solver": {
        "benchmarks/solver.py": {
            "CELLS, REPEATS, HALVINGS = .*": "CELLS, REPEATS, HALVINGS = 2, 1, 1",
            r'return design\("rays"\)': 'return design("rays")[:CELLS]',
        },
        "benchmarks/accuracy.py": {r'np.unique\(design\("rays"\), axis=0\)': 'design("rays")[:2]'},
    },
}
# What a study leaves besides what it prints.
LEFT = {
    "ap_start": ["runs/ap_start/offsets/9/best.ckpt", "evaluations/*/*/report.html"],
    "data_volume": ["learning_curve.png"],
    "emulators": ["runs/emulators/active/metrics.json", "runs/emulators/networks/networks.png"],
    "epoch_sweep": ["runs/*/*/metrics.json", "runs/sweeps/*/errors.png"],
    "quickstart": ["runs/quickstart/bare/figures/test.png", "evaluations/*/*/report.html"],
    "published": ["runs/published/drop/best.ckpt", "runs/published/256/metrics.json"],
    "published_literal": ["runs/*/*/figures/test.png"],
}
PRINTED = {
    "data_volume": "| 64 | 2 |",
    "emulators": "cycle length",
    "published": "Keras",
    "published_biomarkers": "ours, from the upstroke",
    "solver": "ratio: ",
}


def smaller(tree, name):
    """Makes a study small."""
    for file, changes in [*EVERYWHERE.items(), *SMALLER[name].items()]:
        text = (tree / file).read_text()
        for old, new in changes.items():
            text, count = re.subn(old, new, text)
            assert count, f"{file}: no {old}"
        (tree / file).write_text(text)


@pytest.mark.parametrize("name", STUDIES)
def test_in_miniature(tmp_path, name):
    if name == "solver" and (missing := cvodes_is_missing()):
        pytest.skip(missing)
    for each in COPIED:
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
        copy(ROOT / each, tmp_path / each)
    smaller(tmp_path, name)
    env = environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    asked = ["python", "experiments/study.py", name]
    done = subprocess.run(asked, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for pattern in LEFT.get(name, []):
        assert list(tmp_path.glob(pattern)), pattern
    assert PRINTED.get(name, "") in done.stdout
    # Beside a seed network there is none, and beside others none was wanted.
    assert not any('"seed_network/' in file.read_text() for file in tmp_path.glob("evaluations/*/*/metrics.json"))


def test_a_study_that_is_none():
    asked = [sys.executable, "experiments/study.py", "seeds"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"NAME: got 'seeds'; allowed: {', '.join(STUDIES)}\n"
