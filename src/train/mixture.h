// SPDX-License-Identifier: Apache-2.0
// Which rows training takes, in which order, from one data set or several.
//
// An epoch is as many rows as all members have together. Each member gives its quota: rate * rows, rounded so that the quotas add
// up to the epoch. Members take turns so that after any number of rows each has given its share to within one row (Tijdeman 1980,
// "The chairman assignment problem"), so every step has its mixture too. A member gives its own rows in a new random order for each
// pass, and goes on in the next epoch where it stopped: none comes twice before each came once. All of it is a function of seed,
// epoch and the rows alone. One data set is a mixture of one: an epoch is one pass.
#pragma once

#include "train/data.h"

typedef struct { const char *label; row_set rows; int64_t quota; } mixture_member;
typedef struct { mixture_member *member; int64_t count, rows; } mixture;    // rows: of an epoch

// labels and data are kept, not copied. rate[i] 0 for all: by the members' rows, so that an epoch has each row once.
// HEED_INVALID: a member has no row, or gives none.
heed_status mixture_create(mixture *, int64_t count, const char *const *label, const dataset *const *data, const double *rate,
                           row_layout, heed_error *);
void mixture_free(mixture *);    // a zeroed one is fine

uint64_t mixture_hash(const mixture *);    // of all rows and the quotas
heed_status mixture_order(const mixture *, row_pick *order, uint64_t seed, int64_t epoch, heed_error *);    // `rows` picks
