"""Networks that predict windows from scale vectors."""
