/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-db's end of a private lane, against programs that answer nonsense, too much, too little or
 * nothing: each call comes to an end, with an error. */
#include "tests/db/lane_raw.h"

/* A holder that is none: it answers each request with the next of these messages. */
struct script {
	struct {
		struct blazei_lane_header header;
		uint8_t body[200];
	} answers[4];
	unsigned count;
	int listener;
	pthread_t thread;
};

static struct script script;

static void *script_main(void *arg)
{
	int fd = accept(script.listener, NULL, NULL);
	struct blazei_lane_header request;
	char body[4096];

	(void)arg;
	for (unsigned i = 0; i < script.count; i++) {
		if (recv(fd, &request, sizeof(request), MSG_WAITALL) != sizeof(request) ||
		    request.bytes > sizeof(body) ||
		    (request.bytes > 0 &&
		     recv(fd, body, request.bytes, MSG_WAITALL) != request.bytes))
			break;
		(void)!send(fd, &script.answers[i].header, sizeof(request), MSG_NOSIGNAL);
		(void)!send(fd, script.answers[i].body,
		            script.answers[i].header.bytes < 200 ? script.answers[i].header.bytes
		                                                 : 200,
		            MSG_NOSIGNAL);
	}
	close(fd);
	return NULL;
}

/* Adds an answer; its body is what `data` has. */
static void script_add(uint16_t kind, uint16_t flags, int error, const void *data, uint32_t len)
{
	ck_assert_uint_le(len, 200);
	script.answers[script.count].header = (struct blazei_lane_header){
		.bytes = len,
		.kind = (uint16_t)(kind | BLAZEI_LANE_ANSWER),
		.flags = flags,
		.error = error,
	};
	if (len > 0)
		memcpy(script.answers[script.count].body, data, len);
	script.count++;
}

static void script_begin(void)
{
	const struct blazei_lane_hello hello = blazei_lane_hello_make();

	memset(&script, 0, sizeof(script));
	script_add(BLAZEI_LANE_HELLO, 0, 0, &hello, sizeof(hello));
}

/* Plays it, and connects to it; the result is that of connect. */
static int script_play(struct blazei_lane_caller **ret_caller)
{
	const struct sockaddr_un address = lane_address();

	(void)mkdir(stored_path(0), 0700);
	(void)unlink(address.sun_path);
	script.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(script.listener, (const struct sockaddr *)&address, sizeof(address)),
	                 0);
	ck_assert_int_eq(listen(script.listener, 1), 0);
	ck_assert_int_eq(pthread_create(&script.thread, NULL, script_main, NULL), 0);
	return blazei_lane_connect(stored_path(0), NULL, NULL, ret_caller);
}

static void script_end(struct blazei_lane_caller *caller)
{
	blazei_lane_disconnect(caller);
	pthread_join(script.thread, NULL);
	close(script.listener);
}

static int visit(void *arg, const struct blaze_id *id, const struct blaze_record *record)
{
	(void)id;
	(void)record;
	++*(unsigned *)arg;
	return 0;
}

static int take_event(void *arg, const char *text, uint32_t len)
{
	(void)arg;
	(void)text;
	(void)len;
	return 0;
}

/* One request of each kind, with this id. */
static int call(struct blazei_lane_caller *caller, uint16_t kind)
{
	struct blaze_scan_options options = BLAZE_SCAN_OPTIONS_INIT;
	struct blaze_id id = lane_id(5), to = lane_id(9);
	struct blaze_record *record = record_of("n", 1), *got = NULL;
	struct blaze_db_stats stats;
	uint64_t before, after;
	uint32_t taken, at;
	unsigned visited = 0;
	int error = -EDOM;

	options.from = &id;
	options.to = &to;
	options.limit = 1;
	if (kind == BLAZEI_LANE_GET)
		error = blazei_lane_get(caller, &id, &got);
	else if (kind == BLAZEI_LANE_PUT)
		error = blazei_lane_upsert(caller, &id, record);
	else if (kind == BLAZEI_LANE_DELETE)
		error = blazei_lane_delete(caller, &id);
	else if (kind == BLAZEI_LANE_SCAN)
		error = blazei_lane_scan(caller, &options, visit, &visited);
	else if (kind == BLAZEI_LANE_STAT)
		error = blazei_lane_stat(caller, &stats);
	else if (kind == BLAZEI_LANE_COMPACT)
		error = blazei_lane_compact(caller, &before, &after);
	else if (kind == BLAZEI_LANE_WATCH)
		error = blazei_lane_watch(caller, take_event, NULL);
	else if (kind == BLAZEI_LANE_BATCH) {
		ck_assert_int_eq(blazei_lane_batch_add(caller, &id, record), 0);
		error = blazei_lane_batch_commit(caller, &taken, &at);
	}
	blaze_record_free(record);
	return error;
}

static const uint16_t kinds[] = { BLAZEI_LANE_GET,   BLAZEI_LANE_PUT,  BLAZEI_LANE_DELETE,
	                          BLAZEI_LANE_SCAN,  BLAZEI_LANE_STAT, BLAZEI_LANE_COMPACT,
	                          BLAZEI_LANE_WATCH, BLAZEI_LANE_BATCH };
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void expect(uint16_t kind, int expected)
{
	struct blazei_lane_caller *caller = NULL;

	ck_assert_int_eq(script_play(&caller), 0);
	ck_assert_msg(call(caller, kind) == expected, "kind %u", kind);
	script_end(caller);
}

START_TEST(answer_that_is_none_is_refused)
{
	static const uint8_t noise[33] = { 0xff, 0xff, 0xff, 0xff, 0xff };

	for (size_t i = 0; i < KINDS; i++) {
		script_begin(); /* of another kind */
		script_add(BLAZEI_LANE_NEXT, 0, 0, NULL, 0);
		expect(kinds[i], -EBADMSG);
		script_begin(); /* an error that is none */
		script_add(kinds[i], 0, 5, NULL, 0);
		expect(kinds[i], -EBADMSG);
		script_begin(); /* a flag without a meaning */
		script_add(kinds[i], 2, 0, NULL, 0);
		expect(kinds[i], -EBADMSG);
		script_begin(); /* a body that is none */
		script_add(kinds[i], 0, 0, noise, sizeof(noise));
		expect(kinds[i], -EBADMSG);
		script_begin(); /* longer than any */
		script_add(kinds[i], 0, 0, noise, sizeof(noise));
		script.answers[1].header.bytes = UINT32_MAX;
		expect(kinds[i], -E2BIG);
		script_begin(); /* it breaks off */
		script_add(kinds[i], 0, 0, noise, sizeof(noise));
		script.answers[1].header.bytes = 300;
		expect(kinds[i], -EPIPE);
		script_begin(); /* there is none */
		expect(kinds[i], -EPIPE);
		script_begin(); /* an error as the library has it */
		script_add(kinds[i], 0, -EROFS, NULL, 0);
		expect(kinds[i], -EROFS);
	}
}
END_TEST

/* Entries before, behind and beyond what was asked for, and answers that would never end. */
START_TEST(scan_takes_only_what_it_asked_for)
{
	static const uint64_t ids[] = { 4, 9 };
	struct blaze_record *record = record_of("n", 1);
	struct blazei_buffer body = { .max = 200 };
	struct blaze_id id;

	for (unsigned i = 0; i < 2; i++) {
		id = lane_id(ids[i]);
		body.len = 0;
		ck_assert_int_eq(blazei_lane_put_entry(&body, &id, record), 0);
		script_begin();
		script_add(BLAZEI_LANE_SCAN, 0, 0, body.data, (uint32_t)body.len);
		expect(BLAZEI_LANE_SCAN, -EBADMSG);
	}
	id = lane_id(5); /* more than the limit */
	body.len = 0;
	ck_assert_int_eq(blazei_lane_put_entry(&body, &id, record), 0);
	id = lane_id(6);
	ck_assert_int_eq(blazei_lane_put_entry(&body, &id, record), 0);
	script_begin();
	script_add(BLAZEI_LANE_SCAN, 0, 0, body.data, (uint32_t)body.len);
	expect(BLAZEI_LANE_SCAN, -EBADMSG);
	script_begin();
	script_add(BLAZEI_LANE_SCAN, BLAZEI_LANE_MORE, 0, NULL, 0);
	expect(BLAZEI_LANE_SCAN, -EBADMSG);
	blaze_record_free(record);
	blazei_buffer_free(&body);
}
END_TEST

START_TEST(batch_and_events_that_would_never_end_are_refused)
{
	static const struct blazei_lane_batch none = { 0, 0 }, many = { 2, 2 }, far = { 0, 77 };
	static const char text[] = "\2\0\0\0{\n";

	script_begin();
	script_add(BLAZEI_LANE_BATCH, 0, 0, &none, sizeof(none));
	expect(BLAZEI_LANE_BATCH, -EBADMSG);
	script_begin();
	script_add(BLAZEI_LANE_BATCH, 0, 0, &many, sizeof(many));
	expect(BLAZEI_LANE_BATCH, -EBADMSG);
	script_begin();
	script_add(BLAZEI_LANE_BATCH, 0, -ENOMEM, &far, sizeof(far));
	expect(BLAZEI_LANE_BATCH, -EBADMSG);
	script_begin();
	script_add(BLAZEI_LANE_WATCH, 0, 0, NULL, 0);
	script_add(BLAZEI_LANE_NEXT, 0, 0, NULL, 0);
	expect(BLAZEI_LANE_WATCH, -EBADMSG);
	script_begin(); /* two lines for one */
	script_add(BLAZEI_LANE_WATCH, 0, 0, NULL, 0);
	script_add(BLAZEI_LANE_NEXT, 0, 0, text, 6);
	expect(BLAZEI_LANE_WATCH, -EBADMSG);
}
END_TEST

START_TEST(hello_of_another_is_refused)
{
	struct blazei_lane_hello hello = blazei_lane_hello_make();
	struct blazei_lane_caller *caller = NULL;

	for (unsigned i = 0; i < 4; i++) {
		static const int expected[] = { -EPROTO, -EBADMSG, -EBUSY, -ENOENT };

		script_begin();
		hello = blazei_lane_hello_make();
		hello.major += i == 0;
		hello.magic[0] += i == 1;
		script.count = 0;
		if (i < 3)
			script_add(BLAZEI_LANE_HELLO, 0, i == 2 ? -EBUSY : 0, &hello,
			           sizeof(hello));
		ck_assert_int_eq(script_play(&caller), expected[i]);
		script_end(NULL);
	}
}
END_TEST

static bool stop_at_third(void *arg)
{
	return ++*(unsigned *)arg == 3;
}

/* A holder that stands still: who asks is asked whether to go on. */
START_TEST(frozen_holder_can_be_left)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller = NULL;
	unsigned asked = 0;

	ck_assert_int_eq(kill(holder.pid, SIGSTOP), 0);
	ck_assert_int_eq(blazei_lane_connect(stored_path(0), stop_at_third, &asked, &caller),
	                 -EINTR);
	ck_assert_int_eq(kill(holder.pid, SIGCONT), 0);
	caller = lane_connect(0);
	lane_set(caller, 1, 1);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

/* One that waits answers late, and not otherwise. */
START_TEST(late_answer_is_waited_for)
{
	struct holder holder = holder_start(0);
	struct blazei_lane_caller *caller;
	pid_t pid = child_fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		caller = lane_connect(0);
		raise(SIGSTOP);
		lane_set(caller, 1, 1);
		blazei_lane_disconnect(caller);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(kill(holder.pid, SIGSTOP), 0);
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	blazei_sleep_ns(500 * BLAZEI_NS_PER_MS);
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
	ck_assert_int_eq(kill(holder.pid, SIGCONT), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	caller = lane_connect(0);
	lane_set(caller, 1, 2);
	blazei_lane_disconnect(caller);
	holder_close(&holder);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lane_client");
	TCase *tcase = tcase_create("lane_client");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, stored_setup, stored_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, answer_that_is_none_is_refused);
	tcase_add_test(tcase, scan_takes_only_what_it_asked_for);
	tcase_add_test(tcase, batch_and_events_that_would_never_end_are_refused);
	tcase_add_test(tcase, hello_of_another_is_refused);
	tcase_add_test(tcase, frozen_holder_can_be_left);
	tcase_add_test(tcase, late_answer_is_waited_for);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
