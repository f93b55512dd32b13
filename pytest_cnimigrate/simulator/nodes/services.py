"""What a kubelet and its pods share on one node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pytest_cnimigrate.simulator.client.api import Api
from pytest_cnimigrate.simulator.client.events import EventRecorder
from pytest_cnimigrate.simulator.client.informer import Informers
from pytest_cnimigrate.simulator.clock import Pace
from pytest_cnimigrate.simulator.faults import Faults
from pytest_cnimigrate.simulator.network.wire import Wire
from pytest_cnimigrate.simulator.nodes.machine import Machine, Machines
from pytest_cnimigrate.simulator.nodes.programs import ProgramRegistry


@dataclass(frozen=True, slots=True)
class NodeServices:
    """The parts of the simulator that one node uses."""

    api: Api
    informers: Informers
    pace: Pace
    faults: Faults
    wire: Wire
    programs: ProgramRegistry
    machines: Machines
    machine: Machine
    events: EventRecorder
    network_ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the runtime has a CNI configuration; kubelet looks every five seconds."""
