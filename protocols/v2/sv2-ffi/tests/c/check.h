// What the C tests share: a check that names its place, hexadecimal, and small conveniences.
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sv2.h"

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

// Compares the status of a call with the one expected.
#define EXPECT(call, expected)                                                                        \
    do {                                                                                              \
        Sv2Status status_ = (call);                                                                   \
        if (status_ != (expected)) {                                                                  \
            fprintf(stderr, "%s:%d: expected %s, got %d (%s): %s\n", __FILE__, __LINE__, #expected, \
                    (int)status_, sv2_error_string(status_), #call);                                  \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)

#define OK(call) EXPECT(call, SV2_OK)

// Bytes of a hexadecimal text, on the heap; `*len` of them.
static inline uint8_t *from_hex(const char *text, size_t *len) {
    size_t digits = strspn(text, "0123456789abcdef");
    CHECK(digits % 2 == 0);
    *len = digits / 2;
    uint8_t *bytes = malloc(*len + 1); // + 1: malloc(0) may give NULL
    CHECK(bytes);
    for (size_t i = 0; i < *len; i++) {
        unsigned byte;
        CHECK(sscanf(text + 2 * i, "%2x", &byte) == 1);
        bytes[i] = (uint8_t)byte;
    }
    return bytes;
}

static inline int same(Sv2Bytes a, const void *b, size_t len) {
    return a.len == len && (len == 0 || memcmp(a.data, b, len) == 0);
}

// Moves all that waits in the encoder to the decoder, a few bytes at a time.
static inline void carry(Sv2Encoder *from, Sv2Decoder *to, size_t step) {
    for (;;) {
        Sv2Bytes pending;
        OK(sv2_encoder_pending(from, &pending));
        if (pending.len == 0) return;
        uint8_t *room;
        size_t len;
        OK(sv2_decoder_writable(to, &room, &len));
        CHECK(len > 0);
        if (len > pending.len) len = pending.len;
        if (len > step) len = step;
        memcpy(room, pending.data, len);
        OK(sv2_decoder_advance(to, len));
        OK(sv2_encoder_consume(from, len));
    }
}

void test_null(void);
void test_messages(const char *vectors);
void test_lists(void);
void test_tlv(const char *vectors);
void test_stream(void);
#ifdef SV2_FULL
void test_noise(const char *vectors);
void test_keys(void);
void test_channel(void);
#endif

#endif
