# An LMTP server at /run/dovecot/lmtp that has a user ann, and mail for her in a queue.
. /root/zlmtp/tests/doc/before/dovecot.sh
useradd --create-home ann
mkdir -p /etc/zlmtp /var/log/zmailer
printf '%s\n' MAILBIN=/usr/local/libexec/zlmtp MAILSHARE=/etc/zlmtp MAILVAR=/etc/zlmtp LOGDIR=/var/log/zmailer \
	POSTOFFICE=/var/spool/postoffice >/etc/zlmtp/zmailer.conf
export ZCONFIG=/etc/zlmtp/zmailer.conf
printf 'Subject: old friend\n\nHello.\n' | enqueue -m -s bob@example.net -r smtp-lmtp,unixnode,ann
