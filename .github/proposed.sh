#!/usr/bin/env bash
# Pushes the branches that `relevo:onFailure: rollback` has made in this run, and shows the text of their pull requests.
set -euo pipefail

gh auth setup-git
git for-each-ref --format='%(refname:short)' refs/heads/relevo | while read -r branch; do
  git push origin "$branch"
  git branch --delete --force "$branch" # proposed once
  {
    printf '%s/%s/compare/%s?expand=1\n\n' "$GITHUB_SERVER_URL" "$GITHUB_REPOSITORY" "$branch"
    cat ".relevo/${branch//\//-}.md"
  } >> "$GITHUB_STEP_SUMMARY"
done
