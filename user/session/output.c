// SPDX-License-Identifier: BSD-3-Clause
#include "session/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "filter/filter.h"
#include "log.h"
#include "monitor/record_type.h"

/* ------------------------------------------------------------------ filters */

struct expression { /* field=V1,V2 or field!=V1,V2 */
	const char *field;
	size_t field_len;
	bool drop;
	const char *values;
};

/* @return false for change(...) */
static bool split(const char *text, struct expression *expression)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return false;
	expression->drop = equals[-1] == '!';
	expression->field = text;
	expression->field_len = equals - text - expression->drop;
	expression->values = equals + 1;
	return true;
}

static bool is_field(const struct expression *expression, const char *name)
{
	return strlen(name) == expression->field_len &&
	       !memcmp(name, expression->field, expression->field_len);
}

static uint32_t types_mask(const struct expression *expression)
{
	static const char *const names[] = {[WIRE_CALL] = "call", [WIRE_RETURN] = "return"};
	uint32_t mask = 1u << 31; /* never zero: that is "all" */
	const char *value = expression->values;

	for (;;) {
		size_t len = strcspn(value, ",");

		for (int i = WIRE_CALL; i <= WIRE_RETURN; i++)
			if (strlen(names[i]) == len && !memcmp(names[i], value, len))
				mask |= 1u << i;
		if (!value[len])
			break;
		value += len + 1;
	}
	return expression->drop ? ~mask : mask;
}

static int keep_values(struct output *output, const struct expression *expression,
		       struct kernel_list *list)
{
	int n = 1;
	char **values, *copy = strdup(expression->values);

	for (const char *c = expression->values; *c; c++)
		n += *c == ',';
	values = calloc(n, sizeof(*values));
	if (!copy || !values) {
		free(copy);
		free(values);
		return -ENOMEM;
	}
	output->kept[output->n_kept++] = values;
	for (int i = 0; i < n; i++)
		values[i] = strsep(&copy, ",");
	list->texts = (const char **)values;
	list->n = n;
	list->drop = expression->drop;
	return 0;
}

/*
 * A name that holds `\x` may stand for bytes that were not UTF-8, one that holds `<cut>` for a
 * longer one: only its text can tell.
 */
static bool is_plain(const struct expression *expression)
{
	return !strstr(expression->values, "\\x") && !strstr(expression->values, "<cut>");
}

static bool has_room(const struct kernel_config *config, const struct expression *expression)
{
	int n = config->functions.n + config->files.n + 1;

	for (const char *c = expression->values; *c; c++)
		n += *c == ',';
	return n <= WIRE_MAX_FILTER_STRINGS;
}

/* @return 1: the kernel does it; 0: it does not; -errno */
static int give_to_kernel(struct output *output, const char *text, struct kernel_config *config)
{
	struct expression expression;
	struct kernel_list *list = NULL;

	if (!split(text, &expression))
		return 0;
	if (is_field(&expression, "type") && !config->types) {
		config->types = types_mask(&expression);
		return 1;
	}
	if (is_field(&expression, "function") && is_plain(&expression))
		list = &config->functions;
	else if (is_field(&expression, "filename") && is_plain(&expression))
		list = &config->files;
	if (!list || list->texts || !has_room(config, &expression))
		return 0;
	return keep_values(output, &expression, list) ? -ENOMEM : 1;
}

int output__choose(struct output *output, const struct options *options,
		   struct kernel_config *config)
{
	int err = pikos_record_type__init(&output->type, options__record_type(options),
					  options->fields);
	/* Of memory nothing is dropped in the kernel: it has no names there. */
	bool in_order = monitor__kind(options->monitor) != MONITOR_MEMORY;

	if (!err)
		err = options__add_columns(options, &output->type);
	for (int i = 0; i < options->n_filters && !err; i++) {
		const char *text = options->filters[i];
		int given;

		in_order = in_order && strncmp(text, "change(", strlen("change("));
		given = in_order ? give_to_kernel(output, text, config) : 0;
		if (given < 0)
			return given;
		if (!output->filters)
			output->filters = pikos_filters__new();
		if (!output->filters)
			return -ENOMEM;
		err = pikos_filters__add(output->filters, &output->type, text);
		if (!err && given)
			filters__mark_decided(output->filters);
	}
	return err;
}

/* ------------------------------------------------------------------ recorder */

static int read_keys(struct output *output, const struct options *options)
{
	int err;

	if (!options->zmq_secret_key_file)
		return 0;
	err = options__read_key(options->zmq_secret_key_file, output->secret_key);
	if (err) {
		log_cannot("read", options->zmq_secret_key_file, error_words(err));
		return err;
	}
	err = options__read_key(options->zmq_public_key_file, output->public_key);
	if (err)
		log_cannot("read", options->zmq_public_key_file, error_words(err));
	return err;
}

static struct pikos_recorder *make_zmq(struct output *output, const struct options *options,
				       pid_t pid, bool (*interrupted)(void *ctx))
{
	const struct pikos_zmq_options zmq = {
		.endpoint = options->zmq_endpoint,
		.pattern = options->zmq_pattern,
		.encoding = options->zmq_encoding,
		.wait = options->zmq_wait,
		.insecure = options->zmq_insecure,
		.curve_secret_key = *output->secret_key ? output->secret_key : NULL,
		.curve_public_key = *output->public_key ? output->public_key : NULL,
		.pid = pid,
		.interrupted = interrupted,
	};

	return pikos_recorder__zmq(&zmq);
}

static struct pikos_recorder *make_recorder(struct output *output, const struct options *options,
					    pid_t pid, bool (*interrupted)(void *ctx))
{
	const struct pikos_output file = {
		.path = options->output,
		.plain = options->plain,
		.tree = options->tree,
		.delimiter = options->csv_delimiter,
	};

	switch (options->recording) {
	case RECORDING_SCREEN:
		return pikos_recorder__screen(&file);
	case RECORDING_TEXT:
		return pikos_recorder__text(&file);
	case RECORDING_CSV:
		return pikos_recorder__csv(&file);
	case RECORDING_ZMQ:
		return make_zmq(output, options, pid, interrupted);
	}
	errno = EINVAL;
	return NULL;
}

int output__make_recorder(struct output *output, const struct options *options, pid_t pid,
			  bool (*interrupted)(void *ctx))
{
	const char *name = options->output ? options->output : "stdout";
	int err = output->borrowed ? 0 : read_keys(output, options);

	if (err || output->borrowed)
		return err;
	output->recorder = make_recorder(output, options, pid, interrupted);
	if (output->recorder)
		return 0;
	err = -errno;
	log_cannot("record to", options->recording == RECORDING_ZMQ ? options->zmq_endpoint : name,
		   error_words(err));
	return err;
}

int output__open(struct output *output, const struct options *options)
{
	int err = pikos_recorder__prepare(output->recorder, &output->type);

	if (err && err != -EINTR) {
		const char *words = pikos_recorder__error(output->recorder);

		log_error("%s", *words ? words : error_words(err));
	}
	if (err == -EACCES && options->recording == RECORDING_ZMQ)
		log_hint("give --zmq-curve-secret-key and its public key, or --zmq-insecure");
	else if (err == -EADDRINUSE)
		log_hint("give another --zmq-endpoint, for instance tcp://127.0.0.1:9011");
	return err;
}

void output__free(struct output *output)
{
	if (!output->borrowed) {
		pikos_recorder__free(output->recorder);
		pikos_filters__free(output->filters);
	}
	for (int i = 0; i < output->n_kept; i++) {
		free(output->kept[i][0]); /* strsep cut one copy into all of them */
		free(output->kept[i]);
	}
}
