/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of blaze-perf share: options, the board, clocks, results.
 *
 * MODEL  The program that is started conducts; everything measured happens in processes that it
 *        starts by executing itself again ("roles"), which attach to the ring or open the database
 *        by name, as strangers would. Conductor and roles meet on the board: one shared mapping
 *        that is inherited as a descriptor, holds the options and the phase, and gives each role a
 *        seat of its own to report in. The board carries no measured record.
 *
 * CONCURRENCY  The conductor alone stores the phase (release; roles acquire). A seat is written by
 *        its role only, and read by others through its atomics or after the role has exited. */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <blaze/blaze.h>

#include "perf/pattern.h"

#define PERF_SEATS_MAX   72u
#define PERF_WRITERS_MAX 32u
#define PERF_SAMPLES_MAX (1u << 20)
#define PERF_STAMPS      4096u
#define PERF_ROLE_MAX    16u

/* Below, the CPUs count as near; above, as far; in between, or one before and the other after, as
 * mixed. One-way transfer of a line, ns. */
#define PERF_NEAR_NS 120.0
#define PERF_FAR_NS  180.0

enum perf_phase {
	PERF_PREPARE,
	PERF_WARM,
	PERF_MEASURE,
	PERF_STOP,
};

enum perf_latency {
	PERF_LATENCY_SPIN,   /* half a round trip, both ends polling */
	PERF_LATENCY_ASLEEP, /* one way, to a reader that sleeps in the kernel */
	PERF_LATENCY_LOAD,   /* one way, within the load run */
	PERF_LATENCY_NONE,
};

enum perf_read {
	PERF_READ_NONE,
	PERF_READ_GET,
	PERF_READ_FETCH,
};

enum perf_sabotage {
	PERF_SABOTAGE_NONE,
	PERF_SABOTAGE_CORRUPT,
	PERF_SABOTAGE_DROP,
	PERF_SABOTAGE_DUPLICATE,
};

struct perf_options {
	uint32_t writers;
	uint32_t readers;
	uint32_t idle;
	uint32_t size;
	uint32_t batch;
	uint32_t txn;      /* updates in a transaction */
	uint32_t read;     /* enum perf_read: db reads beside a writer */
	uint32_t latency;  /* enum perf_latency */
	uint32_t sabotage; /* enum perf_sabotage */
	uint32_t duplex;
	uint32_t reserve; /* publish through reserve and commit */
	uint32_t json;
	uint32_t runs;    /* bench */
	uint32_t records; /* db; 0: 10,000, and with read a million */
	double rate;      /* records per second and writer; 0: as fast as it goes */
	double seconds;
	uint64_t lane_bytes;
	uint64_t stall_ns; /* as stall_budget_ns of the ring */
};

/* One role's place on the board. */
struct perf_seat {
	_Alignas(64) char role[PERF_ROLE_MAX];
	int32_t cpu;      /* -1: not pinned */
	int32_t error;    /* negative errno value that ended it */
	uint32_t crowded; /* another role spins on this CPU: sleep when idle */
	uint32_t part;    /* number among its like */
	struct blaze_id publisher;
	_Alignas(64) _Atomic uint64_t published; /* records; final once done is set */
	_Atomic uint32_t done;
	_Alignas(64) _Atomic uint64_t applied; /* transactions, in this run */
	_Alignas(64) uint64_t records;         /* verified */
	uint64_t lost;                         /* missing, and no lap was reported */
	uint64_t wrong;                        /* content, order, publisher, twice */
	uint64_t lapped;                       /* missing, and a lap was reported */
	uint64_t laps;
	double rate; /* verified records per second in the measured phase */
	uint64_t cpu_ns;
	uint64_t measured_ns;
	uint64_t sleeps;
	uint64_t stalls;
	uint64_t catch_ups;
};

/* One line that two roles pass to and fro, and what goes with it. */
struct perf_ball {
	_Alignas(64) _Atomic uint32_t word;
	_Alignas(64) _Atomic uint32_t resting; /* the sleeper is about to sleep */
	_Alignas(64) _Atomic uint64_t stamp_ns;
};

struct perf_board {
	uint64_t magic;
	struct perf_options options;
	char name[48]; /* of the ring or database */
	uint32_t seat_count;
	_Alignas(64) _Atomic uint32_t phase; /* enum perf_phase */
	_Atomic uint32_t ready;
	_Atomic uint32_t begun; /* roles that have seen the start */
	struct perf_ball ball;
	struct perf_seat seats[PERF_SEATS_MAX];
	_Alignas(64) _Atomic uint64_t stamps_ns[PERF_STAMPS]; /* of publications, by number */
	_Alignas(64) uint64_t sample_count;
	uint64_t samples_ns_x16[PERF_SAMPLES_MAX]; /* sixteenths of a nanosecond; one role's */
};

struct perf_latency_result {
	double p50, p90, p99, p999, max; /* ns */
	uint64_t count;
};

struct perf_line_result {
	double p50_ns; /* one way */
	double p99_ns;
};

/* Clocks and figures: perf_stat.c ------------------------------------------------------------ */

uint64_t perf_now_ns(void);
void perf_sleep_ns(uint64_t ns);

/* A cheap time stamp for intervals on one CPU, and what one tick of it lasts. */
static inline uint64_t perf_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return perf_now_ns();
#endif
}
double perf_tick_ns(void);

static inline void perf_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

double perf_median(double *values, unsigned count); /* sorts them */
const char *perf_placement(double before_ns, double after_ns);
const char *perf_machine(void);
const char *perf_source(void);      /* what runs: its commit where that is known, or version */
const char *perf_source_json(void); /* the same, as members of an object */

/* The board: perf_board.c -------------------------------------------------------------------- */

struct perf_crew {
	struct perf_board *board;
	int fd;
	unsigned started;
	pid_t pids[PERF_SEATS_MAX];
};

/* Makes a board for a run of these options. 0 or a negative errno value. */
int perf_crew_new(const struct perf_options *options, const char *name, struct perf_crew *crew);
/* Starts one role; returns its seat's number or a negative errno value. cpu_index counts the CPUs
 * that this program may use, -1: not pinned. */
int perf_crew_start(struct perf_crew *crew, const char *role, unsigned part, int cpu_index);
/* Waits until all started roles stand ready. */
int perf_crew_ready(struct perf_crew *crew);
/* Warm-up, measured phase, stop, and the roles' ends. */
int perf_crew_run(struct perf_crew *crew, double seconds);
/* Kills what still runs, unmaps the board. */
void perf_crew_free(struct perf_crew *crew);
/* Percentiles of the board's samples. */
void perf_crew_latency(struct perf_crew *crew, struct perf_latency_result *ret_latency);

unsigned perf_cpu_count(void);

/* For roles. */
void perf_pin(int cpu); /* the calling thread; -1: nothing */
int perf_role_main(int argc, char **argv);
void perf_role_ready(struct perf_board *board); /* stands, waits for the start, begins */
void perf_role_stand(struct perf_board *board);
void perf_role_begin(struct perf_board *board);
static inline uint32_t perf_phase(struct perf_board *board)
{
	/* Acquire pairs with the conductor's release. */
	return atomic_load_explicit(&board->phase, memory_order_acquire);
}
/* Keeps one sample; the board has room for PERF_SAMPLES_MAX. */
static inline void perf_sample(struct perf_board *board, double ns)
{
	if (board->sample_count < PERF_SAMPLES_MAX)
		board->samples_ns_x16[board->sample_count++] = (uint64_t)(ns * 16);
}
/* The rate of the measured phase, from a role's main loop. */
struct perf_window {
	uint32_t phase;
	uint64_t from_ns;
	uint64_t from_records;
	uint64_t from_cpu_ns;
};
void perf_window_turn(struct perf_window *window, struct perf_seat *seat, uint32_t phase,
                      uint64_t records);

/* One role's body: 0 or a negative errno value. */
typedef int (*perf_role)(struct perf_board *board, struct perf_seat *seat);
int perf_role_line_serve(struct perf_board *board, struct perf_seat *seat);
int perf_role_line_return(struct perf_board *board, struct perf_seat *seat);
int perf_role_futex_wake(struct perf_board *board, struct perf_seat *seat);
int perf_role_futex_sleep(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_writer(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_reader(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_both(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_idle(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_doze(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_ping(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_pong(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_wake(struct perf_board *board, struct perf_seat *seat);
int perf_role_ring_sleep(struct perf_board *board, struct perf_seat *seat);

int perf_role_db_writer(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_reader(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_both(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_ping(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_pong(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_doze(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_feed(struct perf_board *board, struct perf_seat *seat);
int perf_role_db_look(struct perf_board *board, struct perf_seat *seat);

/* Yardsticks: perf_line.c, perf_futex.c ------------------------------------------------------ */

int perf_line_measure(struct perf_line_result *ret_line);
int perf_futex_measure(double seconds, struct perf_latency_result *ret_futex);

/* Benchmarks --------------------------------------------------------------------------------- */

struct perf_result {
	struct perf_options options;
	double ops_per_second;
	double yard_before, yard_after; /* operations per second; 0: not measured */
	struct perf_line_result line_before, line_after;
	struct perf_latency_result futex, latency;
	uint64_t lost, wrong, lapped, laps, records, catch_ups;
	double cpu_share; /* of one CPU; negative: not measured */
};

/* A part of a benchmark, on a ring or database of that name. */
typedef int (*perf_part)(const struct perf_options *options, const char *name,
                         struct perf_result *result);
/* Runs two parts (the second may be NULL) between line, futex and, where asked for, yard. */
int perf_measure_between(const struct perf_options *options, const perf_part parts[2], bool yard,
                         struct perf_result *ret_result);
/* Adds up what the seats of a crew report. */
void perf_collect(const struct perf_crew *crew, struct perf_result *result);
/* The CPU time of a single role that does nothing. */
int perf_measure_doze(const struct perf_options *options, const char *role, const char *name,
                      struct perf_result *result);

/* Load, and latency as the options say; latency only; the CPU time of a participant that sleeps.
 * 0 or a negative errno value: what was lost or wrong stands in the result. */
int perf_ring_measure(const struct perf_options *options, struct perf_result *ret_result);
int perf_ring_measure_latency(const struct perf_options *options, struct perf_result *ret_result);
int perf_ring_measure_idle(const struct perf_options *options, struct perf_result *ret_result);

/* The same for two databases in two processes. */
int perf_db_measure(const struct perf_options *options, struct perf_result *ret_result);
int perf_db_measure_latency(const struct perf_options *options, struct perf_result *ret_result);
int perf_db_measure_idle(const struct perf_options *options, struct perf_result *ret_result);

/* perf_bench.c: all bars; returns an exit status. */
int perf_bench(const struct perf_options *options);

/* perf_report.c: one line of JSON, or a few lines for people. */
void perf_report_ring(const struct perf_result *result);
void perf_report_db(const struct perf_result *result);

#endif
