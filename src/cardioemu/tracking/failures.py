"""Exceptions that MLflow raises when a server, a database or a disk fails."""

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from cardioemu.common.errors import UserError

FAILURES = (MlflowException, RequestException, SQLAlchemyError, OSError, UserError)
