//! Derive macros `Encodable` and `Decodable` for messages, without dependencies.
//!
//! Both take structs with named fields and at most one generic parameter, a lifetime; the wire
//! form is the fields in order (sv2-spec §3.1). Anything else is refused with a compile error that
//! says what was expected. `Decodable` derives `IntoOwned` as well. The code they generate names
//! `::binary_sv2`, so a crate that derives depends on that one.
//!
//! They derive `serde::Serialize` and `Deserialize` too, where that crate has its feature `with_serde`: the code for
//! these stands in `binary_sv2::with_serde!`, a macro that keeps or drops it. Features of the deriving crate do not
//! matter, and it needs no dependency on serde.
//!
//! **Limits.** The macros read names, not types: whether a field has a wire form is for the compiler to say, at the
//! generated code. Neither a `where` clause nor type parameters are understood.
//!
//! ```
//! use binary_sv2::{Decodable, Encodable, Str0_255, from_bytes, to_bytes};
//!
//! #[derive(Encodable, Decodable, Debug, PartialEq)]
//! struct CloseChannel<'a> {
//!     channel_id: u32,
//!     reason_code: Str0_255<'a>,
//! }
//!
//! let message = CloseChannel { channel_id: 1, reason_code: Str0_255::try_from("bye")? };
//! let bytes = to_bytes(&message)?;
//! assert_eq!(bytes, [1, 0, 0, 0, 3, b'b', b'y', b'e']);
//! assert_eq!(from_bytes(&bytes), Ok(message));
//! # Ok::<(), binary_sv2::Error>(())
//! ```

mod parse;
mod serde;

use proc_macro::TokenStream;

use parse::Struct;

/// Derives `binary_sv2::Encodable`: the fields one after the other.
#[proc_macro_derive(Encodable)]
pub fn derive_encodable(input: TokenStream) -> TokenStream {
    expand(input, "Encodable", encodable)
}

/// Derives `binary_sv2::Decodable` and `binary_sv2::IntoOwned`.
#[proc_macro_derive(Decodable)]
pub fn derive_decodable(input: TokenStream) -> TokenStream {
    expand(input, "Decodable", decodable)
}

fn expand(input: TokenStream, derive: &str, generate: fn(&Struct) -> String) -> TokenStream {
    match parse::parse(derive, input) {
        Ok(parsed) => generate(&parsed).parse().unwrap_or_else(|_| {
            parse::Refusal::new(proc_macro::Span::call_site(), "internal error in derive").into_tokens()
        }),
        Err(refusal) => refusal.into_tokens(),
    }
}

fn encodable(s: &Struct) -> String {
    let (name, generics) = (&s.name, s.generics());
    let len: String = s.each(|f| format!(" + ::binary_sv2::Encodable::encoded_len(&self.{f})"));
    let encode: String = s.each(|f| format!("::binary_sv2::Encodable::encode(&self.{f}, out)?;"));
    format!(
        "#[automatically_derived]
        impl{generics} ::binary_sv2::Encodable for {name}{generics} {{
            #[inline]
            fn encoded_len(&self) -> usize {{ 0 {len} }}
            #[inline]
            fn encode(
                &self,
                out: &mut ::binary_sv2::Writer<'_>,
            ) -> ::core::result::Result<(), ::binary_sv2::Error> {{
                {encode}
                ::core::result::Result::Ok(())
            }}
            {serialize_method}
        }}
        {serialize_trait}",
        serialize_method = serde::serialize_method(s),
        serialize_trait = serde::serialize_trait(s),
    )
}

fn decodable(s: &Struct) -> String {
    let (name, generics) = (&s.name, s.generics());
    let (reader, owned) = match &s.lifetime {
        Some(lifetime) => (lifetime.as_str(), "<'static>"),
        None => ("'__r", ""),
    };
    let decode = s.each(|f| format!("{f}: ::binary_sv2::Decodable::decode(r)?,"));
    let detach = s.each(|f| format!("{f}: ::binary_sv2::IntoOwned::into_owned(self.{f}),"));
    format!(
        "#[automatically_derived]
        impl<{reader}> ::binary_sv2::Decodable<{reader}> for {name}{generics} {{
            #[inline]
            fn decode(
                r: &mut ::binary_sv2::Reader<{reader}>,
            ) -> ::core::result::Result<Self, ::binary_sv2::Error> {{
                ::core::result::Result::Ok(Self {{ {decode} }})
            }}
            {deserialize_method}
        }}
        #[automatically_derived]
        impl{generics} ::binary_sv2::IntoOwned for {name}{generics} {{
            type Owned = {name}{owned};
            #[inline]
            fn into_owned(self) -> Self::Owned {{ {name} {{ {detach} }} }}
        }}
        {deserialize_traits}",
        deserialize_method = serde::deserialize_method(reader),
        deserialize_traits = serde::deserialize_traits(s, reader),
    )
}
