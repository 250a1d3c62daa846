/*
 * A terminal whose whole screen one program draws, and which it leaves as it found it: at its end, at SIGINT, SIGTERM,
 * SIGHUP and SIGQUIT, and while it is stopped (SIGTSTP).  The few sequences of ECMA-48 that all terminals of today have are
 * written by hand; any other terminal, and what is none, is for plain text.
 */
#ifndef ZL_LIB_TERMINAL_H
#define ZL_LIB_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

/* True if standard output is a terminal that understands the sequences, by its TERM. */
bool terminal_is_screen(void);

/*
 * Takes the screen of standard output.  What is typed is not shown, comes at once and not by lines.  From now on the signals
 * named above put everything back before they do what they did before.
 */
void terminal_take(void);

/* Puts everything back. */
void terminal_give_back(void);

/* The size of the screen now: TIOCGWINSZ, else LINES and COLUMNS, else 24 lines of 80. */
void terminal_size(size_t *rows, size_t *columns);

/* True once after the size has changed or the program went on after a stop: what was drawn may be gone. */
bool terminal_is_stale(void);

/* True if this process may read from and write to its terminal: it is not in the background. */
bool terminal_is_ours(void);

/* Draws the lines of `text`, cut to the size of the screen.  False with errno. */
bool terminal_draw(const struct buf *text);

#endif
