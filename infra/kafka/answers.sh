#!/usr/bin/env bash
# Ask the broker at HOST PORT which requests it knows, and succeed if it answers: `bash answers.sh HOST PORT`.
#
# An open port proves little: a frozen broker's is open too. Kafka's own tools would start a Java machine for every
# question.
set -eu
exec 3<>"/dev/tcp/$1/$2"
# ApiVersions, version 0: length 10, key 18, version 0, correlation id 1, no client id (protocol guide, "Messages").
printf '\0\0\0\012\0\022\0\0\0\0\0\1\377\377' >&3
# The answer: length, the same correlation id, error code 0.
answer=$(timeout 3 head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n')
[ "${answer:8}" = 000000010000 ]
