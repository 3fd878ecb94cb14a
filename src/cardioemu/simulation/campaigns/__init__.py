"""Campaigns: a design becomes a trace store, here or on a cluster."""

from cardioemu.simulation.campaigns.campaign import campaign, forecast_campaign
from cardioemu.simulation.campaigns.forecast import Forecast
from cardioemu.simulation.campaigns.settings import CellSettings, Executor, SolverSettings

__all__ = [
    "CellSettings",
    "Executor",
    "Forecast",
    "SolverSettings",
    "campaign",
    "forecast_campaign",
]
