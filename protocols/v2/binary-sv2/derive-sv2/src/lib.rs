//! Derive macros Encodable and Decodable, without dependencies
