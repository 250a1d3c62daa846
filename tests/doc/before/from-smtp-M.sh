. /root/zlmtp/tests/doc/before/dovecot.sh
