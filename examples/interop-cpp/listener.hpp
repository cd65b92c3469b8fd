// One accepted connection on a loopback port.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

#ifndef MSG_NOSIGNAL // macOS has another way; here a lost connection may then end the program
#define MSG_NOSIGNAL 0
#endif

namespace sv2 {

// A socket that closes itself.
class Socket {
public:
    explicit Socket(int descriptor) : descriptor_(descriptor) {
        if (descriptor_ < 0) throw std::runtime_error("no socket");
    }
    ~Socket() { ::close(descriptor_); }
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;

    int get() const { return descriptor_; }

    // Reads or sends exactly `len` bytes: the acts of the handshake.
    void read_all(uint8_t *out, size_t len) const {
        if (::recv(descriptor_, out, len, MSG_WAITALL) != static_cast<ssize_t>(len)) throw std::runtime_error("the peer has gone");
    }
    void send_all(const uint8_t *bytes, size_t len) const {
        if (::send(descriptor_, bytes, len, MSG_NOSIGNAL) != static_cast<ssize_t>(len)) throw std::runtime_error("the peer has gone");
    }

private:
    int descriptor_;
};

// Listens on 127.0.0.1; 0 takes a free port.
class Listener {
public:
    explicit Listener(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        const int yes = 1;
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(port);
        if (::bind(socket_.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) || ::listen(socket_.get(), 1)) {
            throw std::runtime_error("the port is taken");
        }
    }

    uint16_t port() const {
        sockaddr_in address = {};
        socklen_t len = sizeof address;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr *>(&address), &len);
        return ntohs(address.sin_port);
    }

    int accept() const { return ::accept(socket_.get(), nullptr, nullptr); }

private:
    Socket socket_;
};

} // namespace sv2
