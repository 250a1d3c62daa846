# Settings that make postmap and postconf work, where none came with the package.
test -e /etc/postfix/main.cf || echo 'compatibility_level = 3.6' >/etc/postfix/main.cf
test -e /etc/postfix/master.cf || : >/etc/postfix/master.cf
