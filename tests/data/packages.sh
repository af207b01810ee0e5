#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The machine's own Debian package index as JSON lines, one object a package, on standard output.
# Where there is none (fewer than 1,000 packages): exit status 1 and nothing written.
set -eu
LC_ALL=C
export LC_ALL

command -v apt-cache >/dev/null || exit 1
packages=$(apt-cache pkgnames 2>/dev/null | head -n 1000 | wc -l)
[ "$packages" -ge 1000 ] || exit 1

apt-cache dumpavail | awk '
# Text as a JSON string. The index is UTF-8, which JSON takes as it is.
function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/"/, "\\\"", text)
	gsub(/\t/, "\\t", text)
	gsub(/[\001-\037\177]/, " ", text)
	return "\"" text "\""
}

# A list that is separated by commas, as an array.
function list(text,   n, i, parts, out) {
	n = split(text, parts, /, */)
	for (i = 1; i <= n; i++)
		out = out (i > 1 ? "," : "") quoted(parts[i])
	return "[" out "]"
}

function put(name, value) {
	line = line (line == "" ? "" : ",") quoted(name) ":" value
}

function flush_package() {
	if (line != "")
		print "{" line "}"
	line = ""
}

BEGIN {
	split("Package Version Source Section Priority Architecture Maintainer Homepage Filename " \
	      "SHA256 Description", names, " ")
	for (i in names)
		texts[names[i]] = 1
	split("Depends Recommends Suggests Provides", names, " ")
	for (i in names)
		lists[names[i]] = 1
}

/^$/ { flush_package(); next }
/^[^ ]+: / {
	at = index($0, ": ")
	name = substr($0, 1, at - 1)
	value = substr($0, at + 2)
	key = tolower(name)
	gsub(/-/, "_", key)
	if (name in texts)
		put(key, quoted(value))
	else if (name in lists)
		put(key, list(value))
	else if ((name == "Size" || name == "Installed-Size") && value ~ /^[0-9]+$/)
		put(key, value)
}
END { flush_package() }
'
