// A Template Provider in C++ on the full C library, with noise: interop-cpp [PORT]
#include <cstdlib>
#include <ctime>
#include <iostream>

#include "connection.hpp"
#include "listener.hpp"
#include "template_provider.hpp"

namespace {

using sv2::check;

Sv2Randomness randomness() {
    Sv2Randomness random;
    check(sv2_randomness(&random), "randomness");
    return random;
}

// A new authority with each start; a real one reads its key from a file.
Sv2Key new_authority() {
    const Sv2Randomness random = randomness();
    Sv2Key secret;
    std::copy(random.bytes, random.bytes + sizeof secret.bytes, secret.bytes);
    return secret;
}

std::string public_key_text(const Sv2Key &secret) {
    Sv2Key key;
    char text[64];
    size_t len;
    check(sv2_public_key_of(&secret, &key), "public key");
    check(sv2_public_key_text(&key, text, sizeof text, &len), "public key");
    return {text, len};
}

// A certificate that holds from an hour ago for a day.
sv2::Owned<Sv2Identity> new_identity(const Sv2Key &secret) {
    const Sv2Randomness random = randomness();
    const uint32_t now = static_cast<uint32_t>(std::time(nullptr));
    Sv2Identity *identity;
    check(sv2_identity_new(&secret, now - 3600, now + 86400, &random, &identity), "identity");
    return sv2::Owned<Sv2Identity>(identity);
}

sv2::Connection handshake(const sv2::Socket &socket, const Sv2Identity *identity) {
    const Sv2Randomness random = randomness();
    Sv2Act1 act1;
    Sv2Act2 act2;
    Sv2Decoder *decoder;
    Sv2Encoder *encoder;
    socket.read_all(act1.bytes, sizeof act1.bytes);
    check(sv2_responder_step(identity, &act1, &random, &act2, &decoder, &encoder), "handshake");
    sv2::Connection connection(socket.get(), sv2::Owned<Sv2Decoder>(decoder), sv2::Owned<Sv2Encoder>(encoder));
    socket.send_all(act2.bytes, sizeof act2.bytes);
    return connection;
}

} // namespace

int main(int argc, char **argv) try {
    const Sv2Key authority = new_authority();
    const sv2::Owned<Sv2Identity> identity = new_identity(authority);
    const sv2::Listener listener(static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
    std::cout << "listening on stratum2+tcp://127.0.0.1:" << listener.port() << '/' << public_key_text(authority) << std::endl;

    const sv2::Socket socket(listener.accept());
    sv2::Connection connection = handshake(socket, identity.get());
    sv2::TemplateProvider(connection).serve();
    std::cout << "the client has gone" << std::endl;
    return EXIT_SUCCESS;
} catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return EXIT_FAILURE;
}
