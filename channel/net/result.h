/*
 * What became of an attempt to move bytes without waiting, in clear or under TLS.
 */
#ifndef ZL_CHANNEL_NET_RESULT_H
#define ZL_CHANNEL_NET_RESULT_H

enum stream_result {
	STREAM_OK,            /* *count bytes were moved, at least one */
	STREAM_WAIT_READ,     /* nothing now: wait until the descriptor is readable */
	STREAM_WAIT_WRITE,    /* ... writable */
	STREAM_END,           /* the peer has closed */
	STREAM_ERROR,         /* `error` says why */
};

#endif
