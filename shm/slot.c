/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and liveness: who is attached, as the kernel knows it.
 *
 * WHY    Pids are reused and differ between namespaces; heartbeats call a stopped process dead and
 *        a dead one alive for a while. A file lock is dropped by the kernel exactly when its open
 *        file description goes. We open a description, lock through it, map it, and close the
 *        descriptor: from then on only the mapping keeps the description, so the lock lives as
 *        long as the address space that can still write to our lane, and not one instruction
 *        less. Rejected: holding the descriptor, because any close(2), closefrom(3) or exec of
 *        the host program would declare it dead while its threads still write.
 *
 * INVARIANTS
 * I1  Slot i is held iff byte i of control is OFD-locked for writing.
 * I2  No descriptor of the locked description outlives the attach lock; fork takes that lock, and
 *     MADV_DONTFORK keeps the mapping out of children. So no child keeps a slot alive.
 * I3  Probing uses a description of its own that never locks, so it can neither take nor drop one.
 *
 * FAILURE  Killed at any step: the kernel drops what was locked; nothing else was changed. */
#include "shm/ring.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct flock byte_lock(uint32_t slot)
{
	return (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)slot,
		.l_len = 1,
	};
}

static int take_free_byte(int fd, uint32_t participants_max)
{
	for (uint32_t slot = 0; slot < participants_max; slot++) {
		struct flock lock = byte_lock(slot);

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return (int)slot;
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EUSERS;
}

int blazei_slot_claim(int control_fd, uint32_t participants_max, struct blazei_slot *ret_slot)
{
	struct blazei_control *control;
	struct stat st;
	int slot, rc = 0;

	/* dir.c I2: shared for life. Refused: somebody removes the ring right now. */
	if (flock(control_fd, LOCK_SH | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? -EAGAIN : -errno;
		goto out;
	}
	if (fstat(control_fd, &st) < 0 || st.st_nlink == 0) {
		rc = -EAGAIN;
		goto out;
	}
	slot = take_free_byte(control_fd, participants_max);
	if (slot < 0) {
		rc = slot;
		goto out;
	}
	BLAZEI_TESTPOINT("ring_slot_locked");
	control =
	        mmap(NULL, BLAZEI_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, control_fd, 0);
	if (control == MAP_FAILED) {
		rc = -errno;
		goto out;
	}
	if (madvise(control, BLAZEI_CONTROL_BYTES, MADV_DONTFORK) < 0) {
		rc = -errno;
		munmap(control, BLAZEI_CONTROL_BYTES);
		goto out;
	}
	*ret_slot = (struct blazei_slot){ .control = control, .index = (uint32_t)slot };
out:
	close(control_fd);
	return rc;
}

void blazei_slot_release(struct blazei_slot *slot)
{
	if (slot->control)
		munmap(slot->control, BLAZEI_CONTROL_BYTES);
	slot->control = NULL;
}

int blazei_probe_open(struct blazei_dir *dir, struct blazei_probe *ret_probe)
{
	struct stat st;
	int fd = openat(dir->fd, "control", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return -EIO;
	}
	*ret_probe = (struct blazei_probe){ .fd = fd, .device = st.st_dev, .inode = st.st_ino };
	return 0;
}

/* Whether the descriptor still is ours: the host may have closed it and reused its number. */
static bool probe_intact(const struct blazei_probe *probe)
{
	struct stat st;

	return probe->fd >= 0 && fstat(probe->fd, &st) == 0 && st.st_dev == probe->device &&
	       st.st_ino == probe->inode;
}

void blazei_probe_close(struct blazei_probe *probe)
{
	if (probe_intact(probe))
		close(probe->fd);
	probe->fd = -1;
}

bool blazei_probe_live(const struct blazei_probe *probe, uint32_t slot)
{
	struct flock lock = byte_lock(slot);

	if (!probe_intact(probe) || fcntl(probe->fd, F_OFD_GETLK, &lock) < 0)
		return true;
	return lock.l_type != F_UNLCK;
}
