//! `#[tag]` on the fields of events: what an event is about beyond its stream.

use crate::attributes;
use crate::payload::Named;
use crate::shape::{Field, Variant};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, LitStr, Meta, Result};

/// The tag that a field makes: its name, where it is marked.
pub(crate) fn name_of(field: &Field) -> Result<Option<String>> {
    let mut found = None;
    for attribute in field.attributes.iter().filter(|attribute| attribute.path().is_ident("tag")) {
        if found.is_some() {
            return Err(Error::new_spanned(attribute, "a field makes tags of one name only"));
        }
        let (name, span) = match &attribute.meta {
            Meta::Path(_) => (field.ident.unraw().to_string(), field.ident.span()),
            Meta::List(_) => {
                let name: LitStr = attribute.parse_args()?;
                (name.value(), name.span())
            }
            Meta::NameValue(_) => {
                return Err(Error::new_spanned(attribute, "write `#[tag]` or `#[tag(\"name\")]`"));
            }
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            let message = "a tag's name holds lower-case letters, digits and `_` only: name it with \
                           `#[tag(\"name\")]`";
            return Err(Error::new(span, message));
        }
        found = Some(name);
    }
    Ok(found)
}

/// `fn tags`: nothing where no field is marked, because the trait answers for that.
pub(crate) fn tags(variants: &[Named<'_>]) -> Result<TokenStream> {
    let mut errors = None;
    let mut arms = Vec::new();
    for (variant, stored) in variants {
        let arm = attributes::keep(&mut errors, arm(variant, stored));
        arms.extend(arm.flatten());
    }
    errors.map_or(Ok(()), Err)?;
    if arms.is_empty() {
        return Ok(TokenStream::new());
    }
    let rest = (arms.len() < variants.len()).then(|| quote!(_ => {}));
    Ok(quote! {
        fn tags(
            &self,
        ) -> ::core::result::Result<
            ::std::vec::Vec<::diptych::__private::core::Tag>,
            ::diptych::__private::core::EncodeError,
        > {
            let mut __tags = ::std::vec::Vec::new();
            match self {
                #(#arms)*
                #rest
            }
            ::core::result::Result::Ok(__tags)
        }
    })
}

/// What one kind of event adds; none where no field of it is marked.
fn arm(variant: &Variant, stored: &str) -> Result<Option<TokenStream>> {
    let mut fields = Vec::new();
    let mut added = Vec::new();
    for field in &variant.fields {
        let Some(name) = name_of(field)? else { continue };
        let (ident, ty) = (&field.ident, &field.ty);
        fields.push(ident);
        added.push(quote_spanned! {ty.span()=>
            ::diptych::__private::core::Tag::add::<#ty>(&mut __tags, #name, #ident)
                .map_err(|error| ::diptych::__private::core::EncodeError::new(#stored, error))?;
        });
    }
    let ident = &variant.ident;
    let arm = quote!(Self::#ident { #(#fields,)* .. } => { #(#added)* });
    Ok((!fields.is_empty()).then_some(arm))
}
