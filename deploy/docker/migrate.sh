#!/bin/sh
# Every service's database to its newest version; safe to run again.
set -eu
for service in gateway upload usage billing; do
    eval "password=\$$(echo "${service}_OWNER_PASSWORD" | tr '[:lower:]' '[:upper:]')"
    OWNER_DATABASE_URL="postgresql://${service}_owner:${password}@${POSTGRES_HOST}/${service}" \
        python -m shared.db.migrate "$service"
    echo "$service is up to date"
done
python -m deploy.docker.topics
