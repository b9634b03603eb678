"""The HTTP services: one file per resource, one seam (`server.py`) that listens, bounds, times and logs."""
