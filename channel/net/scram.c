#include "channel/net/scram.h"

#if HAVE_SASL

#include <sasl/sasl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/alloc.h"

struct scram {
	sasl_conn_t *connection;
	sasl_callback_t callbacks[4];
	struct buf user;
	sasl_secret_t *password;
	size_t password_size;
	bool started;
	bool complete;
};

/* The library would tell the system's log, with more than is good for it. */
static int be_silent(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return SASL_OK;
}

static int give_user(void *context, int id, const char **result, unsigned *length)
{
	struct scram *s = context;

	/* SASL_CB_USER is the user to act for: the same one */
	*result = id == SASL_CB_AUTHNAME ? buf_str(&s->user) : "";
	if (length != NULL)
		*length = (unsigned)strlen(*result);
	return SASL_OK;
}

static int give_password(sasl_conn_t *connection, void *context, int id, sasl_secret_t **secret)
{
	struct scram *s = context;

	(void)connection;
	(void)id;
	*secret = s->password;
	return SASL_OK;
}

/* The library keeps function pointers without their types. */
typedef int (*callback)(void);

static bool start_library(void)
{
	static const sasl_callback_t callbacks[] = {
		{ SASL_CB_LOG, (callback)(void (*)(void))be_silent, NULL }, { SASL_CB_LIST_END, NULL, NULL },
	};
	static bool started;

	started = started || sasl_client_init(callbacks) == SASL_OK;
	return started;
}

struct scram *scram_create(const struct buf *user, const struct buf *password, struct buf *why)
{
	struct scram *s = xcalloc(1, sizeof *s);
	const sasl_callback_t callbacks[] = {
		{ SASL_CB_USER, (callback)(void (*)(void))give_user, s },
		{ SASL_CB_AUTHNAME, (callback)(void (*)(void))give_user, s },
		{ SASL_CB_PASS, (callback)(void (*)(void))give_password, s },
		{ SASL_CB_LIST_END, NULL, NULL },
	};

	memcpy(s->callbacks, callbacks, sizeof callbacks);
	buf_add(&s->user, buf_str(user), user->len);
	s->password_size = sizeof *s->password + password->len + 1;
	s->password = xcalloc(1, s->password_size);
	s->password->len = password->len;
	memcpy(s->password->data, buf_str(password), password->len);
	if (start_library() && sasl_client_new("lmtp", "", NULL, NULL, s->callbacks, 0, &s->connection) == SASL_OK)
		return s;
	buf_adds(why, "the SASL library cannot be used");
	scram_destroy(&s);
	return NULL;
}

void scram_destroy(struct scram **scram)
{
	struct scram *s = *scram;

	if (s == NULL)
		return;
	if (s->connection != NULL)
		sasl_dispose(&s->connection);
	buf_wipe(&s->user);
	explicit_bzero(s->password, s->password_size);
	free(s->password);
	free(s);
	*scram = NULL;
}

bool scram_step(struct scram *s, const struct buf *challenge, struct buf *response, struct buf *why)
{
	const char *out = NULL, *mechanism;
	unsigned length = 0;
	int result;

	if (!s->started)
		result = sasl_client_start(s->connection, "SCRAM-SHA-256", NULL, &out, &length, &mechanism);
	else
		result = sasl_client_step(s->connection, buf_str(challenge), (unsigned)challenge->len, NULL, &out, &length);
	s->started = true;
	if (result != SASL_OK && result != SASL_CONTINUE) {
		buf_addf(why, "SCRAM-SHA-256: %s", sasl_errstring(result, NULL, NULL));
		return false;
	}
	s->complete = result == SASL_OK;
	if (length > 0)
		buf_add(response, out, length);
	return true;
}

bool scram_complete(const struct scram *s)
{
	return s->complete;
}

#endif
