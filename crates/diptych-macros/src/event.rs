//! `#[derive(Event)]`: an event language, its stored names, versions and bytes.

use crate::shape::{self, Role, Variant};
use crate::{attributes, names, payload, tag};
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, LitStr, Result, Type};

/// An event language being derived.
struct Language<'a> {
    name: &'a Ident,
    category: LitStr,
    owner: LitStr,
    retired: Vec<String>,
    events: Vec<Kind>,
}

/// One kind of event.
struct Kind {
    variant: Variant,
    /// Its stored name.
    stored: String,
    meaning: String,
    version: u32,
    /// The payload types of the versions before, in order.
    old: Vec<Type>,
}

/// Derives an event language on an enum.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let language = read(input)?;
    let kinds: Vec<_> = language.events.iter().map(|kind| (&kind.variant, kind.stored.as_str())).collect();
    let hidden = payload::hidden_types(language.name, &kinds, Role::Both);
    let event_type = payload::type_of(
        &kinds,
        &quote!(fn event_type(&self) -> ::diptych::__private::core::EventType),
        &quote!(<Self as ::diptych::__private::core::Event>::TYPES),
    );
    let (encode, schemas) = (payload::encode(&kinds), payload::schemas(&kinds));
    let tags = tag::tags(&kinds)?;
    let (types, decode) = (language.types(), language.decode());
    let (name, category, owner) = (language.name, &language.category, &language.owner);
    Ok(shape::enclosed(&quote! {
        #hidden

        impl ::diptych::__private::core::Event for #name {
            const CATEGORY: &'static str = #category;
            const OWNER: &'static str = #owner;
            const TYPES: &'static [::diptych::__private::core::EventType] = &[#(#types),*];
            #event_type
            #encode
            #tags
            #decode
            #schemas
        }
    }))
}

fn read(input: &DeriveInput) -> Result<Language<'_>> {
    let variants = shape::variants(input, "Event")?;
    let (mut category, mut owner, mut retired) = (None, None, None);
    attributes::read_entries(&input.attrs, "event", "category, owner, retired", |name, entry| {
        match name {
            "category" => category = Some(attributes::text(entry)?),
            "owner" => owner = Some(attributes::text(entry)?),
            "retired" => retired = Some(attributes::text(entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |what: &str| {
        let message =
            format!("`Event` needs `#[event(category = \"...\", owner = \"...\")]`: {what} is missing");
        Error::new(input.ident.span(), message)
    };
    let category = category.ok_or_else(|| missing("category"))?;
    let owner = owner.ok_or_else(|| missing("owner"))?;
    if !names::is_category(&category.value()) || category.value().len() > 200 {
        let message = "a category holds lower-case letters, digits and `_` only, at most 200 of them";
        return Err(Error::new(category.span(), message));
    }
    let mut seen = Vec::new();
    let mut errors = None;
    let mut events = Vec::new();
    for variant in variants {
        if let Some(kind) = attributes::keep(&mut errors, read_kind(variant, &input.ident, &mut seen)) {
            events.push(kind);
        }
    }
    let retired =
        attributes::keep(&mut errors, read_retired(retired.as_ref(), &mut seen)).unwrap_or_default();
    errors.map_or(Ok(()), Err)?;
    Ok(Language { name: &input.ident, category, owner, retired, events })
}

fn read_kind(variant: Variant, language: &Ident, seen: &mut Vec<String>) -> Result<Kind> {
    let mut stored = variant.ident.to_string();
    let mut version: u32 = 1;
    let mut old: Vec<(u32, Ident, Type)> = Vec::new();
    let known = "name, version, and v1, v2 ... for the payload types of earlier versions";
    attributes::read_entries(&variant.attributes, "event", known, |name, entry| {
        match name {
            "name" => stored = attributes::text(entry)?.value(),
            "version" => version = attributes::count(entry)?,
            _ => {
                let number = name.strip_prefix('v').and_then(|digits| digits.parse().ok());
                let (Some(number), Some(ident)) = (number, entry.path.get_ident().cloned()) else {
                    return Ok(false);
                };
                old.push((number, ident, attributes::value(entry)?));
            }
        }
        Ok(true)
    })?;
    attributes::once(seen, &stored, variant.ident.span(), "the stored name")?;
    if let Some((number, ident, _)) = old.iter().find(|(number, ..)| *number == 0 || *number >= version) {
        let message =
            format!("`{stored}` is at version {version}, so version {number} is not an earlier one");
        return Err(Error::new(ident.span(), message));
    }
    let mut types = Vec::new();
    for number in 1..version {
        let Some((.., ty)) = old.iter().find(|(held, ..)| *held == number) else {
            let message = format!(
                "`{stored}` is at version {version} and version {number} may be stored: add `v{number} = T` \
                 with a `Data` type of that payload, and `impl From<T> for {language}`"
            );
            return Err(Error::new(variant.ident.span(), message));
        };
        types.push(ty.clone());
    }
    let meaning = attributes::meaning(&variant.attributes);
    Ok(Kind { variant, stored, meaning, version, old: types })
}

fn read_retired(list: Option<&LitStr>, seen: &mut Vec<String>) -> Result<Vec<String>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let text = list.value();
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    for name in &names {
        if name.is_empty() {
            return Err(Error::new(list.span(), "retired names are separated by commas"));
        }
        attributes::once(seen, name, list.span(), "the stored name")?;
    }
    Ok(names)
}

impl Language<'_> {
    fn types(&self) -> Vec<TokenStream> {
        let types = self.events.iter().map(|Kind { stored, version, meaning, .. }| {
            quote! {
                ::diptych::__private::core::EventType { name: #stored, version: #version, meaning: #meaning }
            }
        });
        types.collect()
    }

    fn decode(&self) -> TokenStream {
        let arms = self.events.iter().map(Kind::decode_arms);
        let retired = (!self.retired.is_empty()).then(|| {
            let names = &self.retired;
            quote!(#(#names)|* => ::core::result::Result::Ok(::core::option::Option::None),)
        });
        quote! {
            fn decode(
                __name: &str,
                __version: u32,
                __payload: &str,
            ) -> ::core::result::Result<
                ::core::option::Option<Self>,
                ::diptych::__private::core::DecodeError,
            > {
                match __name {
                    #(#arms)*
                    #retired
                    _ => ::core::result::Result::Err(
                        ::diptych::__private::core::DecodeError::unknown_type(__name),
                    ),
                }
            }
        }
    }
}

impl Kind {
    /// The newest version straight into the variant, each earlier one through its type and `From`.
    fn decode_arms(&self) -> TokenStream {
        let Self { variant, stored, version, old, .. } = self;
        let reading = shape::hidden("Reading", &variant.ident);
        let ident = &variant.ident;
        let fields = variant.fields.iter().map(|field| &field.ident);
        let earlier = old.iter().zip(1_u32..).map(|(ty, number)| {
            let upcast = quote_spanned! {ty.span()=>
                <Self as ::core::convert::From<#ty>>::from(__read)
            };
            quote! {
                #number => match ::diptych::__private::serde_json::from_str::<#ty>(__payload) {
                    ::core::result::Result::Ok(__read) => {
                        ::core::result::Result::Ok(::core::option::Option::Some(#upcast))
                    }
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(
                        ::diptych::__private::core::DecodeError::malformed(#stored, &error),
                    ),
                },
            }
        });
        quote! {
            #stored => match __version {
                #version => match ::diptych::__private::serde_json::from_str::<#reading>(__payload) {
                    ::core::result::Result::Ok(__read) => ::core::result::Result::Ok(
                        ::core::option::Option::Some(Self::#ident { #(#fields: __read.#fields),* }),
                    ),
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(
                        ::diptych::__private::core::DecodeError::malformed(#stored, &error),
                    ),
                },
                #(#earlier)*
                _ => ::core::result::Result::Err(
                    ::diptych::__private::core::DecodeError::unknown_version(__name, __version),
                ),
            },
        }
    }
}
