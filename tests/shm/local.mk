# SPDX-License-Identifier: Apache-2.0
# The ring's tests. All but the helper share the harness (ring_test.h); the helper is the second
# process that they exec.
shm_harness = tests/shm/ring_test.c tests/shm/ring_agent.c tests/shm/ring_test.h
shm_tests = \
	tests/shm/test_ring_attach \
	tests/shm/test_ring_basic \
	tests/shm/test_ring_crash \
	tests/shm/test_ring_damage \
	tests/shm/test_ring_env \
	tests/shm/test_ring_hostile \
	tests/shm/test_ring_life \
	tests/shm/test_ring_pressure \
	tests/shm/test_ring_threads \
	tests/shm/test_ring_wait \
	tests/shm/soak_ring

check_PROGRAMS += $(shm_tests) tests/shm/ring_helper
TESTS += $(shm_tests)
tests_shm_ring_helper_SOURCES = tests/shm/ring_helper.c $(shm_harness)
tests_shm_test_ring_attach_SOURCES = tests/shm/test_ring_attach.c $(shm_harness)
tests_shm_test_ring_basic_SOURCES = tests/shm/test_ring_basic.c $(shm_harness)
tests_shm_test_ring_crash_SOURCES = tests/shm/test_ring_crash.c $(shm_harness)
tests_shm_test_ring_damage_SOURCES = tests/shm/test_ring_damage.c $(shm_harness)
tests_shm_test_ring_env_SOURCES = tests/shm/test_ring_env.c $(shm_harness)
tests_shm_test_ring_hostile_SOURCES = tests/shm/test_ring_hostile.c $(shm_harness)
tests_shm_test_ring_life_SOURCES = tests/shm/test_ring_life.c $(shm_harness)
tests_shm_test_ring_pressure_SOURCES = tests/shm/test_ring_pressure.c $(shm_harness)
tests_shm_test_ring_threads_SOURCES = tests/shm/test_ring_threads.c $(shm_harness)
tests_shm_test_ring_wait_SOURCES = tests/shm/test_ring_wait.c $(shm_harness)
tests_shm_soak_ring_SOURCES = tests/shm/soak_ring.c tests/shm/soak_ring.h \
	tests/shm/soak_worker.c $(shm_harness)
