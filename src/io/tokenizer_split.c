// SPDX-License-Identifier: Apache-2.0
// The pattern is GPT-2's: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// It must mean what it means to `tokenizers`, so its classes are written out below as %s, %l and %n: PCRE2's \s has U+180E,
// which is no white space since Unicode 6.3; and `tokenizers` knows Unicode 16, PCRE2 10.42 Unicode 14, so letters and numbers
// that 15 and 16 added are listed (a newer PCRE2 has them twice, which changes nothing).
#include "io/tokenizer_split.h"

#include "base/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

static const char pattern[] = "'(?:s|t|re|ve|m|ll|d)| ?[%l]+| ?[%n]+| ?[^%s%l%n]+|[%s]+(?![^%s])|[%s]+";
static const char spaces[] = "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
static const char letters[] =
    "\\p{L}\\x{1c89}\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}\\x{10d4a}-\\x{10d65}"
    "\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}\\x{11240}\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}"
    "\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}"
    "\\x{11f12}-\\x{11f33}\\x{1342f}\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}"
    "\\x{16d40}-\\x{16d6c}\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}"
    "\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}";
static const char numbers[] =
    "\\p{N}\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}\\x{16130}-\\x{16139}"
    "\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}";

enum { STACK_START = 32 << 10, STACK_MOST = 8 << 20 };

struct tokenizer_split {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static void build_pattern(text_string *s) {
    for (const char *p = pattern; *p != 0; p++) {
        if (*p != '%') text_append(s, p, 1);
        else if (*++p == 's') text_append(s, spaces, sizeof spaces - 1);
        else if (*p == 'l') text_append(s, letters, sizeof letters - 1);
        else text_append(s, numbers, sizeof numbers - 1);
    }
}

heed_status tokenizer_split_create(tokenizer_split **created, heed_error *error) {
    *created = NULL;
    text_string text = {0};
    build_pattern(&text);
    tokenizer_split *p = calloc(1, sizeof *p);
    int reason = 0;
    PCRE2_SIZE at = 0;
    if (p != NULL && !text.failed)
        p->code = pcre2_compile((PCRE2_SPTR)text.text, text.length, PCRE2_UTF | PCRE2_UCP, &reason, &at, NULL);
    free(text.text);
    if (p != NULL && p->code != NULL) {
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);    // where there is no JIT the interpreter gives the same matches
        p->match = pcre2_match_data_create(1, NULL);
        p->context = pcre2_match_context_create(NULL);
        p->stack = pcre2_jit_stack_create(STACK_START, STACK_MOST, NULL);
    }
    if (p == NULL || p->match == NULL || p->context == NULL) {
        tokenizer_split_free(p);
        return error_set(error, HEED_NO_MEMORY, "no memory for the tokenizer's pattern (PCRE2 reason %d)", reason);
    }
    if (p->stack != NULL) pcre2_jit_stack_assign(p->context, NULL, p->stack);
    pcre2_set_match_limit(p->context, UINT32_MAX);    // no part of the pattern backtracks by more than one character
    *created = p;
    return HEED_OK;
}

void tokenizer_split_free(tokenizer_split *p) {
    if (p == NULL) return;
    pcre2_jit_stack_free(p->stack);
    pcre2_match_context_free(p->context);
    pcre2_match_data_free(p->match);
    pcre2_code_free(p->code);
    free(p);
}

heed_status tokenizer_split_next(tokenizer_split *p, const char *text, size_t n, size_t at, size_t *length, heed_error *error) {
    const int found = pcre2_match(p->code, (PCRE2_SPTR)text, n, at, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, p->match, p->context);
    if (found <= 0)
        return error_set(error, HEED_INVALID, "the text at byte %zu cannot be split into words (PCRE2 reason %d)", at, found);
    *length = pcre2_get_ovector_pointer(p->match)[1] - at;
    return HEED_OK;
}
