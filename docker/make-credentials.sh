#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the database's passwords in the folder that is named first, unless they are there already.
# Each file belongs to the one user who reads it; libpq ignores a pgpass that others may read.
set -eu
umask 077

folder=$1
postgres_user=${2:-999:999}     # of the image postgres
service_user=${3:-10001:10001}  # of the image hcc-cds
server=${4:-postgres:5432}

# Written last: where it is, all is done.
[ ! -s "$folder/pgpass" ] || exit 0

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

put() { # NAME USER TEXT
  rm -f "$folder/$1.new"
  printf '%s\n' "$3" >"$folder/$1.new"
  chmod 0400 "$folder/$1.new"
  chown "$2" "$folder/$1.new"
  mv -f "$folder/$1.new" "$folder/$1"
}

password=$(random)
put superuser-password "$postgres_user" "$(random)"
put hcc-cds-password "$postgres_user" "$password"
put pgpass "$service_user" "$server:hcc_cds:hcc_cds:$password"
