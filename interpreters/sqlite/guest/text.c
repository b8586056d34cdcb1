#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void
text_add(struct text *text, const char *bytes, size_t length)
{
    if (text->failed || length == 0) {
        return;
    }
    if (length > text->room - text->length) {
        size_t room = (text->length + length) * 2;
        char *larger = realloc(text->bytes, room);
        if (larger == NULL) {
            text->failed = 1;
            return;
        }
        text->bytes = larger;
        text->room = room;
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void
text_say(struct text *text, const char *words)
{
    text_add(text, words, strlen(words));
}

void
text_repeat(struct text *text, const char *words, size_t times)
{
    while (times-- > 0) {
        text_say(text, words);
    }
}

void
text_json(struct text *text, const char *bytes, size_t length)
{
    text_add(text, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\') {
            char escaped[] = {'\\', (char)byte};
            text_add(text, escaped, 2);
        }
        else if (byte < 0x20) {
            char escaped[8];
            text_add(text, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
        }
        else {
            text_add(text, bytes + i, 1);
        }
    }
    text_add(text, "\"", 1);
}

void
text_html(struct text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        switch (bytes[i]) {
        case '<':
            text_say(text, "&lt;");
            break;
        case '>':
            text_say(text, "&gt;");
            break;
        case '&':
            text_say(text, "&amp;");
            break;
        default:
            text_add(text, bytes + i, 1);
        }
    }
}

void
text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

size_t
text_width(const char *bytes, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++) {
        width += (bytes[i] & 0xC0) != 0x80;
    }
    return width;
}
