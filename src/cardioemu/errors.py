"""The one exception whose message is written for the user."""


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, what it got, what is allowed."""
