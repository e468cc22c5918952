//! `#[derive(Scalar)]`: a closed vocabulary without data, the same word in JSON and in SQL.

use crate::{attributes, names, shape};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, Result};

/// A vocabulary being derived.
struct Vocabulary<'a> {
    name: &'a Ident,
    meaning: String,
    variants: Vec<Ident>,
    words: Vec<String>,
    ordered: bool,
}

/// Derives a vocabulary on a unit-only enum.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let vocabulary = read(input)?;
    let names = vocabulary.names();
    let serde = vocabulary.serde();
    let described = vocabulary.described();
    let portable = vocabulary.portable();
    let ordered = vocabulary.ordered.then(|| vocabulary.order());
    Ok(shape::enclosed(&quote!(#names #serde #described #portable #ordered)))
}

fn read(input: &DeriveInput) -> Result<Vocabulary<'_>> {
    shape::refuse_generics(input, "Scalar")?;
    let mut ordered = false;
    attributes::read_entries(&input.attrs, "scalar", "ordered", |name, _| {
        ordered |= name == "ordered";
        Ok(name == "ordered")
    })?;
    let data = shape::enum_data(input, "Scalar")?;
    let mut words = Vec::new();
    for variant in &data.variants {
        if !variant.fields.is_empty() || !matches!(variant.fields, syn::Fields::Unit) {
            let message = "a `Scalar` has no data: derive `Data` for an enum with fields";
            return Err(Error::new_spanned(&variant.fields, message));
        }
        let mut word = names::screaming(&variant.ident.to_string());
        attributes::read_entries(&variant.attrs, "scalar", "name", |name, entry| {
            if name == "name" {
                word = attributes::text(entry)?.value();
            }
            Ok(name == "name")
        })?;
        attributes::once(&mut words, &word, variant.ident.span(), "the name")?;
    }
    if words.is_empty() {
        return Err(Error::new(input.ident.span(), "a `Scalar` needs at least one variant"));
    }
    Ok(Vocabulary {
        name: &input.ident,
        meaning: attributes::meaning(&input.attrs),
        variants: data.variants.iter().map(|variant| variant.ident.clone()).collect(),
        words,
        ordered,
    })
}

impl Vocabulary<'_> {
    fn names(&self) -> TokenStream {
        let Self { name, variants, words, .. } = self;
        quote! {
            impl ::diptych::__private::core::Scalar for #name {
                const NAMES: &'static [&'static str] = &[#(#words),*];

                fn name(self) -> &'static str {
                    match self {
                        #(Self::#variants => #words,)*
                    }
                }

                fn from_name(name: &str) -> ::core::option::Option<Self> {
                    match name {
                        #(#words => ::core::option::Option::Some(Self::#variants),)*
                        _ => ::core::option::Option::None,
                    }
                }
            }

            impl ::diptych::__private::core::TagValue for #name {
                fn each_text(&self, add: &mut dyn ::core::ops::FnMut(&str)) {
                    add(::diptych::__private::core::Scalar::name(*self));
                }
            }

            impl ::core::fmt::Display for #name {
                fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    out.pad(::diptych::__private::core::Scalar::name(*self))
                }
            }
        }
    }

    fn serde(&self) -> TokenStream {
        let name = self.name;
        quote! {
            impl ::diptych::__private::serde::Serialize for #name {
                fn serialize<S>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error>
                where
                    S: ::diptych::__private::serde::Serializer,
                {
                    serializer.serialize_str(::diptych::__private::core::Scalar::name(*self))
                }
            }

            struct __Word;

            impl ::diptych::__private::serde::de::Visitor<'_> for __Word {
                type Value = #name;

                fn expecting(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    out.write_str("one of: ")?;
                    out.write_str(&<#name as ::diptych::__private::core::Scalar>::NAMES.join(", "))
                }

                fn visit_str<E>(self, text: &str) -> ::core::result::Result<#name, E>
                where
                    E: ::diptych::__private::serde::de::Error,
                {
                    <#name as ::diptych::__private::core::Scalar>::from_name(text).ok_or_else(|| {
                        E::invalid_value(::diptych::__private::serde::de::Unexpected::Str(text), &self)
                    })
                }
            }

            impl<'de> ::diptych::__private::serde::Deserialize<'de> for #name {
                fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
                where
                    D: ::diptych::__private::serde::Deserializer<'de>,
                {
                    deserializer.deserialize_str(__Word)
                }
            }
        }
    }

    fn described(&self) -> TokenStream {
        let Self { name, meaning, words, .. } = self;
        let text = name.to_string();
        let description = (!meaning.is_empty()).then(|| quote!("description": #meaning,));
        quote! {
            impl ::diptych::__private::schemars::JsonSchema for #name {
                fn schema_name() -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(#text)
                }

                fn schema_id() -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(::core::concat!(::core::module_path!(), "::", #text))
                }

                fn json_schema(
                    _: &mut ::diptych::__private::schemars::SchemaGenerator,
                ) -> ::diptych::__private::schemars::Schema {
                    ::diptych::__private::schemars::json_schema!({
                        "type": "string",
                        #description
                        "enum": [#(#words),*]
                    })
                }
            }
        }
    }

    fn portable(&self) -> TokenStream {
        let Self { name, ordered, .. } = self;
        let text = name.to_string();
        quote! {
            impl ::diptych::__private::core::Portable for #name {
                const TYPE: ::diptych::__private::core::ValueType =
                    ::diptych::__private::core::ValueType::Text;
                const CHOICES: &'static [&'static str] = <Self as ::diptych::__private::core::Scalar>::NAMES;
                const RANKED: bool = #ordered;

                fn to_value(&self) -> ::diptych::__private::core::Value {
                    let name = ::diptych::__private::core::Scalar::name(*self);
                    ::diptych::__private::core::Value::Text(::std::borrow::ToOwned::to_owned(name))
                }

                fn from_value(
                    value: &::diptych::__private::core::Value,
                ) -> ::core::result::Result<Self, ::diptych::__private::core::DecodeError> {
                    let known = match value {
                        ::diptych::__private::core::Value::Text(text) => {
                            <Self as ::diptych::__private::core::Scalar>::from_name(text)
                        }
                        _ => ::core::option::Option::None,
                    };
                    known.ok_or_else(|| {
                        ::diptych::__private::core::DecodeError::malformed(
                            #text,
                            &::std::format!("expected one of its names, met {value:?}"),
                        )
                    })
                }
            }
        }
    }

    fn order(&self) -> TokenStream {
        let Self { name, variants, .. } = self;
        let ranks = 0..variants.len();
        quote! {
            impl ::core::cmp::PartialOrd for #name {
                fn partial_cmp(&self, other: &Self) -> ::core::option::Option<::core::cmp::Ordering> {
                    ::core::option::Option::Some(::core::cmp::Ord::cmp(self, other))
                }
            }

            impl ::core::cmp::Ord for #name {
                fn cmp(&self, other: &Self) -> ::core::cmp::Ordering {
                    let rank = |value: &Self| -> usize {
                        match value {
                            #(Self::#variants => #ranks,)*
                        }
                    };
                    ::core::cmp::Ord::cmp(&rank(self), &rank(other))
                }
            }
        }
    }
}
