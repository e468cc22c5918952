//! `#[derive(Rejection)]`: what the domain says when it says no, as a sentence and as data.

use crate::shape::{self, Role, Variant};
use crate::{attributes, names, payload};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse::ParseStream;
use syn::{DeriveInput, Error, LitStr, Result, Token};

/// A rejection language being derived.
struct Language<'a> {
    name: &'a Ident,
    rejections: Vec<Kind>,
}

/// One rejection.
struct Kind {
    variant: Variant,
    stable: String,
    sentence: LitStr,
    not_found: bool,
    meaning: String,
}

/// Derives a rejection language on an enum.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let language = read(input)?;
    let kinds: Vec<_> =
        language.rejections.iter().map(|kind| (&kind.variant, kind.stable.as_str())).collect();
    let hidden = payload::hidden_types(language.name, &kinds, Role::Both);
    let rejection_type = payload::type_of(
        &kinds,
        &quote!(fn rejection_type(&self) -> ::diptych::__private::command::RejectionType),
        &quote!(<Self as ::diptych::__private::command::Rejection>::TYPES),
    );
    let (encode, schemas) = (payload::encode(&kinds), payload::schemas(&kinds));
    let (name, display) = (language.name, language.display());
    let (types, decode) = (language.types(), language.decode());
    Ok(shape::enclosed(&quote! {
        #hidden
        #display

        impl ::diptych::__private::command::Rejection for #name {
            const TYPES: &'static [::diptych::__private::command::RejectionType] = &[#(#types),*];
            #rejection_type
            #encode
            #decode
            #schemas
        }
    }))
}

fn read(input: &DeriveInput) -> Result<Language<'_>> {
    let variants = shape::variants(input, "Rejection")?;
    let mut seen = Vec::new();
    let mut errors = None;
    let mut rejections = Vec::new();
    for variant in variants {
        if let Some(kind) = attributes::keep(&mut errors, read_kind(variant, &mut seen)) {
            rejections.push(kind);
        }
    }
    errors.map_or(Ok(()), Err)?;
    Ok(Language { name: &input.ident, rejections })
}

fn read_kind(variant: Variant, seen: &mut Vec<String>) -> Result<Kind> {
    let mut reject = variant.attributes.iter().filter(|attribute| attribute.path().is_ident("reject"));
    let Some(attribute) = reject.next() else {
        let message = format!(
            "say what a caller is told: `#[reject(\"a sentence, with {{fields}} of the variant\")]` on `{}`",
            variant.ident
        );
        return Err(Error::new(variant.ident.span(), message));
    };
    if let Some(second) = reject.next() {
        return Err(Error::new_spanned(second, "a rejection has one sentence"));
    }
    let mut stable = names::snake(&variant.ident.to_string());
    let mut not_found = false;
    let sentence = attribute.parse_args_with(|input: ParseStream<'_>| {
        let sentence: LitStr = input.parse()?;
        while input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let entry: Ident = input.parse()?;
            match entry.to_string().as_str() {
                "not_found" => not_found = true,
                "name" => {
                    input.parse::<Token![=]>()?;
                    stable = input.parse::<LitStr>()?.value();
                }
                other => {
                    let message = format!("`{other}` is not known here; known are not_found, name");
                    return Err(Error::new(entry.span(), message));
                }
            }
        }
        Ok(sentence)
    })?;
    if sentence.value().trim().is_empty() {
        return Err(Error::new(sentence.span(), "must not be empty"));
    }
    attributes::once(seen, &stable, variant.ident.span(), "the name")?;
    let meaning = attributes::meaning(&variant.attributes);
    Ok(Kind { variant, stable, sentence, not_found, meaning })
}

impl Language<'_> {
    fn display(&self) -> TokenStream {
        let name = self.name;
        let arms = self.rejections.iter().map(|Kind { variant, sentence, .. }| {
            let pattern = variant.with_fields();
            quote! {
                #[allow(unused_variables)]
                #pattern => ::core::write!(__out, #sentence),
            }
        });
        let body = payload::matched(self.rejections.is_empty(), &quote!(#(#arms)*));
        quote! {
            impl ::core::fmt::Display for #name {
                fn fmt(&self, __out: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    #body
                }
            }

            impl ::std::error::Error for #name {}
        }
    }

    fn types(&self) -> Vec<TokenStream> {
        let types = self.rejections.iter().map(|Kind { stable, meaning, not_found, .. }| {
            let kind = if *not_found { quote!(NotFound) } else { quote!(Refused) };
            quote! {
                ::diptych::__private::command::RejectionType {
                    name: #stable,
                    kind: ::diptych::__private::command::RejectionKind::#kind,
                    meaning: #meaning,
                }
            }
        });
        types.collect()
    }

    fn decode(&self) -> TokenStream {
        let arms = self.rejections.iter().map(|Kind { variant, stable, .. }| {
            let ident = &variant.ident;
            let reading = shape::hidden("Reading", ident);
            let fields = variant.fields.iter().map(|field| &field.ident);
            quote! {
                #stable => match ::diptych::__private::serde_json::from_str::<#reading>(__data) {
                    ::core::result::Result::Ok(__read) => {
                        ::core::result::Result::Ok(Self::#ident { #(#fields: __read.#fields),* })
                    }
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(
                        ::diptych::__private::core::DecodeError::malformed(#stable, &error),
                    ),
                },
            }
        });
        let name = self.name.to_string();
        quote! {
            fn decode(
                __name: &str,
                __data: &str,
            ) -> ::core::result::Result<Self, ::diptych::__private::core::DecodeError> {
                match __name {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::diptych::__private::core::DecodeError::malformed(
                        #name,
                        &::std::format!("`{__name}` is not a rejection known to this code"),
                    )),
                }
            }
        }
    }
}
