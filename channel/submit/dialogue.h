/*
 * sendmail -bs: ESMTP on a pipe, for programs that speak it to a child.
 */
#ifndef ZL_CHANNEL_SUBMIT_DIALOGUE_H
#define ZL_CHANNEL_SUBMIT_DIALOGUE_H

/* Speaks to the client until it goes; its mail goes to the intake at `path`.  What the program exits with. */
int dialogue_run(const char *path, const char *own_name, int in, int out);

#endif
