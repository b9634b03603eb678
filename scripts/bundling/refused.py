"""The one error of the bundle's builder."""

from __future__ import annotations

from sealwright.errors import SealwrightError


class BundleRefused(SealwrightError):
    """The bundle could not be made as it should be; nothing was put into the output folder."""

    code = "SW-OUTPUT-REFUSED"
