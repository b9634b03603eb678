"""The offline bundle: what a machine without network needs to install or carry Sealwright, and to check that it is ours.

    python -m bundling --out dist            (`make bundle`; with PYTHONPATH=src:scripts)

Everything comes from one commit: the wheel is built from a clean copy of it, the pins are those of its `requirements/`, the
times in all files are the commit's. Two builds of one commit give the same bytes; only the signature differs (docs/releasing.md).
"""
