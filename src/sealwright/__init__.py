"""Sealwright: code signing for operational technology."""

__version__ = "0.1.0"
