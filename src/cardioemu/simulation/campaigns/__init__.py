"""Campaigns: simulate a design to a trace store, in this process or on a cluster."""

from cardioemu.simulation.campaigns.campaign import campaign, forecast_campaign
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.campaigns.forecast import Forecast
from cardioemu.simulation.campaigns.plan import CampaignSpec

__all__ = ["CampaignSpec", "Executor", "Forecast", "campaign", "forecast_campaign"]
