"""Exceptions that MLflow raises when a server, a database or a disk fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from cardioemu.common.errors import UserError, first_line

FAILURES = (MlflowException, RequestException, SQLAlchemyError, OSError, UserError)


@contextmanager
def failures_as_user_error(sentence: str) -> Iterator[None]:
    """Convert a failure inside the block into a UserError; REASON in the sentence stands for the failure's message."""
    try:
        yield
    except UserError:
        raise
    except FAILURES as error:
        raise UserError(sentence.replace("REASON", first_line(error))) from error
