# Debian's Cyrus as it is after its installation and a start of the system.  Its cyrus.conf starts services of packages that
# are not installed when recommendations are not followed.
for service in pop3:pop3d nntp:nntpd http:httpd sieve:timsieved; do
	test -x /usr/lib/cyrus/bin/${service#*:} || sed -i "s/^\s*${service%:*}\s/#&/" /etc/cyrus.conf
done
mkdir -p /run/cyrus/socket
chown -R cyrus:mail /run/cyrus
service cyrus-imapd start
for i in 1 2 3 4 5 6 7 8 9 10; do test -S /run/cyrus/socket/lmtp && break; sleep 0.5; done
test -S /run/cyrus/socket/lmtp
