/* A text that grows. When memory runs out it stops growing and says so at the end. */
#ifndef SANDPOOL_TEXT_H
#define SANDPOOL_TEXT_H

#include <stddef.h>

struct text {
    char *bytes;
    size_t length, room;
    int failed;
};

void text_add(struct text *text, const char *bytes, size_t length);
void text_say(struct text *text, const char *words);
void text_repeat(struct text *text, const char *words, size_t times);

/* As a JSON string, quoted. */
void text_json(struct text *text, const char *bytes, size_t length);

/* As text within HTML. */
void text_html(struct text *text, const char *bytes, size_t length);

void text_free(struct text *text);

/* How many columns the bytes take in a terminal; wide characters are taken for one. */
size_t text_width(const char *bytes, size_t length);

#endif
