#!/bin/sh
# Write .env from .env.example with random secrets and this machine's Docker group, unless it exists.
set -e
cd "$(dirname "$0")/.."
[ -e .env ] && exit 0
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
umask 077
sed -e "s/^POSTGRES_PASSWORD=.*/&$(secret)/" -e "s/^LAKEFS_ENCRYPT_SECRET=.*/&$(secret)/" \
    -e "s/^LAKEFS_ACCESS_KEY_ID=.*/&AKIA$(secret | cut -c1-16 | tr a-f A-F)/" \
    -e "s/^LAKEFS_SECRET_ACCESS_KEY=.*/&$(secret)/" \
    -e "s/^DOCKER_GID=.*/&$(stat -c %g /var/run/docker.sock)/" .env.example > .env.new
mv .env.new .env
