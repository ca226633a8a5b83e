// SPDX-License-Identifier: Apache-2.0
#include "cli/page.h"

#include <stdlib.h>
#include <string.h>

#include "cli/embedded.h"

// In JSON these three stand in texts only. Written as escapes they cannot end the element that holds the data, nor begin one.
static void add_data(text_string *to, const json_t *data) {
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
    if (text == NULL) to->failed = true;
    for (const char *p = text; p != NULL && *p != 0;) {
        const size_t n = strcspn(p, "<>&");
        text_append(to, p, n);
        p += n;
        if (*p != 0) text_format(to, "\\u%04x", (unsigned)*p++);
    }
    free(text);
}

static void add_texts(text_string *to, const char *const *texts) {
    for (; *texts != NULL; texts++) text_append(to, *texts, strlen(*texts));
}

// page.html with {{title}}, {{style}}, {{data}} and {{script}} filled in.
void page_write(const page *p, text_string *to) {
    for (const char *at = embedded_page_html; *at != 0;) {
        const char *open = strstr(at, "{{"), *close = open != NULL ? strstr(open, "}}") : NULL;
        if (close == NULL) {
            text_append(to, at, strlen(at));
            return;
        }
        text_append(to, at, (size_t)(open - at));
        at = close + 2;
        if (strncmp(open, "{{title}}", 9) == 0) text_append(to, p->title, strlen(p->title));
        else if (strncmp(open, "{{style}}", 9) == 0) add_texts(to, p->styles);
        else if (strncmp(open, "{{data}}", 8) == 0) add_data(to, p->data);
        else if (strncmp(open, "{{script}}", 10) == 0) add_texts(to, p->scripts);
    }
}
