/*
 * Every control file of a spool (spool.md section 2).
 */
#ifndef ZL_WALK_H
#define ZL_WALK_H

struct walk {
	void *context;
	/* A file whose name begins with a digit, by its job name. */
	void (*found)(void *context, const char *name);
	/* A directory that cannot be read (errno); what is in it stays unknown. */
	void (*unreadable)(void *context, const char *directory, int error);
};

/* Looks through the working directory, $POSTOFFICE/transport, and its hash directories. */
void walk_transport(const struct walk *walk);

#endif
