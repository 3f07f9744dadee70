#!/usr/bin/env bash
# The whole way, from today's prompt to the last verdict, with the seconds of each step.
# usage: examples/bookings/walk.sh NEW_FOLDER
set -u
: "${1:?name a new folder}"
cp -r "$(dirname "$0")" "$1" && cd "$1" || exit 2
TIMEFORMAT='(%R s; processor %U s)'
step() { # runs a step; its "no" (3) and "undecided" (4) are answers, any other failure ends the walk
  printf '\n$ tuneworthy %s\n' "$*"
  time tuneworthy "$@"
  case $? in 0 | 3 | 4) ;; *) exit 1 ;; esac
}
time {
  step run
  step decide --probe
  step data build
  step train --pilot
  step decide
  step train
  step decide
}
