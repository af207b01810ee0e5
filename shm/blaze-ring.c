/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-ring: look at, feed and tidy up rings; see blaze-ring(1).
 *
 * Here: the command line and messages. blaze-ring-show.c has ls, stat, clean and rm;
 * blaze-ring-stream.c has tail and publish. */
#include "shm/blaze-ring.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: blaze-ring [--json] [--group] COMMAND\n"
                            "  ls                 list rings\n"
                            "  stat NAME          show a ring and its participants\n"
                            "  tail NAME          print records as they come\n"
                            "      [-n COUNT] [--hex]\n"
                            "  publish NAME       publish each line of standard input\n"
                            "      [--file PATH | --data TEXT]\n"
                            "  clean              remove what killed programs left\n"
                            "  rm NAME            remove a ring, in use or not\n"
                            "  --help, --version\n";

static const struct command {
	const char *name;
	bool takes_name;
	int (*run)(const struct tool *tool);
} commands[] = {
	{ "ls", false, tool_ls },       { "stat", true, tool_stat },
	{ "tail", true, tool_tail },    { "publish", true, tool_publish },
	{ "clean", false, tool_clean }, { "rm", true, tool_rm },
};

int tool_fail(const struct tool *tool, const char *what, int error)
{
	fprintf(stderr, "blaze-ring: %s%s%s: %s\n", what, tool->name ? " " : "",
	        tool->name ? tool->name : "", blaze_strerror(error));
	if (error == -ENOSPC)
		fprintf(stderr, "blaze-ring: 'blaze-ring clean' may make room in /dev/shm\n");
	return error == -ENOENT ? TOOL_NO_RING : TOOL_FAILED;
}

int tool_print_json(json_t *value)
{
	int r = value ? json_dumpf(value, stdout, JSON_COMPACT | JSON_SORT_KEYS) : -1;

	json_decref(value);
	putchar('\n');
	if (r == 0)
		return TOOL_DONE;
	fprintf(stderr, "blaze-ring: cannot write JSON\n");
	return TOOL_FAILED;
}

int tool_finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "blaze-ring: cannot write to standard output: %s\n", strerror(errno));
	return TOOL_FAILED;
}

static int wrong_usage(const char *message, const char *subject)
{
	fprintf(stderr, "blaze-ring: %s%s%s\n%s", message, subject ? ": " : "",
	        subject ? subject : "", usage);
	return TOOL_USAGE;
}

static bool read_count(const char *text, uint64_t *ret_count)
{
	char *end;
	unsigned long long count;

	errno = 0;
	count = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || count == 0)
		return false;
	*ret_count = count;
	return true;
}

/* Reads options; -1: go on. */
static int read_options(int argc, char **argv, struct tool *tool)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },       { "group", no_argument, NULL, 'g' },
		{ "hex", no_argument, NULL, 'x' },        { "file", required_argument, NULL, 'f' },
		{ "data", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },    { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			tool->json = true;
			break;
		case 'g':
			tool->mode = 0660;
			break;
		case 'x':
			tool->hex = true;
			break;
		case 'f':
			tool->file = optarg;
			break;
		case 'd':
			tool->data = optarg;
			break;
		case 'n':
			if (!read_count(optarg, &tool->count))
				return wrong_usage("not a count", optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return tool_finish(TOOL_DONE);
		case 'V':
			printf("blaze-ring %s\n", blaze_version());
			return tool_finish(TOOL_DONE);
		default:
			fputs(usage, stderr);
			return TOOL_USAGE;
		}
	}
	return -1;
}

/* Options that another command would silently ignore. */
static const char *misplaced(const struct tool *tool)
{
	if ((tool->hex || tool->count) && strcmp(tool->command, "tail") != 0)
		return "--hex and -n belong to tail";
	if ((tool->file || tool->data) && strcmp(tool->command, "publish") != 0)
		return "--file and --data belong to publish";
	if (tool->file && tool->data)
		return "--file and --data exclude each other";
	if (tool->json && tool->hex)
		return "--json and --hex exclude each other";
	return NULL;
}

int main(int argc, char **argv)
{
	struct tool tool = { .mode = 0600 };
	const struct command *command = NULL;
	int status = read_options(argc, argv, &tool);

	if (status >= 0)
		return status;
	if (optind == argc)
		return wrong_usage("no command", NULL);
	tool.command = argv[optind++];
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, tool.command) == 0)
			command = &commands[i];
	}
	if (!command)
		return wrong_usage("no such command", tool.command);
	if (command->takes_name && optind == argc)
		return wrong_usage("which ring?", NULL);
	if (command->takes_name)
		tool.name = argv[optind++];
	if (optind < argc)
		return wrong_usage("too many arguments", argv[optind]);
	if (misplaced(&tool))
		return wrong_usage(misplaced(&tool), NULL);
	return tool_finish(command->run(&tool));
}
