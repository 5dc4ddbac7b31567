/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * errors.h - error numbers in words, and the exit statuses.
 */
#ifndef PIKOS_ERRORS_H
#define PIKOS_ERRORS_H

/* What the commands exit with. In run mode the program's own status comes instead of the first. */
enum exit_status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_LOST = 3, /* --strict and records were lost; wins over the program's status */
	STATUS_CANNOT_RUN = 126, /* the program is there and cannot be run */
	STATUS_NOT_FOUND = 127,	 /* there is no such program */
	STATUS_SIGNAL = 128,	 /* + the signal that ended the program */
};

/*
 * @brief Words for an error: error_words(-ENOENT) is "No such file or directory".
 * @param err an errno or a code of libbpf (LIBBPF_ERRNO__*), of either sign
 * @return a string that is valid for ever, but one for an unknown number only until this thread's
 * next call. Never NULL. errno is kept.
 */
const char *error_words(int err);

#endif /* PIKOS_ERRORS_H */
