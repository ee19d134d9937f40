"""What can go wrong, as one tree.

    AutoshrinkError
    ├── SpecError            the user's file or command line is wrong          exit code 2
    ├── BackendUnavailable   a runtime is not installed                        exit code 4
    ├── DeviceError          the device did not do what it was asked to        exit code 4
    └── Refusal              this recipe can't be applied to this model or device

Anything else that is raised is a bug of autoshrink and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["AutoshrinkError", "BackendUnavailable", "DeviceError", "Refusal", "SpecError"]


class AutoshrinkError(Exception):
    """An error with a message for the user, and the exit code that the command line ends with."""

    exit_code: ClassVar[int] = 1


class SpecError(AutoshrinkError):
    """The user's input is wrong: the message says where, what, and what is known instead."""

    exit_code: ClassVar[int] = 2


class BackendUnavailable(AutoshrinkError):
    """A runtime can't be used here: the message names the extra or the package to install."""

    exit_code: ClassVar[int] = 4


class DeviceError(AutoshrinkError):
    """A device failed or vanished: it is retried, then the search stops and can be resumed."""

    exit_code: ClassVar[int] = 4


class Refusal(AutoshrinkError):
    """This recipe can't be applied to this model or device: it becomes a candidate with a reason."""
