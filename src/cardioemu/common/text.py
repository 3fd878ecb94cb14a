"""Numbers in sentences."""


def group_digits(number: int) -> str:
    """Return "12 345"."""
    return f"{number:,}".replace(",", " ")


def plural(count: int, noun: str) -> str:
    """Return "1 cell", "12 345 cells"."""
    return f"{group_digits(count)} {noun}{'' if count == 1 else 's'}"
