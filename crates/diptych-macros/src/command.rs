//! `#[derive(Command)]`: a command language, its addresses and its bodies.

use crate::shape::{self, Role, Variant};
use crate::{attributes, names, payload};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{DeriveInput, Error, LitStr, Result};

/// A command language being derived.
struct Language<'a> {
    name: &'a Ident,
    text_bytes_max: Option<usize>,
    commands: Vec<Kind>,
}

/// One kind of command.
struct Kind {
    variant: Variant,
    stable: String,
    segment: String,
    meaning: String,
    key_required: bool,
    /// The member of an envelope that must name the actor.
    actor: Option<String>,
}

/// Derives a command language on an enum.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let language = read(input)?;
    let kinds: Vec<_> = language.commands.iter().map(|kind| (&kind.variant, kind.stable.as_str())).collect();
    // Bodies are read field by field, so the hidden types only describe them.
    let hidden = payload::hidden_types(language.name, &kinds, Role::Closed);
    let command_type = payload::type_of(
        &kinds,
        &quote!(fn command_type(&self) -> ::diptych::__private::command::CommandType),
        &quote!(<Self as ::diptych::__private::command::Command>::TYPES),
    );
    let (encode, schemas) = (payload::encode(&kinds), payload::schemas(&kinds));
    let (name, types, decode) = (language.name, language.types(), language.decode());
    let limit = language.text_bytes_max.map(|limit| quote!(const TEXT_BYTES_MAX: usize = #limit;));
    Ok(shape::enclosed(&quote! {
        #hidden

        impl ::diptych::__private::command::Command for #name {
            const TYPES: &'static [::diptych::__private::command::CommandType] = &[#(#types),*];
            #limit
            #command_type
            #encode
            #decode
            #schemas
        }
    }))
}

fn read(input: &DeriveInput) -> Result<Language<'_>> {
    let variants = shape::variants(input, "Command")?;
    let (mut text_bytes_max, mut key_required) = (None, false);
    attributes::read_entries(&input.attrs, "command", "key_required, text_bytes_max", |name, entry| {
        match name {
            "key_required" => key_required = true,
            "text_bytes_max" => text_bytes_max = Some(attributes::count(entry)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (mut seen, mut segments) = (Vec::new(), Vec::new());
    let mut errors = None;
    let mut commands = Vec::new();
    for variant in variants {
        let kind = read_kind(variant, key_required, &mut seen, &mut segments);
        if let Some(kind) = attributes::keep(&mut errors, kind) {
            commands.push(kind);
        }
    }
    errors.map_or(Ok(()), Err)?;
    Ok(Language { name: &input.ident, text_bytes_max, commands })
}

fn read_kind(
    variant: Variant,
    key_required: bool,
    seen: &mut Vec<String>,
    segments: &mut Vec<String>,
) -> Result<Kind> {
    let mut stable = variant.ident.to_string();
    let mut segment = LitStr::new(&names::kebab(&stable), variant.ident.span());
    let mut key_required = key_required;
    let mut actor: Option<LitStr> = None;
    let known = "name, segment, key_required, actor";
    attributes::read_entries(&variant.attributes, "command", known, |name, entry| {
        match name {
            "name" => stable = attributes::text(entry)?.value(),
            "segment" => segment = attributes::text(entry)?,
            "actor" => actor = Some(attributes::text(entry)?),
            "key_required" => key_required = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if !segment.value().chars().all(fits) {
        let message = "a segment of an address holds lower-case letters, digits and `-` only";
        return Err(Error::new(segment.span(), message));
    }
    attributes::once(seen, &stable, variant.ident.span(), "the name")?;
    attributes::once(segments, &segment.value(), segment.span(), "the segment")?;
    if let Some(actor) = &actor
        && variant.fields.iter().any(|field| field.json == actor.value())
    {
        let message = "the member that names the actor is not part of the command: remove the field";
        return Err(Error::new(actor.span(), message));
    }
    let meaning = attributes::meaning(&variant.attributes);
    let actor = actor.map(|actor| actor.value());
    Ok(Kind { variant, stable, segment: segment.value(), meaning, key_required, actor })
}

impl Language<'_> {
    fn types(&self) -> Vec<TokenStream> {
        let types = self.commands.iter().map(|kind| {
            let Kind { stable, segment, meaning, key_required, .. } = kind;
            let actor = match &kind.actor {
                Some(actor) => quote!(::core::option::Option::Some(#actor)),
                None => quote!(::core::option::Option::None),
            };
            quote! {
                ::diptych::__private::command::CommandType {
                    name: #stable,
                    segment: #segment,
                    meaning: #meaning,
                    key_required: #key_required,
                    actor: #actor,
                }
            }
        });
        types.collect()
    }

    fn decode(&self) -> TokenStream {
        let parse = match self.text_bytes_max {
            Some(limit) => quote!(::diptych::__private::command::Fields::parse_with(__body, #limit)?),
            None => quote!(::diptych::__private::command::Fields::parse(__body)?),
        };
        let arms = self.commands.iter().map(|kind| kind.decode_arm(self.name, &parse));
        quote! {
            fn decode(
                __name: &str,
                __body: &str,
            ) -> ::core::result::Result<Self, ::diptych::__private::command::ShapeError> {
                match __name {
                    #(#arms)*
                    _ => ::core::result::Result::Err(::diptych::__private::command::ShapeError::field(
                        "",
                        ::std::format!("`{__name}` is not a command here"),
                    )),
                }
            }
        }
    }
}

impl Kind {
    /// Takes every field, so that each problem is noted, and builds the command only when there was none.
    fn decode_arm(&self, language: &Ident, parse: &TokenStream) -> TokenStream {
        let Self { variant, stable, .. } = self;
        let ident = &variant.ident;
        let fields: Vec<_> = variant.fields.iter().map(|field| &field.ident).collect();
        let held: Vec<_> = (0..fields.len()).map(|index| format_ident!("__field_{index}")).collect();
        let jsons = variant.fields.iter().map(|field| &field.json);
        let types = variant.fields.iter().map(|field| &field.ty);
        let (mutable, build) = if fields.is_empty() {
            (quote!(), quote!(::core::result::Result::Ok(#language::#ident {})))
        } else {
            let build = quote! {
                match (#(#held,)*) {
                    (#(::core::option::Option::Some(#held),)*) => {
                        ::core::result::Result::Ok(#language::#ident { #(#fields: #held),* })
                    }
                    _ => ::core::result::Result::Err(
                        ::diptych::__private::command::ShapeError::field("", "a field is missing"),
                    ),
                }
            };
            (quote!(mut), build)
        };
        quote! {
            #stable => {
                let #mutable __fields = #parse;
                #(let #held: ::core::option::Option<#types> = __fields.take(#jsons);)*
                __fields.finish()?;
                #build
            }
        }
    }
}
