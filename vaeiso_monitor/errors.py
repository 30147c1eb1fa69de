"""Errors, grouped by what the caller must do about them.

A record that cannot be read is not here: it is a value, :class:`vaeiso_monitor.types.Reject`.
"""


class VaeisoError(Exception):
    """Anything this package raises on purpose; the message is one sentence for a person."""


class ConfigError(VaeisoError):
    """The configuration or the command line is wrong: mend it and start again (exit code 2)."""


class TransientError(VaeisoError):
    """A peer did not answer within the deadline: the same call may work later."""


class BundleError(VaeisoError):
    """A bundle is damaged, incomplete or of a foreign version: keep the one that serves."""
