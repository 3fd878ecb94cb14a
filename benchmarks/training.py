"""A training step of the seed network: Keras, plain torch, and ours with and without the weights that cannot learn.

    python benchmarks/training.py                  # hidden 512, 4096 and 12000; 10 minutes, 21 GB of memory
    python benchmarks/training.py 512 2048         # other widths

Keras 3 with the torch backend is what the seed's authors would run; plain torch is nn.LSTM, nn.Linear and torch's own
RMSprop. All start from the same weights and see the same batches of 32 windows of 10 000 points. Up to 4096 they take
turns step by step in one process; wider, each has a process of its own, whose memory is looked at every 5 ms from
outside (RssAnon, the memory that no file could give back). Prints the median time per step, how many times faster
than Keras that is, the most memory, and the largest difference of predictions from Keras' after all steps, relative
to the largest prediction. Recurrent kernels start at zero: what is in them is never used, and drawing them takes
longer than the rest.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from memory import anonymous

KINDS = ("Keras", "plain torch", "hold", "drop")
WIDTHS = (512, 4096, 12000)
TOGETHER = 4096  # the widest of which all kinds fit in one process
WARM_UP = 2
SAMPLES, BATCH_SIZE = 10_000, 32
Step = Callable[[np.ndarray, np.ndarray], Any]
Predict = Callable[[np.ndarray], np.ndarray]


def steps(hidden: int) -> int:
    """Run the steps of a measurement, for some seconds."""
    return WARM_UP + max(5, 60_000 // hidden)


def weights(hidden: int) -> Iterator[np.ndarray]:
    """Kernel of the LSTM, of the dense layer and of the readout, (outputs, inputs), glorot-uniform."""
    rng = np.random.default_rng(0)
    for outputs, inputs in ((4 * hidden, 5), (hidden, hidden), (SAMPLES, hidden)):
        limit = np.float32(np.sqrt(6 / (inputs + outputs)))
        yield limit * (2 * rng.random((outputs, inputs), dtype=np.float32) - 1)


def batches(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scales, and windows in mV."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        scales = 2 * rng.random((BATCH_SIZE, 5), dtype=np.float32)
        yield scales, 60 * np.sin(scales[:, :1] * np.linspace(0, 6, SAMPLES, dtype=np.float32)) - 20


def keras(hidden: int) -> tuple[Step, Predict]:
    """Build the network in Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    from keras import Input, Sequential, layers

    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    network = Sequential([Input((1, 5)), layers.LSTM(hidden, **zeros)])
    network.add(layers.Dense(hidden, kernel_initializer="zeros"))
    network.add(layers.Dense(SAMPLES, kernel_initializer="zeros"))
    network.compile(optimizer="rmsprop", loss="mse")
    for layer, kernel in zip(network.layers, weights(hidden), strict=True):
        variables = layer.cell.kernel if hasattr(layer, "cell") else layer.kernel
        variables.assign(kernel.T)
    return lambda s, w: network.train_on_batch(s[:, None], w), lambda s: network.predict_on_batch(s[:, None])


def plain_torch(hidden: int) -> tuple[Step, Predict]:
    """Build the network of torch's own layers and optimiser."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, hidden, batch_first=True)
            self.dense, self.readout = nn.Linear(hidden, hidden), nn.Linear(hidden, SAMPLES)

        def forward(self, scales: torch.Tensor) -> torch.Tensor:
            return self.readout(self.dense(self.lstm(scales.unsqueeze(1))[0][:, -1]))

    network = Network()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name or "hh" in name:
                parameter.zero_()
        network.lstm.bias_ih_l0.chunk(4)[1].fill_(1.0)
        for parameter, kernel in zip(
            (network.lstm.weight_ih_l0, network.dense.weight, network.readout.weight), weights(hidden), strict=True
        ):
            parameter.copy_(torch.from_numpy(kernel))
    return trained(network, torch.optim.RMSprop(network.parameters(), lr=0.001, alpha=0.9, eps=1e-7))


def ours(hidden: int, dead_weights: str) -> tuple[Step, Predict]:
    """Build the network of this program."""
    import torch

    from cardioemu.models import LSTMNetwork
    from cardioemu.training import KerasRMSprop

    with torch.device("meta"):
        network = LSTMNetwork(SAMPLES, hidden=hidden, dead_weights=dead_weights, normalise=False)
    network.to_empty(device="cpu")
    lstm, gates = network.lstm[0], {"hold": [0, 1, 2, 3], "drop": [0, 2, 3]}[dead_weights]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name or "recurrent" in name:
                parameter.zero_()
        kernel, dense, readout = (torch.from_numpy(kernel) for kernel in weights(hidden))
        lstm.kernel.copy_(torch.cat([kernel.chunk(4)[gate] for gate in gates]))
        network.dense[0].weight.copy_(dense)
        network.readout.weight.copy_(readout)
    return trained(network, KerasRMSprop(network.parameters()))


def trained(network: Any, optimizer: Any) -> tuple[Step, Predict]:
    """Return a training step and a prediction of a torch module."""
    import torch

    def step(scales: np.ndarray, windows: np.ndarray) -> None:
        loss = torch.nn.functional.mse_loss(network(torch.from_numpy(scales)), torch.from_numpy(windows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def predict(scales: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(scales)).numpy()

    return step, predict


def make(kind: str, hidden: int) -> tuple[Step, Predict]:
    """Build the network of a kind."""
    known = {"Keras": keras, "plain torch": plain_torch}
    return known[kind](hidden) if kind in known else ours(hidden, kind)


def in_turns(kinds: Sequence[str], hidden: int) -> dict[str, tuple[float, np.ndarray]]:
    """Trains networks step by step in turns; returns the median seconds per step and what each predicts at the end."""
    networks = {kind: make(kind, hidden) for kind in kinds}
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for scales, windows in batches(steps(hidden)):
        for kind, (step, _) in networks.items():
            begin = time.perf_counter()
            step(scales, windows)
            taken[kind].append(time.perf_counter() - begin)
    probe = next(batches(1))[0]
    return {kind: (statistics.median(taken[kind][WARM_UP:]), predict(probe)) for kind, (_, predict) in networks.items()}


def apart(kind: str, hidden: int) -> tuple[float, np.ndarray, float]:
    """Measure one network in a process of its own; also return its peak memory in GB."""
    peak = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.npz"
        command = [sys.executable, __file__, kind, str(hidden), str(file)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, anonymous(process.pid))
                time.sleep(0.005)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed with {process.returncode}")
        found = np.load(file)
        return float(found["seconds"]), found["predicted"], peak / 1e9


def main(widths: list[int]) -> None:
    """Print a line per width and kind."""
    print(f"{'hidden':>7}  {'kind':12}{'s per step':>12}{'times faster':>14}{'memory GB':>11}{'difference':>12}")
    for hidden in widths:
        found: dict[str, Any] = (
            in_turns(KINDS, hidden) if hidden <= TOGETHER else {kind: apart(kind, hidden) for kind in KINDS}
        )
        theirs_seconds, theirs, *_ = found["Keras"]
        for kind, (seconds, predicted, *memory) in found.items():
            difference = np.abs(predicted - theirs).max() / np.abs(theirs).max()
            said = f"{memory[0]:11.2f}" if memory else " " * 11
            ratio = theirs_seconds / seconds
            print(f"{hidden:7}  {kind:12}{seconds:12.4f}{ratio:14.2f}{said}{difference:12.1e}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] in KINDS:
        ((seconds, predicted),) = in_turns([sys.argv[1]], int(sys.argv[2])).values()
        np.savez(sys.argv[3], seconds=seconds, predicted=predicted)
    else:
        main([int(width) for width in sys.argv[1:]] or list(WIDTHS))
