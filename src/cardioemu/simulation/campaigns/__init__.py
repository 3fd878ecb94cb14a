"""Campaigns: a design becomes a trace store, here or on a cluster."""

from cardioemu.simulation.campaigns.campaign import campaign, expected
from cardioemu.simulation.campaigns.forecast import Forecast
from cardioemu.simulation.campaigns.settings import Engine, Simulator, Solver

__all__ = [
    "Engine",
    "Forecast",
    "Simulator",
    "Solver",
    "campaign",
    "expected",
]
