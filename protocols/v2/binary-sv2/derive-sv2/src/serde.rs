//! The code for serde, which `binary_sv2::with_serde!` keeps or drops.

use crate::parse::Struct;

/// In `impl Encodable`.
pub fn serialize_method(s: &Struct) -> String {
    let count = s.fields.len();
    let name = &s.name;
    let fields = s.each(|f| {
        format!(
            "::binary_sv2::serde::ser::SerializeStruct::serialize_field(
                &mut fields, \"{}\", &::binary_sv2::serde_support::Ser(&self.{f}))?;",
            bare(f)
        )
    });
    kept(&format!(
        "#[allow(unused_mut)]
        fn serialize_serde<__S: ::binary_sv2::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {{
            let mut fields =
                ::binary_sv2::serde::Serializer::serialize_struct(serializer, \"{name}\", {count})?;
            {fields}
            ::binary_sv2::serde::ser::SerializeStruct::end(fields)
        }}",
        name = bare(name)
    ))
}

/// After `impl Encodable`.
pub fn serialize_trait(s: &Struct) -> String {
    let (name, generics) = (&s.name, s.generics());
    kept(&format!(
        "#[automatically_derived]
        impl{generics} ::binary_sv2::serde::Serialize for {name}{generics} {{
            fn serialize<__S: ::binary_sv2::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {{
                ::binary_sv2::Encodable::serialize_serde(self, serializer)
            }}
        }}"
    ))
}

/// In `impl Decodable`.
pub fn deserialize_method(reader: &str) -> String {
    kept(&format!(
        "fn deserialize_serde<__D: ::binary_sv2::serde::Deserializer<{reader}>>(
            deserializer: __D,
        ) -> ::core::result::Result<Self, __D::Error> {{
            ::binary_sv2::serde_support::deserialize_struct(deserializer)
        }}"
    ))
}

/// After `impl Decodable`.
pub fn deserialize_traits(s: &Struct, reader: &str) -> String {
    let (name, generics) = (&s.name, s.generics());
    let each = |code: &dyn Fn(usize, &str) -> String| -> String {
        s.fields.iter().enumerate().map(|(i, f)| code(i, f)).collect()
    };
    let names = s.each(|f| format!("\"{}\",", bare(f)));
    let in_order = each(&|i, f| format!("{f}: ::binary_sv2::serde_support::next_field(&mut access, {i})?,"));
    let empty = each(&|i, _| format!("let mut f{i} = ::core::option::Option::None;"));
    let by_name = each(&|i, f| {
        format!("{i} => ::binary_sv2::serde_support::next_value(&mut access, \"{}\", &mut f{i})?,", bare(f))
    });
    let all = each(&|i, f| format!("{f}: ::binary_sv2::serde_support::required(f{i}, \"{}\")?,", bare(f)));
    kept(&format!(
        "#[automatically_derived]
        #[allow(unused_mut)]
        impl<{reader}> ::binary_sv2::serde_support::FromFields<{reader}> for {name}{generics} {{
            const NAME: &'static str = \"{bare_name}\";
            const FIELDS: &'static [&'static str] = &[{names}];
            fn from_seq<__A: ::binary_sv2::serde::de::SeqAccess<{reader}>>(
                mut access: __A,
            ) -> ::core::result::Result<Self, __A::Error> {{
                ::core::result::Result::Ok(Self {{ {in_order} }})
            }}
            fn from_map<__A: ::binary_sv2::serde::de::MapAccess<{reader}>>(
                mut access: __A,
            ) -> ::core::result::Result<Self, __A::Error> {{
                {empty}
                while let ::core::option::Option::Some(key) =
                    ::binary_sv2::serde_support::next_key(&mut access, Self::FIELDS)?
                {{
                    match key {{ {by_name} _ => {{}} }}
                }}
                ::core::result::Result::Ok(Self {{ {all} }})
            }}
        }}
        #[automatically_derived]
        impl<{reader}> ::binary_sv2::serde::Deserialize<{reader}> for {name}{generics} {{
            fn deserialize<__D: ::binary_sv2::serde::Deserializer<{reader}>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {{
                ::binary_sv2::Decodable::deserialize_serde(deserializer)
            }}
        }}",
        bare_name = bare(name)
    ))
}

fn kept(code: &str) -> String {
    format!("::binary_sv2::with_serde! {{ {code} }}")
}

/// The name without the mark that lets a keyword be one.
fn bare(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}
