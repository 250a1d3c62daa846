/* Control files as ZMailer's router writes them: one recipient, several groups, a report message. */
#ifndef ZL_TESTS_UNIT_SPOOL_EXAMPLES_H
#define ZL_TESTS_UNIT_SPOOL_EXAMPLES_H

/* V/R/260147: recipient at 114, header text at 145 */
#define EXAMPLE_A \
	"@ 0x00000007\n" \
	"i 260147\n" \
	"o 288\n" \
	"l <1@example.org>\n" \
	"e Ann <ann@example.org>\n" \
	"s smtp mx.example.org ann@example.org 65534\n" \
	"r           lmtp - bob 65534\n" \
	"m\n" \
	"Received: from mx.example.org by hub.example.net;\n" \
	"\tFri, 21 Nov 2025 09:00:00 +0000\n" \
	"From:\tAnn <ann@example.org>\n" \
	"To:\tbob@example.net\n" \
	"Subject: lunch\n" \
	"\n"

/* Y/K/4711002: recipients at 111 277 397 447 670, header texts at 495 and 730 */
#define EXAMPLE_B \
	"@ 0x00000007\n" \
	"i 4711002\n" \
	"o 512\n" \
	"l <2@example.org>\n" \
	"e <ann@example.org>\n" \
	"s smtp mx.example.org ann@example.org 65534\n" \
	"r           lmtp store1 bob 65534\n" \
	"N NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.net INRCPT=rfc822;bob@example.net" \
	" INFROM=rfc822;ann@example.org\n" \
	"R HDRS\n" \
	"n QQ314159\n" \
	"r           lmtp store1 carol+x@example.net 65534\n" \
	"N NOTIFY=FAILURE ORCPT=rfc822;carol+2Bx@example.net\n" \
	"R HDRS\n" \
	"n QQ314159\n" \
	"r           lmtp store2 \"dan d\"@example.net 65534\n" \
	"r           lmtp store1 eve@example.net 65534\n" \
	"m\n" \
	"Received: from mx.example.org by hub.example.net;\n" \
	"\tFri, 21 Nov 2025 09:00:00 +0000\n" \
	"From:\tann@example.org\n" \
	"To:\tteam@example.net\n" \
	"\n" \
	"s smtp mx.example.org ann@hub.example.net 65534\n" \
	"r           smtp relay.example.com fred@example.com 65534\n" \
	"m\n" \
	"Received: from mx.example.org by hub.example.net;\n" \
	"\tFri, 21 Nov 2025 09:00:00 +0000\n" \
	"From:\tann@hub.example.net\n" \
	"To:\tteam@example.net\n" \
	"\n"

/* 99: recipient at 75 */
#define EXAMPLE_C \
	"@ 0x00000007\n" \
	"i 99\n" \
	"o 208\n" \
	"l <3@hub.example.net>\n" \
	"s error hub.example.net <> 0\n" \
	"r           lmtp - ann 1001\n" \
	"N NOTIFY=NEVER\n" \
	"m\n" \
	"Received: by hub.example.net; Fri, 21 Nov 2025 09:05:00 +0000\n" \
	"From:\tMailer <postmaster@hub.example.net>\n" \
	"Subject: Delivery report\n" \
	"\n"

#endif
