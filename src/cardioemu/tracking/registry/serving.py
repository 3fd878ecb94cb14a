"""The emulator as MLflow runs it: `mlflow models serve` and `mlflow.pyfunc.load_model` execute this file."""

from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from cardioemu.common.errors import UserError
from cardioemu.emulator import Emulator, load_emulator


class EmulatorPythonModel(PythonModel):
    """Answers scale vectors (cells, scaled) by windows (cells, samples) in mV, both float32."""

    emulator: Emulator

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint of the model, as tensors and plain values."""
        self.emulator = load_emulator(context.artifacts["checkpoint"])

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Predict the window of each scale vector; there are no params.

        Raises:
            MlflowException: a scale that `Emulator.predict` refuses. MLflow's server answers with status 400 and this
                sentence; the message of any other exception is not sent to the client.
        """
        try:
            return self.emulator.predict(model_input).voltage_mV
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(EmulatorPythonModel())
