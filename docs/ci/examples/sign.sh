#!/bin/sh
# Has the service sign what was built, from any build system:
#   SERVICE=https://sign.acme.example:8443 SERVICE_CA=ca.pem RUN=nightly-7 GET_TOKEN=/usr/local/bin/build-token sign.sh FILE... [OPTION...]
# GET_TOKEN prints a new token each time. RUN is the same when this run is tried again: it then asks once.
set -eu
: "${SERVICE:?}" "${SERVICE_CA:?}" "${RUN:?}" "${GET_TOKEN:?}"
umask 077
tokens=$(mktemp -d)
trap 'rm -rf "$tokens"' EXIT
for try in 1 2 3; do
  "$GET_TOKEN" > "$tokens/keys"
  "$GET_TOKEN" > "$tokens/ask"
  status=0
  sealwright ci sign "$@" --service "$SERVICE" --service-ca "$SERVICE_CA" \
    --token-file "$tokens/keys" --token-file "$tokens/ask" --run "$RUN" || status=$?
  [ "$status" -eq 3 ] || exit "$status"
  echo "try $try: nothing is decided yet" >&2
  sleep "${PAUSE_S:-30}"
done
exit 3
