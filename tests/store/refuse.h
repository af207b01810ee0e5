/* SPDX-License-Identifier: Apache-2.0 */
/* Has the kernel refuse system calls to this process from here on, as the filters of containers
 * do. For good: in a process of its own. */
#ifndef TESTS_STORE_REFUSE_H
#define TESTS_STORE_REFUSE_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define REFUSE_MAX 16u

/* 0, or -1 with errno. */
static inline int refuse(const int *calls, unsigned count, int with)
{
	struct sock_filter filter[REFUSE_MAX + 3];
	struct sock_fprog program = { .filter = filter };
	unsigned n = 0;

	if (count > REFUSE_MAX)
		return -1;
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
	                                           offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < count; i++)
		filter[n++] = (struct sock_filter)BPF_JUMP(
		        BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], (uint8_t)(count - i), 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[n++] =
	        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)with);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#endif
