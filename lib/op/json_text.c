/* SPDX-License-Identifier: Apache-2.0 */
/* The text forms of the types that JSON lacks: base64, RFC 3339, doubles, and the keys that mark
 * them.
 *
 * WHY    Each value has one text, and only that text is read: base64 with its padding and zero
 *        bits after the end, times with capital T and Z. So what round-trips is equal, and a
 *        lenient reader can't hide a damaged file. */
#include "lib/op/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char base64_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum blazei_json_form blazei_json_form(const char *key, size_t len)
{
	static const struct {
		const char *key;
		enum blazei_json_form form;
	} forms[] = {
		{ "$bytes", BLAZEI_JSON_BYTES }, { "$time", BLAZEI_JSON_TIME },
		{ "$uuid", BLAZEI_JSON_UUID },   { "$double", BLAZEI_JSON_DOUBLE },
		{ "$map", BLAZEI_JSON_MAP },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if (len == strlen(forms[i].key) && memcmp(key, forms[i].key, len) == 0)
			return forms[i].form;
	}
	return BLAZEI_JSON_PLAIN;
}

static int base64_value(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	if (digit == '+')
		return 62;
	return digit == '/' ? 63 : -1;
}

/* Decodes four digits, of which the last `padding` (0 to 2) are '='. */
static int base64_group(const char *text, unsigned padding, struct blazei_buffer *out)
{
	const unsigned digits = 4 - padding;
	uint8_t bytes[3];
	uint32_t group = 0;

	for (unsigned i = 0; i < digits; i++) {
		const int value = base64_value(text[i]);

		if (value < 0)
			return -EINVAL;
		group |= (uint32_t)value << (18 - 6 * i);
	}
	if (group & ((1U << (8 * padding)) - 1))
		return -EINVAL;
	bytes[0] = (uint8_t)(group >> 16);
	bytes[1] = (uint8_t)(group >> 8);
	bytes[2] = (uint8_t)group;
	return blazei_buffer_append(out, bytes, 3 - padding);
}

int blazei_base64_decode(const char *text, size_t len, struct blazei_buffer *out)
{
	unsigned padding = 0;

	if (len % 4 != 0)
		return -EINVAL;
	if (len > 0 && text[len - 1] == '=')
		padding = text[len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < len; i += 4) {
		const int r = base64_group(text + i, i + 4 == len ? padding : 0, out);

		if (r < 0)
			return r;
	}
	return 0;
}

int blazei_base64_encode(const void *data, size_t len, struct blazei_buffer *out)
{
	const uint8_t *next = data;

	for (; len > 0; next += len < 3 ? len : 3, len -= len < 3 ? len : 3) {
		const uint32_t group = (uint32_t)next[0] << 16 |
		                       (len > 1 ? (uint32_t)next[1] << 8 : 0) |
		                       (len > 2 ? next[2] : 0);
		const char text[4] = {
			base64_digits[group >> 18],
			base64_digits[group >> 12 & 63],
			len > 1 ? base64_digits[group >> 6 & 63] : '=',
			len > 2 ? base64_digits[group & 63] : '=',
		};
		const int r = blazei_buffer_append(out, text, sizeof(text));

		if (r < 0)
			return r;
	}
	return 0;
}

/* Reads a fraction of a second, "." and one to nine digits, as nanoseconds. */
static int fraction_parse(const char *text, size_t len, uint32_t *ret_ns)
{
	uint32_t ns = 0, unit = 100000000;

	if (len < 2 || len > 10 || text[0] != '.')
		return -EINVAL;
	for (size_t i = 1; i < len; i++, unit /= 10) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		ns += (uint32_t)(text[i] - '0') * unit;
	}
	*ret_ns = ns;
	return 0;
}

/* Seconds since 1970 of a date and time that exists, or -1. timegm would take the 31st of June
 * for the 1st of July: going back shows it. */
static int64_t seconds_from_parts(const int parts[6])
{
	const struct tm given = { .tm_year = parts[0] - 1900,
		                  .tm_mon = parts[1] - 1,
		                  .tm_mday = parts[2],
		                  .tm_hour = parts[3],
		                  .tm_min = parts[4],
		                  .tm_sec = parts[5] };
	struct tm copy = given, back;
	const time_t seconds = timegm(&copy);

	if (seconds < 0 || gmtime_r(&seconds, &back) == NULL)
		return -1;
	if (back.tm_year != given.tm_year || back.tm_mon != given.tm_mon ||
	    back.tm_mday != given.tm_mday || back.tm_hour != given.tm_hour ||
	    back.tm_min != given.tm_min || back.tm_sec != given.tm_sec)
		return -1;
	return seconds;
}

int blazei_time_parse(const char *text, size_t len, uint64_t *ret_time_ns)
{
	static const char form[] = "0000-11-22T33:44:55"; /* digits name the part they belong to */
	const size_t form_len = sizeof(form) - 1;
	int parts[6] = { 0 };
	uint32_t ns = 0;
	uint64_t time_ns;
	int64_t seconds;

	if (len <= form_len || text[len - 1] != 'Z')
		return -EINVAL;
	for (size_t i = 0; i < form_len; i++) {
		if (form[i] < '0' || form[i] > '5') {
			if (text[i] != form[i])
				return -EINVAL;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		parts[form[i] - '0'] = 10 * parts[form[i] - '0'] + (text[i] - '0');
	}
	if (len > form_len + 1 && fraction_parse(text + form_len, len - 1 - form_len, &ns) < 0)
		return -EINVAL;
	seconds = seconds_from_parts(parts);
	if (seconds < 0 || __builtin_mul_overflow((uint64_t)seconds, BLAZEI_NS_PER_S, &time_ns) ||
	    __builtin_add_overflow(time_ns, ns, &time_ns))
		return -EINVAL;
	*ret_time_ns = time_ns;
	return 0;
}

void blazei_time_format(uint64_t time_ns, char ret_text[BLAZEI_TIME_TEXT_MAX])
{
	const time_t seconds = (time_t)(time_ns / BLAZEI_NS_PER_S);
	const unsigned ns = (unsigned)(time_ns % BLAZEI_NS_PER_S);
	struct tm tm = { 0 };
	size_t len;

	/* Cannot fail: the year is at most 2554. */
	(void)gmtime_r(&seconds, &tm);
	len = strftime(ret_text, BLAZEI_TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ns) {
		len += (size_t)snprintf(ret_text + len, BLAZEI_TIME_TEXT_MAX - len, ".%09u", ns);
		while (ret_text[len - 1] == '0')
			len--;
	}
	ret_text[len++] = 'Z';
	ret_text[len] = 0;
}

bool blazei_point_restore(char *text)
{
	char *to = text;
	bool is_real = false;

	for (const char *from = text; *from; from++) {
		if ((*from >= '0' && *from <= '9') || *from == '-' || *from == '+') {
			*to++ = *from;
		} else if (*from == 'e') {
			*to++ = *from;
			is_real = true;
		} else if (to[-1] != '.') { /* never the first: no number begins with it */
			*to++ = '.';
			is_real = true;
		}
	}
	*to = 0;
	return is_real;
}

void blazei_double_format(double value, char ret_text[BLAZEI_DOUBLE_TEXT_MAX])
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(ret_text, BLAZEI_DOUBLE_TEXT_MAX, "%.*g", digits, value);
		if (strtod(ret_text, NULL) == value)
			break;
	}
	if (!blazei_point_restore(ret_text))
		strcat(ret_text, ".0");
}
