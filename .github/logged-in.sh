#!/usr/bin/env bash
# Runs a command for which the login of az is good all the time. GitHub's token, by which az gets its own, is good
# for five minutes (Azure/azure-cli#28708), so az is given a new one before: the engine asks by az for its state.
set -euo pipefail

renew() {
  while sleep "${RENEW_SECONDS:-240}"; do
    token=$(curl --silent --show-error --fail --header "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
      "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=api://AzureADTokenExchange" | jq --raw-output .value) || continue
    az login --service-principal --username "$ARM_CLIENT_ID" --tenant "$ARM_TENANT_ID" --federated-token "$token" \
      --output none || true
  done
}

renew &
trap 'kill $!' EXIT
"$@"
