/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * output.h - from the command line to record type, filters and recorder.
 */
#ifndef PIKOS_SESSION_OUTPUT_H
#define PIKOS_SESSION_OUTPUT_H

#include <stdbool.h>

#include "cli/options.h"
#include "kernel/kernel.h"
#include "pikos.h"

struct output {
	struct pikos_record_type type;
	struct pikos_filters
		*filters; /* all; those that the kernel decides are marked. NULL: none */
	struct pikos_recorder *recorder;
	bool borrowed;	/* filters and recorder are a caller's */
	char **kept[2]; /* strings of the kernel's lists: functions, files */
	int n_kept;
	char secret_key[41], public_key[41];
};

/*
 * @brief Make type and filters, and give the kernel those that it can decide: `type`,
 * `function` and `filename` against values, one each, as long as no `change` stands before. They
 * stay in the list for what does not come from the kernel's probes.
 * @return 0 or -errno; options were checked before, so an error is one of memory
 */
int output__choose(struct output *output, const struct options *options,
		   struct kernel_config *config);
/*
 * @brief Make the recorder, if it is not a caller's. Opens nothing but key files.
 * @param pid of the first target, for zmq topics
 * @param interrupted whether the user wants an end, while a consumer is waited for
 * @return 0; or -errno, logged
 */
int output__make_recorder(struct output *output, const struct options *options, pid_t pid,
			  bool (*interrupted)(void *ctx));
/* @brief Have the recorder open what it writes to. @return 0; or -errno, logged but for -EINTR */
int output__open(struct output *output, const struct options *options);
void output__free(struct output *output);

#endif /* PIKOS_SESSION_OUTPUT_H */
