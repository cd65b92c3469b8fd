// A blocking connection that carries Sv2 messages, plain or encrypted: what every program on sv2.h needs once.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "sv2.h"

#ifndef MSG_NOSIGNAL // macOS has another way; here a lost connection may then end the program
#define MSG_NOSIGNAL 0
#endif

namespace sv2 {

struct Free {
    void operator()(Sv2Decoder *handle) const { sv2_decoder_free(handle); }
    void operator()(Sv2Encoder *handle) const { sv2_encoder_free(handle); }
#ifdef SV2_FULL
    void operator()(Sv2Identity *handle) const { sv2_identity_free(handle); }
#endif
};

template <class Handle>
using Owned = std::unique_ptr<Handle, Free>;

inline void check(Sv2Status status, const char *what) {
    if (status != SV2_OK) throw std::runtime_error(std::string(what) + ": " + sv2_error_string(status));
}

inline std::string text(Sv2Bytes bytes) { return {reinterpret_cast<const char *>(bytes.data), bytes.len}; }

class Connection {
public:
    Connection(int socket, Owned<Sv2Decoder> decoder, Owned<Sv2Encoder> encoder)
        : socket_(socket), decoder_(std::move(decoder)), encoder_(std::move(encoder)) {}

    // Waits for the next message. Its pointers are valid until the next call. False when the peer has gone.
    bool receive(Sv2Message &message) {
        for (;;) {
            Sv2Frame frame;
            Sv2Status status = sv2_decoder_next_frame(decoder_.get(), &frame);
            if (status == SV2_MISSING_BYTES) {
                if (!read_some()) return false;
                continue;
            }
            check(status, "receive");
            status = sv2_message_decode(&frame, &message);
            if (status == SV2_OK) return true;
            if (status == SV2_ERROR_UNKNOWN_MESSAGE) continue; // of an extension that was not negotiated
            char why[256];
            size_t len;
            check(sv2_message_explain(&frame, why, sizeof why, &len), "explain");
            throw std::runtime_error(why);
        }
    }

    // Puts a message behind those that wait; flush sends them all.
    void queue(const Sv2Message &message) { check(sv2_encoder_add(encoder_.get(), &message), "encode"); }

    void flush() {
        for (;;) {
            Sv2Bytes pending;
            check(sv2_encoder_pending(encoder_.get(), &pending), "pending");
            if (pending.len == 0) return;
            ssize_t sent = ::send(socket_, pending.data, pending.len, MSG_NOSIGNAL);
            if (sent <= 0) throw std::runtime_error("the peer takes no more");
            check(sv2_encoder_consume(encoder_.get(), static_cast<size_t>(sent)), "consume");
        }
    }

private:
    bool read_some() {
        uint8_t *room;
        size_t len;
        check(sv2_decoder_writable(decoder_.get(), &room, &len), "writable");
        ssize_t got = ::read(socket_, room, len);
        if (got <= 0) return false;
        check(sv2_decoder_advance(decoder_.get(), static_cast<size_t>(got)), "advance");
        return true;
    }

    int socket_;
    Owned<Sv2Decoder> decoder_;
    Owned<Sv2Encoder> encoder_;
};

} // namespace sv2
