//! `#[derive(Id)]`: everything that a typed identity over text can do.

use crate::{attributes, shape};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result, Type};

/// Derives an id on `struct OrderId(String);`.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    shape::refuse_generics(input, "Id")?;
    check_shape(input)?;
    let name = &input.ident;
    let visibility = &input.vis;
    let text = text(name, visibility);
    let compared = compared(name);
    let serde = serde(name);
    let described = described(name, &attributes::meaning(&input.attrs));
    let traits = traits(name);
    Ok(shape::enclosed(&quote!(#text #compared #serde #described #traits)))
}

fn check_shape(input: &DeriveInput) -> Result<()> {
    let message =
        format!("`Id` is derived on a struct over one text: write `struct {}(String);`", input.ident);
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.ident.span(), message));
    };
    let Fields::Unnamed(fields) = &data.fields else {
        return Err(Error::new(input.ident.span(), message));
    };
    let is_text = |ty: &Type| match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "String"),
        _ => false,
    };
    match fields.unnamed.iter().collect::<Vec<_>>().as_slice() {
        [only] if is_text(&only.ty) => Ok(()),
        _ => Err(Error::new_spanned(fields, message)),
    }
}

fn text(name: &Ident, visibility: &syn::Visibility) -> TokenStream {
    quote! {
        impl #name {
            /// Wraps a text. It is checked where it enters or would be stored: 1 to 200 bytes without NUL.
            #[must_use]
            #visibility fn new(text: impl ::core::convert::Into<::std::string::String>) -> Self {
                Self(::core::convert::Into::into(text))
            }
        }

        impl ::core::convert::From<&str> for #name {
            fn from(text: &str) -> Self {
                Self(::std::borrow::ToOwned::to_owned(text))
            }
        }

        impl ::core::convert::From<::std::string::String> for #name {
            fn from(text: ::std::string::String) -> Self {
                Self(text)
            }
        }

        impl ::core::convert::AsRef<str> for #name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl ::core::fmt::Display for #name {
            fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, out)
            }
        }

        impl ::core::fmt::Debug for #name {
            fn fmt(&self, out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                out.debug_tuple(::core::stringify!(#name)).field(&self.0).finish()
            }
        }
    }
}

fn compared(name: &Ident) -> TokenStream {
    quote! {
        impl ::core::clone::Clone for #name {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        impl ::core::cmp::PartialEq for #name {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl ::core::cmp::Eq for #name {}

        impl ::core::cmp::PartialOrd for #name {
            fn partial_cmp(&self, other: &Self) -> ::core::option::Option<::core::cmp::Ordering> {
                ::core::option::Option::Some(::core::cmp::Ord::cmp(self, other))
            }
        }

        impl ::core::cmp::Ord for #name {
            fn cmp(&self, other: &Self) -> ::core::cmp::Ordering {
                ::core::cmp::Ord::cmp(&self.0, &other.0)
            }
        }

        impl ::core::hash::Hash for #name {
            fn hash<H: ::core::hash::Hasher>(&self, state: &mut H) {
                ::core::hash::Hash::hash(&self.0, state)
            }
        }
    }
}

fn serde(name: &Ident) -> TokenStream {
    quote! {
        impl ::diptych::__private::serde::Serialize for #name {
            fn serialize<S>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error>
            where
                S: ::diptych::__private::serde::Serializer,
            {
                <Self as ::diptych::__private::core::Id>::check(&self.0)
                    .map_err(::diptych::__private::serde::ser::Error::custom)?;
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> ::diptych::__private::serde::Deserialize<'de> for #name {
            fn deserialize<D>(deserializer: D) -> ::core::result::Result<Self, D::Error>
            where
                D: ::diptych::__private::serde::Deserializer<'de>,
            {
                let text: ::std::string::String =
                    ::diptych::__private::serde::Deserialize::deserialize(deserializer)?;
                <Self as ::diptych::__private::core::Id>::check(&text)
                    .map_err(::diptych::__private::serde::de::Error::custom)?;
                ::core::result::Result::Ok(Self(text))
            }
        }
    }
}

fn described(name: &Ident, meaning: &str) -> TokenStream {
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
                    "minLength": 1,
                    "maxLength": 200
                })
            }
        }
    }
}

fn traits(name: &Ident) -> TokenStream {
    let text = name.to_string();
    quote! {
        impl ::diptych::__private::core::Portable for #name {
            const TYPE: ::diptych::__private::core::ValueType = ::diptych::__private::core::ValueType::Text;

            fn to_value(&self) -> ::diptych::__private::core::Value {
                ::diptych::__private::core::Value::Text(::core::clone::Clone::clone(&self.0))
            }

            fn into_value(self) -> ::diptych::__private::core::Value {
                ::diptych::__private::core::Value::Text(self.0)
            }

            fn from_value(
                value: &::diptych::__private::core::Value,
            ) -> ::core::result::Result<Self, ::diptych::__private::core::DecodeError> {
                match value {
                    ::diptych::__private::core::Value::Text(text) => {
                        ::core::result::Result::Ok(Self(::core::clone::Clone::clone(text)))
                    }
                    other => ::core::result::Result::Err(::diptych::__private::core::DecodeError::malformed(
                        #text,
                        &::std::format!("expected Text, met {other:?}"),
                    )),
                }
            }
        }

        impl ::diptych::__private::core::TagValue for #name {
            fn each_text(&self, add: &mut dyn ::core::ops::FnMut(&str)) {
                add(&self.0);
            }
        }

        impl ::diptych::__private::core::Id for #name {
            fn from_key(key: &str) -> Self {
                Self(::std::borrow::ToOwned::to_owned(key))
            }

            fn as_str(&self) -> &str {
                &self.0
            }
        }
    }
}
