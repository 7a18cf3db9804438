#!/bin/sh
# Write the lock files: every package for Python 3.11 and 3.12 with its version and hashes. Needs uv; run by `make lock`.
set -eu
cd "$(dirname "$0")"
for name in installers requirements train; do
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command "make lock" "$@" \
        --constraint requirements.in --constraint installers.in \
        $([ "$name" = train ] && echo --constraint requirements.lock) --output-file "$name.lock" "$name.in"
    echo "$name.lock: $(grep -c == "$name.lock") packages"
done
