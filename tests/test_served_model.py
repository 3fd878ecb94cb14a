"""An emulator that `mlflow models serve` serves: what its clients get."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pytest
from mlflow_server import free_port, wait_until_up
from model_book import SCALES, make_book, trace

from cardioemu import load_emulator

pytestmark = pytest.mark.xdist_group("served_model")  # one server for all
PATH, HEADERS = "/invocations", {"Content-Type": "application/json"}


def serve(name, port):
    """The command that serves a registered model."""
    own = ["-m", f"models:/{name}@champion", "--env-manager", "local"]
    return ["mlflow", "models", "serve", *own, "--host", "127.0.0.1", "--port", str(port)]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return make_book(tmp_path_factory.mktemp("a book"))


@pytest.fixture(scope="module")
def server(book):
    """`mlflow models serve`, as the documentation has it; yields a function that posts to it."""
    port = free_port()
    log = book.folder / "server.log"
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": book.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        serve("tiny", port),
        cwd=book.folder,
        env=environment,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def post(body):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", body.encode(), HEADERS)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    try:
        wait_until_up(f"http://127.0.0.1:{port}/ping", process, log)
        yield post
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=300)


def test_the_server_predicts(book, server):
    expected = trace(book.checkpoint)
    for key in ("inputs", "instances"):
        status, answer = server(json.dumps({key: SCALES.tolist()}))
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], expected, rtol=0, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beyond = load_emulator(book.checkpoint).predict([[3, 1, 1, 1, 1]]).voltage_mV
    status, answer = server('{"inputs": [[3, 1, 1, 1, 1]]}')  # a warning, in the server's log
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], beyond, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("[[1, 1, 1, 1]]", "Shape of input (1, 4) does not match expected shape (-1, 5)"),
        ("[[1, 1, 1, 1, 1, 1]]", "Shape of input (1, 6) does not match expected shape (-1, 5)"),
        ("[1, 1, 1, 1, 1]", "Shape of input (5,) does not match expected shape (-1, 5)"),
        ("[[1, 1, 1, 1, 1], [1, 1]]", "inhomogeneous shape"),
        ('[["a", "b", "c", "d", "e"]]', "could not convert string to float: 'a'"),
        ("[[1, 1, -0.5, 1, 1]]", "scales: cell 0 has IKr = -0.5; allowed is 0 to 1e+06, where 1 is the control"),
        ("[[1, 1, 1, 1, 1], [1, NaN, 1, 1, 1]]", "scales: cell 1 has IK1 = nan; allowed is 0 to"),
        ("[[1, 1, null, 1, 1]]", "scales: cell 0 has IKr = nan; allowed is 0 to"),
        ("[[1, 1, 1, 1, 1e50]]", "scales: cell 0 has INa = inf; allowed is 0 to"),
        ("[]", "This model contains a tensor-based model signature"),
        ("[[1, 1, 1", "Ensure that input is a valid JSON formatted string"),
    ],
)
def test_what_the_server_refuses(server, inputs, message):
    status, answer = server(f'{{"inputs": {inputs}}}')
    assert status == 400
    assert message in answer["message"]
    assert "Traceback" not in json.dumps(answer)
