#!/usr/bin/env bash
# Pushes a branch that pins an image in a stack, and says where its pull request is opened: by a person, since
# GitHub runs no checks for one that a workflow has opened ("Triggering a workflow", GitHub Actions).
set -euo pipefail
stack=$1 version=$2 image=$3
branch=release/$stack-$version

git switch --create "$branch"
.venv/bin/relevo pin "$image" --stack "$stack"
git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --message "Release $version to $stack" "Pulumi.$stack.yaml"
gh auth setup-git
git push origin "$branch"
echo "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/compare/$branch?expand=1" >> "$GITHUB_STEP_SUMMARY"
