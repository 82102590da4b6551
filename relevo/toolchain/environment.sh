#!/usr/bin/env bash
# Makes or renews .venv from requirements-lock.txt, with the checkout itself in it: by uv if it is on PATH, else
# by pip, which gets uv by its hash in the lock, and uv the rest: seconds instead of a minute.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Like pip, uv is to trust the certificates that the machine trusts. Older releases know the second name.
export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1} UV_NATIVE_TLS=${UV_NATIVE_TLS:-1}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for name in python3 python3.14 python3.13 python3.12 python3.11; do
  if new_enough "$name"; then python=$name; break; fi
done
if [ -z "$python" ]; then
  found=$(python3 --version 2>/dev/null || echo missing)
  echo "python3 is $found, but 3.11 or newer is needed; install it and put it on PATH." >&2
  exit 1
fi

echo "relevo: making the environment .venv with $("$python" --version)"
if command -v uv >/dev/null && [ "$(command -v uv)" != "$PWD/.venv/bin/uv" ]; then
  uv=uv
  uv venv --quiet --allow-existing --python "$(command -v "$python")" .venv
else
  uv=.venv/bin/uv
  "$python" -m venv .venv
  awk '/^[^ #]/ { mine = /^uv==/ } mine' requirements-lock.txt > .venv/uv.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
fi
echo "relevo: installing $(grep -c '^[a-z].*==' requirements-lock.txt) packages from requirements-lock.txt"
# Bytecode now: a release starts dozens of processes, and the machine may be told never to write any.
"$uv" pip install --python .venv/bin/python --compile-bytecode --require-hashes -r requirements-lock.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
