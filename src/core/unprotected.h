// SPDX-License-Identifier: Apache-2.0
// The other half of empty:nan. An unprotected softmax adds minus infinity to hidden scores and multiplies hidden values by a
// weight of 0; neither undoes a NaN or infinity. Implementations select what is hidden, and know nothing of this.
#pragma once

#include "heed/heed.h"

// After a forward run: where row i hides key j, a k_j that is not finite makes out_i and lse_i NaN, and a v_jc that is not
// finite makes out_ic NaN. Costs one look at each key and value; nothing is written while all are finite.
void unprotected_spread(const heed_problem *complete, const heed_args *);
