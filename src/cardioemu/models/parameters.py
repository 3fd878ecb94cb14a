"""Number of parameters of a network, layer by layer."""

import pandas as pd
from torch import nn


def parameter_table(network: nn.Module) -> pd.DataFrame:
    """Return the parameters of each layer, and their total in the last row.

    Only shapes are read, so the network may be on the meta device. A parameter shared by two layers counts once.

    Args:
        network: Any torch module.

    Returns:
        Index `layer`, the last one "total"; columns `shape`, for example "weight 10000 x 256, bias 10000", and
        `parameters`.
    """
    shapes: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for path, parameter in network.named_parameters():
        layer, _, name = path.rpartition(".")
        layer = layer or type(network).__name__
        shapes.setdefault(layer, []).append(f"{name} {' x '.join(str(size) for size in parameter.shape)}".rstrip())
        counts[layer] = counts.get(layer, 0) + parameter.numel()
    return pd.DataFrame(
        {
            "shape": [", ".join(each) for each in shapes.values()] + [""],
            "parameters": [*counts.values(), sum(counts.values())],
        },
        index=pd.Index([*counts, "total"], name="layer"),
    )
