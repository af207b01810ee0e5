/* SPDX-License-Identifier: Apache-2.0 */
/* The service thread: one per process, for all databases that are not MANUAL; see service.c. */
#ifndef BLAZEI_DB_SERVICE_H
#define BLAZEI_DB_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

struct blaze_db;

/* Hands a database to the service thread, which is started with the first. 0, -ENOMEM, -EAGAIN. */
int blazei_service_add(struct blaze_db *db);
/* Takes it back: the thread no longer touches it on return, and ends with its last database. */
void blazei_service_remove(struct blaze_db *db);
/* Makes the thread look at its databases now. */
void blazei_service_kick(void);

/* Sleeps until something comes in for the database or its kick is not this value any more, at most
 * timeout_ns; flags are what its last turn returned. True: something was there already. */
bool blazei_service_sleep(struct blaze_db *db, uint32_t kick, unsigned flags, uint64_t timeout_ns);

#endif
