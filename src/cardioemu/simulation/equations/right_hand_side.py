"""The right-hand side of a cell model as an ordered list of assignments, from which code in any language is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import myokit
import numpy as np

from cardioemu.common.errors import UserError, name_hint
from cardioemu.simulation.equations.explicit_time import LevelAt, extract_time_inputs
from cardioemu.simulation.equations.folding import evaluate, fold
from cardioemu.simulation.equations.singularities import remove_singularities

Assignment = tuple[myokit.LhsExpression, myokit.Expression]


@dataclass(frozen=True)
class Input:
    """An external input of the cell, constant between edges in time: a stimulus.

    Attributes:
        binding: the name by which a protocol drives it ("pace"), or "time".
        value: its value in the model file, at time 0.
        level_at: its level as a function of time, (n,) ms -> (n,), if the model file defines it; otherwise None.
    """

    binding: str
    value: float
    level_at: LevelAt | None = None


@dataclass(frozen=True)
class Equations:
    """Assignments in evaluation order, with constants folded into numbers.

    Attributes:
        states: the states, in the model's order.
        assignments: assignments of the derivatives and of all variables they need, except scaled constants, inputs and
            time, which are arguments.
        control_values: values of the scaled constants at scale 1.
        inputs: variables driven by protocols, and variables that jump in time.
        time: the time variable if the right-hand side depends on it other than through `inputs`, otherwise None.
        name: returns the name of a variable, derivative or partial derivative in the generated source: scaled constants
            are p0, p1, ..., inputs q0, q1, ..., time is `time`.
    """

    states: tuple[myokit.Variable, ...]
    assignments: tuple[Assignment, ...]
    control_values: np.ndarray
    inputs: tuple[Input, ...]
    time: myokit.Variable | None
    name: Callable[[myokit.LhsExpression], str]

    def file_levels(self, time_ms: float | int) -> np.ndarray:
        """Return the levels (inputs,) of the inputs in the model file at a time."""
        return np.array([i.value if i.level_at is None else i.level_at(np.array([time_ms]))[0] for i in self.inputs])


def build_equations(model: myokit.Model, scaled: Mapping[str, str]) -> Equations:
    """Order the equations of a model whose constants `scaled` (name -> variable) become arguments.

    Raises:
        UserError: two of `scaled` depend on each other.
    """
    model = model.clone()
    scaled_constants = [model.get(qname) for qname in scaled.values()]
    _check_independent(scaled_constants)
    driven = _driven(model)
    for i, variable in enumerate(scaled_constants):
        variable.set_binding(f"scaled_{i}")
    order, timed = extract_time_inputs(model, fold(model))
    for variable, rhs in remove_singularities(order, model.label("membrane_potential")).items():
        variable.set_rhs(rhs)
    time = model.time() if model.time().is_referenced() else None
    inputs = [Input(binding, float(evaluate(v.rhs()))) for v, binding in driven.items()]
    inputs += [Input("time", float(evaluate(v.rhs())), level_at) for v, level_at in timed.items()]
    assignments = [(v.lhs(), v.rhs()) for v in order if not (v.is_constant() or v.is_bound())]
    return Equations(
        tuple(model.states()),
        tuple(assignments),
        np.array([evaluate(variable.rhs()) for variable in scaled_constants], dtype=float),
        tuple(inputs),
        time,
        _names(order, time, scaled_constants, [*driven, *timed]),
    )


def _driven(model: myokit.Model) -> dict[myokit.Variable, str]:
    """Unbind all variables except time, and return those that a protocol can drive -> the names of their bindings."""
    bound = {v: v.binding() for v in model.variables(bound=True, deep=True, sort=True) if v.binding() != "time"}
    for variable in bound:
        variable.set_binding(None)
    driven = {v: binding for v, binding in bound.items() if v.is_constant() and v.is_referenced()}
    for i, variable in enumerate(driven):
        variable.set_binding(f"driven_{i}")
    return driven


def _names(
    order: Sequence[myokit.Variable],
    time: myokit.Variable | None,
    scaled: Sequence[myokit.Variable],
    inputs: Sequence[myokit.Variable],
) -> Callable[[myokit.LhsExpression], str]:
    arguments = {variable: f"p{i}" for i, variable in enumerate(scaled)}
    arguments |= {variable: f"q{i}" for i, variable in enumerate(inputs)}
    if time is not None:
        arguments[time] = "time"
    number = {variable: i for i, variable in enumerate(order)}

    def name(lhs: myokit.LhsExpression) -> str:
        # The number makes the name unique: without it a.b_c and a_b.c would have the same name.
        if isinstance(lhs, myokit.PartialDerivative):
            return f"{name(lhs.dependent_expression())}_by_{name(lhs.independent_expression())}"
        variable = lhs.var()
        if variable in arguments:
            return arguments[variable]
        if variable.is_state():
            return f"{'d' if isinstance(lhs, myokit.Derivative) else 'y'}{variable.index()}_{variable.name()}"
        return f"v{number[variable]}_{variable.name()}"

    return name


def _check_independent(constants: Sequence[myokit.Variable]) -> None:
    # Each is replaced by its own scaled value, so scaling one would not change the other.
    for variable, other in permutations(constants, 2):
        if variable is other or variable.rhs().depends_on(other.lhs(), deep=True):
            raise UserError(
                f"simulator.scaled: {variable.qname()} is scaled twice, directly and as {other.qname()}; "
                "remove one of them"
            )


def recorded_variables(equations: Equations, record: Sequence[str]) -> list[myokit.Variable]:
    """Return the variables with these names: "ikr.I_Kr", or the name of a state alone if it is unambiguous.

    Raises:
        UserError: a name of neither a state nor a variable.
    """
    model = equations.states[0].model()
    variables = {v.qname(): v for v in model.variables(deep=True) if v.binding() != "time"}
    short_names = [state.name() for state in equations.states]
    variables |= {s.name(): s for s in equations.states if short_names.count(s.name()) == 1}
    for name in record:
        if name not in variables:
            raise UserError(f"record: the model has no state or variable {name!r}; {name_hint(name, variables)}")
    return [variables[name] for name in record]
