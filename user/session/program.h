/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * program.h - run mode's child: made, held until the tracer is ready, run, waited for.
 */
#ifndef PIKOS_SESSION_PROGRAM_H
#define PIKOS_SESSION_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

struct program;

/* @brief Remember how signals are handled, for programs: call before the tracer changes it. */
void program__keep_signals(void);

/* @brief Make the child; it waits before its exec. @param argv borrowed until program__go */
struct program *program__new(char *const argv[]);
pid_t program__pid(const struct program *program);
/* @brief Let it exec. @return 0, or -errno of its execvp: then it has ended */
int program__go(struct program *program);

enum program_change { PROGRAM_NOTHING, PROGRAM_STOPPED, PROGRAM_ENDED };

/* @brief Has it stopped or ended since the last call? Does not wait. */
enum program_change program__poll(struct program *program);
/* @brief Wait for its end. */
void program__wait(struct program *program);
/* @brief Send it a signal, unless it has ended. @return 0 or -errno */
int program__signal(const struct program *program, int signal);
/* @return as a shell says it: its status, or 128 + signal; valid once it has ended */
int program__status(const struct program *program);
bool program__ended(const struct program *program);
/* NULL is fine. A child that has not been let go is ended; one that runs is left alone. */
void program__free(struct program *program);

#endif /* PIKOS_SESSION_PROGRAM_H */
