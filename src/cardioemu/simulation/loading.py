"""Reading cell model files and setting them as the user asks: each function changes the Myokit model it is given."""

import warnings
from collections.abc import Mapping
from importlib.resources import files
from numbers import Real
from pathlib import Path

import myokit
import myokit.formats
import myokit.lib.guess
import numpy as np

from cardioemu.common.errors import UserError, name_hint
from cardioemu.simulation.equations.folding import evaluate

BUNDLED = files("cardioemu.simulation") / "models"
NO_UNIT = (None, myokit.units.dimensionless)


def read_model(name: str | Path) -> tuple[myokit.Model, myokit.Protocol | None]:
    """Reads one of our models by name, or a .mmt or CellML file by path, with the protocol that an .mmt file has."""
    bundled = sorted(Path(str(entry)).stem for entry in BUNDLED.iterdir() if entry.name.endswith(".mmt"))
    path = Path(str(BUNDLED / f"{name}.mmt")) if str(name) in bundled else Path(name)
    if not path.is_file():
        raise UserError(
            f"simulator.model: got {str(name)!r}, which is neither a bundled model ({', '.join(bundled)}) nor a file"
        )
    try:
        if path.suffix.lower() == ".mmt":
            model, protocol, _ = myokit.load(str(path))
        else:
            # the clone, since a new model knows no references to derivatives
            model, protocol = myokit.formats.importer("cellml").model(str(path)).clone(), None
        _check(model)
    except Exception as error:  # whatever a parser meets in a broken file
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise UserError(f"simulator.model: {path} cannot be read as a Myokit or CellML model: {reason}") from error
    return model, protocol


def _check(model: myokit.Model | None) -> None:
    if model is None:
        raise ValueError("it has no part [[model]]")
    model.validate()
    if model.count_states() == 0:
        raise ValueError("it has no states, so nothing changes in time")
    if any(reference.is_derivative() for v in model.variables(deep=True) for reference in v.rhs().references()):
        try:  # validation overlooks circles through dot(x)
            model.solvable_order()
        except RuntimeError as error:
            raise ValueError("its derivatives depend on each other in a circle") from error


def set_parameters(model: myokit.Model, parameters: Mapping[str, float | int]) -> None:
    """Gives constants, by qualified name or label, other values, in the file's units."""
    for name, value in parameters.items():
        address = f"simulator.parameters.{name}"
        variable = _constant(model, str(name), address)
        if variable.qname() == "variant.choice":
            raise UserError(f"{address}: the variant is not set as a parameter; set simulator.variant")
        variable.set_rhs(_finite(value, address))


def choose_variant(model: myokit.Model, variant: str | None) -> str | None:
    """Sets the constant `variant.choice`, where a model has it, and returns the variant's name."""
    constants = {v.name(): v for v in model.variables(const=True) if v.parent().name() == "variant"}
    choice = constants.pop("choice", None)
    if choice is None:
        if variant is None:
            return None
        raise UserError(f"simulator.variant: got {variant!r}, but this model has no variants; leave it null")
    choices = {name: evaluate(v.rhs()) for name, v in constants.items()}
    if variant is None:
        return next((name for name, value in choices.items() if value == evaluate(choice.rhs())), None)
    if variant not in choices:
        allowed = ", ".join(sorted(choices, key=lambda name: choices[name]))
        raise UserError(f"simulator.variant: got {variant!r}, allowed is one of {allowed}")
    choice.set_rhs(choices[variant])
    return variant


def scaled_constants(model: myokit.Model, scaled: Mapping[str, str] | None) -> dict[str, str]:
    """Returns name -> qualified name of each scaled constant; None takes the constants of the component `scales`."""
    if scaled is None:
        return {v.name(): v.qname() for v in model.variables(const=True) if v.parent().name() == "scales"}
    return {name: _constant(model, str(to), f"simulator.scaled.{name}").qname() for name, to in scaled.items()}


def _constant(model: myokit.Model, name: str, address: str) -> myokit.Variable:
    labelled = model.label(name)
    variables = {v.qname(): v for v in model.variables(deep=True)} | ({} if labelled is None else {name: labelled})
    if name not in variables:
        constants = [key for key, v in variables.items() if v.is_constant()] + [label for label, _ in model.labels()]
        raise UserError(f"{address}: {name!r} is no constant of the model; {name_hint(name, constants)}")
    variable = variables[name]
    if not variable.is_constant():
        what = f"the label of {variable.qname()}, which is " if labelled is not None else ""
        what += "a state" if variable.is_state() else "driven from outside" if variable.is_bound() else "computed"
        raise UserError(f"{address}: {name!r} is no constant of the model, it is {what}; choose a constant")
    return variable


def mark_potential(model: myokit.Model, potential: str | None) -> None:
    """Labels the state that is the membrane potential; see `load_cell` for how it is found."""
    chosen = _chosen_potential(model, potential)
    if chosen is None:
        guess = myokit.lib.guess.membrane_potential(model)
        chosen = guess if guess is not None and guess.is_state() else next(model.states())
        warnings.warn(
            f"simulator.model: no state is labelled membrane_potential, so {chosen.qname()} is taken for it; "
            "name another as simulator.potential",
            stacklevel=3,
        )
    elif not (chosen.unit() in NO_UNIT or _is_voltage(chosen)):
        raise UserError(f"simulator.model: {chosen.qname()} must be in a unit like [mV], but is in {chosen.unit()}")
    old = model.label("membrane_potential")
    if old is not None:
        old.set_label(None)
    chosen.set_label(None)
    chosen.set_label("membrane_potential")


def _chosen_potential(model: myokit.Model, potential: str | None) -> myokit.Variable | None:
    labelled, volts = model.label("membrane_potential"), [s for s in model.states() if _is_voltage(s)]
    if potential is not None:
        return _state(model, potential, "simulator.potential")
    if labelled is not None and labelled.is_state():
        return labelled
    return volts[0] if len(volts) == 1 else None


def _is_voltage(variable: myokit.Variable) -> bool:
    return variable.unit() is not None and myokit.Unit.can_convert(variable.unit(), myokit.units.V)


def convert_units(model: myokit.Model) -> float:
    """Converts time to ms and the membrane potential to mV, and returns how many ms a unit of the file's time is.

    All equations at once, where Myokit's `convert_unit` stumbles over those that hold both V and dot(V).
    """
    time, potential = model.time(), model.label("membrane_potential")
    if not (time.unit() in NO_UNIT or myokit.Unit.can_convert(time.unit(), myokit.units.ms)):
        raise UserError(f"simulator.model: {time.qname()} must be in a unit like [ms], but is in {time.unit()}")
    ms = 1.0 if time.unit() in NO_UNIT else _convert_unit(time, myokit.units.ms)
    mV = _convert_unit(potential, myokit.units.mV) if _is_voltage(potential) else 1.0
    # How many new units an old one is: without a unit, time is taken for ms and V for mV.
    factors = {myokit.Name(time): ms, myokit.Name(potential): mV}
    factors |= {state.lhs(): (mV if state is potential else 1) / ms for state in model.states()}
    # Those of factor 1 as well, or else the V in dot(V) would be replaced.
    changes = {lhs: lhs if f == 1 else myokit.Divide(lhs, myokit.Number(f)) for lhs, f in factors.items()}
    for variable in list(model.variables(deep=True)):
        rhs = variable.rhs().clone(subst=changes)
        if variable.is_state() and factors[variable.lhs()] != 1:
            rhs = myokit.Multiply(rhs, myokit.Number(factors[variable.lhs()]))
        variable.set_rhs(rhs)
    if mV != 1:
        potential.set_initial_value(myokit.Multiply(potential.initial_value(), myokit.Number(mV)))
    return ms


def _convert_unit(variable: myokit.Variable, unit: myokit.Unit) -> float:
    factor = float(myokit.Unit.conversion_factor(variable.unit(), unit))
    variable.set_unit(unit)
    return float(f"{factor:.14g}")  # a minute is 60000.00000000003 ms otherwise


def set_initial_state(model: myokit.Model, initial_state: Mapping[str, float | int]) -> None:
    """Gives states, by the names that the cell has for them or qualified ones, other initial values."""
    for name, value in initial_state.items():
        address = f"simulator.initial_state.{name}"
        _state(model, str(name), address).set_initial_value(_finite(value, address))
    for state in model.states():
        value = evaluate(state.initial_value())
        if not np.isfinite(value):
            raise UserError(
                f"simulator.model: the initial value of {state.qname()} is {value}; give a finite one as "
                "simulator.initial_state"
            )


def state_names(model: myokit.Model) -> tuple[str, ...]:
    """Returns the names of the states: short where that is unambiguous, `component.name` otherwise."""
    names = [state.name() for state in model.states()]
    return tuple(state.name() if names.count(state.name()) == 1 else state.qname() for state in model.states())


def _state(model: myokit.Model, name: str, address: str) -> myokit.Variable:
    states = {state.qname(): state for state in model.states()}
    states |= dict(zip(state_names(model), model.states(), strict=True))
    if name not in states:
        raise UserError(f"{address}: {name!r} is no state of the model; {name_hint(name, states)}")
    return states[name]


def _finite(value: object, address: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise UserError(f"{address}: got {value!r}, allowed are finite numbers")
    return float(value)
