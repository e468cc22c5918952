//! `#[derive(EventSet)]`: several event languages as one, told apart by category.

use crate::shape;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Fields, Ident, Result, Type};

/// Derives a set on an enum with one language in each variant.
pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    shape::refuse_generics(input, "EventSet")?;
    let data = shape::enum_data(input, "EventSet")?;
    let members: Vec<(&Ident, &Type)> = data.variants.iter().map(member).collect::<Result<_>>()?;
    if members.is_empty() {
        let message = "an `EventSet` needs a variant for each of its event languages";
        return Err(Error::new(input.ident.span(), message));
    }
    let name = &input.ident;
    let categories = members
        .iter()
        .map(|(_, ty)| quote_spanned!(ty.span()=> <#ty as ::diptych::__private::core::Event>::CATEGORY));
    let types = members.iter().map(|(_, ty)| ty);
    let arms = members.iter().map(|(variant, ty)| {
        quote! {
            if __category == <#ty as ::diptych::__private::core::Event>::CATEGORY {
                return ::core::result::Result::Ok(
                    <#ty as ::diptych::__private::core::Event>::decode(__name, __version, __payload)?
                        .map(Self::#variant),
                );
            }
        }
    });
    let distinct = distinct(name);
    Ok(shape::enclosed(&quote! {
        impl ::diptych::__private::core::EventSet for #name {
            const CATEGORIES: &'static [&'static str] = &[#(#categories),*];

            fn types() -> ::std::vec::Vec<::diptych::__private::core::EventType> {
                [#(<#types as ::diptych::__private::core::Event>::TYPES),*].concat()
            }

            fn decode_in(
                __category: &str,
                __name: &str,
                __version: u32,
                __payload: &str,
            ) -> ::core::result::Result<
                ::core::option::Option<Self>,
                ::diptych::__private::core::DecodeError,
            > {
                #(#arms)*
                ::core::result::Result::Err(::diptych::__private::core::DecodeError::foreign(__category))
            }
        }

        #distinct
    }))
}

fn member(variant: &syn::Variant) -> Result<(&Ident, &Type)> {
    let message = || {
        let name = &variant.ident;
        format!("a variant of an `EventSet` holds one event language: write `{name}({name}Event)`")
    };
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok((&variant.ident, &fields.unnamed[0].ty)),
        _ => Err(Error::new_spanned(variant, message())),
    }
}

/// Two languages of one category could not be told apart: refused while compiling.
fn distinct(name: &Ident) -> TokenStream {
    quote_spanned! {name.span()=>
        const fn __same(left: &str, right: &str) -> bool {
            let (left, right) = (left.as_bytes(), right.as_bytes());
            if left.len() != right.len() {
                return false;
            }
            let mut index = 0;
            while index < left.len() {
                if left[index] != right[index] {
                    return false;
                }
                index += 1;
            }
            true
        }

        const _: () = {
            let categories = <#name as ::diptych::__private::core::EventSet>::CATEGORIES;
            let mut first = 0;
            while first < categories.len() {
                let mut second = first + 1;
                while second < categories.len() {
                    ::core::assert!(
                        !__same(categories[first], categories[second]),
                        "two languages of this event set have the same category"
                    );
                    second += 1;
                }
                first += 1;
            }
        };
    }
}
