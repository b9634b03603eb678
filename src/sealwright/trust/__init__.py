"""Judging: trust file, certificate path, time, rules, verdict."""
