#!/usr/bin/env bash
# Previews a stack, and writes what a reviewer reads of it to preview.md and to the job's summary.
# Exits as the preview does; what it prints holds no secret, for the engine masks them.
set -uo pipefail
stack=$1
longest=30000 # characters of a comment on GitHub: 65,536 for all stacks together

.venv/bin/pulumi preview --stack "$stack" --diff --non-interactive --suppress-progress --color never 2>&1 \
  | tee preview.txt
status=${PIPESTATUS[0]}

# The summary's counts are like "    + 3 to create" and "    +-1 to replace".
changes=$(sed -nE 's/^ +[-+~<>=]+ ?([0-9]+ to [a-z]+)$/\1/p' preview.txt | paste -sd, - | sed 's/,/, /g')
[ "$status" = 0 ] || changes="refused, or it failed"
{
  printf '### %s: %s\n\n<details><summary>pulumi preview --stack %s</summary>\n\n```diff\n' \
    "$stack" "${changes:-nothing changes}" "$stack"
  # The end has the counts and the first fault; a diff of GitHub's colours a line by its first character.
  tail -c "$longest" preview.txt | sed -E 's/^( +)([-+~])/\2\1/; s/^~/!/; s/```/` ` `/g'
  printf '\n```\n\n</details>\n\n'
} > preview.md
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat preview.md >> "$GITHUB_STEP_SUMMARY"; fi
digest=$(sed -nE 's/^.*preview digest: ([0-9a-f]{64}).*$/\1/p' preview.txt | tail -1)
if [ -n "${GITHUB_OUTPUT:-}" ]; then printf 'changes=%s\ndigest=%s\n' "$changes" "$digest" >> "$GITHUB_OUTPUT"; fi
exit "$status"
