/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db: make, read, fill, look into and copy databases in directories; see blaze-db(1).
 *
 * Here: the command line, messages and signals. open.c opens, or asks who has; access.c does either
 * way what commands do; records.c has create, get, put, delete and scan; bulk.c import and export;
 * watch.c watch; inspect.c stat, check, dump and backup; lines.c and progress.c serve them.
 *
 * WHY    SIGINT and SIGPIPE end the program as anybody expects, but behind a close of the database:
 *        the handler sets a flag, loops look at it, and main raises the signal again with its own
 *        effect. A second SIGINT does not wait. */
#include "lib/tool/blaze-db.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options, as bits. */
enum {
	O_JSON = 1,
	O_LIMIT = 2,
	O_FIELD = 4,
	O_RANGE = 8,
	O_POLICY = 16,
	O_FRAMES = 32,
	O_NEW_IDS = 64,
	O_COUNT = 128,
};

static const struct command {
	const char *name;
	const char *operands; /* behind the directory */
	const char *options;
	const char *what;
	unsigned least, most; /* operands */
	unsigned allowed;
	int (*run)(const struct tool *tool);
} commands[] = {
	{ "create", "", "[--policy server-priority|lww]", "make an empty database", 0, 0, O_POLICY,
	  tool_create },
	{ "get", " ID|-", "[--json] [--field NAME]..", "print a record", 1, 1, O_JSON | O_FIELD,
	  tool_get },
	{ "put", " [ID] JSON|-", "", "set fields of a record, or insert one and print its id", 1, 2,
	  0, tool_put },
	{ "delete", " ID|-", "", "delete a record", 1, 1, 0, tool_delete },
	{ "scan", "", "[--limit N] [--field NAME].. [--from ID] [--to ID]",
	  "print records as JSON lines", 0, 0, O_LIMIT | O_FIELD | O_RANGE, tool_scan },
	{ "export", "", "", "print all records as JSON lines", 0, 0, 0, tool_export },
	{ "import", " [FILE]", "[--json] [--new-ids]", "read such lines", 0, 1, O_JSON | O_NEW_IDS,
	  tool_import },
	{ "watch", "", "[--count N]", "print what happens in one that a program has open", 0, 0,
	  O_COUNT, tool_watch },
	{ "stat", "", "[--json]", "show what is there", 0, 0, O_JSON, tool_stat },
	{ "check", "", "[--json]", "verify every byte that counts", 0, 0, O_JSON, tool_check },
	{ "dump", "", "[--frames]", "print transactions, and frames, as JSON lines", 0, 0, O_FRAMES,
	  tool_dump },
	{ "backup", " DESTINATION", "", "copy it, in use or not", 1, 1, 0, tool_backup },
	{ "compact", "", "", "have its log hold little more than the records", 0, 0, 0,
	  tool_compact },
	{ "repair", " DESTINATION", "", "copy what stands before the first damage", 1, 1, 0,
	  tool_repair },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
	interrupted = signal;
}

bool tool_stopping(void)
{
	return interrupted != 0 || ferror(stdout) != 0;
}

int tool_complain(const char *format, ...)
{
	va_list arguments;

	fputs("blaze-db: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return TOOL_FAILED;
}

int tool_fail(const struct tool *tool, int error)
{
	if (error == -EPIPE)
		return tool_complain("%s %s: the program that had it open has closed it, or ended; "
		                     "whether this was done is not known",
		                     tool->command, tool->dir);
	tool_complain("%s %s: %s", tool->command, tool->dir, blaze_strerror(error));
	return TOOL_FAILED;
}

int tool_print_json(json_t *value)
{
	int r = value != NULL ? json_dumpf(value, stdout, JSON_COMPACT) : -1;

	json_decref(value);
	putchar('\n');
	return r == 0 || ferror(stdout) ? TOOL_DONE : tool_complain("no memory");
}

static void on_log(void *arg, enum blaze_log_level level, const char *line)
{
	(void)arg;
	if (level <= BLAZE_LOG_WARNING)
		tool_complain("%s", line);
}

/* The command line --------------------------------------------------------------------------- */

static void usage_line(FILE *to, const struct command *command)
{
	fprintf(to, "  %-7s DIR%s%s%s\n                 %s\n", command->name, command->operands,
	        command->options[0] != '\0' ? " " : "", command->options, command->what);
}

static void usage(FILE *to, const struct command *command)
{
	fputs("usage: blaze-db COMMAND DIR ..\n", to);
	for (size_t i = 0; i < COMMANDS; i++) {
		if (command == NULL || command == &commands[i])
			usage_line(to, &commands[i]);
	}
	if (command == NULL)
		fputs("  COMMAND --help, --help, --version\n", to);
}

static int wrong_usage(const struct command *command, const char *message, const char *subject)
{
	tool_complain("%s%s%s", message, subject != NULL ? ": " : "",
	              subject != NULL ? subject : "");
	usage(stderr, command);
	return TOOL_USAGE;
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static bool read_count(const char *text, uint64_t *ret_count)
{
	char *end;
	unsigned long long count;

	errno = 0;
	count = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || strchr(text, '-') != NULL || count == 0)
		return false;
	*ret_count = count;
	return true;
}

static bool read_policy(const char *text, uint32_t *ret_policy)
{
	if (strcmp(text, "server-priority") == 0)
		*ret_policy = BLAZE_POLICY_SERVER_PRIORITY;
	else if (strcmp(text, "lww") == 0)
		*ret_policy = BLAZE_POLICY_LWW;
	else
		return false;
	return true;
}

struct reading {
	struct tool *tool;
	const struct command *command; /* NULL: not known yet */
	unsigned given;                /* options */
	bool help;
	bool version;
};

/* Takes an option with its value. What is wrong with it, or NULL. */
static const char *option_take(struct reading *reading, int option, const char *value)
{
	struct tool *tool = reading->tool;

	reading->given |= (unsigned)option;
	switch (option) {
	case O_JSON:
		tool->json = true;
		return NULL;
	case O_FRAMES:
		tool->frames = true;
		return NULL;
	case O_NEW_IDS:
		tool->new_ids = true;
		return NULL;
	case O_COUNT:
		return read_count(value, &tool->count) ? NULL : "not a count";
	case O_LIMIT:
		return read_count(value, &tool->limit) ? NULL : "not a count";
	case O_POLICY:
		return read_policy(value, &tool->policy) ? NULL : "not a policy";
	case O_FIELD:
		if (tool->field_count == TOOL_FIELDS_MAX)
			return "too many fields";
		tool->fields[tool->field_count++] = value;
		return NULL;
	default:
		return "unknown";
	}
}

static const char *range_take(struct reading *reading, bool from, const char *value)
{
	struct tool *tool = reading->tool;

	reading->given |= O_RANGE;
	if (from)
		tool->from_given = true;
	else
		tool->to_given = true;
	return blaze_id_parse(value, from ? &tool->from : &tool->to) == 0 ? NULL : "not an id";
}

/* Reads options; -1: go on. */
static int read_options(int argc, char **argv, struct reading *reading)
{
	enum {
		FROM = 256, /* behind all bits */
		TO,
		HELP,
		SAY_VERSION
	};
	static const struct option options[] = {
		{ "json", no_argument, NULL, O_JSON },
		{ "frames", no_argument, NULL, O_FRAMES },
		{ "new-ids", no_argument, NULL, O_NEW_IDS },
		{ "count", required_argument, NULL, O_COUNT },
		{ "limit", required_argument, NULL, O_LIMIT },
		{ "field", required_argument, NULL, O_FIELD },
		{ "policy", required_argument, NULL, O_POLICY },
		{ "from", required_argument, NULL, FROM },
		{ "to", required_argument, NULL, TO },
		{ "help", no_argument, NULL, HELP },
		{ "version", no_argument, NULL, SAY_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const char *wrong = NULL;

		if (option == '?') {
			usage(stderr, NULL);
			return TOOL_USAGE;
		}
		if (option == HELP)
			reading->help = true;
		else if (option == SAY_VERSION)
			reading->version = true;
		else if (option == FROM || option == TO)
			wrong = range_take(reading, option == FROM, optarg);
		else
			wrong = option_take(reading, option, optarg);
		if (wrong != NULL)
			return wrong_usage(NULL, wrong, optarg);
	}
	return -1;
}

/* Reads what is no option; -1: run. */
static int read_operands(int argc, char **argv, struct reading *reading)
{
	struct tool *tool = reading->tool;
	const struct command *command;

	if (optind == argc)
		return wrong_usage(NULL, "no command", NULL);
	tool->command = argv[optind++];
	command = command_find(tool->command);
	if (command == NULL)
		return wrong_usage(NULL, "no such command", tool->command);
	reading->command = command;
	if (reading->help) {
		usage(stdout, command);
		return TOOL_DONE;
	}
	if ((reading->given & ~command->allowed) != 0)
		return wrong_usage(command, "an option that this command does not have", NULL);
	if (optind == argc)
		return wrong_usage(command, "which directory?", NULL);
	tool->dir = argv[optind++];
	if ((unsigned)(argc - optind) < command->least)
		return wrong_usage(command, "too few arguments", NULL);
	if ((unsigned)(argc - optind) > command->most)
		return wrong_usage(command, "too many arguments",
		                   argv[optind + (int)command->most]);
	while (optind < argc)
		tool->operands[tool->operand_count++] = argv[optind++];
	return -1;
}

static int read_command(int argc, char **argv, struct reading *reading)
{
	int status = read_options(argc, argv, reading);

	if (status >= 0)
		return status;
	if (reading->help && optind == argc) {
		usage(stdout, NULL);
		return TOOL_DONE;
	}
	if (reading->version) {
		printf("blaze-db %s\n", blaze_version());
		return TOOL_DONE;
	}
	return read_operands(argc, argv, reading);
}

/* Failed where standard output could not be written. Whoever stopped reading it is not told. */
static int finish(int status)
{
	bool written = fflush(stdout) == 0 && !ferror(stdout);

	if (interrupted != 0) {
		signal((int)interrupted, SIG_DFL);
		raise((int)interrupted);
	}
	if (written)
		return status;
	if (errno == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	return tool_complain("cannot write to standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	/* One interrupt is taken in; the next has its own effect. Reads return when it comes. */
	const struct sigaction action = { .sa_handler = on_interrupt,
		                          .sa_flags = (int)SA_RESETHAND };
	struct tool tool = { .limit = 0 };
	struct reading reading = { .tool = &tool };
	int status = read_command(argc, argv, &reading);

	if (status >= 0)
		return finish(status);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	blaze_log_set(on_log, NULL);
	return finish(reading.command->run(&tool));
}
