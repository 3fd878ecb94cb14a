"""Cell models: loading them from Myokit or CellML files, and their right-hand side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import myokit
import myokit.formats
import numpy as np
from numpy.typing import ArrayLike

from cardioemu.errors import UserError
from cardioemu.simulation.equations import Equations, NumPyWriter, equations

BUNDLED = files("cardioemu.simulation") / "models"


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell model with its scaled conductances.

    Attributes:
        name: the bundled name or the file's stem.
        variant: which published version, None where the model has one only.
        model: the Myokit model, time in ms and V in mV.
        scaled_constants: name of each input -> the constant it multiplies, in the order of the inputs.
    """

    name: str
    variant: str | None
    model: myokit.Model = field(repr=False)
    scaled_constants: Mapping[str, str] = field(repr=False)

    @property
    def scaled(self) -> tuple[str, ...]:
        """Names of the scaled conductances, in the order of a scale vector."""
        return tuple(self.scaled_constants)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Names of the states: short where that is unambiguous, `component.name` otherwise."""
        names = [state.name() for state in self.model.states()]
        return tuple(s.name() if names.count(s.name()) == 1 else s.qname() for s in self.model.states())

    @cached_property
    def initial_state(self) -> np.ndarray:
        """The model's initial state (states,), float64, in the model's units."""
        return np.array(self.model.initial_values(as_floats=True), dtype=float)

    @cached_property
    def potential(self) -> int:
        """Index of the membrane potential among the states."""
        return int(_membrane_potential(self.model).index())

    @cached_property
    def equations(self) -> Equations:
        """The ordered equations every solver is written from."""
        return equations(self.model, self.scaled_constants)

    @cached_property
    def _right_hand_side(self) -> Callable[[Any, Any], list[Any]]:
        namespace: dict[str, Any] = {"numpy": np}
        exec(compile(self.python_source, f"<right-hand side of {self.name}>", "exec"), namespace)
        return namespace["derivatives"]

    @cached_property
    def python_source(self) -> str:
        """The right-hand side as NumPy source, written from the parsed equations only."""
        e, writer = self.equations, NumPyWriter()
        writer.set_lhs_function(e.name)
        lines = [f"    {e.name(myokit.Name(state))} = y[{i}]" for i, state in enumerate(e.states)]
        lines += [f"    p{i} = p[{i}]" for i in range(len(e.controls))]
        lines += [f"    {e.name(lhs)} = {writer.ex(rhs)}" for lhs, rhs in e.assignments]
        lines += [f"    return [{', '.join(e.name(state.lhs()) for state in e.states)}]"]
        return "\n".join(["def derivatives(y, p):", *lines])

    def derivatives(self, state: ArrayLike, scales: ArrayLike) -> np.ndarray:
        """Evaluates the time derivatives of the states, per ms.

        Args:
            state: (states,) or (cells, states), in the model's units.
            scales: (scaled,) or (cells, scaled).

        Returns:
            The same shape as `state`, state unit per ms.

        Raises:
            ValueError: the last axis of `state` or `scales` has the wrong length.
        """
        y, p = np.asarray(state, dtype=float), np.asarray(scales, dtype=float)
        for what, array, width in (("state", y, len(self.states)), ("scales", p, len(self.scaled))):
            if array.ndim not in (1, 2) or array.shape[-1] != width:
                raise ValueError(f"{what}: got shape {array.shape}, allowed is ({width},) or (cells, {width})")
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # in branches that are not taken
            columns = self._right_hand_side(np.moveaxis(y, -1, 0), np.moveaxis(p * self.equations.controls, -1, 0))
        return np.stack(np.broadcast_arrays(*columns, y[..., 0])[:-1], axis=-1)


def load_cell(name: str | Path, variant: str | None = None, scaled: Mapping[str, str] | None = None) -> Cell:
    """Loads a cell model: one of ours by name, or any .mmt or CellML file by path.

    Args:
        name: "akwaboah2021", or the path of a model file.
        variant: one of the constants of the model's component `variant`; None takes the model's own choice
            (`program` for akwaboah2021).
        scaled: name of each scaled conductance -> the constant it multiplies; None takes the component `scales`.

    Raises:
        UserError: no such model, file, variant or constant, no membrane potential in it, other units than of time and
            voltage, or equations that the solvers do not offer.
    """
    model = _read(name)
    chosen = _choose_variant(model, variant)
    if scaled is None:
        component = model.get("scales") if model.has_component("scales") else None
        scaled = {v.name(): v.qname() for v in component.variables(sort=False)} if component else {}
    for key, constant in scaled.items():
        if not (model.has_variable(constant) and model.get(constant).is_constant()):
            constants = [v.qname() for v in model.variables(const=True)]
            raise UserError(f"scaled.{key}: {constant!r} is no constant of the model{_nearest(constant, constants)}")
    for variable, unit in ((model.time(), myokit.units.ms), (_membrane_potential(model), myokit.units.mV)):
        _convert(variable, unit)
    cell = Cell(Path(name).stem, chosen, model, dict(scaled))
    _ = cell.python_source  # refuses here, before any work, a model that no solver can be written from
    return cell


def _read(name: str | Path) -> myokit.Model:
    bundled = sorted(Path(str(entry)).stem for entry in BUNDLED.iterdir() if entry.name.endswith(".mmt"))
    path = Path(str(BUNDLED / f"{name}.mmt")) if str(name) in bundled else Path(name)
    if not path.is_file():
        raise UserError(
            f"simulator.model: got {str(name)!r}, which is neither a bundled model ({', '.join(bundled)}) nor a file"
        )
    try:
        if path.suffix == ".mmt":
            model = myokit.load_model(str(path))
        else:
            model = myokit.formats.importer("cellml").model(str(path))
        model.validate()
    except Exception as error:
        raise UserError(f"simulator.model: {path} cannot be read as a Myokit or CellML model: {error}") from error
    return model


def _convert(variable: myokit.Variable, unit: myokit.Unit) -> None:
    if variable.unit() not in (None, unit):  # without a unit it is taken for ours
        try:
            variable.convert_unit(unit)
        except myokit.IncompatibleUnitError as error:
            raise UserError(f"simulator.model: {variable.qname()} must be in a unit like {unit}: {error}") from error


def _choose_variant(model: myokit.Model, variant: str | None) -> str | None:
    if not model.has_variable("variant.choice"):
        if variant is None:
            return None
        raise UserError(f"simulator.variant: got {variant!r}, but this model has no variants; leave it null")
    choices = {v.name(): v.eval() for v in model.get("variant").variables() if v.name() != "choice"}
    if variant is None:
        return next((key for key, value in choices.items() if value == model.get("variant.choice").eval()), None)
    if variant not in choices:
        allowed = ", ".join(sorted(choices, key=lambda key: choices[key]))
        raise UserError(f"simulator.variant: got {variant!r}, allowed is one of {allowed}{_nearest(variant, choices)}")
    model.set_value("variant.choice", choices[variant])
    return variant


def _membrane_potential(model: myokit.Model) -> myokit.Variable:
    labelled = model.label("membrane_potential")
    volts = [s for s in model.states() if s.unit() in (myokit.units.mV, myokit.units.V)]
    if labelled is not None and labelled.is_state():
        return labelled
    if len(volts) == 1:
        return volts[0]
    raise UserError(
        "simulator.model: the membrane potential is not marked; add 'label membrane_potential' to that state"
    )


def _nearest(got: str, names: Any) -> str:
    close = get_close_matches(got, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
