# Debian's Dovecot as it is after its installation: the package makes a certificate if ssl-cert is there, and a running
# server.
test -e /etc/dovecot/private/dovecot.pem || openssl req -x509 -newkey rsa:2048 -nodes -subj "/CN=$(hostname)" -days 2 \
    -keyout /etc/dovecot/private/dovecot.key -out /etc/dovecot/private/dovecot.pem 2>/dev/null
service dovecot start
timeout 60 sh -c 'until test -S /run/dovecot/lmtp; do sleep 0.1; done'
