"""The schedule: from protocols to the levels of a cell's inputs between edges in time."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import myokit
import numpy as np

from cardioemu.common.errors import UserError
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.pacing import AnyProtocol, OneProtocol, Pacing
from cardioemu.simulation.pacing.piecewise import PiecewiseConstant, PulseTrain, from_function, from_pulse_trains


class Schedule(NamedTuple):
    """The levels of all inputs over time, constant between edges.

    Attributes:
        edges_ms: (segments,) where each segment begins, strictly ascending from 0.
        levels: (segments, inputs).
    """

    edges_ms: np.ndarray
    levels: np.ndarray


def schedule(cell: Cell, protocol: AnyProtocol, duration_ms: float | int) -> Schedule:
    """Tells the levels of the inputs of a cell over [0, duration).

    Args:
        cell: the cell model.
        protocol: for the input "pace": a `Pacing` in ms, or a Myokit protocol in the model file's own unit of time; a
            mapping gives one to each of several inputs; None takes the model file's own, if it has one. An input that
            nothing drives keeps the value of the model file, but "pace" is 0, as in Myokit.
        duration_ms: where the schedule ends.

    Returns:
        Edges and levels; the k-th stimulus of a train begins at start + k period, without accumulated rounding.

    Raises:
        UserError: an input that the model lacks, a protocol that is not made of events, events that begin at the same
            time, have no length or are not finite.

    Source: what an event of a protocol is: documentation of Myokit 1.39, class `Protocol`.
    """
    inputs = cell.equations.inputs
    drivable = [i.binding for i in inputs if i.level_at is None]
    protocols = _by_binding(protocol, cell.protocol, drivable)
    courses = []
    for i in inputs:
        if i.level_at is not None:
            courses.append(from_function(i.level_at, duration_ms))
        elif i.binding in protocols:
            trains = _trains(protocols[i.binding], i.binding, cell.ms_per_file_time)
            courses.append(from_pulse_trains(trains, duration_ms, i.binding))
        else:
            courses.append(PiecewiseConstant(np.zeros(1), np.array([0.0 if i.binding == "pace" else i.value])))
    edges = np.unique(np.concatenate([np.zeros(1), *(course.edges_ms for course in courses)]))
    levels = np.empty((len(edges), len(courses)))
    for column, course in enumerate(courses):
        levels[:, column] = course.levels[np.searchsorted(course.edges_ms, edges, side="right") - 1]
    changed = np.append(True, (levels[1:] != levels[:-1]).any(axis=1))
    return Schedule(edges[changed], levels[changed])


def _by_binding(protocol: AnyProtocol, of_cell: AnyProtocol, bindings: list[str]) -> Mapping[str, OneProtocol]:
    silent = isinstance(protocol, myokit.Protocol) and len(protocol) == 0
    if isinstance(protocol, Pacing):
        silent, protocol = protocol.count == 0, None if protocol.period_ms is None else protocol
    if silent or (protocol is None and of_cell is None):
        return {}
    if protocol is None:
        return _by_binding(of_cell, None, bindings if isinstance(of_cell, Pacing) else ["pace"])
    protocols = protocol if isinstance(protocol, Mapping) else {"pace": protocol}
    for binding in protocols:
        if binding not in bindings:
            allowed = f"allowed are {', '.join(bindings)}" if bindings else "it cannot be paced, so leave it out"
            raise UserError(f"protocol: no equation of the model uses an input {binding!r}; {allowed}")
    return protocols


def _trains(protocol: OneProtocol, binding: str, ms_per_file_time: float) -> list[PulseTrain]:
    """The events of a protocol, in ms."""
    if isinstance(protocol, Pacing):
        p, count = protocol, np.inf if protocol.count is None else protocol.count
        if p.period_ms is None and p.count != 0:
            raise UserError(
                f"protocol: the Pacing of {binding!r} has no period_ms; give it one, or leave {binding!r} out"
            )
        return [PulseTrain(p.amplitude, p.start_ms, p.duration_ms, p.period_ms or 1.0, count)]
    if not isinstance(protocol, myokit.Protocol):
        raise UserError(
            f"protocol: got a {type(protocol).__name__} for {binding!r}, allowed are events of constant level, as a "
            "Pacing or a myokit.Protocol; write a course that changes all the time as states of the model"
        )

    def ms(time: float) -> float:
        # In decimals, since 0.07 s * 1000 is 70.00000000000001.
        return float(Decimal(repr(time)) * Decimal(repr(ms_per_file_time)))

    trains = []
    for event in protocol:
        times = (event.start(), event.duration(), event.period())
        if not np.isfinite((event.level(), *times)).all():
            raise UserError(
                f"protocol: an event of {binding!r} has level, start, length and period "
                f"{event.level():g}, {', '.join(f'{t:g}' for t in times)}, allowed are finite numbers"
            )
        count = (event.multiplier() or np.inf) if event.period() > 0 else 1
        start_ms, length_ms, period_ms = map(ms, times)
        trains.append(PulseTrain(event.level(), start_ms, length_ms, period_ms, count))
    return trains
