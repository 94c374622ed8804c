#!/bin/sh
# Run once by the PostgreSQL image on an empty volume: a database a service, three roles each, none of them strong.
set -eu
for service in gateway upload usage billing; do
    for role in owner app worker; do
        eval "password=\$$(echo "${service}_${role}_PASSWORD" | tr '[:lower:]' '[:upper:]')"
        # The password travels as a variable of psql, not as an argument others could read.
        PASSWORD="$password" psql -v ON_ERROR_STOP=1 -q -U "$POSTGRES_USER" -d postgres <<SQL
\\getenv password PASSWORD
CREATE ROLE ${service}_${role} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'password';
SQL
    done
    psql -v ON_ERROR_STOP=1 -q -U "$POSTGRES_USER" -d postgres <<SQL
CREATE DATABASE ${service} OWNER ${service}_owner;
REVOKE CONNECT ON DATABASE ${service} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${service} TO ${service}_owner, ${service}_app, ${service}_worker;
SQL
done
psql -v ON_ERROR_STOP=1 -q -U "$POSTGRES_USER" -d upload -c 'CREATE EXTENSION IF NOT EXISTS vector'
