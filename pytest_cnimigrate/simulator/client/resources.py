"""Moved to `pytest_cnimigrate.model.resources`: import from there."""

from pytest_cnimigrate.model.resources import *  # noqa: F403
from pytest_cnimigrate.model.resources import Resource as Resource
