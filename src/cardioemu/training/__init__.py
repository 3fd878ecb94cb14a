"""Training: the LightningModule, optimiser, callbacks and memory preflight."""
