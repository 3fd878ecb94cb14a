"""Cell models: loaded from Myokit or CellML files, with their right-hand side."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import myokit
import numpy as np
from numpy.typing import ArrayLike

from cardioemu.common.errors import UserError
from cardioemu.simulation import loading
from cardioemu.simulation.equations import Equations, build_equations, compile_numpy, numpy_source
from cardioemu.simulation.equations.folding import evaluate
from cardioemu.simulation.pacing import AnyProtocol, Pacing
from cardioemu.simulation.scales import select_columns


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell model with its scaled conductances.

    Attributes:
        name: the name of a bundled model, or the stem of the file name.
        variant: the published variant; None for a model without variants.
        model: the Myokit model, with time in ms and V in mV.
        scaled_constants: name of each scaled conductance -> the constant it multiplies, in the order of a scale vector.
        protocol: the default pacing: the protocol of the model file, or a `Pacing`.
        ms_per_file_time: length in ms of the file's unit of time, which Myokit protocols use.
    """

    name: str
    variant: str | None
    model: myokit.Model = field(repr=False)
    scaled_constants: Mapping[str, str] = field(repr=False)
    protocol: AnyProtocol = field(default=None, repr=False)
    ms_per_file_time: float = field(default=1.0, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # Myokit can pickle models, as their code, but not expressions, which the cached properties contain.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def scaled(self) -> tuple[str, ...]:
        """Names of the scaled conductances, in the order of a scale vector."""
        return tuple(self.scaled_constants)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Names of the states: short if unambiguous, `component.name` otherwise."""
        return loading.state_names(self.model)

    @cached_property
    def initial_state(self) -> np.ndarray:
        """Initial state (states,), float64, in the model's units."""
        return np.array([evaluate(state.initial_value()) for state in self.model.states()], dtype=float)

    @cached_property
    def potential(self) -> int:
        """Index of the membrane potential among the states."""
        return int(self.model.label("membrane_potential").index())

    @property
    def digest(self) -> str:
        """SHA-256 of all that defines the cell: equations, constants, initial state, scaled constants, pacing."""
        facts = (self.model.code(), list(self.scaled_constants.items()), _describe_protocol(self.protocol))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    @cached_property
    def equations(self) -> Equations:
        """Ordered equations, from which the code of the solvers is generated."""
        return build_equations(self.model, self.scaled_constants)

    @cached_property
    def _right_hand_side(self) -> Callable[..., list[Any]]:
        return compile_numpy(self.python_source, f"right-hand side of {self.name}")

    @cached_property
    def python_source(self) -> str:
        """Right-hand side as NumPy source, generated from the parsed equations."""
        return numpy_source(self.equations, self.equations.assignments, [s.lhs() for s in self.equations.states])

    def derivatives(
        self,
        state: ArrayLike,
        scales: ArrayLike,
        time_ms: float | int = 0.0,
        inputs: ArrayLike | None = None,
    ) -> np.ndarray:
        """Evaluate the time derivatives of the states, per ms.

        Args:
            state: (states,) or (cells, states), in the model's units.
            scales: (scaled,) or (cells, scaled); columns of a DataFrame are selected by name.
            time_ms: the time, for models whose right-hand side depends on it.
            inputs: (inputs,), the level of each of `equations.inputs`; None uses the levels of the model file.

        Returns:
            The same shape as `state`, state unit per ms.

        Raises:
            ValueError: the last axis of `state`, `scales` or `inputs` has the wrong length.
        """
        y, p = np.asarray(state, dtype=float), np.asarray(select_columns(scales, self.scaled), dtype=float)
        q = self.equations.file_levels(time_ms) if inputs is None else np.asarray(inputs, dtype=float)
        for what, array, width in (("state", y, len(self.states)), ("scales", p, len(self.scaled))):
            if array.ndim not in (1, 2) or array.shape[-1] != width:
                raise ValueError(f"{what}: got shape {array.shape}; allowed is ({width},) or (cells, {width})")
        if q.shape != (len(self.equations.inputs),):
            raise ValueError(f"inputs: got shape {q.shape}; allowed is ({len(self.equations.inputs)},)")
        with np.errstate(all="ignore"):  # raised in branches of conditionals that are not selected
            scaled = np.moveaxis(p * self.equations.control_values, -1, 0)
            columns = self._right_hand_side(float(time_ms), np.moveaxis(y, -1, 0), scaled, q)
        return np.stack(np.broadcast_arrays(*columns, y[..., 0])[:-1], axis=-1)


def _describe_protocol(protocol: AnyProtocol) -> str:
    """Return a text that is equal for equal pacing only."""
    if isinstance(protocol, Mapping):
        return repr({binding: _describe_protocol(one) for binding, one in protocol.items()})
    if isinstance(protocol, myokit.TimeSeriesProtocol):
        return repr((list(protocol.times()), list(protocol.values())))
    return protocol.code() if isinstance(protocol, myokit.Protocol) else repr(protocol)


def load_cell(
    name: str | Path,
    variant: str | None = None,
    scaled: Mapping[str, str] | None = None,
    parameters: Mapping[str, float | int] | None = None,
    initial_state: Mapping[str, float | int] | None = None,
    potential: str | None = None,
    pacing: Pacing | None = None,
) -> Cell:
    """Load a bundled cell model by name, or any .mmt or CellML file by path.

    Args:
        name: "akwaboah2021", or the path of a model file. Time without a unit is in ms, V without a unit in mV.
        variant: one of the constants of the model's component `variant`; None uses the model's default
            (`program` for akwaboah2021).
        scaled: name of each scaled conductance -> the constant it multiplies, as "ikr.g_Kr" or by its label in the
            file; None uses the component `scales`.
        parameters: constant, as "ikr.g_Kr" or by label -> its value, in the file's units.
        initial_state: state -> its initial value, in the units of the cell (mV); other states keep the file's value.
        potential: the state that is the membrane potential. None uses the state labelled `membrane_potential`, or the
            only state in a unit of voltage, or a guess, with a warning.
        pacing: how the cell is paced; None, or a `Pacing` without a period, uses the protocol of an .mmt file.

    Raises:
        UserError: an unknown model, file, variant, constant or state, a file that Myokit cannot read, a unit of time or
            membrane potential that is none of time or voltage, or a value that is not finite.
    """
    model, protocol = loading.read_model(name)
    try:
        loading.set_parameters(model, parameters or {})
        chosen = loading.choose_variant(model, variant)
        constants = loading.scaled_constants(model, scaled)
        loading.mark_potential(model, potential)
        ms_per_file_time = loading.convert_units(model)
        loading.set_initial_state(model, initial_state or {})
        if pacing is not None and (pacing.period_ms is not None or pacing.count == 0):
            protocol = pacing
        # Parse the model's own code, as unpickling does: otherwise generated code depends on the order in the file.
        model = myokit.parse_model(model.code())
        cell = Cell(Path(name).stem, chosen, model, constants, protocol, ms_per_file_time)
        _ = cell.python_source  # raises here, before any work, if no code can be generated
    except RecursionError as error:
        raise UserError(f"simulator.model: the equations of {name} are nested too deeply; split the longest") from error
    return cell
