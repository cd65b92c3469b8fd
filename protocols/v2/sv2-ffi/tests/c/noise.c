// Keys, URLs, and a handshake with the fixed keys of test/vectors/noise/handshake.csv.
#include "check.h"

static char *vectors_text;

// Copies the value of a vector to `out`, which must have just its length.
static void vector(const char *name, void *out, size_t len) {
    char start[64];
    snprintf(start, sizeof start, "\n%s,", name);
    const char *found = strstr(vectors_text, start);
    CHECK(found);
    size_t got;
    uint8_t *bytes = from_hex(found + strlen(start), &got);
    CHECK(got == len);
    memcpy(out, bytes, len);
    free(bytes);
}

static void load(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/noise/handshake.csv", folder);
    FILE *file = fopen(path, "r");
    CHECK(file);
    vectors_text = calloc(1, 1 << 16);
    CHECK(vectors_text);
    CHECK(fread(vectors_text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
}

typedef struct {
    Sv2Decoder *decoder;
    Sv2Encoder *encoder;
} Side;

static void free_side(Side side) {
    sv2_decoder_free(side.decoder);
    sv2_encoder_free(side.encoder);
}

// Sends messages of all sizes one way.
static void exchange(Side from, Side to) {
    Sv2Message message = {0};
    Sv2Frame frame, sent = {0x4000, 1, 0, {NULL, 0}};
    message.kind = SV2_SET_TARGET;
    message.body.set_target.channel_id = 77;
    OK(sv2_encoder_add(from.encoder, &message));
    size_t sizes[] = {0, 1, 65519, 65520, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *payload = malloc(sizes[i] + 1);
        CHECK(payload);
        memset(payload, (int)i, sizes[i]);
        sent.payload.data = payload;
        sent.payload.len = sizes[i];
        OK(sv2_encoder_add_frame(from.encoder, &sent));
        free(payload);
    }
    carry(from.encoder, to.decoder, 60000);
    OK(sv2_decoder_next_frame(to.decoder, &frame));
    OK(sv2_message_decode(&frame, &message));
    CHECK(message.kind == SV2_SET_TARGET && message.body.set_target.channel_id == 77);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        OK(sv2_decoder_next_frame(to.decoder, &frame));
        CHECK(frame.extension_type == 0x4000 && frame.payload.len == sizes[i]);
        CHECK(sizes[i] == 0 || (frame.payload.data[0] == i && frame.payload.data[sizes[i] - 1] == i));
    }
    EXPECT(sv2_decoder_next_frame(to.decoder, &frame), SV2_MISSING_BYTES);
}

static void random_of(const char *first, const char *second, const char *third, Sv2Randomness *out) {
    memset(out, 0, sizeof *out);
    vector(first, out->bytes, 32);
    vector(second, out->bytes + 32, 32);
    if (third) vector(third, out->bytes + 64, 32);
}

// Both ends after the handshake with the fixed keys.
static void connect_fixed(const Sv2Key *authority, const Sv2Identity *identity, Side *client, Side *server) {
    Sv2Randomness random;
    Sv2Act1 act1;
    Sv2Act2 act2;
    Sv2Initiator *initiator;
    random_of("initiator_secret", "initiator_randomness", NULL, &random);
    OK(sv2_initiator_new(authority, &random, &act1, &initiator));
    random_of("responder_secret", "responder_randomness", NULL, &random);
    OK(sv2_responder_step(identity, &act1, &random, &act2, &server->decoder, &server->encoder));
    OK(sv2_initiator_finish(initiator, &act2, 1500, &client->decoder, &client->encoder));
    sv2_initiator_free(initiator);
}

// Each line of transport.csv: the first frame after the handshake, in one or in several noise messages.
static void transport(const char *folder, const Sv2Key *authority, const Sv2Identity *identity) {
    char path[4096], line[1024], hash[128], first_hex[128], last_hex[128];
    snprintf(path, sizeof path, "%s/noise/transport.csv", folder);
    FILE *file = fopen(path, "r");
    CHECK(file);
    int tested = 0;
    while (fgets(line, sizeof line, file)) {
        size_t len, sent_len, first_len, last_len;
        if (line[0] == '#') continue;
        CHECK(sscanf(line, "%zu,%zu,%127[^,],%127[^,],%127s", &len, &sent_len, hash, first_hex, last_hex) == 5);
        uint8_t *payload = malloc(len + 1), *first = from_hex(first_hex, &first_len), *last = from_hex(last_hex, &last_len);
        CHECK(payload);
        for (size_t i = 0; i < len; i++) payload[i] = (uint8_t)((7 * i + 3) % 251);
        Side client, server;
        connect_fixed(authority, identity, &client, &server);
        Sv2Frame frame = {0, 0x74, 0, {payload, len}}, got;
        Sv2Bytes sent;
        OK(sv2_encoder_add_frame(client.encoder, &frame));
        OK(sv2_encoder_pending(client.encoder, &sent));
        CHECK(sent.len == sent_len && memcmp(sent.data, first, first_len) == 0);
        CHECK(memcmp(sent.data + sent.len - last_len, last, last_len) == 0);
        carry(client.encoder, server.decoder, 70000);
        OK(sv2_decoder_next_frame(server.decoder, &got));
        CHECK(got.message_type == 0x74 && same(got.payload, payload, len));
        free_side(client);
        free_side(server);
        free(payload);
        free(first);
        free(last);
        tested++;
    }
    fclose(file);
    CHECK(tested > 5);
}

void test_noise(const char *folder) {
    load(folder);
    Sv2Key secret, authority, stranger;
    Sv2Randomness random;
    Sv2Act1 act1, expected1;
    Sv2Act2 act2, expected2;
    Sv2Identity *identity;
    Sv2Initiator *initiator;
    Side client, server;

    vector("authority_secret", secret.bytes, 32);
    OK(sv2_public_key_of(&secret, &authority));
    random_of("server_static_secret", "server_static_randomness", "signature_randomness", &random);
    OK(sv2_identity_new(&secret, 1000, 2000, &random, &identity));

    random_of("initiator_secret", "initiator_randomness", NULL, &random);
    OK(sv2_initiator_new(&authority, &random, &act1, &initiator));
    vector("act1", expected1.bytes, sizeof expected1);
    CHECK(memcmp(&act1, &expected1, sizeof act1) == 0);

    random_of("responder_secret", "responder_randomness", NULL, &random);
    OK(sv2_responder_step(identity, &act1, &random, &act2, &server.decoder, &server.encoder));
    vector("act2", expected2.bytes, sizeof expected2);
    CHECK(memcmp(&act2, &expected2, sizeof act2) == 0);

    OK(sv2_initiator_finish(initiator, &act2, 1500, &client.decoder, &client.encoder));
    EXPECT(sv2_initiator_finish(initiator, &act2, 1500, &client.decoder, &client.encoder), SV2_ERROR_STATE);
    sv2_initiator_free(initiator);
    exchange(client, server);
    exchange(server, client);

    // A changed byte ends the connection.
    Sv2Message message = {0};
    Sv2Frame frame;
    OK(sv2_encoder_add(client.encoder, &message));
    Sv2Bytes pending;
    OK(sv2_encoder_pending(client.encoder, &pending));
    uint8_t *room;
    size_t len;
    OK(sv2_decoder_writable(server.decoder, &room, &len));
    memcpy(room, pending.data, pending.len);
    room[3] ^= 1;
    OK(sv2_decoder_advance(server.decoder, pending.len));
    EXPECT(sv2_decoder_next_frame(server.decoder, &frame), SV2_ERROR_DECRYPT);
    EXPECT(sv2_decoder_next_frame(server.decoder, &frame), SV2_ERROR_DECRYPT);
    free_side(client);
    free_side(server);

    // Another time, another authority.
    random_of("initiator_secret", "initiator_randomness", NULL, &random);
    struct {
        const Sv2Key *authority;
        uint32_t now;
        Sv2Status expected;
    } cases[] = {
        {&authority, 900, SV2_ERROR_CERTIFICATE_NOT_YET_VALID},
        {&authority, 2100, SV2_ERROR_CERTIFICATE_EXPIRED},
        {&stranger, 1500, SV2_ERROR_CERTIFICATE_SIGNATURE},
    };
    secret.bytes[31] ^= 1;
    OK(sv2_public_key_of(&secret, &stranger));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(sv2_initiator_new(cases[i].authority, &random, &act1, &initiator));
        EXPECT(sv2_initiator_finish(initiator, &act2, cases[i].now, &client.decoder, &client.encoder), cases[i].expected);
        sv2_initiator_free(initiator);
    }
    transport(folder, &authority, identity);
    sv2_identity_free(identity);
    free(vectors_text);
}

void test_keys(void) {
    static const char text[] = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    Sv2Key key;
    char again[64];
    size_t len;
    OK(sv2_public_key_parse(sv2_text(text), &key));
    OK(sv2_public_key_text(&key, again, sizeof again, &len));
    CHECK(len == strlen(text) && memcmp(again, text, len) == 0);

    Sv2Url url;
    OK(sv2_url_parse(sv2_text("stratum2+tcp://[::1]:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"), &url));
    CHECK(strcmp(url.host, "::1") == 0 && url.port == 34254 && url.has_authority == 1);
    CHECK(memcmp(&url.authority, &key, sizeof key) == 0);
    OK(sv2_url_parse(sv2_text("stratum2+tcp://pool.example:1"), &url));
    CHECK(strcmp(url.host, "pool.example") == 0 && url.port == 1 && url.has_authority == 0);
    EXPECT(sv2_url_parse(sv2_text("stratum2+tcp://pool.example:1/nonsense"), &url), SV2_ERROR_KEY);
    EXPECT(sv2_url_parse(sv2_text("http://pool.example:1"), &url), SV2_ERROR_URL);
}
