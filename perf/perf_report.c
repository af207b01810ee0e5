/* SPDX-License-Identifier: Apache-2.0 */
/* What blaze-perf prints: one line of JSON, or a few lines for people with the bars beside the
 * figures. Strings in it come from perf_machine and perf_source_json, which need no escaping. */
#include "perf/perf.h"

#include <stdio.h>

static double line_ns(const struct perf_result *r)
{
	return (r->line_before.p50_ns + r->line_after.p50_ns) / 2;
}

static double yard_rate(const struct perf_result *r)
{
	return (r->yard_before + r->yard_after) / 2;
}

static const char *latency_name(uint32_t latency)
{
	static const char *const names[] = { "spin", "asleep", "load", "none" };

	return latency < sizeof(names) / sizeof(names[0]) ? names[latency] : "none";
}

static void print_json(const struct perf_result *r)
{
	const struct perf_options *o = &r->options;

	printf("{\"bench\":\"ring\",\"writers\":%u,\"readers\":%u,\"size\":%u,\"batch\":%u,",
	       o->duplex ? 2 : o->writers, o->duplex ? 2 : o->readers, o->size, o->batch);
	printf("\"duplex\":%s,\"idle\":%u,\"lane\":%llu,\"lossless\":%s,",
	       o->duplex ? "true" : "false", o->idle, (unsigned long long)o->lane_bytes,
	       o->stall_ns == BLAZE_FOREVER || o->duplex ? "true" : "false");
	printf("\"placement\":\"%s\",\"ops_per_second\":%.0f,\"yard_ops_per_second\":%.0f,",
	       perf_placement(r->line_before.p50_ns, r->line_after.p50_ns), r->ops_per_second,
	       yard_rate(r));
	printf("\"yard_before\":%.0f,\"yard_after\":%.0f,", r->yard_before, r->yard_after);
	printf("\"line_ns\":%.1f,\"line_p99_ns\":%.1f,\"futex_wake_p50_ns\":%.0f,"
	       "\"futex_wake_p99_ns\":%.0f,",
	       line_ns(r), (r->line_before.p99_ns + r->line_after.p99_ns) / 2, r->futex.p50,
	       r->futex.p99);
	printf("\"latency\":\"%s\",\"latency_ns\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
	       "\"p999\":%.1f,\"max\":%.1f},",
	       latency_name(o->latency), r->latency.p50, r->latency.p90, r->latency.p99,
	       r->latency.p999, r->latency.max);
	printf("\"records\":%llu,\"laps\":%llu,\"lapped\":%llu,\"lost\":%llu,\"wrong\":%llu,",
	       (unsigned long long)r->records, (unsigned long long)r->laps,
	       (unsigned long long)r->lapped, (unsigned long long)r->lost,
	       (unsigned long long)r->wrong);
	printf("%s,\"machine\":\"%s\"}\n", perf_source_json(), perf_machine());
}

/* A figure, the one that it is held against, their ratio and the bar. Above says which way. */
static void print_bar(double ratio, double bar, bool above, const char *against)
{
	printf("   %.2f x %s (bar %.1f: %s)\n", ratio, against, bar,
	       (above ? ratio >= bar : ratio <= bar) ? "met" : "MISSED");
}

static void print_latency(const struct perf_result *r)
{
	const struct perf_latency_result *l = &r->latency;
	uint32_t kind = r->options.latency;

	if (kind == PERF_LATENCY_NONE)
		return;
	printf("latency    %s, one way: p50 %.0f, p90 %.0f, p99 %.0f, p99.9 %.0f, max %.0f ns "
	       "(%llu samples)\n",
	       latency_name(kind), l->p50, l->p90, l->p99, l->p999, l->max,
	       (unsigned long long)l->count);
	if (kind == PERF_LATENCY_SPIN && line_ns(r) > 0)
		print_bar(l->p50 / line_ns(r), 2.2, false, "line transfer, p50");
	if (kind == PERF_LATENCY_ASLEEP && r->futex.p99 > 0)
		print_bar(l->p99 / r->futex.p99, 1.3, false, "raw futex wake, p99");
}

static void print_people(const struct perf_result *r)
{
	const struct perf_options *o = &r->options;

	printf("ring       %u B, batch %u, lane %llu KiB, ", o->size, o->batch,
	       (unsigned long long)(o->lane_bytes / 1024));
	if (o->duplex)
		printf("both directions at once");
	else
		printf("%u writer%s, %u reader%s", o->writers, o->writers == 1 ? "" : "s",
		       o->readers, o->readers == 1 ? "" : "s");
	printf(", %u idle\n", o->idle);
	printf("machine    %s; %s; %s\n", perf_machine(),
	       perf_placement(r->line_before.p50_ns, r->line_after.p50_ns), perf_source());
	printf("line       p50 %.0f ns before, %.0f after; futex wake p50 %.1f, p99 %.1f us\n",
	       r->line_before.p50_ns, r->line_after.p50_ns, r->futex.p50 / 1e3, r->futex.p99 / 1e3);
	printf("yard       %.1f M/s before, %.1f after\n", r->yard_before / 1e6,
	       r->yard_after / 1e6);
	printf("throughput %.2f M records/s%s\n", r->ops_per_second / 1e6,
	       o->readers > 1 && !o->duplex ? " (each reader)" : "");
	if (o->rate == 0 && yard_rate(r) > 0 && o->writers == 1 && o->readers == 1 && !o->duplex)
		print_bar(r->ops_per_second / yard_rate(r), 0.8, true, "yard");
	print_latency(r);
	printf("content    %llu records verified, %llu lost, %llu wrong; %llu laps (%llu "
	       "records)\n",
	       (unsigned long long)r->records, (unsigned long long)r->lost,
	       (unsigned long long)r->wrong, (unsigned long long)r->laps,
	       (unsigned long long)r->lapped);
}

void perf_report_ring(const struct perf_result *result)
{
	if (result->options.json)
		print_json(result);
	else
		print_people(result);
}

static const char *read_name(uint32_t read)
{
	static const char *const names[] = { "none", "get", "fetch" };

	return read < sizeof(names) / sizeof(names[0]) ? names[read] : "none";
}

static void print_db_json(const struct perf_result *r)
{
	const struct perf_options *o = &r->options;

	printf("{\"bench\":\"db\",\"writers\":%u,\"readers\":%u,\"batch\":1,\"txn\":%u,"
	       "\"records\":%u,",
	       o->duplex ? 2 : 1, o->duplex ? 2 : 1, o->txn, o->records);
	printf("\"read\":\"%s\",", read_name(o->read));
	printf("\"duplex\":%s,\"lane\":%llu,\"placement\":\"%s\",\"ops_per_second\":%.0f,",
	       o->duplex ? "true" : "false", (unsigned long long)o->lane_bytes,
	       perf_placement(r->line_before.p50_ns, r->line_after.p50_ns), r->ops_per_second);
	printf("\"line_ns\":%.1f,\"futex_wake_p50_ns\":%.0f,\"futex_wake_p99_ns\":%.0f,",
	       line_ns(r), r->futex.p50, r->futex.p99);
	printf("\"latency\":\"%s\",\"latency_ns\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
	       "\"p999\":%.1f,\"max\":%.1f},",
	       latency_name(o->latency), r->latency.p50, r->latency.p90, r->latency.p99,
	       r->latency.p999, r->latency.max);
	printf("\"%s\":%llu,\"laps\":%llu,\"catch_ups\":%llu,\"lost\":%llu,\"wrong\":%llu,",
	       o->read != PERF_READ_NONE ? "reads" : "updates", (unsigned long long)r->records,
	       (unsigned long long)r->laps, (unsigned long long)r->catch_ups,
	       (unsigned long long)r->lost, (unsigned long long)r->wrong);
	printf("%s,\"machine\":\"%s\"}\n", perf_source_json(), perf_machine());
}

/* Reads beside a writer. */
static void print_reads_people(const struct perf_result *r)
{
	const struct perf_options *o = &r->options;
	const double bar = o->read == PERF_READ_FETCH ? 6 : 2.5;

	printf("db         %s, %u records, beside a writer in another process\n",
	       read_name(o->read), o->records);
	printf("machine    %s; %s; %s\n", perf_machine(),
	       perf_placement(r->line_before.p50_ns, r->line_after.p50_ns), perf_source());
	printf("throughput %.2f M reads/s (bar %.1f: %s)\n", r->ops_per_second / 1e6, bar,
	       r->ops_per_second >= bar * 1e6 ? "met" : "MISSED");
	printf("content    %llu reads checked, %llu lost, %llu wrong\n",
	       (unsigned long long)r->records, (unsigned long long)r->lost,
	       (unsigned long long)r->wrong);
}

static void print_db_people(const struct perf_result *r)
{
	const struct perf_options *o = &r->options;
	const struct perf_latency_result *l = &r->latency;
	double bar = o->duplex ? 3 : o->txn < 16 ? 4 : 8;

	printf("db         updates of one int field in transactions of %u, %u records%s\n", o->txn,
	       o->records, o->duplex ? ", both directions at once" : "");
	printf("machine    %s; %s; %s\n", perf_machine(),
	       perf_placement(r->line_before.p50_ns, r->line_after.p50_ns), perf_source());
	printf("line       p50 %.0f ns before, %.0f after; futex wake p50 %.1f, p99 %.1f us\n",
	       r->line_before.p50_ns, r->line_after.p50_ns, r->futex.p50 / 1e3, r->futex.p99 / 1e3);
	printf("throughput %.2f M updates/s merged%s (bar %.0f: %s)\n", r->ops_per_second / 1e6,
	       o->duplex ? " in each direction" : "", bar,
	       r->ops_per_second >= bar * 1e6 ? "met" : "MISSED");
	if (l->count > 0) {
		printf("visible    %s: p50 %.0f, p90 %.0f, p99 %.0f, p99.9 %.0f, max %.0f ns "
		       "(%llu samples)\n",
		       latency_name(o->latency), l->p50, l->p90, l->p99, l->p999, l->max,
		       (unsigned long long)l->count);
		if (o->latency == PERF_LATENCY_ASLEEP && r->futex.p99 > 0)
			print_bar(l->p99 / r->futex.p99, 1.5, false, "raw futex wake, p99");
		else
			print_bar(l->p50 / 1000, 1.0, false, "one microsecond, p50");
	}
	printf("content    %llu updates merged and checked, %llu lost, %llu wrong; %llu laps, "
	       "%llu catch-ups\n",
	       (unsigned long long)r->records, (unsigned long long)r->lost,
	       (unsigned long long)r->wrong, (unsigned long long)r->laps,
	       (unsigned long long)r->catch_ups);
}

void perf_report_db(const struct perf_result *result)
{
	if (result->options.json)
		print_db_json(result);
	else if (result->options.read != PERF_READ_NONE)
		print_reads_people(result);
	else
		print_db_people(result);
}
