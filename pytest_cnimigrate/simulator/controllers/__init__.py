"""The control loops of Kubernetes, as ordinary clients of the API."""

from pytest_cnimigrate.simulator.controllers.manager import ControllerManager, start_controllers

__all__ = ["ControllerManager", "start_controllers"]
