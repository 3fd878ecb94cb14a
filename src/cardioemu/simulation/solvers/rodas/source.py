"""The C source of the population solver of a cell model: `kernel.c` with the equations of the model inserted."""

from collections.abc import Iterable, Sequence
from importlib.resources import files

import myokit

from cardioemu.simulation.equations import Assignment, CWriter, Entries, Equations, jacobian
from cardioemu.simulation.solvers.rodas.lu import static_lu


def source(equations: Equations, potential: int, recorded: Sequence[myokit.Variable] = ()) -> str:
    """Return the C source of the population solver; `potential` is the index of V among the states."""
    kernel, vector = ((files(__package__) / name).read_text(encoding="utf-8") for name in ("kernel.c", "vector.h"))
    kernel = kernel.replace('#include "vector.h"\n', vector)
    for name, text in _Sections(equations, potential, recorded).texts().items():
        kernel = kernel.replace(f"@{name}@", text)
    return kernel


def system_size(equations: Equations) -> int:
    """Return the number of states, plus 1 if the right-hand side depends on time: time is then the last state."""
    return len(equations.states) + (equations.time is not None)


class _Sections:
    """Sections of the source that depend on the cell model."""

    def __init__(self, equations: Equations, potential: int, recorded: Sequence[myokit.Variable]) -> None:
        self.equations, self.potential, self.recorded = equations, potential, recorded
        self.n = range(system_size(equations))
        self.writer = CWriter()
        self.writer.set_lhs_function(equations.name)
        self.names = [equations.name(myokit.Name(state)) for state in equations.states] + ["time"]
        self.rates = [equations.name(state.lhs()) for state in equations.states] + ["1.0"]

    def texts(self) -> dict[str, str]:
        partials, entries = jacobian(self.equations, self.recorded)
        minus_jacobian = {at: f"-FINITE({self.writer.ex(entry)})" for at, entry in entries.items()}
        lu = static_lu({(i, j) for i, j in entries if i in self.n}, len(self.n))
        texts = {
            "RATES": self.values() + [f"F[{i}] = VEC({self.rates[i]});" for i in self.n],
            "LINEARISE": [
                *self.values(),
                *self.assign(partials, "FINITE"),
                *(f"F[{i}] = VEC({self.rates[i]});" for i in self.n),
                *(f"J[{place}] = {minus_jacobian.get(at, 'VEC(0.0)')};" for at, place in lu.position.items()),
                *self.channels(entries),
            ],
            "FACTORISE": lu.factorise("J"),
            "SOLVE": lu.solve("J", "X"),
        }
        sizes = {
            "STATES": len(self.n),
            "SCALED": len(self.equations.control_values),
            "INPUTS": len(self.equations.inputs),
            "CHANNELS": 1 + len(self.recorded),
            "ENTRIES": len(lu.position),
        }
        return {name: "\n".join(f"  {line}" for line in lines) for name, lines in texts.items()} | {
            name: str(size) for name, size in sizes.items()
        }

    def values(self) -> list[str]:
        """Return the assignments of all variables of the right-hand side, at the states Y."""
        e = self.equations
        lines = [f"const vec p{i} = P[{i}];" for i in range(len(e.control_values))]
        lines += [f"const vec q{i} = Q[{i}];" for i in range(len(e.inputs))]
        lines += [f"const vec {self.names[i]} = Y[{i}];" for i in self.n]
        return lines + self.assign(e.assignments, "VEC")

    def assign(self, pairs: Iterable[Assignment], kind: str) -> list[str]:
        return [f"const vec {self.equations.name(lhs)} = {kind}({self.writer.ex(rhs)});" for lhs, rhs in pairs]

    def channels(self, entries: Entries) -> list[str]:
        """Return the assignments of recorded values and, by the chain rule, their time derivatives."""
        lines = [f"OUT[0] = {self.names[self.potential]}, OUT[1] = {self.rates[self.potential]};"]
        for number, variable in enumerate(self.recorded):
            value = self.writer.ex(myokit.Name(variable))
            if variable.is_state():
                slope = self.rates[self.equations.states.index(variable)]
            else:
                row = len(self.equations.states) + number
                columns = [j for j in self.n if (row, j) in entries]
                slope = " + ".join(f"({self.writer.ex(entries[row, j])}) * {self.rates[j]}" for j in columns) or "0.0"
            lines.append(f"OUT[{2 * number + 2}] = VEC({value}), OUT[{2 * number + 3}] = VEC({slope});")
        return lines
