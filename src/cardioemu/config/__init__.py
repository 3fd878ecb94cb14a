"""From the command line to checked settings: the only room that knows Hydra."""
