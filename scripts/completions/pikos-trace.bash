# SPDX-License-Identifier: BSD-3-Clause
# Completion of pikos-trace and pikos-run for bash. Options and monitors are compared with those
# of --help by tests/test_man.c.

_pikos_run_monitors="functions lines function_memory line_memory"
_pikos_monitors="$_pikos_run_monitors memory allocations"

_pikos_reply()
{
	mapfile -t COMPREPLY < <(compgen "$@" -- "$word")
}

# What follows an option that wants a value; fails for one that wants none.
_pikos_value()
{
	case $1 in
	-p | --pid) _pikos_reply -W "$(pgrep python)" ;;
	-o | --output | --zmq-curve-secret-key | --zmq-curve-public-key)
		compopt -o filenames
		_pikos_reply -f
		;;
	--recording) _pikos_reply -W "$2" ;;
	--source) _pikos_reply -W "auto usdt agent" ;;
	--transport) _pikos_reply -W "auto ringbuf perfbuf" ;;
	--zmq-pattern) _pikos_reply -W "pub push" ;;
	--zmq-encoding) _pikos_reply -W "json msgpack" ;;
	--domains) _pikos_reply -W "raw mem obj raw,mem,obj" ;;
	--fields) _pikos_reply -W "+pid +tid +time" ;;
	--focused-on | --filter | --csv-delimiter | --zmq-endpoint | --duration | --max-records | \
		--buffer-size | --interval | --top) COMPREPLY=() ;;
	*) return 1 ;;
	esac
}

# Whether a monitor stands before the word.
_pikos_has_monitor()
{
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		[[ " $_pikos_monitors agent " == *" ${COMP_WORDS[i]} "* ]] && return 0
	done
	return 1
}

_pikos_trace()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i

	# bash makes a word of '=' in --option=value.
	[ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
	[ "$word" != = ] || { previous=${COMP_WORDS[COMP_CWORD - 1]} word=; }
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ "${COMP_WORDS[i]}" = -- ]; then
			compopt -o default
			[ $((i + 1)) != "$COMP_CWORD" ] || _pikos_reply -c
			return
		fi
	done
	_pikos_value "$previous" "screen text csv zmq" && return
	if [[ $word == -* ]]; then
		_pikos_reply -W "-- --pid --source --list --json --features --focused-on --filter
			--c-calls --no-c-calls --domains --regions --stacks --native --summary --interval
			--leaks --top --fields --qualified
			--recording --output --buffered --csv-delimiter --plain --tree
			--zmq-endpoint --zmq-pattern --zmq-encoding --zmq-wait
			--zmq-curve-secret-key --zmq-curve-public-key --zmq-insecure
			--duration --max-records --lossless --strict --transport --buffer-size
			--quiet --verbose --progress --overhead --help --version"
	elif [[ " ${COMP_WORDS[*]} " == *" --list "* ]]; then
		compopt -o filenames
		_pikos_reply -f
	elif ! _pikos_has_monitor; then
		_pikos_reply -W "$_pikos_monitors agent"
	fi
}

_pikos_run()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}

	[ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
	[ "$word" != = ] || { previous=${COMP_WORDS[COMP_CWORD - 1]} word=; }
	_pikos_value "$previous" "screen text csv" && return
	if [[ $word == -* ]]; then
		_pikos_reply -W "--help --output --buffered --recording --focused-on"
	elif ! _pikos_has_monitor; then
		_pikos_reply -W "$_pikos_run_monitors"
	else
		compopt -o filenames
		_pikos_reply -f
	fi
}

complete -F _pikos_trace pikos-trace
complete -F _pikos_run pikos-run
