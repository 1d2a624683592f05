#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run by the image postgres when it makes its cluster: our database, and a role that owns it and nothing else.
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\set password `cat "${HCC_CDS_PASSWORD_FILE:-/run/credentials/hcc-cds-password}"`
CREATE ROLE hcc_cds LOGIN PASSWORD :'password';
CREATE DATABASE hcc_cds OWNER hcc_cds;
REVOKE ALL ON DATABASE hcc_cds FROM PUBLIC;
SQL
