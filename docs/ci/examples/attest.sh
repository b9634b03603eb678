#!/bin/sh
# The builder signs a provenance statement, in a DSSE envelope. Run it where the build cannot reach the key:
#   attest.sh STATEMENT.json BUILDER-KEY.pem > NAME.intoto.jsonl
set -eu
type=application/vnd.in-toto+json
signature=$({ printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(wc -c < "$1")"; cat "$1"; } |
  openssl dgst -sha256 -sign "$2" | base64 -w0)
printf '{"payloadType":"%s","payload":"%s","signatures":[{"sig":"%s"}]}\n' \
  "$type" "$(base64 -w0 < "$1")" "$signature"
