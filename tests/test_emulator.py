"""The public interface of a trained emulator."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_job import RULE, SCALED, SIZES, specification

from cardioemu import Emulator, UserError, load_emulator
from cardioemu.models import LSTMNetwork


@pytest.fixture(scope="module")
def emulator():
    torch.manual_seed(0)
    ranges = {"lowest": [0.0, 0.1, 0.2, 0.3, 0.4], "highest": [2.0, 1.9, 1.8, 1.7, 1.6]}
    return Emulator(LSTMNetwork(**SIZES), specification(**ranges))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_times_and_types(emulator):
    prediction = emulator.predict(np.ones((3, 5)))
    assert prediction.time_ms.dtype == np.float64
    assert prediction.time_ms[0] == -50
    np.testing.assert_allclose(np.diff(prediction.time_ms), 2.5)
    assert prediction.time_ms[20] == 0
    assert isinstance(prediction.voltage_mV, np.ndarray)
    assert prediction.voltage_mV.dtype == np.float32
    assert prediction.voltage_mV.shape == (3, 200)
    assert emulator.predict(np.ones((2, 5), dtype=int)).voltage_mV.shape == (2, 200)
    assert emulator.predict(np.empty((0, 5))).voltage_mV.shape == (0, 200)
    assert prediction.fires is None
    assert prediction.cycle_length_ms is None


@pytest.mark.parametrize(
    "scales",
    [
        np.array([1, 1, 0.5, 1, 1], dtype=np.float32),
        pd.DataFrame([[1, 1, 0.5, 1, 1]], columns=SCALED),
        torch.tensor([1, 1, 0.5, 1, 1]),
    ],
)
def test_anything_array_like(emulator, scales):
    expected = emulator.network(torch.tensor([[1, 1, 0.5, 1, 1]]))
    found = emulator.predict(scales).voltage_mV
    assert found.shape == (1, 200)
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([[1, 1, 1, 1, 1], [1, 1, 1, 1, -0.1]], "cell 1 has INa = -0.1"),
        ([1, 1, 1, 1], r"got shape \(4,\); allowed is \(cells, 5\)"),
        ("control", "allowed is a table of numbers"),
    ],
)
def test_invalid_scales(emulator, scales, message):
    with pytest.raises(ValueError, match=message) as error:
        emulator.predict(scales)
    assert isinstance(error.value, UserError)
    assert "\n" not in str(error.value)


def test_the_trained_range_is_named(emulator):
    emulator.predict([emulator.specification.lowest, emulator.specification.highest])  # the ends are inside
    with pytest.warns(UserWarning, match="outside the trained range") as warned:
        emulator.predict([[1, 2.0, 1, 1, 1], [1, 0.05, 1, 1, 1.7], [1, 1, 1, 1, 1]])
    first, second = (str(w.message).partition(";")[0] for w in warned)
    assert first == "IK1: 2 of 3 cells are outside the trained range 0.1 to 1.9"
    assert second == "INa: 1 of 3 cells is outside the trained range 0.4 to 1.6"


def test_gradient_through_forward(emulator):
    scales = torch.tensor([[1.0, 0.8, 0.5, 1.2, 0.9]], dtype=torch.float64, requires_grad=True)
    double = Emulator(LSTMNetwork(samples=200, inputs=5, hidden=8).double(), emulator.specification)
    double(scales)[0, 30].backward()
    with torch.no_grad():
        step = 1e-6 * torch.eye(5, dtype=torch.float64)
        difference = (double(scales + step)[:, 30] - double(scales - step)[:, 30]) / 2e-6
    torch.testing.assert_close(scales.grad[0], difference, rtol=1e-6, atol=1e-8)


def test_predict_leaves_no_gradient_and_no_training_mode(emulator):
    recorded = []
    hook = emulator.network.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    assert emulator.predict(np.ones(5)).voltage_mV.flags.writeable
    hook.remove()
    assert recorded == [False]
    assert not emulator.network.training


def test_cells_do_not_depend_on_their_batch(emulator, monkeypatch):
    scales = np.random.default_rng(0).uniform(0.4, 1.6, (2500, 5))
    batched = emulator.predict(scales).voltage_mV
    monkeypatch.setattr("cardioemu.emulator.emulator.CELLS_AT_ONCE", {"cpu": 10**6})
    np.testing.assert_allclose(batched, emulator.predict(scales).voltage_mV, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batched[1023:1026], emulator.predict(scales[1023:1026]).voltage_mV, rtol=1e-5, atol=1e-6)


def test_threads_predict_the_same_and_restore_the_threads_of_torch(emulator, monkeypatch):
    monkeypatch.setattr("cardioemu.emulator.emulator.CELLS_AT_ONCE", {"cpu": 7})
    scales = np.random.default_rng(0).uniform(0.4, 1.6, (100, 5))
    alone, before, calls = emulator.predict(scales).voltage_mV, torch.get_num_threads(), set()
    emulator.network.register_forward_hook(lambda *_: calls.add((threading.get_ident(), torch.get_num_threads())))
    try:
        torch.set_num_threads(3)
        np.testing.assert_allclose(emulator.predict(scales).voltage_mV, alone, rtol=1e-5, atol=1e-6)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)
    main = threading.get_ident()
    assert (main, 3) in calls
    assert {count for thread, count in calls if thread != main} == {1}


def test_the_emulator_of_a_run(job, data):
    emulator = load_emulator(str(job.folder / "best.ckpt"))
    assert emulator.specification.scaled == SCALED
    scales = data.windows.scales[data.cell_indices["train"]]
    prediction = emulator.predict(scales)  # training cells are inside the range: no warning
    assert prediction.voltage_mV.shape == (len(scales), 200)
    assert emulator.specification.lowest == scales.min(axis=0).tolist()
    assert emulator.window == RULE
