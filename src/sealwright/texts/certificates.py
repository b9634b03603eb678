"""Sentences of the certificates codes."""

from __future__ import annotations

from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {}
