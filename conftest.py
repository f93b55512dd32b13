"""The plugin comes by its entry point; its own tests need pytester besides."""

pytest_plugins = ["pytester"]
