"""The decoder, against transposed convolutions written out in NumPy."""

from functools import partial

import numpy as np
import pytest
import torch
from member_networks import fitted, residual, scales_of, silu

from cardioemu.models import Decoder, parameter_table
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory

STRIDE, PADDING = 4, 2


def transposed_convolution(feature_map, layer):
    """The definition: every point lays a kernel down, and what sticks out is cut off."""
    kernel, bias = (p.numpy(force=True) for p in (layer.weight, layer.bias))
    long = np.zeros((kernel.shape[1], STRIDE * (feature_map.shape[1] - 1) + kernel.shape[2]))
    for point, column in enumerate(feature_map.T):
        for value, laid in zip(column, kernel, strict=True):
            long[:, STRIDE * point : STRIDE * point + kernel.shape[2]] += value * laid
    return bias[:, None] + long[:, PADDING:-PADDING]


def test_equals_the_definition():
    network, scales = fitted("decoder"), scales_of(4)
    for row, found in zip(scales.numpy(), network(scales).numpy(force=True), strict=True):
        feature_map = residual(row - 1, network.trunk).reshape(8, 3)
        for layer in (network.layers[1], network.layers[3]):
            feature_map = transposed_convolution(silu(feature_map), layer)
        assert feature_map.shape == (1, 48)
        expected = network.target.mean_mV.numpy() + network.target.std_mV.item() * feature_map[0, :37]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_members_start_as_a_network_alone_would():
    together, alone = Decoder(64, channels=64, layers=2, members=5), Decoder(64, channels=64, layers=2)
    for layer in (1, 3):
        limits = [network.layers[layer].weight.abs().max().item() for network in (together, alone)]
        assert limits[0] == pytest.approx(limits[1], rel=0.05)


@pytest.mark.parametrize("mixed", [False, True])
def test_memory_holds_the_maps_of_all_members(mixed):
    make = partial(Decoder, samples=1000, channels=16, width=32, members=2)
    sizes = {"inputs": 5, "output_samples": 1000, "batch_size": 4, "cells": 3, "windows": 2}
    # The last map alone has as many numbers as the windows of two members.
    assert measure_memory(make, KerasRMSprop, mixed=mixed, **sizes).working > 4 * 2 * 4 * 1000


def test_it_is_small():
    with torch.device("meta"):
        table = parameter_table(Decoder(10_000, channels=64, layers=4, width=256, blocks=3)).parameters
    halves = [(64, 32), (32, 16), (16, 8), (8, 1)]
    assert [table[f"layers.{2 * i + 1}"] for i in range(4)] == [8 * before * after + after for before, after in halves]
    assert table["trunk.last"] == 257 * 64 * 40
    assert table["total"] < 3_000_000
