/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "sim/sim.h"

/* A life that is drawn from a seed: machines, jobs, what people do, and what goes wrong; then calm,
 * in which everything has to come to rest. See scenario.c. */

struct scenario_config {
        uint64_t seed;
        uint32_t nodes;     /* 0: drawn */
        uint32_t max_nodes; /* of what is drawn; 0: 10,000 */
        usec_t time;        /* until the faults end; 0: drawn */
        bool harder; /* new versions may ask for other resources and places, drains have deadlines
                      */
        bool trace;  /* print everything */
};

struct scenario_result {
        uint64_t hash;
        uint32_t nodes;
        usec_t rested; /* virtual time from calm to rest */
        struct sim_counts counts;
        char problem[700]; /* "": none */
};

void scenario_run(const struct scenario_config *config, struct scenario_result *ret);
