#include "lib/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/parse.h"
#include "lib/text.h"

/* The other screen, where there is one, without cursor; and back, below everything where there is no other one. */
#define TAKE "\033[?1049h\033[?25l\033[2J"
#define GIVE_BACK "\033[999;1H\r\n\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[2K"
#define CLEAR_BELOW "\033[J"
#define SIZE_MAX_SHOWN 1000

static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

/* What the handlers need. */
static struct termios before;
static bool has_keys;             /* standard input is a terminal, and `before` its settings */
static volatile sig_atomic_t stale;

bool terminal_is_screen(void)
{
	static const char *const families[] = {
		"xterm", "screen", "tmux", "linux", "vt1", "vt2", "vt3", "vt4", "vt5", "rxvt", "konsole", "gnome", "vte", "putty", "st-",
		"alacritty", "kitty", "foot", "wezterm", "ghostty", "contour", "mintty", "iterm", "nsterm", "eterm", "Eterm",
		"ansi",
		"cygwin", "teraterm", "mlterm", "dtterm", "cons25", "wsvt25", "sun", "pcansi", "fbterm", "bvterm", "mrxvt",
	};
	const char *term = getenv("TERM");

	if (term == NULL || !isatty(STDOUT_FILENO))
		return false;
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
		if (strncmp(term, families[i], strlen(families[i])) == 0)
			return true;
	return strcmp(term, "st") == 0;
}

bool terminal_is_ours(void)
{
	pid_t foreground = tcgetpgrp(isatty(STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO);

	return foreground < 0 || foreground == getpgrp();
}

/* ---- taking and giving back: called from signal handlers, too ---- */

static void write_all(const char *s, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDOUT_FILENO, s, n);

		if (done < 0 && errno != EINTR)
			return;
		if (done > 0) {
			s += done;
			n -= (size_t)done;
		}
	}
}

static void enter(void)
{
	struct termios raw = before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_iflag &= ~(tcflag_t)IXON;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	/* in the background this stops us until we are in front again */
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	write_all(TAKE, sizeof TAKE - 1);
	stale = 1;
}

static void leave(void)
{
	write_all(GIVE_BACK, sizeof GIVE_BACK - 1);
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* Does what the signal does without us, when the handler returns or at once. */
static void do_usual(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_end(int sig)
{
	int error = errno;

	leave();
	do_usual(sig);
	errno = error;
}

static void on_stop(int sig)
{
	struct sigaction action;
	sigset_t this;
	int error = errno;

	leave();
	sigaction(sig, NULL, &action);
	do_usual(sig);
	sigemptyset(&this);
	sigaddset(&this, sig);
	sigprocmask(SIG_UNBLOCK, &this, NULL);
	/* stopped here, and on from here */
	sigaction(sig, &action, NULL);
	enter();
	errno = error;
}

/* After SIGSTOP, which no process can catch, the shell has its own settings. */
static void on_continue(int sig)
{
	int error = errno;

	(void)sig;
	enter();
	errno = error;
}

static void on_resize(int sig)
{
	(void)sig;
	stale = 1;
}

static void handle(int sig, void (*handler)(int), const sigset_t *mask)
{
	struct sigaction action = { .sa_handler = handler, .sa_mask = *mask };

	sigaction(sig, &action, NULL);
}

void terminal_take(void)
{
	sigset_t all;

	has_keys = tcgetattr(STDIN_FILENO, &before) == 0;
	sigfillset(&all);
	for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
		struct sigaction now;

		/* nohup(1) and the like mean it */
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			handle(ending[i], on_end, &all);
	}
	handle(SIGTSTP, on_stop, &all);
	handle(SIGCONT, on_continue, &all);
	handle(SIGWINCH, on_resize, &all);
	enter();
}

void terminal_give_back(void)
{
	sigset_t all, old;

	/* a signal in the middle would do it once more */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	leave();
	for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
		signal(ending[i], SIG_DFL);
	signal(SIGTSTP, SIG_DFL);
	signal(SIGCONT, SIG_DFL);
	signal(SIGWINCH, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

bool terminal_is_stale(void)
{
	bool was = stale != 0;

	stale = 0;
	return was;
}

/* ---- drawing ---- */

static size_t from_environment(const char *name, size_t otherwise)
{
	const char *value = getenv(name);
	uint64_t n;

	return value != NULL && parse_number(value, SIZE_MAX_SHOWN, &n) && n > 0 ? (size_t)n : otherwise;
}

void terminal_size(size_t *rows, size_t *columns)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		size = (struct winsize){ 0 };
	*rows = size.ws_row > 0 ? size.ws_row : from_environment("LINES", 24);
	*columns = size.ws_col > 0 ? size.ws_col : from_environment("COLUMNS", 80);
}

/* How many bytes of a line fit: characters count, not bytes. */
static size_t cut(const char *line, size_t n, size_t columns)
{
	size_t at = 0;

	for (size_t shown = 0; at < n; at++) {
		if (text_is_within_character(line[at]))
			continue;
		if (shown++ == columns)
			return at;
	}
	return at;
}

bool terminal_draw(const struct buf *text)
{
	const char *line = buf_str(text);
	struct buf out = { 0 };
	size_t rows, columns, row;
	bool ok;

	terminal_size(&rows, &columns);
	buf_adds(&out, HOME);
	for (row = 0; row < rows && *line != '\0'; row++) {
		size_t n = strcspn(line, "\n");

		if (row > 0)
			buf_adds(&out, "\r\n");
		buf_adds(&out, CLEAR_LINE);
		/* nothing in the last column: some terminals go on in the next line then, and some do not */
		buf_add(&out, line, cut(line, n, columns - 1));
		line += n + (line[n] == '\n');
	}
	/* behind the last row that would move all of it up */
	if (row < rows)
		buf_adds(&out, "\r\n" CLEAR_BELOW);
	ok = file_write(STDOUT_FILENO, out.data, out.len);
	buf_free(&out);
	return ok;
}
