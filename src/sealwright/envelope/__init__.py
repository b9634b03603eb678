"""Envelopes: CMS (RFC 5652), timestamp tokens (RFC 3161), their ASN.1 types and signature algorithms."""
