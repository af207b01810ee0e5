/* SPDX-License-Identifier: Apache-2.0 */
/* blaze-perf as its users see it: what it prints, and that its verification can fail.
 *
 * Runs are short and their speed is never looked at: this machine may be busy, or a sanitizer's. */
#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SHORT_RUN "--seconds 0.05 --lane 65536 --latency none --json"

/* Runs blaze-perf; returns its exit status. Its first line of JSON goes to *ret_json (may be
 * NULL), which is NULL where there was none. */
static int perf(const char *arguments, json_t **ret_json)
{
	const char *build = getenv("BLAZE_BUILDDIR");
	char command[1024], line[4096] = "", rest[256];
	FILE *out;
	int status;

	snprintf(command, sizeof(command), "'%s/perf/blaze-perf' %s 2>&1",
	         build != NULL ? build : ".", arguments);
	out = popen(command, "r");
	ck_assert_ptr_nonnull(out);
	if (fgets(line, sizeof(line), out) == NULL)
		line[0] = '\0';
	while (fgets(rest, sizeof(rest), out) != NULL)
		continue;
	status = pclose(out);
	ck_assert_msg(WIFEXITED(status), "%s: status %d", command, status);
	if (ret_json != NULL) {
		*ret_json = json_loads(line, 0, NULL);
		ck_assert_msg(*ret_json != NULL, "%s: no JSON: %s", command, line);
	}
	return WEXITSTATUS(status);
}

/* The same for a run that is to have measured something: on a machine so busy that a process does
 * not run at all while it is measured, again, for longer. */
static void perf_measured(const char *arguments, const char *key, json_t **ret_json)
{
	char longer[512];

	for (unsigned i = 1;; i *= 3) {
		const json_t *value;

		snprintf(longer, sizeof(longer), "%s --seconds %.2f --json", arguments, 0.05 * i);
		ck_assert_int_eq(perf(longer, ret_json), 0);
		value = json_object_get(*ret_json, key);
		if (json_is_object(value))
			value = json_object_get(value, "p50");
		ck_assert_msg(json_is_number(value), "no number %s", key);
		if (json_number_value(value) > 0 || i > 81)
			break;
		json_decref(*ret_json);
	}
}

static double number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	ck_assert_msg(json_is_number(value), "no number %s", key);
	return json_number_value(value);
}

static const char *text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	ck_assert_msg(json_is_string(value), "no string %s", key);
	return json_string_value(value);
}

START_TEST(ring_json_has_every_key)
{
	static const char *const percentiles[] = { "p50", "p90", "p99", "p999", "max" };
	const char *placement;
	json_t *json, *latency;
	double previous = 0;

	/* By itself it does not know from which commit it was built. */
	unsetenv("BLAZE_PERF_COMMIT");
	perf_measured("ring --batch 8", "latency_ns", &json);
	ck_assert_str_eq(text(json, "bench"), "ring");
	ck_assert_int_eq((int)number(json, "writers"), 1);
	ck_assert_int_eq((int)number(json, "readers"), 1);
	ck_assert_int_eq((int)number(json, "size"), 64);
	ck_assert_int_eq((int)number(json, "batch"), 8);
	placement = text(json, "placement");
	ck_assert(strcmp(placement, "near") == 0 || strcmp(placement, "far") == 0 ||
	          strcmp(placement, "mixed") == 0);
	ck_assert(number(json, "ops_per_second") >= 0);
	ck_assert(number(json, "yard_ops_per_second") >= 0);
	ck_assert(number(json, "line_ns") >= 0);
	ck_assert(number(json, "futex_wake_p99_ns") >= 0);
	latency = json_object_get(json, "latency_ns");
	ck_assert(json_is_object(latency));
	for (unsigned i = 0; i < 5; i++) {
		ck_assert(number(latency, percentiles[i]) >= previous);
		previous = number(latency, percentiles[i]);
	}
	ck_assert(previous > 0);
	ck_assert(number(json, "records") > 0);
	ck_assert(number(json, "lost") == 0);
	ck_assert(number(json, "wrong") == 0);
	ck_assert(text(json, "machine")[0] != '\0');
	ck_assert(text(json, "version")[0] != '\0');
	ck_assert(json_is_null(json_object_get(json, "commit")));
	json_decref(json);
}
END_TEST

START_TEST(json_names_the_commit_that_it_is_told)
{
	json_t *json;

	setenv("BLAZE_PERF_COMMIT", "v0.1-2-gabc-dirty", 1);
	ck_assert_int_eq(perf("ring " SHORT_RUN, &json), 0);
	ck_assert_str_eq(text(json, "commit"), "v0.1-2-gabc-dirty");
	json_decref(json);
	/* Nothing that would have to be escaped. */
	setenv("BLAZE_PERF_COMMIT", "\\\"\\n", 1);
	ck_assert_int_eq(perf("ring " SHORT_RUN, &json), 0);
	ck_assert(json_is_null(json_object_get(json, "commit")));
	json_decref(json);
}
END_TEST

/* Each shape loses nothing: all lanes are lossless. */
static const char *const shapes[] = {
	"ring --writers 3 --lane 65536 --latency none",
	"ring --readers 3 --lane 65536 --latency none",
	"ring --duplex --lane 65536 --latency none",
	"ring --batch 1 --lane 65536 --latency none",
	"ring --size 33 --batch 7 --lane 65536 --latency none",
	"ring --size 4096 --batch 2 --lane 65536 --latency none",
	"ring --reserve --lane 65536 --latency none",
	"ring --rate 20000 --batch 4 --latency none",
	"ring --idle 5 --latency none",
	"ring --latency load --rate 50000",
	"ring --latency asleep",
};

START_TEST(ring_shape_loses_nothing)
{
	bool latency = strstr(shapes[_i], "--latency none") == NULL;
	json_t *json;

	perf_measured(shapes[_i], latency ? "latency_ns" : "ops_per_second", &json);
	ck_assert(number(json, "records") > 0);
	ck_assert(number(json, "lost") == 0);
	ck_assert(number(json, "wrong") == 0);
	ck_assert(number(json, "laps") == 0);
	if (latency)
		ck_assert(number(json_object_get(json, "latency_ns"), "p50") > 0);
	else
		ck_assert(number(json, "ops_per_second") > 0);
	json_decref(json);
}
END_TEST

static const struct {
	const char *arguments;
	bool lost, wrong;
} sabotages[] = {
	{ "ring --sabotage corrupt " SHORT_RUN, false, true },
	{ "ring --sabotage drop " SHORT_RUN, true, false },
	{ "ring --sabotage duplicate " SHORT_RUN, true, true },
	{ "ring --batch 1 --sabotage corrupt " SHORT_RUN, false, true },
	{ "ring --batch 1 --sabotage drop " SHORT_RUN, true, false },
	{ "ring --duplex --sabotage corrupt " SHORT_RUN, false, true },
};

START_TEST(ring_sabotage_fails)
{
	json_t *json;

	ck_assert_int_eq(perf(sabotages[_i].arguments, &json), 1);
	ck_assert_int_eq(number(json, "lost") > 0, sabotages[_i].lost);
	ck_assert_int_eq(number(json, "wrong") > 0, sabotages[_i].wrong);
	/* One record: the rest was right. */
	ck_assert(number(json, "lost") <= 2 && number(json, "wrong") <= 2);
	json_decref(json);
}
END_TEST

static const char *const db_shapes[] = {
	"db --records 500 --latency none",
	"db --records 500 --latency none --duplex",
	"db --records 500 --latency none --txn 16",
	"db --records 100 --latency spin",
	"db --records 100 --latency asleep",
	"db --records 500 --latency none --read get",
	"db --records 500 --latency none --read fetch --txn 16",
};

START_TEST(db_shape_loses_nothing)
{
	bool latency = strstr(db_shapes[_i], "--latency none") == NULL;
	json_t *json;

	perf_measured(db_shapes[_i], latency ? "latency_ns" : "ops_per_second", &json);
	ck_assert_str_eq(text(json, "bench"), "db");
	ck_assert(number(json, strstr(db_shapes[_i], "--read") ? "reads" : "updates") > 0);
	ck_assert(number(json, "ops_per_second") >= 0);
	ck_assert(number(json, "line_ns") >= 0);
	ck_assert(number(json, "lost") == 0);
	ck_assert(number(json, "wrong") == 0);
	json_decref(json);
}
END_TEST

static const struct {
	const char *arguments;
	bool lost, wrong;
} db_sabotages[] = {
	{ "db --records 50 --seconds 0.05 --latency none --json --sabotage corrupt", false, true },
	{ "db --records 50 --seconds 0.05 --latency none --json --sabotage drop", true, false },
	{ "db --records 50 --seconds 0.05 --latency none --json --sabotage duplicate", false,
	  true },
	{ "db --records 5000 --seconds 0.05 --read fetch --json --sabotage corrupt", false, true },
	{ "db --records 5000 --seconds 0.05 --read get --json --sabotage drop", true, false },
};

START_TEST(db_sabotage_fails)
{
	json_t *json;

	ck_assert_int_eq(perf(db_sabotages[_i].arguments, &json), 1);
	ck_assert_int_eq(number(json, "lost") > 0, db_sabotages[_i].lost);
	ck_assert_int_eq(number(json, "wrong") > 0, db_sabotages[_i].wrong);
	ck_assert(number(json, "lost") <= 2 && number(json, "wrong") <= 2);
	json_decref(json);
}
END_TEST

#define STORE_RUN "store --runs 1 --seconds 0.01 --records 600"

START_TEST(store_prints_rows_and_loses_nothing)
{
	ck_assert_int_eq(perf(STORE_RUN, NULL), 0);
	ck_assert_int_eq(perf(STORE_RUN " | grep -q '^| open 600 records: blazeshm |'", NULL), 0);
	/* And leaves nothing behind. */
	ck_assert_int_eq(perf("--help >/dev/null; ls -d blaze-perf.??????", NULL), 2);
}
END_TEST

START_TEST(store_sabotage_fails)
{
	ck_assert_int_eq(perf(STORE_RUN " --sabotage drop", NULL), 1);
	ck_assert_int_eq(
	        perf(STORE_RUN " --sabotage drop 2>&1 | grep -q 'are lost or wrong'", NULL), 0);
}
END_TEST

START_TEST(yardsticks_print_json)
{
	json_t *json;

	perf_measured("yard", "ops_per_second", &json);
	ck_assert(number(json, "ops_per_second") > 0);
	ck_assert(number(json, "lost") == 0 && number(json, "wrong") == 0);
	json_decref(json);
	perf_measured("line", "p50_ns", &json);
	ck_assert(number(json, "p50_ns") > 0);
	json_decref(json);
	perf_measured("futex", "p50_ns", &json);
	ck_assert(number(json, "p99_ns") >= number(json, "p50_ns"));
	json_decref(json);
}
END_TEST

static const char *const usage_errors[] = {
	"",
	"nonsense",
	"ring --batch 0",
	"ring --batch 1x",
	"ring --size 8",
	"ring --lane 100000",
	"ring --lane 65536 --size 16384",
	"ring --writers 32 --readers 32 --idle 1",
	"ring --latency sometimes",
	"ring --sabotage gently",
	"ring --sabotage drop --reserve",
	"ring --seconds nan",
	"ring surplus",
	"db --read sometimes",
	"db --read get --duplex",
	"yard surplus",
	"store --sabotage corrupt",
	"store --json",
};

START_TEST(usage_error_exits_2)
{
	ck_assert_int_eq(perf(usage_errors[_i], NULL), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("blaze-perf");
	TCase *tcase = tcase_create("blaze-perf");
	SRunner *runner;
	int failed;

	/* Sanitizers are slow, and starting up takes longer than running. */
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, ring_json_has_every_key);
	tcase_add_test(tcase, json_names_the_commit_that_it_is_told);
	tcase_add_loop_test(tcase, ring_shape_loses_nothing, 0, sizeof(shapes) / sizeof(shapes[0]));
	tcase_add_loop_test(tcase, ring_sabotage_fails, 0,
	                    sizeof(sabotages) / sizeof(sabotages[0]));
	tcase_add_loop_test(tcase, db_shape_loses_nothing, 0,
	                    sizeof(db_shapes) / sizeof(db_shapes[0]));
	tcase_add_test(tcase, store_prints_rows_and_loses_nothing);
	tcase_add_test(tcase, store_sabotage_fails);
	tcase_add_loop_test(tcase, db_sabotage_fails, 0,
	                    sizeof(db_sabotages) / sizeof(db_sabotages[0]));
	tcase_add_test(tcase, yardsticks_print_json);
	tcase_add_loop_test(tcase, usage_error_exits_2, 0,
	                    sizeof(usage_errors) / sizeof(usage_errors[0]));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
