// A CPU miner for Sv2 pools, on the full C library: see README.md.
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sv2.h"

#ifndef MSG_NOSIGNAL // macOS has another way; here a lost connection may then end the program
#define MSG_NOSIGNAL 0
#endif

// Hashes between two looks at the socket: some milliseconds' worth.
#define BATCH 4096
// What we tell the pool to expect, in hashes per second.
#define HASHRATE 500000.0f

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

// Ends the program unless a call of the library went well.
static void check(Sv2Status status, const char *what) {
    if (status != SV2_OK) die(what, sv2_error_string(status));
}

typedef struct {
    int socket;
    Sv2Decoder *decoder;
    Sv2Encoder *encoder;
} Connection;

typedef struct {
    Connection connection;
    Sv2Channel *channel;
    // What is hashed now, if anything, and where in it.
    Sv2Work *work;
    Sv2WorkFields fields;
    uint32_t ntime, nonce;
    // Set between a block that was found and the new work that follows it; the block's hash.
    int waiting;
    Sv2U256 found;
    // Blocks that others now build on, and after how many to end.
    unsigned long blocks, wanted;
} Miner;

// ---- The connection

static int dial(const char *host, unsigned port) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {0}, *addresses;
    hints.ai_socktype = SOCK_STREAM;
    int error = getaddrinfo(host, service, &hints, &addresses);
    if (error) die(host, gai_strerror(error));
    int connected = -1;
    for (struct addrinfo *a = addresses; a && connected < 0; a = a->ai_next) {
        int candidate = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (candidate < 0) continue;
        if (connect(candidate, a->ai_addr, a->ai_addrlen) == 0) {
            connected = candidate;
        } else {
            close(candidate);
        }
    }
    freeaddrinfo(addresses);
    if (connected < 0) die(host, strerror(errno));
    return connected;
}

static void send_all(int socket, const uint8_t *data, size_t len) {
    while (len > 0) {
        ssize_t sent = send(socket, data, len, MSG_NOSIGNAL);
        if (sent <= 0) die("send", strerror(errno));
        data += sent;
        len -= (size_t)sent;
    }
}

// Connects, and makes the handshake if the URL names the pool's key.
static Connection connect_to(const Sv2Url *url) {
    Connection connection = {dial(url->host, url->port), NULL, NULL};
    if (!url->has_authority) {
        connection.decoder = sv2_decoder_new();
        connection.encoder = sv2_encoder_new();
        return connection;
    }
    Sv2Randomness randomness;
    Sv2Act1 act1;
    Sv2Act2 act2;
    Sv2Initiator *initiator;
    check(sv2_randomness(&randomness), "randomness");
    check(sv2_initiator_new(&url->authority, &randomness, &act1, &initiator), "handshake");
    send_all(connection.socket, act1.bytes, sizeof act1.bytes);
    if (recv(connection.socket, act2.bytes, sizeof act2.bytes, MSG_WAITALL) != sizeof act2.bytes) {
        die("handshake", "the pool hung up");
    }
    uint32_t now = (uint32_t)time(NULL);
    check(sv2_initiator_finish(initiator, &act2, now, &connection.decoder, &connection.encoder), "handshake");
    sv2_initiator_free(initiator);
    return connection;
}

static void send_message(Connection *connection, const Sv2Message *message) {
    Sv2Bytes pending;
    check(sv2_encoder_add(connection->encoder, message), sv2_message_name(message->kind));
    check(sv2_encoder_pending(connection->encoder, &pending), "pending");
    send_all(connection->socket, pending.data, pending.len);
    check(sv2_encoder_consume(connection->encoder, pending.len), "consume");
}

// Takes the next message that has arrived; 0 when there is none. Its pointers are valid until more is read.
static int next_message(Connection *connection, Sv2Message *message) {
    Sv2Frame frame;
    for (;;) {
        Sv2Status status = sv2_decoder_next_frame(connection->decoder, &frame);
        if (status == SV2_MISSING_BYTES) return 0;
        check(status, "receive");
        status = sv2_message_decode(&frame, message);
        if (status == SV2_ERROR_UNKNOWN_MESSAGE) continue; // of an extension that we did not ask for
        check(status, "decode");
        return 1;
    }
}

static void read_more(Connection *connection) {
    uint8_t *room;
    size_t len;
    check(sv2_decoder_writable(connection->decoder, &room, &len), "writable");
    ssize_t got = read(connection->socket, room, len);
    if (got <= 0) die("read", got == 0 ? "the pool hung up" : strerror(errno));
    check(sv2_decoder_advance(connection->decoder, (size_t)got), "advance");
}

// Waits for a message; anything but `expected` ends the program.
static void expect(Connection *connection, uint32_t expected, Sv2Message *message) {
    while (!next_message(connection, message)) read_more(connection);
    if (message->kind == expected) return;
    Sv2Bytes code = sv2_text("unexpected");
    if (message->kind == SV2_SETUP_CONNECTION_ERROR) code = message->body.setup_connection_error.error_code;
    if (message->kind == SV2_OPEN_MINING_CHANNEL_ERROR) code = message->body.open_mining_channel_error.error_code;
    fprintf(stderr, "%s: %.*s\n", sv2_message_name(message->kind), (int)code.len, (const char *)code.data);
    exit(1);
}

// ---- The session

static void set_up(Connection *connection, const Sv2Url *url, int standard) {
    Sv2Message message = {0};
    message.kind = SV2_SETUP_CONNECTION;
    Sv2SetupConnection *setup = &message.body.setup_connection;
    setup->protocol = SV2_PROTOCOL_MINING;
    setup->min_version = setup->max_version = SV2_PROTOCOL_VERSION;
    setup->flags = standard ? SV2_FLAG_REQUIRES_STANDARD_JOBS : 0;
    setup->endpoint_host = sv2_text(url->host);
    setup->endpoint_port = url->port;
    setup->vendor = sv2_text("c-miner");
    send_message(connection, &message);
    expect(connection, SV2_SETUP_CONNECTION_SUCCESS, &message);
}

static Sv2Channel *open_channel(Connection *connection, const char *user, int standard) {
    Sv2Message message = {0};
    if (standard) {
        message.kind = SV2_OPEN_STANDARD_MINING_CHANNEL;
        message.body.open_standard_mining_channel.user_identity = sv2_text(user);
        message.body.open_standard_mining_channel.nominal_hash_rate = HASHRATE;
        memset(&message.body.open_standard_mining_channel.max_target, 0xff, sizeof(Sv2U256));
    } else {
        message.kind = SV2_OPEN_EXTENDED_MINING_CHANNEL;
        message.body.open_extended_mining_channel.user_identity = sv2_text(user);
        message.body.open_extended_mining_channel.nominal_hash_rate = HASHRATE;
        memset(&message.body.open_extended_mining_channel.max_target, 0xff, sizeof(Sv2U256));
        message.body.open_extended_mining_channel.min_extranonce_size = 4;
    }
    send_message(connection, &message);
    expect(connection, standard ? SV2_OPEN_STANDARD_MINING_CHANNEL_SUCCESS : SV2_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
           &message);
    Sv2Channel *channel;
    check(sv2_channel_new(&message, &channel), "channel");
    return channel;
}

// Takes new work: of a new job, or the next extranonce of the same.
static void take_work(Miner *miner) {
    sv2_work_free(miner->work);
    miner->work = NULL;
    Sv2Status status = sv2_channel_work(miner->channel, &miner->work);
    if (status == SV2_END) return; // no job yet, or nothing left in this one
    check(status, "work");
    check(sv2_work_fields(miner->work, &miner->fields), "work");
    miner->ntime = miner->fields.min_ntime;
    miner->nonce = 0;
}

static void finish(Miner *miner) {
    sv2_work_free(miner->work);
    sv2_channel_free(miner->channel);
    sv2_decoder_free(miner->connection.decoder);
    sv2_encoder_free(miner->connection.encoder);
    close(miner->connection.socket);
    exit(0);
}

// A new tip: is it our block?
static void on_new_tip(Miner *miner) {
    if (!miner->work || memcmp(&miner->fields.prev_hash, &miner->found, sizeof miner->found) != 0) return;
    printf("block %lu is on the chain\n", ++miner->blocks);
    if (miner->blocks >= miner->wanted) finish(miner);
}

static void on_message(Miner *miner, const Sv2Message *message) {
    Sv2Change change;
    Sv2Status status = sv2_channel_handle(miner->channel, (uint64_t)time(NULL), message, &change);
    if (status == SV2_OK) {
        if (change == SV2_CHANGE_NONE) return;
        take_work(miner);
        miner->waiting = 0;
        if (change == SV2_CHANGE_NEW_TIP) on_new_tip(miner);
    } else if (status != SV2_ERROR_NOT_FOR_CHANNEL) {
        check(status, sv2_message_name(message->kind));
    } else if (message->kind == SV2_SUBMIT_SHARES_SUCCESS) {
        const Sv2SubmitSharesSuccess *answer = &message->body.submit_shares_success;
        printf("accepted %u up to share %u\n", answer->new_submits_accepted_count, answer->last_sequence_number);
    } else if (message->kind == SV2_SUBMIT_SHARES_ERROR) {
        // On a test chain, where blocks are easier than shares, a good block gets "difficulty-too-low".
        Sv2Bytes code = message->body.submit_shares_error.error_code;
        printf("refused share %u: %.*s\n", message->body.submit_shares_error.sequence_number, (int)code.len,
               (const char *)code.data);
    } else if (message->kind == SV2_CLOSE_CHANNEL || message->kind == SV2_RECONNECT) {
        die(sv2_message_name(message->kind), "the pool ends the session");
    }
}

static void submit(Miner *miner, uint32_t nonce) {
    Sv2Message share;
    check(sv2_channel_submit(miner->channel, miner->work, miner->fields.version, miner->ntime, nonce, &share), "submit");
    send_message(&miner->connection, &share);
}

static void hash_some(Miner *miner) {
    for (int i = 0; i < BATCH && !miner->waiting; i++) {
        Sv2U256 hash;
        uint8_t is_share, is_block;
        uint32_t nonce = miner->nonce++;
        check(sv2_work_hash(miner->work, miner->fields.version, miner->ntime, nonce, &hash), "hash");
        check(sv2_target_is_met(&miner->fields.target, &hash, &is_share), "target");
        check(sv2_target_is_met(&miner->fields.block_target, &hash, &is_block), "target");
        if (is_share || is_block) submit(miner, nonce);
        if (is_block) {
            printf("found a block\n");
            miner->found = hash;
            miner->waiting = 1; // more on the same tip would be stale
        }
        if (miner->nonce != 0) continue;
        uint32_t latest;
        check(sv2_work_max_ntime(miner->work, (uint64_t)time(NULL), &latest), "ntime");
        if (miner->fields.extranonce.len == 0 && miner->ntime < latest) {
            miner->ntime++; // a standard channel has no extranonce to roll
        } else {
            take_work(miner);
            if (!miner->work) return;
        }
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int standard = argc > 3 && strcmp(argv[3], "--standard") == 0;
    if (argc < 3) die("usage", "miner URL USER [--standard] [BLOCKS]");
    const char *blocks = argc > 3 + standard ? argv[3 + standard] : NULL;

    Sv2Url url;
    check(sv2_url_parse(sv2_text(argv[1]), &url), argv[1]);
    Miner miner = {0};
    miner.wanted = blocks ? strtoul(blocks, NULL, 10) : (unsigned long)-1;
    miner.connection = connect_to(&url);
    set_up(&miner.connection, &url, standard);
    miner.channel = open_channel(&miner.connection, argv[2], standard);
    printf("mining for %s at %s:%u\n", argv[2], url.host, url.port);

    for (;;) {
        Sv2Message message;
        while (next_message(&miner.connection, &message)) on_message(&miner, &message);
        int busy = miner.work && !miner.waiting;
        struct pollfd readable = {miner.connection.socket, POLLIN, 0};
        if (poll(&readable, 1, busy ? 0 : -1) > 0) read_more(&miner.connection);
        if (busy) hash_some(&miner);
    }
}
