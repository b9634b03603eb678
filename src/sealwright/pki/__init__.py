"""Certificates: profiles, authority, CRLs, timestamping."""
