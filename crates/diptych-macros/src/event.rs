//! `#[derive(Event)]`: an event language, its stored names, versions and bytes.

use crate::shape::{self, Role, Variant};
use crate::{attributes, names, payload, tag};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, LitStr, Result, Type};

/// An event language being derived.
struct Language<'a> {
    name: &'a Ident,
    category: LitStr,
    owner: LitStr,
    retired: Vec<String>,
    /// Whether types that it does not know are passed over.
    ignoring: bool,
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
    let (types, decode, upcasts) = (language.types(), language.decode(), language.upcasts());
    let Language { name, category, owner, retired, .. } = &language;
    let unknown = language.ignoring.then(|| {
        quote! {
            const UNKNOWN: ::diptych::__private::core::UnknownTypes =
                ::diptych::__private::core::UnknownTypes::Ignore;
        }
    });
    Ok(shape::enclosed(&quote! {
        #hidden
        #upcasts

        impl ::diptych::__private::core::Event for #name {
            const CATEGORY: &'static str = #category;
            const OWNER: &'static str = #owner;
            const TYPES: &'static [::diptych::__private::core::EventType] = &[#(#types),*];
            const RETIRED: &'static [&'static str] = &[#(#retired),*];
            #unknown
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
    let (mut category, mut owner, mut retired, mut ignoring) = (None, None, None, false);
    attributes::read_entries(&input.attrs, "event", "category, owner, retired, unknown", |name, entry| {
        match name {
            "category" => category = Some(attributes::text(entry)?),
            "owner" => owner = Some(attributes::text(entry)?),
            "retired" => retired = Some(attributes::text(entry)?),
            "unknown" => ignoring = attributes::ignores_unknown(entry)?,
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
    Ok(Language { name: &input.ident, category, owner, retired, ignoring, events })
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
            let next = match number + 1 {
                last if last == version => format!("`impl From<T> for {language}`"),
                next => format!("`impl From<T>` for the type of `v{next}`"),
            };
            let message = format!(
                "`{stored}` is at version {version} and version {number} may be stored: add `v{number} = T` \
                 with a `Data` type of that payload, and {next}"
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
        let unknown = if self.ignoring {
            quote!(::core::result::Result::Ok(::core::option::Option::None))
        } else {
            quote! {
                ::core::result::Result::Err(::diptych::__private::core::DecodeError::unknown_type(__name))
            }
        };
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
                    _ => #unknown,
                }
            }
        }
    }

    /// One function for each earlier version, which turns its payload into that of the version after it and
    /// leaves the rest of the way to the function of that one.
    fn upcasts(&self) -> TokenStream {
        let name = self.name;
        let functions = self.events.iter().flat_map(|kind| {
            let last = kind.old.len();
            kind.old.iter().enumerate().map(move |(index, ty)| {
                let function = kind.upcast(index);
                // A link that is missing is told where the version that it leads from is named.
                let next = match kind.old.get(index + 1) {
                    Some(next) => at(quote!(#next), ty.span()),
                    None => at(quote!(#name), ty.span()),
                };
                let read = Ident::new("__read", Span::call_site());
                let link = quote_spanned! {ty.span()=>
                    <#next as ::core::convert::From<#ty>>::from(#read)
                };
                let body = if index + 1 == last {
                    link
                } else {
                    let onwards = kind.upcast(index + 1);
                    quote!(#onwards(#link))
                };
                quote! {
                    #[allow(non_snake_case)]
                    fn #function(#read: #ty) -> #name { #body }
                }
            })
        });
        quote!(#(#functions)*)
    }
}

/// The same tokens, as if they stood at that place.
fn at(tokens: TokenStream, span: Span) -> TokenStream {
    let moved = tokens.into_iter().map(|mut token| {
        token.set_span(span);
        token
    });
    moved.collect()
}

impl Kind {
    /// The function that brings an earlier version's payload up to today's event.
    fn upcast(&self, index: usize) -> Ident {
        shape::hidden(&format!("Upcast{}", index + 1), &self.variant.ident)
    }

    /// The newest version straight into the variant, each earlier one through its type and those after it.
    fn decode_arms(&self) -> TokenStream {
        let Self { variant, stored, version, old, .. } = self;
        let reading = shape::hidden("Reading", &variant.ident);
        let ident = &variant.ident;
        let fields = variant.fields.iter().map(|field| &field.ident);
        let earlier = old.iter().zip(1_u32..).enumerate().map(|(index, (ty, number))| {
            let upcast = self.upcast(index);
            quote! {
                #number => match ::diptych::__private::serde_json::from_str::<#ty>(__payload) {
                    ::core::result::Result::Ok(__read) => {
                        ::core::result::Result::Ok(::core::option::Option::Some(#upcast(__read)))
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
