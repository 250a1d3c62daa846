/*
 * The process title, as ps(1) shows it.
 */
#ifndef ZL_LIB_TITLE_H
#define ZL_LIB_TITLE_H

/*
 * Remembers where the arguments lie.  Call it once, before anything points into argv that
 * must live on: the first title overwrites them.
 */
void title_init(int argc, char **argv);

/* Sets the title; control bytes become blanks, what does not fit is cut.  Nothing before title_init(). */
void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
