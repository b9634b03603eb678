"""Artifacts: opened once, digested, walked, named, listed in manifests, written atomically."""
