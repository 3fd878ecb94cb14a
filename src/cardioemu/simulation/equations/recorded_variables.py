"""Which states and variables a user may ask to be recorded beside V."""

from collections.abc import Sequence

import myokit

from cardioemu.common.errors import UserError, name_hint
from cardioemu.simulation.equations.right_hand_side import Equations


def recorded_variables(equations: Equations, record: Sequence[str]) -> list[myokit.Variable]:
    """Finds the variables of `equations` by their names: "ikr.I_Kr", or a state's name alone where that is unambiguous.

    Raises:
        UserError: a name that no state and no variable has.
    """
    model = equations.states[0].model()
    names = {v.qname(): v for v in model.variables(deep=True) if v.binding() != "time"}
    short = [state.name() for state in equations.states]
    names |= {s.name(): s for s in equations.states if short.count(s.name()) == 1}
    for name in record:
        if name not in names:
            raise UserError(f"record: {name!r} is no state or variable of the model; {name_hint(name, names)}")
    return [names[name] for name in record]
