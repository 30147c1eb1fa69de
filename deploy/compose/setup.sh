#!/bin/sh
# Run once before the others: tokens, made on this machine and kept in a volume, and the alert rules
# of the daemon's own config. Run again it keeps the tokens and writes the rules anew.
set -eu
for kind in read write; do
  if [ ! -s "/run/vaeiso/$kind" ]; then
    python -c 'import secrets; print(secrets.token_urlsafe(32))' > "/run/vaeiso/$kind.new"
    chmod 0444 "/run/vaeiso/$kind.new"
    mv "/run/vaeiso/$kind.new" "/run/vaeiso/$kind"
  fi
done
vaeiso-monitor rules /etc/vaeiso/config.toml --job vaeiso-monitor > /run/rules/vaeiso-monitor.yml
