#!/usr/bin/env bash
# Runs a command for which az is logged in all the time: the engine asks by it for its state. The token of GitHub, by
# which az gets its own, is good for five minutes (Azure/azure-cli#28708), so az is given a new one before that.
set -euo pipefail

login() {
  local token
  token=$(curl --silent --show-error --fail --header @- \
    "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=api://AzureADTokenExchange" \
    <<< "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" | jq --raw-output .value)
  az login --service-principal --username "$ARM_CLIENT_ID" --tenant "$ARM_TENANT_ID" --federated-token "$token" \
    --output none
}

login
while sleep "${RENEW_SECONDS:-240}"; do login || true; done &
trap 'kill $!' EXIT
"$@"
