"""Networks from scale vectors to windows."""
