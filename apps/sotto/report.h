/* SPDX-License-Identifier: MIT
 * Parts of the demo's page. Charts are inline SVG with horizontal positions in
 * percent: they fill whatever width there is, and their text keeps its size.
 */
#ifndef APPS_SOTTO_REPORT_H
#define APPS_SOTTO_REPORT_H

#include "apps/sotto/demo.h"

/* Writes text with everything that means something in HTML escaped, and what is
 * no printable UTF-8 replaced. */
void report_escape(text_out *out, const char *words);

/* A number as a power of two in HTML. */
text_value report_log2(double value);

/* Writes the page's style sheet. */
void report_style(text_out *out);

/* Writes cards of digits with encrypted and plain scores. */
void report_digits(text_out *out, const demo *d);

/* Writes the bits of every step: noise, precision, value, room. */
void report_bits(text_out *out, const demo *d);

/* Writes the distribution of the three errors with their predictions. */
void report_errors(text_out *out, const demo *d);

/* Writes the time of each step of the server. */
void report_times(text_out *out, const demo *d);

/* Writes the table of steps. */
void report_table(text_out *out, const demo *d);

#endif
