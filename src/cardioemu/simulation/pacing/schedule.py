"""Schedules: the levels of all inputs of a cell between edges in time, from protocols."""

from collections.abc import Mapping
from decimal import Decimal

import myokit
import numpy as np

from cardioemu.common.errors import UserError
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.pacing import AnyProtocol, OneProtocol, Pacing
from cardioemu.simulation.pacing.piecewise import PiecewiseConstant, PulseTrain, from_function, from_pulse_trains


def schedule(cell: Cell, protocol: AnyProtocol, duration_ms: float | int) -> PiecewiseConstant:
    """Return the levels of the inputs of a cell over [0, duration).

    Args:
        cell: the cell model.
        protocol: for the input "pace": a `Pacing` in ms, or a Myokit protocol in the file's unit of time; a mapping
            assigns one to each of several inputs; None uses the protocol of the model file, if it has one. An input
            that no protocol drives keeps the value of the model file, except "pace", which is 0, as in Myokit.
        duration_ms: end of the schedule.

    Returns:
        Edges and levels; the k-th stimulus of a train begins at start + k period, without accumulated rounding.

    Raises:
        UserError: an input that the model does not have, a protocol that does not consist of events, or events that
            begin at the same time, have no length or are not finite.

    Source: documentation of Myokit 1.39, class `Protocol`, for the events of a protocol.
    """
    inputs = cell.equations.inputs
    drivable = [i.binding for i in inputs if i.level_at is None]
    protocols = _by_binding(protocol, cell.protocol, drivable)
    signals = []
    for i in inputs:
        if i.level_at is not None:
            signals.append(from_function(i.level_at, duration_ms))
        elif i.binding in protocols:
            trains = _trains(protocols[i.binding], i.binding, cell.ms_per_file_time)
            signals.append(from_pulse_trains(trains, duration_ms, i.binding))
        else:
            signals.append(PiecewiseConstant(np.zeros(1), np.array([0.0 if i.binding == "pace" else i.value])))
    edges = np.unique(np.concatenate([np.zeros(1), *(signal.edges_ms for signal in signals)]))
    levels = np.empty((len(edges), len(signals)))
    for column, signal in enumerate(signals):
        levels[:, column] = signal.levels[np.searchsorted(signal.edges_ms, edges, side="right") - 1]
    changed = np.append(True, (levels[1:] != levels[:-1]).any(axis=1))
    return PiecewiseConstant(edges[changed], levels[changed])


def _by_binding(protocol: AnyProtocol, of_cell: AnyProtocol, bindings: list[str]) -> Mapping[str, OneProtocol]:
    unpaced = isinstance(protocol, myokit.Protocol) and len(protocol) == 0
    if isinstance(protocol, Pacing):
        unpaced, protocol = protocol.count == 0, None if protocol.period_ms is None else protocol
    if unpaced or (protocol is None and of_cell is None):
        return {}
    if protocol is None:
        return _by_binding(of_cell, None, bindings if isinstance(of_cell, Pacing) else ["pace"])
    protocols = protocol if isinstance(protocol, Mapping) else {"pace": protocol}
    for binding in protocols:
        if binding not in bindings:
            allowed = f"allowed is one of {', '.join(bindings)}" if bindings else "remove it, the cell cannot be paced"
            raise UserError(f"protocol: got the input {binding!r}, which no equation of the model uses; {allowed}")
    return protocols


def _trains(protocol: OneProtocol, binding: str, ms_per_file_time: float) -> list[PulseTrain]:
    """Return the events of a protocol, in ms."""
    if isinstance(protocol, Pacing):
        p, count = protocol, np.inf if protocol.count is None else protocol.count
        if p.period_ms is None and p.count != 0:
            raise UserError(f"protocol: the Pacing of {binding!r} has no period_ms; set it, or remove {binding!r}")
        return [PulseTrain(p.amplitude, p.start_ms, p.duration_ms, p.period_ms or 1.0, count)]
    if not isinstance(protocol, myokit.Protocol):
        raise UserError(
            f"protocol: got a {type(protocol).__name__} for {binding!r}; allowed is a Pacing or a myokit.Protocol, "
            "which have constant levels; write an input that changes continuously as a state of the model"
        )

    def ms(time: float) -> float:
        # In decimal arithmetic, because 0.07 s * 1000 is 70.00000000000001.
        return float(Decimal(repr(time)) * Decimal(repr(ms_per_file_time)))

    trains = []
    for event in protocol:
        times = (event.start(), event.duration(), event.period())
        if not np.isfinite((event.level(), *times)).all():
            raise UserError(
                f"protocol: got an event of {binding!r} with level, start, length and period "
                f"{event.level():g}, {', '.join(f'{t:g}' for t in times)}; allowed are finite numbers"
            )
        count = (event.multiplier() or np.inf) if event.period() > 0 else 1
        start_ms, length_ms, period_ms = map(ms, times)
        trains.append(PulseTrain(event.level(), start_ms, length_ms, period_ms, count))
    return trains
