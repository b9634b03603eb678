"""Releases on their way: what one is, the TUF repository it lies in, its channels, and the courier who carries it over an air gap."""
