. /root/zlmtp/tests/doc/before/from-postfix.sh
