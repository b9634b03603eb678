"""Key backends: one file each, one line each in `backends.py`. Policy lives above, formats beside."""
