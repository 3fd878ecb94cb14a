"""Number of parameters of a network, layer by layer."""

import pandas as pd
from torch import nn


def parameter_table(network: nn.Module) -> pd.DataFrame:
    """Return the parameters of each layer, and their total in the last row.

    Only shapes are read, so the network may be on the meta device. A parameter shared by two layers counts once.

    Returns:
        Index `layer`, the last one "total"; columns `shape`, for example "weight 10000 x 256, bias 10000", and
        `parameters`.
    """
    rows = []
    for path, parameter in network.named_parameters():
        layer, _, name = path.rpartition(".")
        shape = f"{name} {' x '.join(str(size) for size in parameter.shape)}".rstrip()
        rows.append((layer or type(network).__name__, shape, parameter.numel()))
    layers = pd.DataFrame(rows, columns=["layer", "shape", "parameters"]).groupby("layer", sort=False)
    table = layers.agg({"shape": ", ".join, "parameters": "sum"})
    table.loc["total"] = pd.Series({"shape": "", "parameters": table["parameters"].sum()})
    return table
