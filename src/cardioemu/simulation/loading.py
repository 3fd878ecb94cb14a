"""Reading cell model files and applying the user's settings: the functions modify the Myokit model in place."""

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
    """Read a bundled model by name, or an .mmt or CellML file by path, and the protocol of an .mmt file."""
    bundled = sorted(Path(str(entry)).stem for entry in BUNDLED.iterdir() if entry.name.endswith(".mmt"))
    path = Path(str(BUNDLED / f"{name}.mmt")) if str(name) in bundled else Path(name)
    if not path.is_file():
        raise UserError(
            f"simulator.model: got {str(name)!r}; allowed is a bundled model ({', '.join(bundled)}) or the path of a "
            ".mmt or CellML file"
        )
    try:
        if path.suffix.lower() == ".mmt":
            model, protocol, _ = myokit.load(str(path))
        else:
            # cloned, because a new model does not register references to derivatives
            model, protocol = myokit.formats.importer("cellml").model(str(path)).clone(), None
        _check(model)
    except Exception as error:  # parsers raise anything on broken files
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise UserError(f"simulator.model: {path} cannot be read as a Myokit or CellML model: {reason}") from error
    return model, protocol


def _check(model: myokit.Model | None) -> None:
    if model is None:
        raise ValueError("it has no section [[model]]")
    model.validate()
    if model.count_states() == 0:
        raise ValueError("it has no states")
    if any(reference.is_derivative() for v in model.variables(deep=True) for reference in v.rhs().references()):
        try:  # validation misses cycles through dot(x)
            model.solvable_order()
        except RuntimeError as error:
            raise ValueError("its derivatives depend on each other in a cycle") from error


def set_parameters(model: myokit.Model, parameters: Mapping[str, float | int]) -> None:
    """Set constants, named by qualified name or label, to values in the file's units."""
    for name, value in parameters.items():
        address = f"simulator.parameters.{name}"
        variable = _constant(model, str(name), address)
        if variable.qname() == "variant.choice":
            raise UserError(f"{address}: a variant cannot be set as a parameter; set simulator.variant")
        variable.set_rhs(_finite(value, address))


def choose_variant(model: myokit.Model, variant: str | None) -> str | None:
    """Set the constant `variant.choice`, if the model has it, and return the name of the variant."""
    constants = {v.name(): v for v in model.variables(const=True) if v.parent().name() == "variant"}
    choice = constants.pop("choice", None)
    if choice is None:
        if variant is None:
            return None
        raise UserError(f"simulator.variant: got {variant!r}; this model has no variants; set it to null")
    choices = {name: evaluate(v.rhs()) for name, v in constants.items()}
    if variant is None:
        return next((name for name, value in choices.items() if value == evaluate(choice.rhs())), None)
    if variant not in choices:
        allowed = ", ".join(sorted(choices, key=lambda name: choices[name]))
        raise UserError(f"simulator.variant: got {variant!r}; allowed is one of {allowed}")
    choice.set_rhs(choices[variant])
    return variant


def scaled_constants(model: myokit.Model, scaled: Mapping[str, str] | None) -> dict[str, str]:
    """Return name -> qualified name of each scaled constant; None selects the constants of the component `scales`."""
    if scaled is None:
        return {v.name(): v.qname() for v in model.variables(const=True) if v.parent().name() == "scales"}
    return {name: _constant(model, str(to), f"simulator.scaled.{name}").qname() for name, to in scaled.items()}


def _constant(model: myokit.Model, name: str, address: str) -> myokit.Variable:
    labelled = model.label(name)
    variables = {v.qname(): v for v in model.variables(deep=True)} | ({} if labelled is None else {name: labelled})
    if name not in variables:
        constants = [key for key, v in variables.items() if v.is_constant()] + [label for label, _ in model.labels()]
        raise UserError(f"{address}: the model has no constant {name!r}; {name_hint(name, constants)}")
    variable = variables[name]
    if not variable.is_constant():
        kind = f"the label of {variable.qname()}, which is " if labelled is not None else ""
        kind += "a state" if variable.is_state() else "an input" if variable.is_bound() else "computed"
        raise UserError(f"{address}: {name!r} is not a constant of the model but {kind}; choose a constant")
    return variable


def mark_potential(model: myokit.Model, potential: str | None) -> None:
    """Label the state that is the membrane potential; `load_cell` documents the choice."""
    chosen = _chosen_potential(model, potential)
    if chosen is None:
        guess = myokit.lib.guess.membrane_potential(model)
        chosen = guess if guess is not None and guess.is_state() else next(model.states())
        warnings.warn(
            f"simulator.model: no state is labelled membrane_potential; using {chosen.qname()}; "
            "set simulator.potential to choose another state",
            stacklevel=3,
        )
    elif not (chosen.unit() in NO_UNIT or _is_voltage(chosen)):
        raise UserError(f"simulator.model: {chosen.qname()} has the unit {chosen.unit()}; allowed is a unit like [mV]")
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
    """Convert time to ms and the membrane potential to mV, and return the length in ms of the file's unit of time.

    Converts all equations simultaneously: Myokit's `convert_unit` fails on equations that contain both V and dot(V).
    """
    time, potential = model.time(), model.label("membrane_potential")
    if not (time.unit() in NO_UNIT or myokit.Unit.can_convert(time.unit(), myokit.units.ms)):
        raise UserError(f"simulator.model: {time.qname()} has the unit {time.unit()}; allowed is a unit like [ms]")
    ms = 1.0 if time.unit() in NO_UNIT else _convert_unit(time, myokit.units.ms)
    mV = _convert_unit(potential, myokit.units.mV) if _is_voltage(potential) else 1.0
    # New units per old unit; time and V without a unit are already in ms and mV.
    factors = {myokit.Name(time): ms, myokit.Name(potential): mV}
    factors |= {state.lhs(): (mV if state is potential else 1) / ms for state in model.states()}
    # Expressions with factor 1 are listed too: otherwise the V in dot(V) would be replaced.
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
    return float(f"{factor:.14g}")  # Myokit's factor of a minute is 60000.00000000003 ms


def set_initial_state(model: myokit.Model, initial_state: Mapping[str, float | int]) -> None:
    """Set initial values of states, named as in `state_names` or by qualified name."""
    for name, value in initial_state.items():
        address = f"simulator.initial_state.{name}"
        _state(model, str(name), address).set_initial_value(_finite(value, address))
    for state in model.states():
        value = evaluate(state.initial_value())
        if not np.isfinite(value):
            raise UserError(
                f"simulator.model: the initial value of {state.qname()} is {value}; set a finite one in "
                "simulator.initial_state"
            )


def state_names(model: myokit.Model) -> tuple[str, ...]:
    """Return the names of the states: short if unambiguous, `component.name` otherwise."""
    names = [state.name() for state in model.states()]
    return tuple(state.name() if names.count(state.name()) == 1 else state.qname() for state in model.states())


def _state(model: myokit.Model, name: str, address: str) -> myokit.Variable:
    states = {state.qname(): state for state in model.states()}
    states |= dict(zip(state_names(model), model.states(), strict=True))
    if name not in states:
        raise UserError(f"{address}: the model has no state {name!r}; {name_hint(name, states)}")
    return states[name]


def _finite(value: object, address: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise UserError(f"{address}: got {value!r}; allowed is a finite number")
    return float(value)
