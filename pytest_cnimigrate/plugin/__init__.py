"""The pytest plugin.

It is loaded by every pytest run of an environment in which the package is installed, so this module and
what it imports at its top stay light, and nothing happens unless a scenario is among the paths of the run:
`activation` then registers the plugins that do the work.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_cnimigrate.plugin import discovery, hookspecs, options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the `--cni-…` options and their ini twins."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make the hooks known that other plugins may implement."""
    pluginmanager.add_hookspecs(hookspecs)


# As a wrapper it comes before every plain implementation, pytest-xdist's among them, which asks for the
# number of workers in this hook; and it comes before pytest_configure, where pytest opens the JUnit file.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Wake up if a scenario is among the paths of this run."""
    files = discovery.scenario_files(config)
    if files:
        from pytest_cnimigrate.plugin import activation

        activation.activate(config, files)
    else:
        options.refuse_without_scenario(config)
    return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse phases of a scenario that was not found: they would run without order, gate and journal."""
    discovery.refuse_undiscovered(config, items)
