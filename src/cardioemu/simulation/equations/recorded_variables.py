"""States and variables that can be recorded in addition to V."""

from collections.abc import Sequence

import myokit

from cardioemu.common.errors import UserError, name_hint
from cardioemu.simulation.equations.right_hand_side import Equations


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
