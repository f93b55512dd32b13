"""Moved to `pytest_cnimigrate.model.objects`: import from there."""

from pytest_cnimigrate.model.objects import *  # noqa: F403
from pytest_cnimigrate.model.objects import Object as Object
