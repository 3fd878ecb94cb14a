"""Cell models: loading them from Myokit or CellML files, and their right-hand side."""

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
from cardioemu.simulation.equations import Equations, NumPyWriter, build_equations
from cardioemu.simulation.equations.folding import evaluate
from cardioemu.simulation.pacing import AnyProtocol, Pacing
from cardioemu.simulation.scales import select_columns


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell model with its scaled conductances.

    Attributes:
        name: the bundled name or the file's stem.
        variant: which published version, None where the model has one only.
        model: the Myokit model, time in ms and V in mV.
        scaled_constants: name of each scaled conductance -> the constant it multiplies, in the order of a scale vector.
        protocol: how it is paced unless told otherwise: the protocol that the model file brings, or a `Pacing`.
        ms_per_file_time: how many ms one unit of the file's time is; protocols of Myokit are told in that unit.
    """

    name: str
    variant: str | None
    model: myokit.Model = field(repr=False)
    scaled_constants: Mapping[str, str] = field(repr=False)
    protocol: AnyProtocol = field(default=None, repr=False)
    ms_per_file_time: float = field(default=1.0, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # Myokit pickles models, as their code, but no expressions, which the cached properties hold.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def scaled(self) -> tuple[str, ...]:
        """Names of the scaled conductances, in the order of a scale vector."""
        return tuple(self.scaled_constants)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Names of the states: short where that is unambiguous, `component.name` otherwise."""
        return loading.state_names(self.model)

    @cached_property
    def initial_state(self) -> np.ndarray:
        """The model's initial state (states,), float64, in the model's units."""
        return np.array([evaluate(state.initial_value()) for state in self.model.states()], dtype=float)

    @cached_property
    def potential(self) -> int:
        """Index of the membrane potential among the states."""
        return int(self.model.label("membrane_potential").index())

    @property
    def digest(self) -> str:
        """SHA-256 of what makes this cell: equations, constants, initial state, scaled constants, pacing."""
        told = (self.model.code(), list(self.scaled_constants.items()), _describe_protocol(self.protocol))
        return hashlib.sha256(repr(told).encode()).hexdigest()

    @cached_property
    def equations(self) -> Equations:
        """The ordered equations every solver is written from."""
        return build_equations(self.model, self.scaled_constants)

    @cached_property
    def _right_hand_side(self) -> Callable[..., list[Any]]:
        namespace: dict[str, Any] = {"numpy": np}
        exec(compile(self.python_source, f"<right-hand side of {self.name}>", "exec"), namespace)
        return namespace["derivatives"]

    @cached_property
    def python_source(self) -> str:
        """The right-hand side as NumPy source, written from the parsed equations only."""
        e, writer = self.equations, NumPyWriter()
        writer.set_lhs_function(e.name)
        lines = [f"    {e.name(myokit.Name(state))} = y[{i}]" for i, state in enumerate(e.states)]
        lines += [f"    p{i} = p[{i}]" for i in range(len(e.control_values))]
        lines += [f"    q{i} = q[{i}]" for i in range(len(e.inputs))]
        lines += [f"    {e.name(lhs)} = {writer.ex(rhs)}" for lhs, rhs in e.assignments]
        lines += [f"    return [{', '.join(e.name(state.lhs()) for state in e.states)}]"]
        return "\n".join(["def derivatives(time, y, p, q):", *lines])

    def derivatives(
        self,
        state: ArrayLike,
        scales: ArrayLike,
        time_ms: float | int = 0.0,
        inputs: ArrayLike | None = None,
    ) -> np.ndarray:
        """Evaluates the time derivatives of the states, per ms.

        Args:
            state: (states,) or (cells, states), in the model's units.
            scales: (scaled,) or (cells, scaled); columns of a DataFrame are taken by their names.
            time_ms: when, for a model whose right-hand side depends on time.
            inputs: (inputs,), the level of each of `equations.inputs`; None takes the model file's levels at that time.

        Returns:
            The same shape as `state`, state unit per ms.

        Raises:
            ValueError: the last axis of `state`, `scales` or `inputs` has the wrong length.
        """
        y, p = np.asarray(state, dtype=float), np.asarray(select_columns(scales, self.scaled), dtype=float)
        q = self.equations.file_levels(time_ms) if inputs is None else np.asarray(inputs, dtype=float)
        for what, array, width in (("state", y, len(self.states)), ("scales", p, len(self.scaled))):
            if array.ndim not in (1, 2) or array.shape[-1] != width:
                raise ValueError(f"{what}: got shape {array.shape}, allowed is ({width},) or (cells, {width})")
        if q.shape != (len(self.equations.inputs),):
            raise ValueError(f"inputs: got shape {q.shape}, allowed is ({len(self.equations.inputs)},)")
        with np.errstate(all="ignore"):  # in branches that are not taken
            scaled = np.moveaxis(p * self.equations.control_values, -1, 0)
            columns = self._right_hand_side(float(time_ms), np.moveaxis(y, -1, 0), scaled, q)
        return np.stack(np.broadcast_arrays(*columns, y[..., 0])[:-1], axis=-1)


def _describe_protocol(protocol: AnyProtocol) -> str:
    """Writes pacing down, the same for the same pacing."""
    if isinstance(protocol, Mapping):
        return repr({name: _describe_protocol(one) for name, one in protocol.items()})
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
    """Loads a cell model: one of ours by name, or any .mmt or CellML file by path.

    Args:
        name: "akwaboah2021", or the path of a model file. Time without a unit counts as ms, V without one as mV.
        variant: one of the constants of the model's component `variant`; None takes the model's own choice
            (`program` for akwaboah2021).
        scaled: name of each scaled conductance -> the constant it multiplies, as "ikr.g_Kr" or by its label in the
            file; None takes the component `scales`.
        parameters: constant, as "ikr.g_Kr" or by label -> its value, in the file's units.
        initial_state: state -> its initial value, in the units of the cell (mV); the file's for all others.
        potential: the state that is the membrane potential. None takes the one labelled `membrane_potential`, else the
            only one in a unit of voltage, else guesses, with a warning.
        pacing: how the cell is paced; None, or one without a period, takes the protocol of an .mmt file.

    Raises:
        UserError: no such model, file, variant, constant or state, a file that Myokit cannot read, time or membrane
            potential in another unit than of time or voltage, or a value that is not finite.
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
        # Through its own code, as pickle sends it: the order in a file would show in the source a solver is written in.
        model = myokit.parse_model(model.code())
        cell = Cell(Path(name).stem, chosen, model, constants, protocol, ms_per_file_time)
        _ = cell.python_source  # refuses here, before any work, what no solver can be written from
    except RecursionError as error:
        raise UserError(f"simulator.model: the equations of {name} are nested too deeply; split the longest") from error
    return cell
